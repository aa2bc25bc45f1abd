//! The dataplane's figures: penstock-node side by side with kube-proxy, one after the other on the same node of the same
//! lab, with the same objects on a real API server.
//!
//! | Module | What it is |
//! |---|---|
//! | [`size`], [`population`] | How many Services there are, and which, as values |
//! | [`objects`], [`ground`], [`endpoint`], [`inside`] | The objects, the lab, who answers, and work inside namespaces |
//! | [`subject`], [`generation`], [`quiet`] | Who is measured, when the kernel's rules changed, and a calm machine |
//! | [`event_to_rule`], [`cold_start`], [`change_to_packet`], [`connections`], [`idle`] | What is measured |
//! | [`cell`] | All of it for one subject at one size |
//! | [`goal`], [`markdown`], [`report`] | What was aimed at, and the tables |

pub mod cell;
pub mod change_to_packet;
pub mod cold_start;
pub mod connections;
pub mod endpoint;
pub mod event_to_rule;
pub mod generation;
pub mod goal;
pub mod ground;
pub mod idle;
pub mod inside;
pub mod markdown;
pub mod objects;
pub mod population;
pub mod quiet;
pub mod report;
pub mod size;
pub mod subject;

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Flags;
use crate::flows::program::Installed;
use crate::instance_lock::only_one;
use crate::interruption::interrupted;
use crate::packages;
use crate::progress::{say, step_async};
use crate::teardown;
use crate::tools::{self, Tools};
use crate::topology::Topology;

use cell::{Measure, Plan};
use connections::{Effort, Targets};
use ground::Ground;
use objects::Objects;
use report::Results;
use size::{Size, growing};
use subject::Subject;

/// The sizes of the goals.
const SIZES: [Size; 4] =
    [Size::new(1000, 5), Size::new(10_000, 5), Size::new(20_000, 5), Size::new(5000, 50)];

/// Small enough for a debug build.
const QUICK: [Size; 3] = [Size::new(400, 5), Size::new(800, 5), Size::new(100, 20)];

/// Flags that only the dataplane has.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Dataplane")]
pub struct DataplaneFlags {
    /// Whom to measure; may be repeated [default: all].
    #[arg(long = "subject", value_enum)]
    subjects: Vec<Subject>,
    /// Services and endpoints of each, such as 10000x5 or 5kx50; may be repeated [default: 1kx5, 10kx5, 20kx5, 5kx50].
    #[arg(long = "size")]
    sizes: Vec<Size>,
    /// What to measure; may be repeated [default: everything].
    #[arg(long = "only", value_enum)]
    measures: Vec<Measure>,
    /// For how many seconds endpoints are added and removed one at a time, at each size.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..))]
    change_seconds: u16,
    /// For how many seconds a start is waited for: kube-proxy in mode iptables takes minutes from 10,000 Services on.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(1..))]
    start_seconds: u16,
    /// How many seconds the idle minute has.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    idle_seconds: u16,
    /// The lab; two of the same name cannot be up at once.
    #[arg(long, default_value = "penstock-bench")]
    name: String,
}

impl DataplaneFlags {
    fn subjects(&self) -> &[Subject] {
        if self.subjects.is_empty() { &Subject::ALL } else { &self.subjects }
    }

    fn sizes(&self, quick: bool) -> &[Size] {
        match (self.sizes.as_slice(), quick) {
            ([], true) => &QUICK,
            ([], false) => &SIZES,
            (sizes, _) => sizes,
        }
    }
}

/// Refuses what cannot be measured before anything else takes minutes.
///
/// # Errors
/// One sentence about what is missing.
pub(super) fn check(flags: &DataplaneFlags) -> Result<()> {
    packages::ensure()?;
    Topology::new(&flags.name)?;
    flags.subjects().iter().try_for_each(|subject| subject.program().path().map(drop))
}

/// Measures and prints. The lab is removed whatever happens.
///
/// # Errors
/// When something cannot be measured; what was is printed all the same.
pub(super) async fn run(flags: &Flags) -> Result<()> {
    let topology = Topology::new(&flags.dataplane.name)?;
    let _lock = only_one(&topology)?;
    Tools::build()?;
    let mut results = Results::default();
    let outcome = tokio::select! {
        outcome = measure(flags, &topology, &mut results) => outcome,
        interrupted = interrupted() => interrupted,
    };
    let removed = teardown::down(&topology);
    print(flags, &results);
    outcome.and(removed)?;
    let failures: Vec<_> = results.cells.iter().flat_map(|cell| cell.failures.iter().cloned()).collect();
    ensure!(failures.is_empty(), "not everything could be measured:\n{}", failures.join("\n"));
    Ok(())
}

