//! The operator's process.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use penstock_operator::{Options, Part, leadership::Identity, run, verify};
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
    #[arg(long, global = true, default_value = "cluster.local")]
    cluster_domain: String,

    /// Between two looks at everything that providers have built, in seconds, at least; at most twice as long.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    drift_interval: u64,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Looks whether what is installed is at work, and changes nothing: for `helm test`.
    Verify {
        /// What has to be at work.
        #[arg(required = true)]
        parts: Vec<Part>,

        /// How long to wait for it, in seconds.
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        timeout: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    report_exit("penstock-operator", execute(Flags::parse()).await)
}

async fn execute(flags: Flags) -> anyhow::Result<()> {
    match flags.command {
        Some(Command::Verify { parts, timeout }) => {
            let limit = Duration::from_secs(timeout);
            let (namespace, domain) = (&flags.process.namespace, &flags.cluster_domain);
            verify(&client().await?, namespace, &parts, domain, limit).await?;
            println!("at work: {}", parts.iter().map(Part::to_string).collect::<Vec<_>>().join(", "));
            Ok(())
        }
        None => operate(flags).await,
    }
}

async fn operate(flags: Flags) -> anyhow::Result<()> {
    let Flags { process, identity, cluster_domain, drift_interval, command: _ } = flags;
    let _telemetry = init_telemetry(&process, "penstock-operator")?;
    let client = client().await?;
    let identity = identity.map_or_else(Identity::of_host, Ok)?;
    let http_address = process.http_address(9780);
    let drift_interval = Duration::from_secs(drift_interval);
    let options =
        Options { namespace: process.namespace, http_address, identity, cluster_domain, drift_interval };
    Ok(run(client, options, shutdown_on_signal()?).await?)
}
