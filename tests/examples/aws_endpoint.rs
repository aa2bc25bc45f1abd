//! The endpoint that stands for AWS as a process: `cargo run -p penstock-tests --example aws_endpoint -- 127.0.0.1:4566`.
//! Ctrl-C ends it and prints what it was asked.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Parser;
use penstock_tests::aws_endpoint::{ACCESS_KEY, AwsEndpoint, Clock, REGION, Settings, Store};

#[derive(Parser)]
struct Arguments {
    /// Where it listens.
    #[arg(default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// As slow as AWS, and with its limits of rates.
    #[arg(long)]
    like_aws: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let settings = if arguments.like_aws { Settings::like_aws() } else { Settings::default() };
    let aws = AwsEndpoint::start_at(arguments.address, Store::new(settings, Clock::running())).await?;
    println!("{} (access key {ACCESS_KEY} with any secret, region {REGION})", aws.url());
    tokio::signal::ctrl_c().await?;
    for (action, count) in aws.store().log.counts() {
        println!("{count:6} {action}");
    }
    Ok(())
}
