//! `make conformance`: Kubernetes' own tests of Services, from outside a cluster of real kubelets, with penstock-node or
//! kube-proxy as its service proxy, and penstock-dns or CoreDNS as its DNS.
//!
//! | Module | What it is |
//! |---|---|
//! | [`suite`], [`report`] | Which tests, how they are run, and what came of them |
//! | [`record`], [`judgement`] | What came of them before, and what has to |
//! | [`proxy`], [`dns`], [`images`] | What the cluster gets besides: who forwards, names, and the tests' images |

pub mod dns;
pub mod images;
pub mod judgement;
pub mod proxy;
pub mod record;
pub mod report;
pub mod suite;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;

use crate::cluster::Cluster;
use crate::flows::program::Mode;
use crate::instance_lock::only_one;
use crate::interruption::interrupted;
use crate::netns;
use crate::packages;
use crate::progress::{say, step_async};
use crate::startup;
use crate::teardown;
use crate::tools::{E2eTest, cache_dir};
use crate::topology::{CLIENT, EXTERNAL_HOST, Place, SEGMENT_PREFIX, Topology};

use dns::Dns;
use images::TestImages;
use judgement::{Recorded, faults, surprises};
use proxy::Proxy;
use record::{Part, Record};
use report::{Outcome, Verdict};
use suite::{Group, Suite};

/// Flags of `penstock-e2e conformance`.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Who makes Services work.
    #[arg(long, value_enum, default_value_t = Proxy::Penstock)]
    proxy: Proxy,
    /// With what.
    #[arg(long, value_enum, default_value_t = Mode::Nftables)]
    mode: Mode,
    /// Who answers names [default: penstock with penstock, coredns with kube-proxy]
    #[arg(long, value_enum)]
    dns: Option<Dns>,
    /// Which tests; may be given more than once. Without it all groups.
    #[arg(long = "group", value_enum)]
    groups: Vec<Group>,
    /// Of these only tests whose names this regular expression (Go's) finds.
    #[arg(long)]
    focus: Option<String>,
    /// How many tests run at a time.
    #[arg(long, default_value_t = 4)]
    procs: u8,
    /// Write what came of the tests into the committed list of this proxy.
    #[arg(long)]
    record: bool,
    /// The cluster; two of the same name cannot be up at once.
    #[arg(long, default_value = "penstock-conformance")]
    name: String,
}

impl Flags {
    fn dns(&self) -> Dns {
        self.dns.unwrap_or(Dns::beside(self.proxy))
    }

    /// The lists are those of each proxy with its own DNS.
    fn check(&self) -> Result<()> {
        let (dns, proxy) = (Dns::beside(self.proxy), self.proxy);
        ensure!(
            !self.record || self.dns() == dns,
            "what is recorded of {proxy} is with --dns {dns}; leave one of the two flags out"
        );
        Ok(())
    }
}

/// What came of a group.
struct Run {
    group: Group,
    verdicts: Vec<Verdict>,
}

/// Runs the tests, prints what came of them, and takes the cluster down. Returns whether all is as it has to be.
///
/// # Errors
/// When the cluster does not come up, or the tests do not run at all.
pub async fn run(flags: &Flags) -> Result<bool> {
    flags.check()?;
    packages::ensure()?;
    let topology = Topology::new(&flags.name)?;
    let _lock = only_one(&topology)?;
    let results = cache_dir()?.join("conformance").join(format!(
        "{topology}-{}-{}-{}",
        flags.proxy,
        flags.mode,
        flags.dns()
    ));
    fs::create_dir_all(&results).with_context(|| format!("make {}", results.display()))?;
    let outcome = tokio::select! {
        outcome = on_a_cluster(flags, &topology, &results) => outcome,
        interrupted = interrupted() => interrupted,
    };
    // Also after a failure: what went wrong is in the message.
    let removed = teardown::down(&topology);
    let runs = outcome?;
    removed?;
    if flags.record {
        write_record(flags, &runs)?;
    }
    judge(flags, &runs)
}

