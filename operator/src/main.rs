//! The operator's process.

use std::process::ExitCode;

use clap::Parser;
use penstock_operator::{Options, run};
use penstock_runtime::{ProcessFlags, client, init_logging, report_exit, shutdown_on_signal};

/// Gives Services of type LoadBalancer their addresses.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(flatten)]
    process: ProcessFlags,
}

#[tokio::main]
async fn main() -> ExitCode {
    report_exit("penstock-operator", execute(Flags::parse().process).await)
}

async fn execute(process: ProcessFlags) -> anyhow::Result<()> {
    init_logging(process.log_format, &process.log)?;
    let client = client().await?;
    let options = Options { http_address: process.http_address(9780), namespace: process.namespace };
    Ok(run(client, options, shutdown_on_signal()?).await?)
}
