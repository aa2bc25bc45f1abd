//! The handle on a cluster that is up: for tests and the demo.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use penstock_e2e::cluster::{Cluster, Program};
//! use penstock_e2e::topology::Place;
//! let cluster = Cluster::attach("penstock-test")?;
//! let client = cluster.client().await?;
//! let answer = cluster.run_in(Place::Client, &["curl", "-sS", "-m", "5", "http://203.0.113.200/"]).await?;
//! let config = cluster.service_account_kubeconfig("penstock-system", "penstock-announcer").await?;
//! let announcer = cluster.spawn(Place::Node1, &Program {
//!     name: "announcer".into(),
//!     program: "target/debug/penstock-announcer".into(),
//!     args: vec!["--node-name=n1".into()],
//!     env: vec![("KUBECONFIG".into(), config.display().to_string())],
//! })?; // process n1-announcer, log in the state directory
//! announcer.kill()?;
//! # let _ = (client, answer); Ok(()) }
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::{Api, ListParams};

use crate::cgroup::Cgroup;
use crate::component::{self, PodState};
use crate::kubeconfig::{self, Credential};
use crate::machine::SYSTEM_CGROUP;
use crate::node::Node;
use crate::process::{Ledger, Process, Sandbox, Spec};
use crate::tools::Tools;
use crate::topology::{API_PORT, CONTROL_PLANE, Place, Topology, netns_file};

/// How long a command of [`Cluster::run_in`] may run.
const COMMAND: Duration = Duration::from_secs(120);

/// How long a ServiceAccount's token is valid, in seconds: 30 days. Nobody renews it, and a demo may be left up.
const TOKEN_LIFETIME: i64 = 30 * 24 * 60 * 60;

/// A program to be run besides the cluster's own.
#[derive(Debug, Clone)]
pub struct Program {
    /// The process is named `PLACE-NAME`, as are its pid file and its log.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables besides the inherited ones.
    pub env: Vec<(String, String)>,
}

/// A cluster that is up.
#[derive(Debug, Clone)]
pub struct Cluster {
    topology: Topology,
    tools: Tools,
    ledger: Ledger,
}

impl Cluster {
    /// The running instance `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn attach(name: &str) -> Result<Self> {
        let topology = Topology::new(name)?;
        let admin = admin_kubeconfig(&topology);
        ensure!(admin.exists(), "no cluster {name} is up; run: penstock-e2e up --name {name}");
        Self::of(topology, Tools::build()?)
    }

    pub(crate) fn of(topology: Topology, tools: Tools) -> Result<Self> {
        let ledger = Ledger::open(topology.state_dir().join("processes"))?;
        Ok(Self { topology, tools, ledger })
    }

    /// Its names.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// kubectl, kubelet and the others.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The processes' pid files and logs.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The administrator's kubeconfig, for use on this machine.
    pub fn kubeconfig(&self) -> PathBuf {
        admin_kubeconfig(&self.topology)
    }

    /// A new client of the administrator. It belongs to the runtime that it is made in.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<kube::Client> {
        let path = self.kubeconfig();
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        kubeconfig::client(&text).await
    }

    /// Runs kubectl as the administrator, on this machine, and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.tools.kubectl());
        command.env("KUBECONFIG", self.kubeconfig()).args(args);
        let output = output(command).await.context("run kubectl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {} failed: {}", args.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command on a machine of the cluster, to its end.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than two minutes. That it fails is in the output's status.
    pub async fn run_in(&self, place: Place, command: &[&str]) -> Result<Output> {
        output(self.command_in(place, command)?).await
    }

    /// A command that will run on a machine of the cluster: for callers that want its pipes.
    ///
    /// # Errors
    /// When the command is empty or the machine is not up.
    pub fn command_in(&self, place: Place, command: &[&str]) -> Result<Command> {
        let (program, args) = command.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null());
        self.sandbox(place)?.apply(&mut command)?;
        Ok(command)
    }

    /// Starts a program on a machine of the cluster. It runs until it is ended or the cluster is.
    ///
    /// # Errors
    /// When it cannot be started, or one of its name already runs there.
    pub fn spawn(&self, place: Place, program: &Program) -> Result<Process> {
        self.ledger.spawn(&Spec {
            name: process_name(place, &program.name),
            program: std::path::absolute(&program.program).context("find the program")?,
            args: program.args.clone(),
            env: program.env.clone(),
            sandbox: self.sandbox(place)?,
        })
    }

    /// The process that [`Cluster::spawn`] last started under this name, alive or not.
    ///
    /// # Errors
    /// When its pid file is not one.
    pub fn process(&self, place: Place, name: &str) -> Result<Option<Process>> {
        self.ledger.find(&process_name(place, name))
    }

    /// A kubeconfig for a ServiceAccount, with a token of 30 days, for use on the cluster's machines.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let client = self.client().await?;
        let token = kubeconfig::service_account_token(&client, namespace, name, TOKEN_LIFETIME).await?;
        let path = self.topology.state_dir().join(format!("{namespace}.{name}.kubeconfig"));
        let authority =
            std::fs::read_to_string(pki_dir(&self.topology).join("ca.crt")).context("read the CA")?;
        kubeconfig::write(&path, &server(), &authority, &Credential::Token(token))?;
        Ok(path)
    }

    /// What runs and what does not.
    ///
    /// # Errors
    /// When the pid files cannot be read.
    pub async fn status(&self) -> Result<Status> {
        let processes = self.ledger.all()?.into_iter().map(|process| {
            let alive = process.is_alive();
            (process, alive)
        });
        let processes = processes.collect();
        let objects =
            async { Ok(Objects { nodes: self.nodes().await?, pods: component::pods(self).await? }) };
        let objects = objects.await.map_err(|error: anyhow::Error| error.to_string());
        Ok(Status { processes, objects, kubeconfig: self.kubeconfig() })
    }

    /// The nodes' names and whether they are ready.
    async fn nodes(&self) -> Result<Vec<(String, bool)>> {
        let nodes: Api<NodeObject> = Api::all(self.client().await?);
        let params = ListParams::default();
        let listed = tokio::time::timeout(Duration::from_secs(10), nodes.list(&params)).await;
        let listed =
            listed.map_err(|_| anyhow!("the API server does not answer"))?.context("list the nodes")?;
        Ok(listed
            .iter()
            .map(|node| (node.metadata.name.clone().unwrap_or_default(), is_ready(node)))
            .collect())
    }

    fn sandbox(&self, place: Place) -> Result<Sandbox> {
        let mut sandbox = place_sandbox(&self.topology, place)?;
        if place.is_node() {
            let machine = self.ledger.find(&Node::machine_name(place))?.filter(Process::is_alive);
            sandbox.machine = Some(machine.with_context(|| format!("{} is not up", place.name()))?.pid());
        }
        Ok(sandbox)
    }
}

