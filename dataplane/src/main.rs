//! `penstock-node`: forwards Services on the node that it runs on.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use futures::StreamExt;
use penstock_model::ServiceIndex;
use penstock_node::{
    Agent, Conntrack, Flags, Metrics, NetworkNamespace, NodeServers, Progress, ServiceEvents, events,
    health_check,
    nftables::{self, Nft, Nftables},
    proxy_health::Now,
};
use penstock_runtime::{Telemetry, init_telemetry, report_exit, shutdown_on_signal};

/// Forwards Services on the node that it runs on. Its rules stay when it ends.
#[derive(Debug, Parser)]
#[command(version, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,

    /// The node that this process runs on.
    #[arg(long, env = "NODE_NAME", required = true)]
    node_name: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Removes the table `inet penstock` and nothing else.
    Cleanup,
}

#[tokio::main]
async fn main() -> ExitCode {
    report_exit("penstock-node", execute(Arguments::parse()).await)
}

async fn execute(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::Cleanup) => Ok(nftables::cleanup(&Nft::default()).await?),
        None => {
            let node_name = arguments.node_name.context("--node-name is missing: name this node")?;
            run(&arguments.flags, node_name).await
        }
    }
}

async fn run(flags: &Flags, node_name: String) -> Result<()> {
    let _telemetry = init_telemetry(&flags.process, "penstock-node")?;
    let until = shutdown_on_signal()?;
    let nft = Nft::default();
    nft.check().await.context("cannot program nftables: this needs the program nft and CAP_NET_ADMIN")?;
    let client = penstock_runtime::client().await?;
    let telemetry = Telemetry::new(env!("CARGO_PKG_VERSION"));
    let progress = Progress::new(&node_name, Now::read().wall);
    let metrics = metrics(&telemetry, &progress);
    let complaints = ServiceEvents::start(client.clone(), &node_name);
    let index = ServiceIndex::new(flags.index_config(node_name)?);
    let backend = Nftables::new(nft, flags.table_config());
    let agent = Agent::new(index, backend, metrics, telemetry.readiness.clone());
    let (stale_flows, end) = (agent.stale_flows(), until.clone());
    let conntrack = Conntrack::new(NetworkNamespace::Own);
    tokio::spawn(async move { stale_flows.drain(conntrack, end).await });
    let health_checks = health_check::Servers::new(progress.health.clone(), complaints);
    tokio::spawn(health_checks.run(agent.health_checks(), until.clone()));
    let servers =
        NodeServers { progress: progress.clone(), telemetry: telemetry.clone(), proxy_mode: "nftables" };
    tokio::spawn(servers.run(flags.healthz_bind_address, flags.metrics_bind_address, until.clone()));
    let server = tokio::spawn(telemetry.serve(flags.process.http_address(9782), until.clone()));
    let events = events(&client).inspect(|event| progress.heard(event, Now::read()));
    let agent = agent.run(events, until.clone());
    tokio::pin!(agent);
    tokio::select! {
        () = &mut agent => Ok(()),
        served = server => {
            // The server ends by itself only when it fails; on a signal the agent finishes its transaction.
            served??;
            agent.await;
            Ok(())
        }
    }
}

/// Ours, and those in kube-proxy's names.
fn metrics(telemetry: &Telemetry, progress: &Progress) -> Metrics {
    let metrics = Metrics::new(progress.clone());
    telemetry.register(|registry| metrics.register(registry));
    telemetry.register_as_named(|registry| progress.metrics.register(registry));
    metrics
}
