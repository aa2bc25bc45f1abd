//! The process on each node that tells the network where addresses live.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use penstock_announcer::agent::{self, AgentConfig};
use penstock_runtime::{ProcessFlags, Telemetry, init_telemetry, report_exit, shutdown_on_signal};

/// Answers ARP for the addresses of Services of type LoadBalancer that this node owns.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    process: ProcessFlags,

    /// Name of this node's Node object.
    #[arg(long, env = "NODE_NAME")]
    node_name: String,

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
}

#[tokio::main]
async fn main() -> ExitCode {
    report_exit("penstock-announcer", execute(Flags::parse()).await)
}

async fn execute(flags: Flags) -> Result<()> {
    let _telemetry = init_telemetry(&flags.process, "penstock-announcer")?;
    let client = penstock_runtime::client().await?;
    let (stop, telemetry) = (shutdown_on_signal()?, Telemetry::new(env!("CARGO_PKG_VERSION")));
    let served = telemetry.clone().serve(flags.process.http_address(9781), stop.clone());
    let config = AgentConfig {
        node_name: flags.node_name,
        namespace: flags.process.namespace,
        interfaces: flags.interfaces,
        lease_duration: Duration::from_secs(flags.lease_seconds),
        dataplane_socket: flags.dataplane_socket,
    };
    let agent = agent::run(client, config, telemetry, stop.clone());
    finish(agent, served, &stop).await
}

/// The agent ends the process; so does a metrics server that fails.
async fn finish(
    agent: impl Future<Output = Result<(), agent::AgentError>>,
    served: impl Future<Output = Result<(), penstock_runtime::HttpError>>,
    stop: &tokio_util::sync::CancellationToken,
) -> Result<()> {
    let guarded = async { agent.await.inspect_err(|_| stop.cancel()) };
    let served = async { served.await.inspect_err(|_| stop.cancel()) };
    let (agent, served) = tokio::join!(guarded, served);
    agent?;
    served?;
    Ok(())
}
