//! Kubernetes' own tests: which of them, and how they are run.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cluster::{Cluster, server};
use crate::conformance::report::{Verdict, parse};
use crate::tools::E2eTest;
use crate::topology::Place;

/// What no group runs: tests of one cloud, of a cluster whose first family is IPv6 or that has more nodes, of SCTP,
/// for which the kernel has no module, and those that restart nodes.
const NEVER: &str = r"\[Disruptive\]|GCE|DualStack|SCTP|IPv6|Alpha";

/// How long a whole group may take. It bounds what hangs; each test has limits of its own.
const LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// A part of the suite that is run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Services, EndpointSlices, DNS, conntrack, kube-proxy: what a service proxy alone has to do.
    Services,
    /// Load balancers, with their addresses and announcement.
    LoadBalancers,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Services => "services",
            Self::LoadBalancers => "load-balancers",
        })
    }
}

impl Group {
    /// All of them, in the order in which they are run.
    pub const ALL: [Self; 2] = [Self::Services, Self::LoadBalancers];

    /// Regular expressions on the tests' names: those to run, and of these those not to.
    fn expressions(self) -> (&'static str, String) {
        match self {
            Self::Services => (
                r"\[sig-network\] (Services|DNS|EndpointSlice|Endpoints|Conntrack|KubeProxy) ",
                format!(r"\[Serial\]|\[Slow\]|{NEVER}"),
            ),
            Self::LoadBalancers => (r"\[sig-network\] LoadBalancers ", NEVER.to_owned()),
        }
    }
}

/// A run of one group.
#[derive(Debug)]
pub struct Suite<'a> {
    /// What is run.
    pub program: &'a E2eTest,
    /// Which part.
    pub group: Group,
    /// Of these only the tests whose names this regular expression finds.
    pub focus: Option<&'a str>,
    /// How many tests run at a time.
    pub processes: u8,
    /// Where the report and the log go.
    pub results: &'a Path,
}

impl Suite<'_> {
    /// Runs it from the client's machine, as somebody outside the cluster, and returns what came of every test.
    ///
    /// # Errors
    /// When the tests did not run at all; that some failed is in the verdicts.
    pub async fn run(&self, cluster: &Cluster) -> Result<Vec<Verdict>> {
        let report = self.report();
        remove(&report)?;
        let kubeconfig = outside_kubeconfig(cluster)?;
        let arguments = self.arguments(&kubeconfig, &cluster.tools().kubectl());
        let mut words = vec![path(&self.program.ginkgo())];
        words.extend(arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = cluster.command_in(Place::Client, &words)?;
        let log = File::create(self.log()).with_context(|| format!("create {}", self.log().display()))?;
        command.stdout(log.try_clone().context("share a log file")?).stderr(log);
        // What the tests leave behind in the current directory goes with the cluster.
        command.current_dir(cluster.topology().state_dir()).stdin(Stdio::null());
        let mut child =
            tokio::process::Command::from(command).kill_on_drop(true).spawn().context("start ginkgo")?;
        let status = tokio::time::timeout(LIMIT, child.wait()).await;
        let status = status.map_err(|_| anyhow!("the tests took longer than {} s", LIMIT.as_secs()))?;
        status.context("wait for ginkgo")?;
        let text = fs::read_to_string(&report);
        let text = text
            .with_context(|| format!("no test was run; what ginkgo said is in {}", self.log().display()))?;
        let verdicts = parse(&text)?;
        ensure!(!verdicts.is_empty(), "no test of the group {} has {:?} in its name", self.group, self.focus);
        Ok(verdicts)
    }

    /// What came of the tests, as ginkgo writes it.
    fn report(&self) -> PathBuf {
        self.results.join(format!("{}.json", self.group))
    }

    /// Everything that the tests said.
    pub fn log(&self) -> PathBuf {
        self.results.join(format!("{}.log", self.group))
    }

    fn arguments(&self, kubeconfig: &Path, kubectl: &Path) -> Vec<String> {
        let (focus, skip) = self.group.expressions();
        let focus = narrowed(focus, self.focus);
        let (results, report) = (path(self.results), format!("{}.json", self.group));
        vec![
            format!("--procs={}", self.processes),
            format!("--focus={focus}"),
            format!("--skip={skip}"),
            "--no-color".into(),
            "--silence-skips".into(),
            format!("--timeout={}s", LIMIT.as_secs()),
            format!("--output-dir={results}"),
            format!("--json-report={report}"),
            path(&self.program.tests()),
            "--".into(),
            format!("--kubeconfig={}", path(kubeconfig)),
            format!("--kubectl-path={}", path(kubectl)),
            "--provider=skeleton".into(),
            format!("--num-nodes={}", Place::NODES.len()),
            "--disable-log-dump".into(),
        ]
    }
}

/// Names that the group's expression finds, and behind that the chosen one.
fn narrowed(group: &str, only: Option<&str>) -> String {
    only.map_or(group.to_owned(), |only| format!("{group}.*({only})"))
}

/// The administrator's kubeconfig with the address that the client reaches: the other leads to a door on this machine.
fn outside_kubeconfig(cluster: &Cluster) -> Result<PathBuf> {
    let admin = cluster.kubeconfig();
    let text = fs::read_to_string(&admin).with_context(|| format!("read {}", admin.display()))?;
    let mut config: serde_json::Value = yaml_serde::from_str(&text).context("parse the kubeconfig")?;
    config["clusters"][0]["cluster"]["server"] = server().into();
    let place = cluster.topology().state_dir().join("client.kubeconfig");
    crate::pki::write_private(&place, &config.to_string())?;
    Ok(place)
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_tests_are_only_run_of_load_balancers() {
        let (focus, skip) = Group::Services.expressions();
        assert!(skip.contains(r"\[Slow\]") && !focus.contains("LoadBalancers"));
        let (focus, skip) = Group::LoadBalancers.expressions();
        assert!(!skip.contains(r"\[Slow\]") && focus.contains("LoadBalancers"));
        assert!(Group::ALL.iter().all(|group| group.expressions().1.ends_with(NEVER)));
    }

    #[test]
    fn a_focus_narrows_the_group() {
        assert_eq!(narrowed("Services ", None), "Services ");
        assert_eq!(narrowed("Services ", Some("a|b")), "Services .*(a|b)");
    }
}
