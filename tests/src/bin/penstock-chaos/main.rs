//! `make chaos`: the operator under faults at every step, and under random changes.
//!
//! Some stories need a balancer outside the cluster, an appliance's or a cloud's: for them a proxy stands before the
//! provider's endpoint too.
//!
//! The sweep plays every scenario once without faults and records its mutating calls, the events of its watches and its
//! end state. Then it plays it again for every call and every fault, and for every event, and compares. The seeds
//! change objects at random under random faults. Events are calls too, and count as writes; but losing one is no
//! difference of the end state, and a crash at one is a crash after the write before it: only the seeds make them fail.

mod appliance;
mod aws;
mod change;
mod cloud;
mod cloud_stories;
mod digitalocean;
mod end_state;
mod hetzner;
mod invariants;
mod lab;
mod outside;
mod report;
mod run;
mod scenario;
mod seed;
mod supervisor;
mod sweep;
mod user;
mod work;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use work::Work;

/// Plays scenarios against a real API server through a proxy that makes one call after the other go wrong.
#[derive(Debug, Parser)]
pub(crate) struct Flags {
    /// Only these scenarios, and no seeds.
    #[arg(long)]
    scenario: Vec<String>,

    /// Only the run of this name (SCENARIO/CALL/FAULT), as it was printed.
    #[arg(long)]
    only: Option<String>,

    /// How many random seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,

    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,

    /// Only the seeds.
    #[arg(long)]
    no_sweep: bool,

    /// Only faults of the calls to what is outside the cluster, and no seeds.
    #[arg(long)]
    provider: bool,

    /// Seconds without any write after which a run is at rest.
    #[arg(long, env = "QUIET", default_value_t = 60)]
    quiet: u64,

    /// Runs at the same time. Each has an API server of its own: about 400 MB.
    #[arg(long, env = "WORKERS", default_value_t = 6)]
    workers: usize,

    /// The operator's program [default: the one beside this one].
    #[arg(long)]
    operator: Option<PathBuf>,
}

impl Flags {
    fn quiet(&self) -> Duration {
        Duration::from_secs(self.quiet)
    }

    /// Whether this scenario is swept.
    fn wants(&self, scenario: &str) -> bool {
        let named = self.only.as_deref().map(|run| run.split('/').next().unwrap_or_default());
        self.seed.is_none()
            && !self.no_sweep
            && named.is_none_or(|name| name == scenario)
            && (self.scenario.is_empty() || self.scenario.iter().any(|name| name == scenario))
    }

    /// The seeds to play.
    fn seeds(&self) -> Vec<u64> {
        match self.seed {
            Some(seed) => vec![seed],
            None if self.only.is_some() || self.provider || !self.scenario.is_empty() => Vec::new(),
            None => (1..=self.seeds).collect(),
        }
    }

    fn operator(&self) -> Result<PathBuf> {
        let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("penstock-operator"));
        let path = self.operator.clone().map_or_else(beside, Ok).context("find the operator")?;
        ensure!(
            path.exists(),
            "{} does not exist: run cargo build -p penstock-operator, or name it with --operator",
            path.display()
        );
        Ok(path)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match execute(Flags::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("penstock-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Dropping the work ends every process that it started, and removes its files.
async fn execute(flags: Flags) -> Result<bool> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let work = Work::new(flags)?;
    tokio::select! {
        outcome = work.run() => outcome,
        _ = term.recv() => anyhow::bail!("stopped by SIGTERM"),
        _ = interrupt.recv() => anyhow::bail!("stopped by SIGINT"),
    }
}
