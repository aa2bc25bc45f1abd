//! How long it takes until another operator leads, with real processes on a real API server:
//!
//! ```text
//! cargo build --release --bins && cargo run --release -p penstock-tests --example handover -- target/release/penstock-operator 5
//! ```
//!
//! Each round starts a leader and one that stands by, ends the leader, and takes the time from the signal until the
//! Lease names the other one, and until a Service that was created after the signal has its address.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use penstock_tests::{Fixture, shown};
use serde_json::json;

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(120);

/// A process that is killed when dropped.
struct Operator(Child);

impl Operator {
    fn start(program: &str, kubeconfig: &Path, identity: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["--http-address=127.0.0.1:0", "--log=warn", "--identity", identity]);
        let child = command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("start {program}"))?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.0.id().cast_signed()), signal)?)
    }

    async fn end(&mut self) -> Result<std::process::ExitStatus> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the operator does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the Lease names `identity`, with looks 5 ms apart.
async fn led_by(fixture: &Fixture, identity: &str) -> Result<()> {
    let (api, deadline) = (fixture.leases(), Instant::now() + LIMIT);
    loop {
        let spec = api.get_opt("penstock-operator").await?.and_then(|lease| lease.spec);
        if spec.and_then(|spec| spec.holder_identity).as_deref() == Some(identity) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{identity} does not lead");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn round(fixture: &Fixture, program: &str, signal: Signal, number: usize) -> Result<String> {
    let (old, new) = (format!("{signal}-{number}-old"), format!("{signal}-{number}-new"));
    let mut leader = Operator::start(program, &fixture.kubeconfig(), &old)?;
    led_by(fixture, &old).await?;
    let mut standby = Operator::start(program, &fixture.kubeconfig(), &new)?;
    // It has seen the Lease once the leader has renewed it a few times after the start of the other.
    let renewals = async || Ok::<_, anyhow::Error>(fixture.led_by(&old).await?.renew_time);
    for _ in 0..2 {
        let before = renewals().await?;
        fixture.lease(|spec| spec.renew_time != before).await?;
    }
    let start = Instant::now();
    leader.signal(signal)?;
    let name = format!("s-{}-{number}", signal.as_str().to_lowercase());
    fixture.service(&name, json!({})).await?;
    led_by(fixture, &new).await?;
    let led = start.elapsed();
    fixture.eventually(&name, |service| !shown(service).is_empty()).await?;
    let served = start.elapsed();
    if signal == Signal::SIGSTOP {
        leader.signal(Signal::SIGCONT)?;
    }
    let status = leader.end().await?;
    standby.signal(Signal::SIGTERM)?;
    let last = standby.end().await?;
    ensure!(last.success(), "the standby ended with {last}");
    Ok(format!(
        "{signal} {number}: leads after {led:.2?}, Service served after {served:.2?}, old one: {status}"
    ))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let program = args.next().context("which operator? give the path of its program")?;
    let rounds: usize = args.next().map_or(Ok(3), |text| text.parse())?;
    let fixture = Fixture::start().await?;
    fixture.class("bare-metal", true).await?;
    fixture.pool("pool", &["203.0.113.0/24"]).await?;
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSTOP] {
        for number in 0..rounds {
            println!("{}", round(&fixture, &program, signal, number).await?);
        }
    }
    Ok(())
}
