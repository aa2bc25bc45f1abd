//! `make flows`: one [table] of packet flows, with real packets in network namespaces, against penstock-node and against
//! kube-proxy, which says what is right.
//!
//! | Module | What it is |
//! |---|---|
//! | [`place`], [`frontend`] | Who takes part, and the addresses of Services, as values |
//! | [`service`], [`flow`], [`table`] | What a Service is, what is sent to it, and every case |
//! | [`judgement`], [`known`], [`report`] | What has to come of a flow, what is known not to, and what came of all |
//! | [`network`], [`echo`], [`objects`], [`lab`] | Pods, servers and objects, for real |
//! | [`program`], [`passes`], [`probe`] | Who forwards, when it has, and the packets |
//! | [`schedulers`], [`mode_change`] | Beside the table: what only IPVS has, and from it to another mode and back |

pub mod echo;
pub mod flow;
pub mod frontend;
pub mod judgement;
pub mod known;
pub mod lab;
pub mod mode_change;
pub mod network;
pub mod objects;
pub mod passes;
pub mod place;
pub mod probe;
pub mod program;
pub mod report;
pub mod schedulers;
pub mod service;
pub mod table;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum as _;

use crate::instance_lock::only_one;
use crate::interruption::interrupted;
use crate::packages;
use crate::process::Process;
use crate::progress::{say, step_async};
use crate::teardown;
use crate::tools::Tools;
use crate::topology::Topology;
use crate::uml::{self, Kernel, Order};
use crate::wait::{Look, until};

use flow::{Numbered, Row, numbered};
use frontend::Addresses;
use judgement::Outcome;
use known::Known;
use lab::Lab;
use program::{Means, Mode, Program, Variant};
use report::{Report, Run};

/// How long a program may take to forward what it was told. It bounds the wait for a broken one.
const PROGRAMMED: Duration = Duration::from_secs(180);

/// The same for kube-proxy with IPVS, which starts some six thousand programs for the table in a user-mode Linux.
const PROGRAMMED_SLOWLY: Duration = Duration::from_secs(30 * 60);

/// How long a run in a user-mode Linux may take in all, programs of both kinds included.
const INSIDE: Duration = Duration::from_secs(75 * 60);

/// The places of the canaries, behind all cases.
const CANARIES: [Addresses; 2] = [Addresses(250), Addresses(251)];

/// Which programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// penstock-node, from the directory of this program.
    Penstock,
    /// kube-proxy of the cluster's Kubernetes.
    KubeProxy,
    /// One after the other, each in a lab of its own.
    Both,
}

/// Flags of `penstock-e2e flows`.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Who forwards: both, and with mode ipvs penstock alone, unless this says otherwise: kube-proxy is slow there.
    #[arg(long, value_enum)]
    proxy: Option<Subject>,
    /// With what.
    #[arg(long, value_enum, default_value_t = Mode::Nftables)]
    mode: Mode,
    /// Which iptables penstock-node uses with mode iptables; without this the one that the machine has by that name.
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// Only rows with this in their names; * stands for any text.
    #[arg(long)]
    only: Option<String>,
    /// With mode ipvs: no row, and only what is looked at beside the table, a change of mode and back too.
    #[arg(long, conflicts_with = "only")]
    checks: bool,
    /// Print the rows that are known not to hold too.
    #[arg(long)]
    show_known: bool,
    /// Print the rows and do nothing else.
    #[arg(long)]
    list: bool,
    /// The lab; two of the same name cannot be up at once.
    #[arg(long, default_value = "penstock-flows")]
    name: String,
}

/// Runs the table, prints what does not hold, and takes everything down. Returns whether all is as it has to be.
///
/// # Errors
/// When the lab does not come up, or a program does not forward at all.
pub async fn run(flags: &Flags) -> Result<bool> {
    let cases = if flags.checks { Vec::new() } else { selection(flags.only.as_deref())? };
    let rows: Vec<Row> = cases.iter().flat_map(|numbered| numbered.case.rows(numbered.addresses)).collect();
    ensure!(flags.checks || !rows.is_empty(), "no row has {:?} in its name; --list shows all", flags.only);
    if flags.list {
        rows.iter().for_each(|row| println!("{}  {:?}  {}", row.name, row.to, row.flow.expect));
        return Ok(true);
    }
    packages::ensure()?;
    if flags.mode == Mode::Ipvs && !uml::has_ipvs() {
        return inside(flags);
    }
    let topology = Topology::new(&flags.name)?;
    let _lock = only_one(&topology)?;
    let outcome = tokio::select! {
        outcome = all_runs(flags, &topology, &cases, &rows) => outcome,
        interrupted = interrupted() => interrupted,
    };
    // Also after a failure: what went wrong is in the message.
    let removed = teardown::down(&topology);
    let runs = outcome?;
    removed?;
    let known = Known::list()?;
    let report = Report { mode: flags.mode, rows: &rows, runs: &runs, known: &known };
    for run in &runs {
        print!("{}", report.failures(run, flags.show_known));
    }
    print!("{}", report.differences());
    println!("{}", report.summary());
    Ok(report.is_good())
}

/// The same in a kernel that has IPVS. What has to be built is built before, out here.
fn inside(flags: &Flags) -> Result<bool> {
    let topology = Topology::new(&flags.name)?;
    let _lock = only_one(&topology)?;
    Tools::build()?;
    flags.programs().iter().try_for_each(|program| program.path().map(|_| ()))?;
    let kernel = Kernel::build()?;
    let order = Order::new(&flags.name, flags.args())?;
    Ok(uml::boot(&kernel, &order, INSIDE)? == 0)
}

