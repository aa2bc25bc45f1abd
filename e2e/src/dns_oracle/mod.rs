//! `make dns-oracle`: CoreDNS and penstock-dns follow one API server, are asked the same, and have to answer the same.
//!
//! | Module | What it is |
//! |---|---|
//! | [`population`], [`slices`], [`object`] | A busy cluster's objects, generated, and how they change |
//! | [`names`], [`packet`], [`question`] | What is asked, generated, and its octets |
//! | [`answer`], [`known`], [`report`] | What has to be the same, what is known to differ, and what came of all |
//! | [`servers`], [`exchange`], [`round`] | The processes, the packets, and one look at both |
//!
//! All of it runs in a network namespace of its own, with an address besides loopback: CoreDNS finds the Service that it
//! is behind by such an address.

pub mod answer;
pub mod exchange;
pub mod known;
pub mod names;
pub mod object;
pub mod packet;
pub mod population;
pub mod question;
pub mod report;
pub mod round;
pub mod servers;
pub mod slices;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;

use crate::control_plane::ControlPlane;
use crate::namespace::Namespace;
use crate::packages;
use crate::process::Ledger;
use crate::progress::step_async;
use crate::tools::Tools;

use known::Case;
use object::Objects;
use population::{OWN_ADDRESS, Population};
use question::Setting;
use report::Report;
use round::{Asked, Round};
use servers::{Pair, Programs, start_others};

/// Flags of `penstock-e2e dns-oracle`.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// How many questions in all.
    #[arg(long, default_value_t = 20_000)]
    queries: usize,
    /// What objects and questions follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many Services there are.
    #[arg(long, default_value_t = 300)]
    services: usize,
    /// How often the objects change.
    #[arg(long, default_value_t = 4)]
    changes: u64,
    /// How many differences that nothing explains are shown.
    #[arg(long, default_value_t = 20)]
    show: usize,
}

/// Asks both, prints what differs, and returns whether all of it is known.
///
/// # Errors
/// When a server does not come up or ends.
pub fn run(flags: &Flags) -> Result<bool> {
    ensure!((20..=2000).contains(&flags.services), "--services is {}: write 20 to 2000", flags.services);
    packages::ensure_root()?;
    // Everything that takes minutes once, while there is a way out.
    Tools::build()?;
    let programs = Programs::find()?;
    let namespace = Namespace::new()?;
    namespace.ip(&format!("address add {OWN_ADDRESS}/32 dev lo"))?;
    let report = namespace.inside(|| {
        let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
        runtime.block_on(all_rounds(flags, &programs))
    })??;
    print!("{}", report.differences(flags.show));
    println!("seed {}\n{}", flags.seed, report.summary());
    Ok(report.is_good())
}

fn settings() -> [Setting; 3] {
    [
        Setting { domains: vec!["cluster.local"], pods: "disabled" },
        Setting { domains: vec!["cluster.local", "alt.example"], pods: "insecure" },
        Setting { domains: vec!["k8s.corp.test"], pods: "verified" },
    ]
}

async fn all_rounds(flags: &Flags, programs: &Programs) -> Result<Report> {
    let dir = tempfile::tempdir().context("make a directory for the servers")?;
    let control_plane =
        step_async("start etcd and kube-apiserver", ControlPlane::start_on_loopback(dir.path())).await?;
    let client = control_plane.client().await?;
    let ledger = Ledger::open(dir.path().join("servers"))?;
    let mut objects = Population::new(flags.seed, 0, flags.services).objects;
    step_async("create the first objects", round::change(&client, &Objects::new(), &objects, true)).await?;
    let _others = start_others(programs, &ledger, dir.path()).await?;
    let mut pairs = Vec::new();
    for (number, setting) in (0..).zip(settings()) {
        let kubeconfig = control_plane.kubeconfig();
        pairs.push(Pair::start(programs, &ledger, dir.path(), &kubeconfig, setting, number).await?);
    }
    let mut report = Report::default();
    let parts = (flags.changes as usize + 1) * pairs.len();
    for number in 0..=flags.changes {
        let population = Population::new(flags.seed, number, flags.services);
        if number > 0 {
            let change = round::change(&client, &objects, &population.objects, false);
            step_async(format!("change objects, round {number}"), change).await?;
        }
        let round = Round { seed: flags.seed, number, population: &population };
        round.until_seen(&client, &pairs).await?;
        let share = flags.queries.div_ceil(parts);
        let all = try_join_all(pairs.iter().map(|pair| round.ask(pair, share)));
        let all = step_async(format!("ask {share} questions of each of {}", pairs.len()), all).await?;
        for (pair, asked) in pairs.iter().zip(&all) {
            count(pair, number, asked, &mut report);
            pair.check()?;
        }
        control_plane.check()?;
        objects = population.objects;
    }
    Ok(report)
}

fn count(pair: &Pair, number: u64, all: &[Asked], report: &mut Report) {
    for Asked { question, ours, theirs } in all {
        let case = Case { question, setting: &pair.setting, ours, theirs };
        report.add(&case, &format!("round {number}"));
    }
}
