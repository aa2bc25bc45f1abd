//! `make bench BENCH=aws`: what network load balancers of AWS cost in calls, and how long many of them take.
//!
//! The operator runs on a real etcd and kube-apiserver; the endpoint that stands for AWS counts what it is asked. Calls do
//! not depend on the machine. The time for many Services is held against what the endpoint's rates alone allow.

mod calls;
mod restart;
mod table;
mod throughput;

use anyhow::{Result, ensure};
use clap::Parser;

/// Counts calls to AWS and measures how long many Services take, against an endpoint on loopback with AWS's rates.
#[derive(Debug, Parser)]
struct Flags {
    /// How many Services are created at once. With AWS's rates 1,000 take five minutes.
    #[arg(long, default_value_t = 200)]
    services: usize,

    /// How many Services there are when the provider starts.
    #[arg(long, default_value_t = 1000)]
    restart: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    ensure!(flags.services > 0 && flags.restart > 0, "--services and --restart take one or more");
    calls::measure().await?.print();
    restart::measure(flags.restart).await?.print();
    throughput::measure(flags.services).await?.print();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("\n{processors} processors, {build} build; AWS's own controller was not run");
    Ok(())
}
