//! `penstock-node`: forwards Services on the node that it runs on.

use std::{future::pending, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use futures::{StreamExt, stream};
use penstock_model::{IndexConfig, ServiceIndex};
use penstock_node::{
    Agent, Announced, AnnouncerLink, Conntrack, Event, Flags, ForeignRules, KernelChains, Metrics,
    NetworkNamespace, NodeServers, Progress, ServiceEvents, events, health_check, ipvs, keep_in_one_arena,
    mode::{AnyBackend, HandOver, RuleSet, choose},
    node_state::{Fallback, PATIENCE, Recorded, StateFile},
    proxy_health::Now,
};
use penstock_runtime::{HttpError, Telemetry, init_telemetry, report_exit, shutdown_on_signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
    /// Removes what every mode has put into the kernel, and the state file, and nothing else.
    Cleanup,
    /// Sets the sysctls of mode ipvs and nothing else: for a privileged container that ends before one without rights of the
    /// node starts.
    Sysctls,
}

fn main() -> ExitCode {
    keep_in_one_arena();
    report_exit("penstock-node", with_threads(Arguments::parse()))
}

#[tokio::main]
async fn with_threads(arguments: Arguments) -> Result<()> {
    execute(arguments).await
}

async fn execute(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::Cleanup) => {
            remove_rules().await?;
            Ok(StateFile::new(&arguments.flags.state_file, "").remove()?)
        }
        Some(Command::Sysctls) => Ok(ipvs::set_sysctls().await?),
        None => {
            let node_name = arguments.node_name.context("--node-name is missing: name this node")?;
            run(&arguments.flags, node_name).await
        }
    }
}

async fn run(flags: &Flags, node_name: String) -> Result<()> {
    let _telemetry = init_telemetry(&flags.process, "penstock-node")?;
    let until = shutdown_on_signal()?;
    let (mode, backend) = choose(flags.mode, flags).await?;
    let schedulers = backend.schedulers().cloned();
    let client = penstock_runtime::client().await?;
    let telemetry = Telemetry::new(env!("CARGO_PKG_VERSION"));
    let progress = Progress::new(&node_name, Now::read().wall);
    let metrics = metrics(&telemetry, &progress);
    let server = serve(flags, mode.name(), &telemetry, &progress, &until);
    let standing = kernel_chains(&metrics).await.map(|chains| RuleSet::standing(&chains));
    let (backend, touches) = backend.watched()?;
    let backend = hand_over(backend, standing.as_deref());
    let file = StateFile::new(&flags.state_file, &node_name);
    let (health, complaints) = (progress.health.clone(), ServiceEvents::start(client.clone(), &node_name));
    let events = events(&client).inspect(move |event| progress.heard(event, Now::read()));
    let events = stream::select(touches.map(Event::Touched), events);
    // Where it is not known whether there are rules, nothing may take their place.
    let fallback = (standing == Some(Vec::new())).then(|| Fallback::new(file.clone(), PATIENCE));
    let link = flags.announcer_socket.as_deref().map(AnnouncerLink::start);
    let (backend, kept) = Recorded::start(Announced::new(backend, link), file);
    let with_schedulers = schedulers.is_some();
    let index = ServiceIndex::new(IndexConfig { schedulers, ..flags.index_config(node_name)? });
    let agent = Agent::new(index, backend, metrics, telemetry.readiness.clone());
    let agent = agent.with_fallback(fallback);
    let agent = if with_schedulers { agent.telling(complaints.clone()) } else { agent };
    let (stale_flows, end) = (agent.stale_flows(), until.clone());
    let conntrack = Conntrack::new(NetworkNamespace::Own);
    tokio::spawn(async move { stale_flows.drain(conntrack, end).await });
    tokio::spawn(health_check::Servers::new(health, complaints).run(agent.health_checks(), until.clone()));
    let agent = tokio::spawn(agent.run(events, until));
    tokio::select! {
        // On a signal it finishes its transaction first.
        ended = agent => ended?,
        failed = failure(server) => return Err(failed),
    }
    // The state file is written once more.
    Ok(kept.await?)
}

/// Starts what kubelets and dashboards ask. Returns the server without which the agent does not run.
fn serve(
    flags: &Flags,
    proxy_mode: &'static str,
    telemetry: &Telemetry,
    progress: &Progress,
    until: &CancellationToken,
) -> JoinHandle<Result<(), HttpError>> {
    let servers = NodeServers { progress: progress.clone(), telemetry: telemetry.clone(), proxy_mode };
    tokio::spawn(servers.run(flags.healthz_bind_address, flags.metrics_bind_address, until.clone()));
    tokio::spawn(telemetry.clone().serve(flags.process.http_address(9782), until.clone()))
}

/// The server ends by itself only when it fails.
async fn failure(server: JoinHandle<Result<(), HttpError>>) -> anyhow::Error {
    match server.await {
        Ok(Ok(())) => pending().await,
        Ok(Err(error)) => error.into(),
        Err(panic) => panic.into(),
    }
}

/// What stands in the kernel, if that can be known.
async fn kernel_chains(metrics: &Metrics) -> Option<KernelChains> {
    let read = KernelChains::read().await;
    let chains =
        read.inspect_err(|error| tracing::warn!("{error}; what stands there is not looked at")).ok()?;
    let foreign = ForeignRules::find(&chains);
    metrics.found(&foreign);
    if let Some(sentence) = foreign.sentence() {
        tracing::warn!("{sentence}");
    }
    Some(chains)
}

/// What other modes have left goes when the backend serves. Where it is not known what stands, all is tried.
fn hand_over(backend: AnyBackend, standing: Option<&[RuleSet]>) -> HandOver<AnyBackend> {
    let own = RuleSet::of(&backend);
    let others = standing.unwrap_or(&RuleSet::ALL).iter().copied().filter(|set| *set != own);
    HandOver::new(backend, others.collect(), NetworkNamespace::Own)
}

/// What all modes own.
async fn remove_rules() -> Result<()> {
    let chains = KernelChains::read().await;
    for set in RuleSet::ALL {
        match (set.remove(&NetworkNamespace::Own).await, &chains) {
            (Ok(()), _) => {}
            // What does not stand does not need the program that removes it.
            (Err(_), Ok(chains)) if !set.stands(chains) => {}
            (Err(error), _) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Ours, and those in kube-proxy's names.
fn metrics(telemetry: &Telemetry, progress: &Progress) -> Metrics {
    let metrics = Metrics::new(progress.clone());
    telemetry.register(|registry| metrics.register(registry));
    telemetry.register_as_named(|registry| progress.metrics.register(registry));
    metrics
}
