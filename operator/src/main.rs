//! The operator's process.

use anyhow::Context;
use clap::Parser;
use penstock_operator::{Options, run};
use penstock_runtime::{ProcessFlags, init_logging, shutdown_on_signal};

/// Gives Services of type LoadBalancer their addresses.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    process: ProcessFlags,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Flags { process } = Flags::parse();
    init_logging(process.log_format, &process.log)?;
    let client = kube::Client::try_default()
        .await
        .context("no API server: set KUBECONFIG or run in a pod with a ServiceAccount")?;
    let options = Options { namespace: process.namespace, http_address: process.http_address };
    run(client, options, shutdown_on_signal()?).await?;
    Ok(())
}
