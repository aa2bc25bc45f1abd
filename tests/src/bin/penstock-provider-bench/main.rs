//! `make bench BENCH=providers`, or `aws`, `hetzner`, `digitalocean`: what load balancers of clouds cost in calls, and how
//! long many of AWS's take.
//!
//! The operator runs on a real etcd and kube-apiserver; the endpoint that stands for the cloud counts what it is asked.
//! Calls do not depend on the machine. The time for many Services is held against what AWS's rates alone allow.

mod aws;
mod aws_throughput;
mod calls;
mod cloud;
mod digitalocean;
mod hetzner;
mod restart;
mod table;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use crate::cloud::Cloud;

/// Whose balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Area {
    /// Of all clouds.
    Providers,
    Aws,
    Hetzner,
    Digitalocean,
}

/// Counts calls to clouds against endpoints on loopback, and measures how long many Services take with AWS's rates.
#[derive(Debug, Parser)]
struct Flags {
    /// Whose balancers.
    #[arg(value_enum, default_value_t = Area::Providers)]
    area: Area,

    /// How many Services are created at once at AWS. With its rates 1,000 take five minutes.
    #[arg(long, default_value_t = 200)]
    services: usize,

    /// How many Services there are when the provider starts.
    #[arg(long, default_value_t = 1000)]
    restart: usize,
}

impl Flags {
    fn wants(&self, area: Area) -> bool {
        [Area::Providers, area].contains(&self.area)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    ensure!(flags.services > 0 && flags.restart > 0, "--services and --restart take one or more");
    if flags.wants(Area::Hetzner) {
        measure::<hetzner::Hetzner>(flags.restart).await?;
    }
    if flags.wants(Area::Digitalocean) {
        measure::<digitalocean::DigitalOcean>(flags.restart).await?;
    }
    if flags.wants(Area::Aws) {
        measure::<aws::Aws>(flags.restart).await?;
        aws_throughput::measure(flags.services).await?.print();
    }
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("\n{processors} processors, {build} build; the clouds' own controllers were not run");
    Ok(())
}

async fn measure<C: Cloud>(services: usize) -> Result<()> {
    calls::measure::<C>().await?.print();
    restart::measure::<C>(services).await?.print();
    Ok(())
}
