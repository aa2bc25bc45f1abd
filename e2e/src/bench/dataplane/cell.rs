//! One subject at one size: everything that is measured of it, and what failed.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::change_to_packet::{self, ChangeToPacket};
use super::cold_start::{self, ColdStart};
use super::connections::{self, Connections, Effort, Targets};
use super::event_to_rule::{self, EventToRule};
use super::ground::Ground;
use super::idle::{self, Idle};
use super::inside;
use super::size::Size;
use super::subject::{Running, Subject};
use crate::bench::spread::Spread;
use crate::flows::program::Installed;
use crate::progress::{say, step_async};

/// Starts are not repeated when they took so long.
const STARTS: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// One endpoint more or less, until it is a rule.
    EventToRule,
    /// From nothing to all rules.
    ColdStart,
    /// A moved endpoint, until a packet meets it, while others change.
    ChangeToPacket,
    /// First packets, throughput, connections in a second.
    Connections,
    /// Memory, and what is done in a minute without changes.
    Idle,
}

/// What to measure at one size.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which size.
    pub size: Size,
    /// What.
    pub measures: Vec<Measure>,
    /// How long a start may take.
    pub patience: Duration,
    /// How many starts, and how often connections are measured for how long.
    pub effort: Effort,
    /// How long endpoints are added and removed.
    pub changes: Duration,
    /// How long endpoints change all the time.
    pub packets: Duration,
    /// How long nothing happens.
    pub idle: Duration,
}

/// What came of one subject at one size. What was not asked for or failed is not there.
#[derive(Debug)]
pub struct Cell {
    /// Which size.
    pub size: Size,
    /// Who.
    pub subject: Subject,
    /// Starts.
    pub starts: Vec<ColdStart>,
    /// One endpoint more or less.
    pub changes: Option<EventToRule>,
    /// Moves under load.
    pub packets: Option<ChangeToPacket>,
    /// Connections.
    pub connections: Option<Connections>,
    /// The idle minute.
    pub idle: Option<Idle>,
    /// One sentence each.
    pub failures: Vec<String>,
}

/// Measures one subject at one size. Failures are in the result, so that hours of others are not lost.
pub async fn measure(ground: &Ground, subject: Subject, installed: &Installed, plan: &Plan) -> Cell {
    let Plan { size, effort, .. } = *plan;
    let mut cell = Cell {
        size,
        subject,
        starts: Vec::new(),
        changes: None,
        packets: None,
        connections: None,
        idle: None,
        failures: Vec::new(),
    };
    let Some(running) = cell.starts(ground, installed, plan).await else { return cell };
    let (ground, running) = (ground, &running);
    if plan.measures.contains(&Measure::Connections) {
        let connections = connect(ground, Targets::services(size), effort);
        cell.connections = cell.keep("connections", connections, brief_connections).await;
    }
    if plan.measures.contains(&Measure::EventToRule) {
        let changes = event_to_rule::measure(ground, running, subject, size, plan.changes);
        cell.changes = cell.keep("event to rule", changes, |changes| brief(&changes.from_event)).await;
    }
    if plan.measures.contains(&Measure::ChangeToPacket) {
        let packets = change_to_packet::measure(ground, running, size, plan.packets);
        cell.packets = cell.keep("change to packet", packets, |packets| brief(&packets.times)).await;
    }
    if plan.measures.contains(&Measure::Idle) {
        cell.idle =
            cell.keep("idle", idle::measure(ground, running, plan.idle), |idle| format!("{idle:?}")).await;
    }
    cell
}

/// Connections from the client's namespace.
///
/// # Errors
/// As [`connections::measure`].
pub async fn connect(ground: &Ground, targets: Targets, effort: Effort) -> Result<Connections> {
    inside::run_blocking(&ground.client(), move || connections::measure(&targets, effort)).await
}

fn brief(times: &Spread) -> String {
    format!("{} times, median {:.2} ms, p99 {:.2} ms", times.count(), times.median(), times.percentile(99))
}

fn brief_connections(all: &Connections) -> String {
    let [connect, stream, rate] = [&all.median, &all.throughput, &all.rate].map(Spread::median);
    format!("connect {connect:.0} µs, {stream:.1} Gbit/s, {rate:.0} connections/s")
}

impl Cell {
    /// Says at once what came of it: who waits, or ends this, knows something.
    async fn keep<T>(
        &mut self,
        what: &str,
        work: impl Future<Output = Result<T>>,
        brief: impl Fn(&T) -> String,
    ) -> Option<T> {
        let what = format!("{} {}: {what}", self.size, self.subject);
        match step_async(what.clone(), work).await {
            Ok(value) => {
                say(&format!("  {}", brief(&value)));
                Some(value)
            }
            Err(error) => {
                say(&format!("{what} FAILED: {error:#}"));
                self.failures.push(format!("{what}: {error:#}"));
                None
            }
        }
    }

    /// Starts it on cleared ground, several times where that is measured; the last one stays.
    async fn starts(&mut self, ground: &Ground, installed: &Installed, plan: &Plan) -> Option<Running> {
        let wanted = plan.measures.contains(&Measure::ColdStart);
        let runs = if wanted { plan.effort.runs } else { 1 };
        let begin = Instant::now();
        let mut last = None;
        for _ in 0..runs {
            if last.is_some() && begin.elapsed() > STARTS {
                break;
            }
            // Its process ends before its rules are removed.
            drop(last.take());
            let start = async {
                if !ground.clear().await? {
                    say("the machine does not calm down; figures are worse than they have to be");
                }
                cold_start::measure(ground, installed, plan.size, plan.patience).await
            };
            let (running, start) = self.keep("start", start, |(_, start)| format!("{start:?}")).await?;
            self.starts.extend(wanted.then_some(start));
            last = Some(running);
        }
        last
    }
}