impl Flags {
    /// With IPVS kube-proxy needs a quarter of an hour for the table in a user-mode Linux.
    fn subject(&self) -> Subject {
        let usual = if self.mode == Mode::Ipvs { Subject::Penstock } else { Subject::Both };
        self.proxy.unwrap_or(usual)
    }

    fn programs(&self) -> &'static [Program] {
        match self.subject() {
            Subject::Penstock => &[Program::PenstockNode],
            Subject::KubeProxy => &[Program::KubeProxy],
            Subject::Both => &[Program::PenstockNode, Program::KubeProxy],
        }
    }

    /// As arguments of this program.
    fn args(&self) -> Vec<String> {
        let proxy = self.subject().to_possible_value();
        let mut args = vec![
            "flows".to_owned(),
            format!("--mode={}", self.mode),
            format!("--name={}-inside", self.name),
            format!("--proxy={}", proxy.map(|value| value.get_name().to_owned()).unwrap_or_default()),
        ];
        args.extend(self.only.iter().map(|only| format!("--only={only}")));
        args.extend(self.checks.then(|| "--checks".to_owned()));
        args.extend(self.show_known.then(|| "--show-known".to_owned()));
        args
    }
}

/// The cases with the rows that are wanted.
fn selection(only: Option<&str>) -> Result<Vec<Numbered>> {
    let pattern = format!("*{}*", only.unwrap_or_default());
    let mut cases = numbered(table::table())?;
    for Numbered { addresses, case } in &mut cases {
        let rows = case.rows(*addresses);
        let mut names = rows.iter().map(|row| known::matches(&pattern, &row.name));
        case.flows.retain(|_| names.next().unwrap_or_default());
    }
    cases.retain(|numbered| !numbered.case.flows.is_empty());
    Ok(cases)
}

async fn all_runs(flags: &Flags, topology: &Topology, cases: &[Numbered], rows: &[Row]) -> Result<Vec<Run>> {
    let programs = flags.programs();
    // Everything that takes minutes once, before anything is up.
    Tools::build()?;
    programs.iter().try_for_each(|program| program.path().map(|_| ()))?;
    let mut runs = Vec::new();
    for program in programs {
        let run = one_run(*program, flags, topology, cases, rows).await;
        runs.push(run.with_context(|| format!("{program} ({})", flags.mode))?);
        teardown::down(topology)?;
    }
    Ok(runs)
}

/// The table against one program, in a lab of its own: nothing of another one's rules or connections is there.
async fn one_run(
    program: Program,
    flags: &Flags,
    topology: &Topology,
    cases: &[Numbered],
    rows: &[Row],
) -> Result<Run> {
    let lab = Lab::bring_up(topology).await?;
    let client = &lab.foundation.client;
    let means = Means { mode: flags.mode, variant: flags.variant };
    let mut processes = program.start(&lab, means).await?;
    let [first, last] = CANARIES.map(|addresses| Numbered { addresses, case: table::canary() });
    let slow = program == Program::KubeProxy && flags.mode == Mode::Ipvs;
    let limit = if slow { PROGRAMMED_SLOWLY } else { PROGRAMMED };
    step_async(format!("start {program}"), programmed(&lab, &first, &processes, limit)).await?;
    // Now that it runs it has to notice them. kube-proxy may miss those that are there when it starts: it has its node
    // watched before it listens to what the watch says (1.36.3, cmd/kube-proxy/app/server.go, NodeTopologyConfig).
    objects::label_zones(client).await?;
    step_async(format!("create the objects of {} cases", cases.len()), objects::create_cases(client, cases))
        .await?;
    step_async("wait until they are programmed", async {
        programmed(&lab, &last, &processes, limit).await?;
        if slow { passes::one_more(topology, &processes, limit).await } else { Ok(()) }
    })
    .await?;
    let probed = step_async(format!("send packets for {} flows", rows.len()), async {
        probe::probe_all(topology, Arc::new(rows.to_vec())).await
    });
    let verdicts = probed.await?;
    // They belong to the whole: who asks for some rows does not wait for them.
    let schedulers = program == Program::PenstockNode && flags.mode == Mode::Ipvs && flags.only.is_none();
    let mut checks = Vec::new();
    if schedulers {
        checks.extend(step_async("look at each scheduler", schedulers::checks(&lab)).await?);
    }
    // With the Services of all rows it takes a user-mode Linux longer than all else together.
    if schedulers && flags.checks {
        let changed = mode_change::checks(&lab, &mut processes);
        checks.extend(step_async("change the mode of a node and change it back", changed).await?);
    }
    processes.iter().try_for_each(Process::check)?;
    Ok(Run { program, verdicts, checks })
}

/// Creates a canary and waits until it answers on every node and frontend: then all that was created before it does too.
async fn programmed(lab: &Lab, canary: &Numbered, processes: &[Process], limit: Duration) -> Result<()> {
    objects::create_cases(&lab.foundation.client, std::slice::from_ref(canary)).await?;
    let topology = lab.cluster.topology();
    let rows = Arc::new(canary.case.rows(canary.addresses));
    until("an answer of the canary on every node", limit, || async {
        processes.iter().try_for_each(Process::check)?;
        let outcomes = probe::attempt_all(topology, rows.clone()).await?;
        let silent = rows.iter().zip(&outcomes).find(|(_, outcome)| !matches!(outcome, Outcome::Answered(_)));
        Ok(match silent {
            None => Look::Ready(()),
            Some((row, outcome)) => Look::NotYet(format!("{}: {outcome}", row.name)),
        })
    })
    .await
    .map_err(|error| {
        let tails: String = processes
            .iter()
            .map(|process| format!("\n{}:\n{}", process.name(), process.log_tail()))
            .collect();
        say("the canary does not answer");
        anyhow!("{error:#}{tails}")
    })
}
