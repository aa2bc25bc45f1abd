//! `make bench BENCH=announcer`: how long an address is silent when its node fails, stops or is cut off, what many
//! addresses cost, how soon BFD finds a dead peer, and how soon a router knows of many prefixes.
//!
//! Everything lives in network namespaces without a way out: two announcers with a port each on one bridge, a real API
//! server that each reaches through a relay that can be cut, and a client with a kernel of ours in between ([`lab`]).
//! [`traffic`] is what a client that knows the way sees; [`questions`] is what one sees that has to ask.

mod bfd;
mod failures;
mod lab;
mod population;
mod questions;
mod routes;
mod traffic;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sched::{CloneFlags, unshare};
use penstock_e2e::{
    bench::{
        spread::Spread,
        table::{Row, Table},
    },
    packages,
    tools::Tools,
};

/// How often something is sent, and so the least that any silence can be told from.
const INTERVAL: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Area {
    /// A node that dies, an announcer that stops, a partition that heals.
    Failures,
    /// Memory and writes with many addresses.
    Population,
    /// How soon BFD finds a peer that stands still.
    Bfd,
    /// How soon a router knows of many prefixes.
    Routes,
}

/// Measures fail-over, clean stops, healed partitions, many addresses, BFD and BGP.
#[derive(Debug, Parser)]
struct Flags {
    /// What is measured [default: everything].
    areas: Vec<Area>,
    /// How often each failure is caused.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// How many addresses there are when memory and writes are looked at.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    addresses: u16,
    /// One run, and 20 addresses: shows that the benchmark works, not how fast anything is.
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    ensure!(!cfg!(debug_assertions) || flags.quick, "this is a debug build; run: make bench BENCH=announcer");
    // While there still is a network to fetch from.
    packages::ensure()?;
    packages::ensure_for_routers()?;
    Tools::build()?;
    // Before there is another thread: whatever is started from here on is inside.
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    runtime.block_on(measure(&flags))
}

async fn measure(flags: &Flags) -> Result<()> {
    let (runs, addresses) = if flags.quick { (1, 20) } else { (flags.runs, flags.addresses) };
    let wanted = |area| flags.areas.is_empty() || flags.areas.contains(&area);
    if wanted(Area::Failures) || wanted(Area::Population) {
        let directory = tempfile::tempdir().context("make a directory")?;
        let mut lab = lab::Lab::start(directory.path()).await?;
        if wanted(Area::Failures) {
            println!("{}", failures::measure(&mut lab, runs).await?.table());
        }
        if wanted(Area::Population) {
            println!("{}", population::measure(&mut lab, addresses).await?.table());
        }
    }
    if wanted(Area::Bfd) {
        println!("{}", bfd::measure(runs).await?);
    }
    if wanted(Area::Routes) {
        println!("{}", routes::measure(runs).await?);
    }
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!(
        "{processors} processors, {build} build; load average at the end: {} (other work on the machine makes all figures \
         worse). MetalLB's speaker was not run.",
        load.trim()
    );
    Ok(())
}

/// A figure's rows: its spread, and its 99th percentile against the aim.
fn push(table: &mut Table, what: &str, figures: &[f64], aim: Option<f64>) {
    let spread: Spread = figures.iter().copied().collect();
    let p99 = Spread::from_iter([spread.percentile(99)]);
    table.push(&Row::new(what, spread));
    table.push(&Row { aim, ..Row::new(format!("{what}: p99"), p99) });
}
