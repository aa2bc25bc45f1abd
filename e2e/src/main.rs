//! `penstock-e2e`: brings a whole cluster up on this machine, shows it, and removes it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use penstock_e2e::bench::dataplane::endpoint::Endpoint;
use penstock_e2e::cluster::Cluster;
use penstock_e2e::demo::demo;
use penstock_e2e::flows::{self, echo::Echo};
use penstock_e2e::forward::Forward;
use penstock_e2e::machine::Machine;
use penstock_e2e::topology::Topology;
use penstock_e2e::{bench, conformance, dns_oracle, packages, scenarios, startup, teardown, uml};

/// A whole Kubernetes cluster on one machine: two nodes and a client, in namespaces without a way out.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(clap::Args)]
struct Instance {
    /// Which cluster; several can be up at once.
    #[arg(long, default_value = "penstock")]
    name: String,
}

#[derive(Subcommand)]
enum Action {
    /// Install and build whatever a cluster needs, so that nothing after it has to.
    Prepare,
    /// Bring a cluster up, or find that it is.
    Up(Instance),
    /// Bring a cluster up with Penstock and the seed's Services on it, and show who answers.
    Demo(Instance),
    /// Remove every trace of a cluster.
    Down {
        #[command(flatten)]
        instance: Instance,
        /// Every cluster that is there, also what aborted tests left.
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Measure the operator and the dataplane beside their peers, and print tables.
    Bench(bench::Flags),
    /// Send packets to Services of every kind through penstock-node and through kube-proxy, and compare what comes of it.
    Flows(flows::Flags),
    /// Run Kubernetes' own tests of Services on a cluster with penstock-node, or kube-proxy, as its service proxy.
    Conformance(conformance::Flags),
    /// Play the seed section by section on a real cluster, and check what each claims.
    Seed(scenarios::Flags),
    /// Ask CoreDNS and penstock-dns the same about the same objects, and compare what they answer.
    DnsOracle(dns_oracle::Flags),
    /// Show a cluster's processes, nodes and Pods of ours.
    Status(Instance),
    /// The process that is a node's machine (internal).
    #[command(hide = true)]
    Machine {
        #[arg(long)]
        hostname: String,
        #[arg(long)]
        root: PathBuf,
        #[arg(long)]
        keep: Vec<PathBuf>,
    },
    /// The first process of a user-mode Linux (internal).
    #[command(hide = true)]
    Guest {
        order: PathBuf,
        /// What the kernel itself puts behind: `console=tty0`.
        kernel: Vec<String>,
    },
    /// The server behind an endpoint of `flows` (internal).
    #[command(hide = true)]
    Echo {
        #[arg(long)]
        name: String,
        #[arg(long = "port")]
        ports: Vec<u16>,
        #[arg(long)]
        ready_file: PathBuf,
    },
    /// The server behind an endpoint of `bench dataplane` (internal).
    #[command(hide = true)]
    BenchEndpoint {
        #[arg(long)]
        name: u8,
        #[arg(long)]
        ready_file: PathBuf,
    },
    /// Carries connections into a namespace (internal).
    #[command(hide = true)]
    Forward {
        #[arg(long)]
        netns: PathBuf,
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        port_file: PathBuf,
    },
}

fn main() -> ExitCode {
    // Before the first word: without it nobody would hear it.
    match uml::open_console().and_then(|()| run(Cli::parse().command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("penstock-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<ExitCode> {
    match action {
        Action::Prepare => startup::prepare().map(|()| ExitCode::SUCCESS),
        Action::Up(instance) => up(&Topology::new(&instance.name)?),
        Action::Demo(instance) => {
            runtime()?.block_on(demo(&Topology::new(&instance.name)?)).map(|()| ExitCode::SUCCESS)
        }
        Action::Down { all: true, .. } => teardown::down_all().map(|()| ExitCode::SUCCESS),
        Action::Down { instance, .. } => {
            teardown::down(&Topology::new(&instance.name)?).map(|()| ExitCode::SUCCESS)
        }
        Action::Bench(flags) => runtime()?.block_on(bench::run(&flags)).map(|()| ExitCode::SUCCESS),
        Action::Flows(flags) => runtime()?.block_on(flows::run(&flags)).map(|good| match good {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
        Action::Seed(flags) => runtime()?.block_on(scenarios::run(&flags)).map(|good| match good {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
        Action::Conformance(flags) => runtime()?.block_on(conformance::run(&flags)).map(|good| match good {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
        Action::DnsOracle(flags) => dns_oracle::run(&flags).map(|good| match good {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
        Action::Status(instance) => status(&instance.name),
        Action::Machine { hostname, root, keep } => {
            Machine { hostname, root, keep }.become_machine()?;
            loop {
                nix::unistd::pause();
            }
        }
        Action::Guest { order, .. } => uml::guest(&order).map(|()| ExitCode::SUCCESS),
        Action::Echo { name, ports, ready_file } => {
            Echo { name, ports, ready_file }.run().map(|()| ExitCode::SUCCESS)
        }
        Action::BenchEndpoint { name, ready_file } => {
            Endpoint { name, ready_file }.run().map(|()| ExitCode::SUCCESS)
        }
        Action::Forward { netns, target, port_file } => {
            Forward { netns, target, port_file }.run().map(|()| ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("start a runtime")
}

fn up(topology: &Topology) -> Result<ExitCode> {
    let status = runtime()?.block_on(async { startup::up(topology).await?.status().await })?;
    println!("{status}");
    Ok(ExitCode::SUCCESS)
}

fn status(name: &str) -> Result<ExitCode> {
    packages::ensure_root()?;
    let cluster = Cluster::attach(name)?;
    let status = runtime()?.block_on(cluster.status())?;
    println!("{status}");
    Ok(if status.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
