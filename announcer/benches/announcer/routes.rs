//! How soon bird knows of many prefixes.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use ipnet::IpNet;
use penstock_announcer::bgp::{
    Attributes, Distance, NextHops, Peer, PeerNews, RemoteAsn, Routes, Speaker, Stop,
};
use penstock_e2e::{bench::table::Table, namespace::Namespace, router::Bird};

use crate::{
    lab::{LIMIT, ip},
    push,
};

/// What is announced: addresses of ten kinds of Services, by MED.
const PREFIXES: u32 = 10_000;
const KINDS: u32 = 10;
const BIRD: &str = "router id 192.0.2.1;\nprotocol device {}\nprotocol bgp node {\n  local 192.0.2.1 as 64513;\n  \
                    neighbor 192.0.2.2 as 64512;\n  connect retry time 1;\n  ipv4 { import all; export none; };\n}\n";

pub(crate) async fn measure(runs: u16) -> Result<Table> {
    let router = Namespace::new()?;
    ip(&format!("link add tor type veth peer name eth0 netns {}", router.path().display()))?;
    ip("addr add 192.0.2.2/24 dev tor")?;
    ip("link set tor up")?;
    router.ip("addr add 192.0.2.1/24 dev eth0")?;
    router.ip("link set eth0 up")?;
    let bird = Bird::start(&router.path(), BIRD)?;
    let mut speaker = Speaker::new();
    speaker.set_peers(&BTreeMap::from([("bird".to_owned(), peer()?)]));
    speaker.set_routes(BTreeMap::new());
    let mut news = speaker.news();
    let up = news.wait_for(|news| news.values().all(PeerNews::is_up));
    tokio::time::timeout(LIMIT, up).await.context("bird takes no session")??;
    let mut milliseconds = Vec::new();
    for _ in 0..runs {
        speaker.set_routes(BTreeMap::from([("bird".to_owned(), routes()?)]));
        let start = Instant::now();
        known(&bird, PREFIXES).await?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1000.0);
        speaker.set_routes(BTreeMap::new());
        known(&bird, 0).await?;
    }
    speaker.stop(Stop::Withdraw).await;
    let mut table = Table::new(format!("BGP with bird, {PREFIXES} prefixes; {runs} runs"), "ms");
    push(&mut table, "announced: bird knows all of them after", &milliseconds, Some(1000.0));
    Ok(table)
}

/// Waits until bird knows of so many prefixes. It is asked again as soon as it has answered.
async fn known(bird: &Bird, count: u32) -> Result<()> {
    let wanted = format!("{count} of {count} routes for {count} networks in table master4");
    let start = Instant::now();
    while !bird.ask("show route count")?.contains(&wanted) {
        anyhow::ensure!(start.elapsed() < LIMIT, "bird never knew of {count} prefixes");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn peer() -> Result<Peer> {
    Ok(Peer {
        address: "192.0.2.1".parse().context("read an address")?,
        port: 179,
        local_asn: 64512,
        remote_asn: RemoteAsn::Exactly(64513),
        router_id: [192, 0, 2, 2].into(),
        source: None,
        hold_time: Duration::from_secs(90),
        keepalive: None,
        connect_retry: Duration::from_secs(1),
        password: None,
        distance: Distance::Usual,
        graceful_restart: None,
        next_hops: NextHops::default(),
    })
}

fn routes() -> Result<Routes> {
    let route = |n: u32| {
        let prefix = IpNet::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32)?;
        Ok((prefix, Attributes { med: Some(n % KINDS), ..Attributes::default() }))
    };
    (0..PREFIXES).map(route).collect()
}
