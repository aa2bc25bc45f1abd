//! What one endpoint more or less costs in mode iptables, beside how many Services there are.
//!
//! ```sh
//! cargo run --release -p penstock-node --example iptables_endpoint -- nft 20 1000 5000 10000
//! ```
//! The first word is the variant, the first number how often each is done, the others are numbers of Services with five
//! endpoints each, one of which goes and comes back. Before that everything is loaded twice. Needs root; works in a network
//! namespace of its own. Times are from the change to the end of the program, for both families, in milliseconds.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use nix::sched::{CloneFlags, unshare};
use penstock_model::{
    Change, Frontend, FrontendAddress, FrontendKind, ObjectKey, PortKey, Protocol, ServicePort,
};
use penstock_node::{
    Backend, NetworkNamespace,
    iptables::{Iptables, Programs, Variant},
    nftables::TableConfig,
};

/// How many endpoints every Service has.
const ENDPOINTS: u8 = 5;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let variant =
        words.next().and_then(|word| Variant::from_str(&word, true).ok()).context("nft or legacy?")?;
    let numbers: Vec<u32> = words.map(|n| n.parse()).collect::<Result<_, _>>()?;
    let (rounds, sizes) = numbers.split_first().context("how often, and how many Services?")?;
    // Before there are threads: all of them are inside.
    unshare(CloneFlags::CLONE_NEWNET).context("this needs root")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{:>8}  {:<7} {:>8} {:>8} {:>8}", "Services", "change", "min", "median", "max");
    sizes.iter().try_for_each(|size| runtime.block_on(measure(variant, *size, *rounds)))
}

async fn measure(variant: Variant, services: u32, rounds: u32) -> Result<()> {
    let all: Vec<Change> = (0..services).map(|n| service(n, ENDPOINTS)).collect();
    let cluster_cidrs = vec!["10.0.0.0/8".parse()?];
    let config = TableConfig { cluster_cidrs, ..TableConfig::default() };
    let mut backend = Iptables::new(Programs::new(variant, NetworkNamespace::Own), config);
    for what in ["load", "reload"] {
        let started = Instant::now();
        let applied = backend.reload(&all).await?;
        println!(
            "{services:>8}  {what}: {:.2} s, {} rules",
            started.elapsed().as_secs_f64(),
            applied.operations
        );
    }
    for (change, endpoints) in [("remove", ENDPOINTS - 1), ("add", ENDPOINTS)] {
        let mut times = Vec::new();
        for n in 0..rounds {
            let started = Instant::now();
            backend.apply(&[service(n % services, endpoints)]).await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let (min, median, max) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        println!("{services:>8}  {change:<7} {min:>8.1} {median:>8.1} {max:>8.1}");
    }
    Ok(())
}

fn service(n: u32, endpoints: u8) -> Change {
    let [_, a, b, c] = n.to_be_bytes();
    let address = FrontendAddress { ip: [10, 96 + a, b, c].into(), protocol: Protocol::Tcp, port: 80 };
    let port = ServicePort {
        frontends: vec![Frontend { address, kind: FrontendKind::ClusterIp }],
        cluster: (0..endpoints).map(|e| SocketAddr::from(([11 + e, a, b, c], 8080))).collect(),
        ..ServicePort::default()
    };
    let service = Arc::new(ObjectKey::new("d", format!("s{n}")));
    Change { key: PortKey { service, port: 80, protocol: Protocol::Tcp }, desired: Some(Arc::new(port)) }
}