/// Runs a command to its end, or for two minutes.
pub(crate) async fn output(command: Command) -> Result<Output> {
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(COMMAND, command.kill_on_drop(true).output()).await;
    let output = output.map_err(|_| anyhow!("{shown} took longer than {} s", COMMAND.as_secs()))?;
    output.with_context(|| format!("run {shown}"))
}

fn process_name(place: Place, name: &str) -> String {
    format!("{}-{name}", place.name())
}

/// Where a place's processes run, but for a node's machine.
pub(crate) fn place_sandbox(topology: &Topology, place: Place) -> Result<Sandbox> {
    let netns = Some(netns_file(&topology.netns(place)));
    Ok(Sandbox { netns, cgroup: Some(place_cgroup(topology, place)?), ..Sandbox::default() })
}

/// A group without children: in version 2 only such a group may have processes.
pub(crate) fn place_cgroup(topology: &Topology, place: Place) -> Result<Cgroup> {
    let group = Cgroup::at(topology.cgroup())?.child(place.name());
    Ok(if place.is_node() { group.child(SYSTEM_CGROUP) } else { group })
}

/// The administrator's kubeconfig. It is written last: where it is, the cluster came up.
pub(crate) fn admin_kubeconfig(topology: &Topology) -> PathBuf {
    topology.state_dir().join("admin.kubeconfig")
}

pub(crate) fn pki_dir(topology: &Topology) -> PathBuf {
    topology.state_dir().join("pki")
}

/// The API server's address on the segment.
pub(crate) fn server() -> String {
    format!("https://{}:{API_PORT}", CONTROL_PLANE.v4)
}

pub(crate) fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What `status` prints.
#[derive(Debug)]
pub struct Status {
    /// Every process that was started, and whether it runs.
    pub processes: Vec<(Process, bool)>,
    /// What the API server says, or why it says nothing.
    pub objects: std::result::Result<Objects, String>,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
}

/// What the API server knows of a cluster.
#[derive(Debug)]
pub struct Objects {
    /// Every node, and whether it is ready.
    pub nodes: Vec<(String, bool)>,
    /// Our Pods.
    pub pods: Vec<PodState>,
}

impl Status {
    /// Whether everything that was started runs, and all nodes and our Pods are ready.
    pub fn is_healthy(&self) -> bool {
        let ready = self.objects.as_ref().is_ok_and(|Objects { nodes, pods }| {
            nodes.len() == Place::NODES.len()
                && nodes.iter().all(|node| node.1)
                && pods.iter().all(|pod| pod.ready)
        });
        ready && self.processes.iter().all(|(_, alive)| *alive)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (process, alive) in &self.processes {
            let state = if *alive { "runs" } else { "has ended" };
            let (name, pid, log) = (process.name(), process.pid(), process.log().display());
            writeln!(f, "process {name:<28} {state:<10} pid {pid:<8} log {log}")?;
        }
        let word = |ready| if ready { "ready" } else { "not ready" };
        match &self.objects {
            Ok(Objects { nodes, pods }) => {
                for (name, ready) in nodes {
                    writeln!(f, "node    {name:<28} {}", word(*ready))?;
                }
                for PodState { name, node, ready, restarts } in pods {
                    let ready = word(*ready);
                    writeln!(f, "pod     {name:<36} {ready:<10} on {node:<4} {restarts} restarts")?;
                }
            }
            Err(reason) => writeln!(f, "nodes   {reason}")?,
        }
        write!(f, "export KUBECONFIG={}", self.kubeconfig.display())
    }
}

/// The executable that has the subcommands `machine` and `forward`: this one, or the one that was built beside this
/// test. `PENSTOCK_E2E` names another.
///
/// # Errors
/// When there is none.
pub fn harness_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PENSTOCK_E2E") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().context("find the running program")?;
    let candidates = own.ancestors().skip(1).take(2).map(|dir: &Path| dir.join("penstock-e2e"));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.context("penstock-e2e is not built; run: cargo build -p penstock-e2e")
}
