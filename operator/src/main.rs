//! The operator's process.

use std::process::ExitCode;

use clap::Parser;
use penstock_operator::{Options, leadership::Identity, run};
use penstock_runtime::{ProcessFlags, client, init_telemetry, report_exit, shutdown_on_signal};

/// Gives Services of type LoadBalancer their addresses.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    process: ProcessFlags,

    /// Under which name this process leads: the name of its pod. No two alive may have the same [default: the
    /// host's name and a random suffix]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<Identity>,

    /// The cluster's DNS domain: an ExternalName Service must not point at itself.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    report_exit("penstock-operator", execute(Flags::parse()).await)
}

async fn execute(Flags { process, identity, cluster_domain }: Flags) -> anyhow::Result<()> {
    let _telemetry = init_telemetry(&process, "penstock-operator")?;
    let client = client().await?;
    let identity = identity.map_or_else(Identity::of_host, Ok)?;
    let http_address = process.http_address(9780);
    let options = Options { namespace: process.namespace, http_address, identity, cluster_domain };
    Ok(run(client, options, shutdown_on_signal()?).await?)
}
