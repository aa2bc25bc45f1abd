//! The process on each node that tells the network where addresses live.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use penstock_announcer::{
    agent::{self, AgentConfig, SuccessionConfig},
    readiness,
};
use penstock_runtime::{HttpError, ProcessFlags, Telemetry, init_telemetry, report_exit, shutdown_on_signal};
use tokio_util::sync::CancellationToken;

/// Answers ARP for the addresses of Services of type LoadBalancer that this node owns.
#[derive(Parser)]
#[command(version, subcommand_negates_reqs = true)]
struct Flags {
    #[command(flatten)]
    process: ProcessFlags,

    /// Name of this node's Node object.
    #[arg(long, env = "NODE_NAME", required = true)]
    node_name: Option<String>,

    /// Interface to answer on where an L2Advertisement names none (may be repeated) [default: those that hold
    /// the node's InternalIPs]
    #[arg(long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,

    /// How long a renewal of this node's Lease lasts; it is renewed four times as often.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    lease_seconds: u64,

    /// Abstract Unix socket on which this node's penstock-node says which addresses have rules: no others are announced. None
    /// by default, for nodes on which another program forwards.
    #[arg(long, value_name = "NAME")]
    dataplane_socket: Option<String>,

    /// Abstract Unix socket by which one announcer of this node follows another without a gap, as when a DaemonSet replaces its
    /// Pods with maxSurge. None by default: each stops before the next one starts.
    #[arg(long, value_name = "NAME")]
    succession_socket: Option<String>,

    /// Name of this process's Pod: by it `penstock-announcer ready` asks, where there is a --succession-socket.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pod_name: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ends well if the announcer of this Pod is ready, to announce or to follow the one that does; otherwise with an error.
    Ready {
        /// The announcer's --succession-socket.
        #[arg(long, value_name = "NAME")]
        succession_socket: String,

        /// Name of the Pod.
        #[arg(long, env = "POD_NAME", value_name = "NAME")]
        pod_name: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    report_exit("penstock-announcer", execute(Flags::parse()).await)
}

async fn execute(flags: Flags) -> Result<()> {
    match flags.command {
        Some(Command::Ready { succession_socket, pod_name }) => {
            Ok(readiness::ask(&succession_socket, &pod_name)?)
        }
        None => announce(flags).await,
    }
}

async fn announce(flags: Flags) -> Result<()> {
    let _telemetry = init_telemetry(&flags.process, "penstock-announcer")?;
    let client = penstock_runtime::client().await?;
    let (stop, telemetry) = (shutdown_on_signal()?, Telemetry::new(env!("CARGO_PKG_VERSION")));
    let address = flags.process.http_address(9781);
    let served = serve(telemetry.clone(), address, stop.clone(), flags.succession_socket.is_some());
    let config = AgentConfig {
        node_name: flags.node_name.context("--node-name is missing")?,
        namespace: flags.process.namespace,
        interfaces: flags.interfaces,
        lease_duration: Duration::from_secs(flags.lease_seconds),
        dataplane_socket: flags.dataplane_socket,
        succession: flags.succession_socket.map(|socket| SuccessionConfig { socket, pod: flags.pod_name }),
    };
    let agent = agent::run(client, config, telemetry, stop.clone());
    finish(agent, served, &stop).await
}

/// The announcer that this one follows has the port until it is told to stop.
async fn serve(
    telemetry: Telemetry,
    address: SocketAddr,
    stop: CancellationToken,
    follows: bool,
) -> Result<(), HttpError> {
    if follows {
        telemetry.serve_once_free(address, stop).await
    } else {
        telemetry.serve(address, stop).await
    }
}

/// The agent ends the process; so does a metrics server that fails.
async fn finish(
    agent: impl Future<Output = Result<(), agent::AgentError>>,
    served: impl Future<Output = Result<(), HttpError>>,
    stop: &CancellationToken,
) -> Result<()> {
    let guarded = async { agent.await.inspect_err(|_| stop.cancel()) };
    let served = async { served.await.inspect_err(|_| stop.cancel()) };
    let (agent, served) = tokio::join!(guarded, served);
    agent?;
    served?;
    Ok(())
}
