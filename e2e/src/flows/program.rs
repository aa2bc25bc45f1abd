//! The programs that the table is run against, as processes on both nodes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::chart::{Chart, NAMESPACE};
use crate::cluster::{harness_program, server};
use crate::flows::frontend::{Way, external_ranges};
use crate::flows::lab::Lab;
use crate::install;
use crate::process::{Process, Spec};
use crate::tools;
use crate::topology::{Place, pod_cidrs, service_cidrs};

/// Who forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Ours, from the directory of this program.
    PenstockNode,
    /// The oracle.
    KubeProxy,
}

/// With what it forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// nftables.
    Nftables,
    /// iptables.
    Iptables,
    /// IPVS. Needs a kernel that has it.
    Ipvs,
}

/// Which iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Variant {
    /// iptables-nft.
    Nft,
    /// iptables-legacy. Needs a kernel that has it.
    Legacy,
}

/// What a program is told about how to forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// With what.
    pub mode: Mode,
    /// With which iptables, for ours.
    pub variant: Option<Variant>,
}

impl From<Mode> for Means {
    fn from(mode: Mode) -> Self {
        Self { mode, variant: None }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PenstockNode => "penstock-node",
            Self::KubeProxy => "kube-proxy",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
        })
    }
}

impl Program {
    /// Where it is; kube-proxy is built when needed.
    ///
    /// # Errors
    /// When it is not there or cannot be built.
    pub fn path(self) -> Result<PathBuf> {
        match self {
            Self::KubeProxy => tools::kube_proxy(),
            Self::PenstockNode => {
                let path = harness_program()?.with_file_name("penstock-node");
                ensure!(path.is_file(), "penstock-node is not built; run: cargo build --workspace --bins");
                Ok(path)
            }
        }
    }

    /// Starts it on both nodes. What it needs of the API server is made first.
    ///
    /// # Errors
    /// When an object cannot be made or the program cannot be started.
    pub async fn start(self, lab: &Lab, means: impl Into<Means>) -> Result<Vec<Process>> {
        let installed = self.install(lab, means).await?;
        Place::NODES.into_iter().map(|node| installed.start(lab, node)).collect()
    }

    /// Makes what it needs of the API server.
    ///
    /// # Errors
    /// When an object cannot be made.
    pub async fn install(self, lab: &Lab, means: impl Into<Means>) -> Result<Installed> {
        let path = self.path()?;
        let kubeconfig = match self {
            Self::PenstockNode => install_penstock(lab).await?,
            Self::KubeProxy => lab.foundation.component_kubeconfig("kube-proxy", &server())?,
        };
        Ok(Installed { program: self, means: means.into(), path, kubeconfig })
    }
}

/// A program that can be started on the nodes of a lab.
#[derive(Debug, Clone)]
pub struct Installed {
    program: Program,
    means: Means,
    path: PathBuf,
    kubeconfig: PathBuf,
}

impl Installed {
    /// Starts it on one node.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, lab: &Lab, node: Place) -> Result<Process> {
        let kubeconfig = &self.kubeconfig;
        let (args, env) = match self.program {
            Program::PenstockNode => (
                penstock_args(lab, node, self.means),
                vec![("KUBECONFIG".into(), kubeconfig.display().to_string())],
            ),
            Program::KubeProxy => (kube_proxy_args(lab, node, self.means.mode, kubeconfig)?, Vec::new()),
        };
        let name = format!("{}-{}", node.name(), self.program);
        let sandbox = lab.sandbox(node)?;
        lab.cluster.ledger().spawn(&Spec { name, program: self.path.clone(), args, env, sandbox })
    }
}

/// Where penstock-node keeps what it programmed last.
pub fn state_file(lab: &Lab, node: Place) -> PathBuf {
    lab.cluster.topology().state_dir().join(format!("{}-penstock-node.state", node.name()))
}

/// The rights that the chart gives, the kind that has to exist, and what it takes for externalIPs to be served.
async fn install_penstock(lab: &Lab) -> Result<PathBuf> {
    let cluster = &lab.cluster;
    install::apply(cluster, "../crds/yaml/externalippolicies.yaml").await?;
    let established =
        ["wait", "--for=condition=Established", "--timeout=60s", "crd/externalippolicies.penstock.dev"];
    cluster.kubectl(&established).await?;
    let cidrs = Way::NODES.map(|way| external_ranges(way)[1].clone()).concat();
    let policy = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ExternalIPPolicy", "metadata": { "name": "flows" },
        "spec": { "namespaces": ["*"], "cidrs": cidrs },
    });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let rbac = Chart::new(cluster.tools()).render_rbac("node")?;
    let file = cluster.topology().state_dir().join("penstock-node.yaml");
    fs::write(&file, format!("{namespace}\n---\n{policy}\n---\n{rbac}"))
        .with_context(|| format!("write {}", file.display()))?;
    let path = file.to_str().context("the state directory is not UTF-8")?;
    cluster.kubectl(&["apply", "--server-side", "-f", path]).await?;
    cluster.service_account_kubeconfig(NAMESPACE, "penstock-node").await
}

/// The default mode is left out, so that also an agent that has no other can be tried.
fn penstock_args(lab: &Lab, node: Place, means: Means) -> Vec<String> {
    let mut args = vec![
        format!("--node-name={}", node.name()),
        format!("--state-file={}", state_file(lab, node).display()),
        format!("--cluster-cidr={}", pod_cidrs()),
        format!("--service-cidr={}", service_cidrs()),
    ];
    if means.mode != Mode::Nftables {
        args.push(format!("--mode={}", means.mode));
    }
    args.extend(means.variant.map(|variant| match variant {
        Variant::Nft => "--iptables-variant=nft".to_owned(),
        Variant::Legacy => "--iptables-variant=legacy".to_owned(),
    }));
    args
}

fn kube_proxy_args(lab: &Lab, node: Place, mode: Mode, kubeconfig: &Path) -> Result<Vec<String>> {
    kube_proxy_config(&lab.cluster.topology().state_dir(), node, mode, kubeconfig)
}

/// Writes kube-proxy's configuration for a node into `directory`, and returns its arguments.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn kube_proxy_config(
    directory: &Path,
    node: Place,
    mode: Mode,
    kubeconfig: &Path,
) -> Result<Vec<String>> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode.to_string(),
        "hostnameOverride": node.name(),
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": pod_cidrs(),
        "detectLocalMode": "ClusterCIDR",
        "nodePortAddresses": ["primary"],
        // Every entry of an ipset is a program that it starts, and each pass starts dozens besides: in a user-mode Linux one
        // a second would leave nothing for the rest.
        "ipvs": { "minSyncPeriod": "15s", "syncPeriod": "30s" },
        // These belong to the whole machine.
        "conntrack": { "maxPerCore": 0, "min": 0 },
        "oomScoreAdj": 0,
    });
    let file = directory.join(format!("{}-kube-proxy.yaml", node.name()));
    fs::write(&file, config.to_string()).with_context(|| format!("write {}", file.display()))?;
    Ok(vec![format!("--config={}", file.display())])
}