async fn on_a_cluster(flags: &Flags, topology: &Topology, results: &Path) -> Result<Vec<Run>> {
    // Everything that takes minutes once, before anything is up.
    let (proxy, mode) = (flags.proxy, flags.mode);
    let made = tokio::task::spawn_blocking(move || {
        proxy.prepare(mode)?;
        let suite = E2eTest::build()?;
        let images = TestImages::build(&suite)?;
        anyhow::Ok((suite, images))
    });
    let (program, images) = made.await.context("wait for the tests' programs")??;
    // What an earlier run left may have another proxy's rules.
    if !teardown::leftovers(topology)?.is_empty() {
        teardown::down(topology)?;
    }
    let cluster = startup::up(topology).await?;
    netns::batch(&topology.netns(Place::Client), &from_far_away())?;
    step_async("import the tests' images", images.import(&cluster)).await?;
    flags.proxy.start(&cluster, flags.mode, flags.dns()).await?;
    if flags.dns() == Dns::CoreDns {
        step_async("start CoreDNS", dns::start_coredns(&cluster, &program)).await?;
    }
    let mut runs = Vec::new();
    let groups = if flags.groups.is_empty() { &Group::ALL } else { flags.groups.as_slice() };
    for group in groups.iter().copied() {
        let focus = flags.focus.as_deref();
        let suite = Suite { program: &program, group, focus, processes: flags.procs, results };
        runs.push(Run { group, verdicts: run_suite(&suite, &cluster).await? });
    }
    Ok(runs)
}

/// The tests take whoever is in a node's /16 for a node (kubernetes `test/e2e/network/loadbalancer.go`,
/// `getSubnetPrefix`), and say that its address was not preserved. So the client speaks from its other address.
fn from_far_away() -> String {
    let segment = Ipv4Net::new_assert(CLIENT.v4, SEGMENT_PREFIX.0).trunc();
    format!("route replace {segment} dev eth0 src {EXTERNAL_HOST}\n")
}

async fn run_suite(suite: &Suite<'_>, cluster: &Cluster) -> Result<Vec<Verdict>> {
    say(&format!("what the tests say is in {}", suite.log().display()));
    let what = format!("run Kubernetes' own tests, group {}", suite.group);
    step_async(what, suite.run(cluster)).await
}

/// Where the lists are in the checkout that this program was built from.
fn list_path(proxy: Proxy) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance").join(record::file_name(proxy))
}

/// Reads the list again: an earlier run of this program may have written into it.
fn write_record(flags: &Flags, runs: &[Run]) -> Result<()> {
    let path = list_path(flags.proxy);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut record = Record::parse(&text)?;
    for run in runs {
        record.replace(&Part::new(flags.mode, run.group), &run.verdicts, flags.focus.is_none());
    }
    fs::write(&path, record.text()).with_context(|| format!("write {}", path.display()))
}

/// Prints every test with what came of it, what is wrong with that, and the count as the last line.
fn judge(flags: &Flags, runs: &[Run]) -> Result<bool> {
    let (kube_proxy, penstock) = (Record::of(Proxy::KubeProxy)?, Record::of(Proxy::Penstock)?);
    let recorded = Recorded { kube_proxy: &kube_proxy, penstock: &penstock };
    let mut wrong = Vec::new();
    for Run { group, verdicts } in runs {
        print_verdicts(verdicts);
        let part = Part::new(flags.mode, *group);
        wrong.extend(faults(flags.proxy, &part, verdicts, recorded, flags.focus.is_none()));
        for name in surprises(flags.proxy, &part, verdicts, recorded) {
            println!("passes although it is recorded as failing (--record puts that right): {name}");
        }
    }
    wrong.iter().for_each(|fault| println!("WRONG    {fault}"));
    let count = |wanted| runs.iter().flat_map(|run| &run.verdicts).filter(|v| v.outcome == wanted).count();
    let (passed, failed) = (count(Outcome::Passed), count(Outcome::Failed));
    ensure!(passed + failed > 0, "no test was run");
    println!("{passed} passed, {failed} failed");
    // What was just recorded is not held against what was recorded before.
    Ok(flags.record || wrong.is_empty())
}

fn print_verdicts(verdicts: &[Verdict]) {
    for Verdict { name, outcome, message } in verdicts {
        match outcome {
            Outcome::Passed => println!("passed   {name}"),
            Outcome::Failed => println!("FAILED   {name}\n         {message}"),
            Outcome::Skipped => println!("skipped  {name}: {message}"),
        }
    }
}
