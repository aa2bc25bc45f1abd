//! What one endpoint more or less costs, through the `nft` program and through netlink, beside how many Services there are.
//!
//! ```sh
//! cargo run --release -p penstock-node --example one_endpoint -- 200 1000 10000 20000
//! ```
//! The first number is how often each is done, the others are numbers of Services; each has five endpoints, one of
//! which goes and comes back, and then is replaced by another. Before that everything is loaded twice. Needs root; works in a network namespace of its own. Times
//! are from the transaction to the kernel's answer, in milliseconds.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use penstock_model::{
    Change, Frontend, FrontendAddress, FrontendKind, ObjectKey, PortKey, Protocol, ServicePort,
};
use penstock_node::{
    Backend, NetworkNamespace,
    nftables::{Netlink, Nft, Nftables, Slots, TableConfig, Transaction, script},
};

/// How many endpoints every Service has.
const ENDPOINTS: u8 = 5;

fn main() -> Result<()> {
    let numbers: Vec<u32> = std::env::args().skip(1).map(|n| n.parse()).collect::<Result<_, _>>()?;
    let (rounds, sizes) = numbers.split_first().context("how often, and how many Services?")?;
    // Before there are threads: all of them are inside.
    unshare(CloneFlags::CLONE_NEWNET).context("this needs root")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{:>8}  {:<8} {:<7} {:>8} {:>8} {:>8}", "Services", "way", "change", "min", "median", "p99");
    sizes.iter().try_for_each(|size| runtime.block_on(measure(*size, *rounds)))
}

/// The ways to the kernel.
struct Ways {
    nft: Nft,
    netlink: Netlink,
    config: TableConfig,
}

impl Ways {
    async fn run(&mut self, way: &str, transaction: &Transaction) -> Result<Duration> {
        let started = Instant::now();
        match way {
            "nft" => self.nft.run(&script(transaction, &self.config)).await?,
            _ => self.netlink.run(transaction).await?,
        }
        Ok(started.elapsed())
    }
}

async fn measure(services: u32, rounds: u32) -> Result<()> {
    let all: Vec<Change> = (0..services).map(|n| service(n, ENDPOINTS, 0)).collect();
    let (nft, config) = (Nft::default(), TableConfig::default());
    let mut backend = Nftables::new(nft.clone(), config.clone());
    for what in ["load", "reload"] {
        let started = Instant::now();
        backend.reload(&all).await?;
        println!("{services:>8}  {what}: {:.2} s", started.elapsed().as_secs_f64());
    }
    let mut slots = Slots::default();
    slots.apply(&all);
    let mut ways = Ways { nft, netlink: Netlink::new(NetworkNamespace::Own), config };
    // The first of each makes the chains for one endpoint less, and opens the socket.
    for way in ["nft", "netlink"] {
        round(&mut ways, way, &mut slots, 0).await?;
    }
    for way in ["nft", "netlink"] {
        let mut times = [const { Vec::new() }; 3];
        for n in 0..rounds {
            let took = round(&mut ways, way, &mut slots, n % services).await?;
            times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
        for (change, times) in ["remove", "add", "replace"].into_iter().zip(times) {
            print(services, way, change, times);
        }
    }
    Ok(())
}

/// An endpoint goes and comes back, and the first one becomes another.
async fn round(ways: &mut Ways, way: &str, slots: &mut Slots, n: u32) -> Result<[Duration; 3]> {
    let removal = ways.run(way, &slots.apply(&[service(n, ENDPOINTS - 1, 0)])).await?;
    let addition = ways.run(way, &slots.apply(&[service(n, ENDPOINTS, 0)])).await?;
    let replacement = ways.run(way, &slots.apply(&[service(n, ENDPOINTS, 1)])).await?;
    ways.run(way, &slots.apply(&[service(n, ENDPOINTS, 0)])).await?;
    Ok([removal, addition, replacement])
}

fn print(services: u32, way: &str, change: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("{services:>8}  {way:<8} {change:<7} {:>8.3} {:>8.3} {:>8.3}", at(0), at(50), at(99));
}

fn service(n: u32, endpoints: u8, first: u8) -> Change {
    let [_, a, b, c] = n.to_be_bytes();
    let address = FrontendAddress { ip: [10, 96 + a, b, c].into(), protocol: Protocol::Tcp, port: 80 };
    let port = ServicePort {
        frontends: vec![Frontend { address, kind: FrontendKind::ClusterIp }],
        cluster: (first..first + endpoints).map(|e| SocketAddr::from(([11 + e, a, b, c], 8080))).collect(),
        ..ServicePort::default()
    };
    let service = Arc::new(ObjectKey::new("d", format!("s{n}")));
    Change { key: PortKey { service, port: 80, protocol: Protocol::Tcp }, desired: Some(Arc::new(port)) }
}