async fn measure(flags: &Flags, topology: &Topology, results: &mut Results) -> Result<()> {
    for sizes in growing(flags.dataplane.sizes(flags.quick)) {
        let ground = Ground::bring_up(topology).await?;
        on_ground(flags, &ground, &sizes, results).await?;
        teardown::down(topology)?;
    }
    Ok(())
}

/// All sizes that grow out of one another, and all subjects at each.
async fn on_ground(flags: &Flags, ground: &Ground, sizes: &[Size], results: &mut Results) -> Result<()> {
    let subjects = install(flags.dataplane.subjects(), ground).await?;
    results.direct.extend(direct(flags, ground).await?);
    let mut created = 0;
    for size in sizes.iter().copied() {
        let what = format!("create Services: {size}");
        step_async(what, create(ground, created..size.services, size, flags.creators.into())).await?;
        created = size.services;
        for (subject, installed) in &subjects {
            say(&format!("{size} {subject}"));
            let cell = cell::measure(ground, *subject, installed, &plan(flags, size)).await;
            results.cells.push(cell);
        }
        // No rules while the next Services are created.
        ground.clear().await?;
    }
    Ok(())
}

async fn install(subjects: &[Subject], ground: &Ground) -> Result<Vec<(Subject, Installed)>> {
    let mut installed = Vec::new();
    for subject in subjects {
        installed.push((*subject, subject.program().install(ground.lab(), subject.mode()).await?));
    }
    Ok(installed)
}

async fn create(ground: &Ground, numbers: std::ops::Range<usize>, size: Size, at_once: usize) -> Result<()> {
    let kubeconfig = ground.kubeconfig();
    inside::run(&ground.node(), move || async move {
        let objects = Objects::connect(&kubeconfig).await?;
        if numbers.start == 0 {
            objects.create_namespace().await?;
        }
        objects.create(numbers, size, at_once).await
    })
    .await
}

/// The floor of all connections: the same Pods without rules between them.
async fn direct(flags: &Flags, ground: &Ground) -> Result<Option<connections::Connections>> {
    let plan = plan(flags, Size::new(0, 0));
    if !plan.measures.contains(&Measure::Connections) {
        return Ok(None);
    }
    ground.clear().await?;
    let connections = cell::connect(ground, Targets::direct(), plan.effort);
    step_async("connections without Services", connections).await.map(Some)
}

/// What to measure at a size. Moves under load and the idle minute are at one size only.
fn plan(flags: &Flags, size: Size) -> Plan {
    use Measure::{ChangeToPacket, ColdStart, Connections, EventToRule, Idle};
    let DataplaneFlags { measures, change_seconds, idle_seconds, .. } = &flags.dataplane;
    let sizes = flags.dataplane.sizes(flags.quick);
    let main = if sizes.contains(&Size::new(10_000, 5)) {
        Some(Size::new(10_000, 5))
    } else {
        sizes.first().copied()
    };
    let wanted = |measure: &Measure| {
        (measures.is_empty() || measures.contains(measure))
            && (!matches!(measure, ChangeToPacket | Idle) || Some(size) == main)
    };
    let all = [ColdStart, Connections, EventToRule, ChangeToPacket, Idle];
    let seconds = |whole: u16, quick| Duration::from_secs(if flags.quick { quick } else { whole.into() });
    Plan {
        size,
        measures: all.into_iter().filter(wanted).collect(),
        patience: Duration::from_secs(flags.dataplane.start_seconds.into()),
        effort: Effort { runs: if flags.quick { 1 } else { flags.runs }, span: seconds(2, 1) },
        changes: seconds(*change_seconds, 6),
        packets: seconds(30, 5),
        idle: seconds(*idle_seconds, 5),
    }
}

fn print(flags: &Flags, results: &Results) {
    println!("\n`{}`\n\n{}", command(), super::machine());
    println!(
        "kube-proxy {} with its defaults (syncPeriod 30 s, minSyncPeriod 1 s); ours with its own.",
        tools::kube_proxy_version()
    );
    results.tables(&plan(flags, Size::new(0, 0))).iter().for_each(|table| print!("{table}"));
    if flags.quick {
        println!("\nWith --quick: shows that the benchmark works, not how fast anything is.");
    }
}

/// As it was called.
fn command() -> String {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    words.insert(0, "penstock-e2e".into());
    words.join(" ")
}
