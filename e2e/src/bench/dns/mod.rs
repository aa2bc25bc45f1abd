//! penstock-dns beside CoreDNS: the same objects, the same questions, one processor each, in turns.

mod dnsperf;
mod population;
mod probe;
mod server;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::resources::Usage;
use super::spread::Spread;
use super::table::number;
use super::{Flags, machine};
use crate::control_plane::ControlPlane;
use crate::dns_oracle::object::{Object, carry_out};
use crate::dns_oracle::servers::Programs;
use crate::namespace::Namespace;
use crate::packages;
use crate::process::Ledger;
use crate::progress::step_async;
use crate::tools::Tools;
use population::Size;
use server::{Site, Subject};

/// How many questions dnsperf goes through, again and again.
const QUESTIONS: usize = 50_000;
/// How many Services are made while a server is watched.
const CHANGES: usize = 50;

/// What one run of one server came to.
struct Run {
    subject: Subject,
    /// Seconds from its start until it answers the Service that was made last.
    sync: f64,
    per_second: f64,
    /// µs.
    latency: Spread,
    /// ms.
    change: Spread,
    /// MiB, after all of it.
    resident: f64,
}

/// Measures both and prints a table.
///
/// # Errors
/// When a server cannot be measured.
pub(super) async fn run(flags: &Flags) -> Result<()> {
    packages::ensure_for_dns_bench()?;
    Tools::build()?;
    let (programs, namespace) = (Programs::find()?, Namespace::new()?);
    let size = match flags.quick {
        true => Size { services: 1000, endpoints: 10 },
        false => Size { services: 10_000, endpoints: 10 },
    };
    let runs = if flags.quick { 1 } else { flags.runs };
    let work = || {
        let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
        runtime.block_on(measure(&programs, size, runs))
    };
    let measured = tokio::task::block_in_place(|| namespace.inside(work))??;
    println!("{}", table(size, &measured));
    println!("{}", machine());
    Ok(())
}

async fn measure(programs: &Programs, size: Size, runs: u16) -> Result<Vec<Run>> {
    let dir = tempfile::tempdir().context("make a directory for the servers")?;
    let start = ControlPlane::start_on_loopback(dir.path());
    let control_plane = step_async("start etcd and kube-apiserver", start).await?;
    let client = control_plane.client().await?;
    let what = format!("create {} Services with {} endpoints each", size.services, size.endpoints);
    step_async(what, create(&client, size)).await?;
    let questions = dir.path().join("questions");
    std::fs::write(&questions, population::questions(size, QUESTIONS, 1)).context("write the questions")?;
    let ledger = Ledger::open(dir.path().join("servers"))?;
    let kubeconfig = control_plane.kubeconfig();
    let site = Site { programs, ledger: &ledger, dir: dir.path(), kubeconfig };
    let mut all = Vec::new();
    for number in 0..runs {
        for subject in Subject::ALL {
            let one = one_run(&site, &client, subject, number, size, &questions);
            all.push(step_async(format!("measure {subject:?}, run {}", number + 1), one).await?);
        }
    }
    Ok(all)
}

async fn create(client: &kube::Client, size: Size) -> Result<()> {
    let (namespaces, objects) = (population::namespaces(), population::objects(size));
    carry_out(client, &[], &namespaces.iter().collect::<Vec<&Object>>()).await?;
    carry_out(client, &[], &objects.iter().collect::<Vec<&Object>>()).await
}

async fn one_run(
    site: &Site<'_>,
    client: &kube::Client,
    subject: Subject,
    number: u16,
    size: Size,
    questions: &Path,
) -> Result<Run> {
    let (since, server) = (Instant::now(), subject.address());
    let process = subject.start(site, number)?;
    let sync = probe::until_answered(server, &population::name(size.services - 1), since).await?;
    let per_second = dnsperf::throughput(server, questions).await?;
    let latency = dnsperf::latency(server, questions).await?;
    let change = probe::changes(client, server, size.services, CHANGES).await?;
    process.check()?;
    let resident = Usage::of(process.pid())?.resident;
    process.kill()?;
    Ok(Run { subject, sync, per_second, latency, change, resident })
}

/// A figure of each server over the runs, ours first, and their ratio.
fn row(text: &mut String, what: &str, aim: &str, runs: &[Run], figure: impl Fn(&Run) -> f64) {
    let of = |subject| -> Spread { runs.iter().filter(|run| run.subject == subject).map(&figure).collect() };
    let shown = |spread: &Spread| {
        format!("{} ({}–{})", number(spread.median()), number(spread.min()), number(spread.max()))
    };
    let (ours, theirs) = (of(Subject::Penstock), of(Subject::CoreDns));
    let ratio = ours.median() / theirs.median();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| {what} | {} | {} | {ratio:.2} | {aim} |", shown(&ours), shown(&theirs));
}

fn table(size: Size, runs: &[Run]) -> String {
    let Size { services, endpoints } = size;
    let mut text = format!(
        "{services} Services with {endpoints} endpoints each; medians and min–max of {} runs\n\n\
         | | penstock-dns | CoreDNS v1.15.0 | ratio | Aim |\n|---|---|---|---|---|\n",
        runs.len() / Subject::ALL.len()
    );
    row(&mut text, "answers a second", "≥ 1.5", runs, |run| run.per_second);
    row(&mut text, "an answer, µs: median", "", runs, |run| run.latency.median());
    row(&mut text, "an answer, µs: p99", "≤ 1", runs, |run| run.latency.percentile(99));
    row(&mut text, "resident memory, MiB", "≤ 0.5", runs, |run| run.resident);
    row(&mut text, "from its start to answers of everything, s", "≤ 5 s", runs, |run| run.sync);
    row(&mut text, "change to answer, ms: median", "", runs, |run| run.change.median());
    row(&mut text, "change to answer, ms: p99", "≤ 100 ms", runs, |run| run.change.percentile(99));
    text
}
