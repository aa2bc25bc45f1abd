//! How soon BFD finds that bird stands still.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use penstock_announcer::bfd::{Dispatcher, News, Profile, SessionKey};
use penstock_crds::BFDProfileSpec;
use penstock_e2e::{bench::table::Table, namespace::Namespace, router::Bird};
use tokio::sync::mpsc;

use crate::{lab::LIMIT, push};

/// Both ends send and expect packets this often.
const INTERVAL_MS: u32 = 100;
const BIRD: &str = "router id 192.0.2.2;\nprotocol device {}\nprotocol bfd {\n  interface \"eth0\" { interval 100 ms; \
                    multiplier 3; };\n  neighbor 192.0.2.1;\n}\n";

pub(crate) async fn measure(runs: u16) -> Result<Table> {
    let (ours, peer) = (Namespace::new()?, Namespace::new()?);
    ours.cable("eth0", &peer, "eth0")?;
    ours.ip("addr add 192.0.2.1/24 dev eth0")?;
    peer.ip("addr add 192.0.2.2/24 dev eth0")?;
    let bird = Bird::start(&peer.path(), BIRD)?;
    let (sender, mut news) = mpsc::channel(16);
    let mut dispatcher = Dispatcher::start(sender);
    let peer = "192.0.2.2".parse().context("read an address")?;
    let key = SessionKey { peer, local: None, interface: None, multihop: false };
    let (receive_interval, transmit_interval) = (INTERVAL_MS, INTERVAL_MS);
    let spec = BFDProfileSpec { receive_interval, transmit_interval, ..BFDProfileSpec::default() };
    let sessions = BTreeMap::from([(key.clone(), Profile::new(&spec)?)]);
    let failed = ours.inside(|| dispatcher.set(&sessions))?;
    ensure!(failed.is_empty(), "no session: {failed:?}");
    let mut multiples = Vec::new();
    for _ in 0..runs {
        ensure!(matches!(next(&mut news).await?, News::Up { .. }), "the session is not up");
        agreed(&dispatcher, &key).await?;
        // A failure keeps no step with the packets.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..u64::from(INTERVAL_MS)))).await;
        let frozen = bird.process().freeze()?;
        let start = Instant::now();
        ensure!(matches!(next(&mut news).await?, News::Down { .. }), "the session is not down");
        multiples.push(start.elapsed().as_secs_f64() * 1000.0 / f64::from(INTERVAL_MS));
        drop(frozen);
    }
    let mut table = Table::new(format!("BFD with bird, {INTERVAL_MS} ms × 3; {runs} runs"), "");
    push(&mut table, "bird stands still (SIGSTOP): known after, in intervals", &multiples, Some(3.0));
    Ok(table)
}

async fn next(news: &mut mpsc::Receiver<News>) -> Result<News> {
    let news = tokio::time::timeout(LIMIT, news.recv()).await.context("BFD says nothing")?;
    news.context("BFD has ended")
}

/// It begins with bird's slow interval.
async fn agreed(dispatcher: &Dispatcher, key: &SessionKey) -> Result<()> {
    let start = Instant::now();
    let wanted = Some(Duration::from_millis(u64::from(INTERVAL_MS) * 3));
    while dispatcher.sessions().get(key).and_then(|status| status.detection_time) != wanted {
        ensure!(start.elapsed() < LIMIT, "bird does not agree to {INTERVAL_MS} ms");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
