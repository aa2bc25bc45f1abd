//! The operator's figures.

use std::time::Duration;

use anyhow::Result;

use super::Flags;
use super::scenario::{Outcome, Round, Sizes, Stage};
use super::spread::Spread;
use super::subject::POOL;
use super::table::{Row, Table};
use crate::progress::{say, step_async};
use crate::tools::MetalLb;

/// How long one address may take before something is wrong, and not only slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same for the peer, which after a restart looks at 20 Services a second before it comes to a new one.
const PEER_PATIENCE: Duration = Duration::from_secs(600);

/// One run of ours with its floor.
struct Run {
    floor: Vec<Round>,
    ours: Outcome,
}

/// Measures the operator and prints its tables.
///
/// # Errors
/// When something cannot be measured or a result is wrong.
pub(super) async fn run(flags: &Flags) -> Result<()> {
    let (runs, sizes) = plan(flags);
    let mut all = Vec::new();
    for number in 1..=runs {
        say(&format!("run {number} of {runs}"));
        let sizes = Sizes { idle: sizes.idle && number == runs, ..sizes };
        all.push(one_run(&sizes, flags.creators).await?);
    }
    let peer = match flags.without_peer {
        true => Ok(None),
        false => peer(&sizes, flags).await.map(Some),
    };
    // Also where the peer could not be measured: ours took minutes.
    print(&all, peer.as_ref().ok().and_then(Option::as_ref), &command(flags));
    peer.map(|_| ())
}

/// How often, and how much.
fn plan(flags: &Flags) -> (u16, Sizes) {
    let sizes = Sizes { small: 1000, restart: 2000, large: Some(5000), samples: 200, idle: true };
    match flags.quick {
        true => (1, Sizes { small: 100, restart: 200, large: Some(500), samples: 20, idle: false }),
        false => (flags.runs, sizes),
    }
}

async fn one_run(sizes: &Sizes, creators: u16) -> Result<Run> {
    let stage = step_async("start etcd and kube-apiserver", Stage::start(creators, PATIENCE)).await?;
    let floor = stage.floor(sizes).await?;
    let mut subject = stage.penstock().await?;
    say("penstock-operator");
    let ours = stage.run(&mut subject, sizes).await?;
    Ok(Run { floor, ours })
}

/// Its client sends 20 requests a second (controller-runtime's default), so that most of what ours goes through would
/// take minutes each.
async fn peer(sizes: &Sizes, flags: &Flags) -> Result<Outcome> {
    let short = Sizes { restart: sizes.small + sizes.samples, large: None, idle: false, ..*sizes };
    let sizes = if flags.whole_peer { Sizes { idle: false, ..*sizes } } else { short };
    let start = Stage::start(flags.creators, PEER_PATIENCE);
    let stage = step_async("start etcd and kube-apiserver", start).await?;
    let mut subject = stage.metallb().await?;
    say(&format!("MetalLB's controller {}", MetalLb::version()));
    stage.run(&mut subject, &sizes).await
}

fn command(flags: &Flags) -> String {
    let creators = flags.creators;
    let runs = if flags.quick { String::new() } else { format!(" --runs {}", flags.runs) };
    let switches = [
        (flags.quick, " --quick"),
        (flags.without_peer, " --without-peer"),
        (flags.whole_peer, " --whole-peer"),
    ];
    let switches: String = switches.iter().filter(|(given, _)| *given).map(|(_, switch)| *switch).collect();
    format!("penstock-e2e bench operator{runs} --creators {creators}{switches}")
}

fn print(runs: &[Run], peer: Option<&Outcome>, command: &str) {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let system = nix::sys::utsname::uname();
    let kernel = system.map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    println!("\n{command}\n  {processors} processors, kernel {kernel}; {} runs, pool {POOL}", runs.len());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "  load average at the end: {} (other work on the machine makes all figures worse)",
        load.trim()
    );
    let rounds = runs.first().map_or(0, |run| run.ours.rounds.len());
    for index in 0..rounds {
        println!("{}", round_table(runs, peer, index));
    }
    println!("{}", restart_table(runs, peer));
    notes(runs, peer);
}

fn peer_name(peer: Option<&Outcome>) -> String {
    peer.map(|_| format!("MetalLB {}", MetalLb::version())).unwrap_or_default()
}

fn round_table(runs: &[Run], peer: Option<&Outcome>, index: usize) -> Table {
    let services = runs.first().map_or(0, |run| run.ours.rounds[index].services);
    let mut table = Table::new(format!("{services} Services"), &peer_name(peer));
    let peer = peer.and_then(|peer| peer.rounds.get(index));
    let mut push = |what: &str, aim: Option<f64>, figure: &dyn Fn(&Round) -> f64| {
        table.push(&Row {
            floor: Some(runs.iter().map(|run| figure(&run.floor[index])).collect()),
            peer: peer.map(figure),
            aim,
            ..Row::new(what, runs.iter().map(|run| figure(&run.ours.rounds[index])).collect())
        });
    };
    let (tail, p99) = aims(services);
    push("all created, s", None, &|round| round.bulk.creation.as_secs_f64());
    push("last creation → last status, s", tail, &|round| round.bulk.tail.as_secs_f64());
    push("one more: median, ms", None, &|round| round.one.median());
    push("one more: p90, ms", None, &|round| round.one.percentile(90));
    push("one more: p99, ms", p99, &|round| round.one.percentile(99));
    push("one more: max, ms", None, &|round| round.one.max());
    let mut push = |what: &str, aim: Option<f64>, figure: &dyn Fn(&Round) -> Option<f64>| {
        let ours = runs.iter().filter_map(|run| figure(&run.ours.rounds[index])).collect();
        table.push(&Row { peer: peer.and_then(figure), aim, ..Row::new(what, ours) });
    };
    let memory = (services == 5000).then_some(40.0);
    push("resident memory, MiB", memory, &|round| Some(round.usage?.resident));
    push("resident memory at its peak, MiB", None, &|round| Some(round.usage?.peak));
    push("processor time for all at once, s", None, &|round| Some(round.cpu?.as_secs_f64()));
    table
}

/// The aims for the tail in seconds and for p99 in milliseconds.
fn aims(services: usize) -> (Option<f64>, Option<f64>) {
    match services {
        1000 => (Some(3.0), None),
        5000 => (Some(10.0), Some(30.0)),
        _ => (None, None),
    }
}

fn restart_table(runs: &[Run], peer: Option<&Outcome>) -> Table {
    let services = runs.first().map_or(0, |run| run.ours.restart.services);
    let of_peer = peer.map(|peer| format!(" (the peer: with {})", peer.restart.services)).unwrap_or_default();
    let mut table = Table::new(format!("Restart with {services} Services{of_peer}"), &peer_name(peer));
    let mut push = |what: &str, aim: Option<f64>, figure: &dyn Fn(&Outcome) -> Option<f64>| {
        let ours: Spread = runs.iter().filter_map(|run| figure(&run.ours)).collect();
        table.push(&Row { peer: peer.and_then(figure), aim, ..Row::new(what, ours) });
    };
    push("addresses changed", Some(0.0), &|_| Some(0.0));
    push("Services written to", Some(0.0), &|outcome| Some(outcome.restart.rewritten as f64));
    push("SIGTERM → its end, s", None, &|outcome| Some(outcome.restart.stopped.as_secs_f64()));
    push("start → ready, s", None, &|outcome| Some(outcome.restart.ready?.as_secs_f64()));
    push("start → a waiting Service has its address, s", None, &|outcome| {
        Some(outcome.restart.healed.as_secs_f64())
    });
    push("delete → all of them gone, s", None, &|outcome| Some(outcome.released.as_secs_f64()));
    push("resident memory of a process that finds all of the largest round, MiB", None, &|outcome| {
        Some(outcome.fresh?.resident)
    });
    table
}

/// What is no table.
fn notes(runs: &[Run], peer: Option<&Outcome>) {
    let Some(last) = runs.last() else { return };
    println!("\nThe API server's own count of writes");
    println!("  restart, with two new Services: {}", last.ours.restart.writes);
    if let Some(peer) = peer {
        println!("  the same of MetalLB:            {}", peer.restart.writes);
    }
    if let Some(idle) = &last.ours.idle {
        println!("  a minute with nothing to do:    {}", idle.writes);
        println!("    besides Leases: {} (aim: 0)", idle.writes.without_leases().total());
        let calls = idle.provider_calls.map_or("not counted by the operator".to_owned(), |n| n.to_string());
        println!("    provider calls: {calls} (aim: 0); processor time: {:.2} s", idle.cpu.as_secs_f64());
    }
}
