//! Who makes Services work on the cluster under test.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, Program};
use crate::conformance::dns::Dns;
use crate::flows::program::{Mode, kube_proxy_config};
use crate::install::{self, Parts, install_parts};
use crate::process::Process;
use crate::progress::step_async;
use crate::tools;
use crate::topology::Place;
use crate::wait::{Look, until};

/// How long kube-proxy may take to have written its first rules; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(60);

/// The service proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Proxy {
    /// penstock-node, with operator and announcer, as the chart installs them.
    Penstock,
    /// kube-proxy of the cluster's Kubernetes, on both nodes, and operator and announcer beside it.
    KubeProxy,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Penstock => "penstock",
            Self::KubeProxy => "kube-proxy",
        })
    }
}

impl Proxy {
    /// Refuses a mode that it does not have, and builds what it takes, before a cluster is up.
    ///
    /// # Errors
    /// One sentence about what to choose instead, or the build's.
    pub fn prepare(self, mode: Mode) -> Result<()> {
        match self {
            Self::Penstock => {
                ensure!(
                    mode != Mode::Ipvs,
                    "the chart's node agent may not write the sysctls of mode ipvs; choose --mode nftables or iptables"
                );
                Ok(())
            }
            Self::KubeProxy => tools::kube_proxy().map(|_| ()),
        }
    }

    /// Starts it, with our DNS where that is wanted, and waits until both do their work.
    ///
    /// # Errors
    /// What did not come up, with the end of its log.
    pub async fn start(self, cluster: &Cluster, mode: Mode, dns: Dns) -> Result<()> {
        let dns = dns == Dns::Penstock;
        match self {
            Self::Penstock => {
                install_parts(cluster, Parts { node: Some(mode), dns, ..Parts::ALL }).await?;
                install::apply(cluster, "manifests/conformance/policy.yaml").await
            }
            Self::KubeProxy => {
                step_async("start kube-proxy on both nodes", kube_proxy(cluster, mode)).await?;
                // Load balancers get their addresses from the same hands, so that the proxies alone differ.
                install_parts(cluster, Parts { node: None, dns, ..Parts::ALL }).await
            }
        }
    }
}

async fn kube_proxy(cluster: &Cluster, mode: Mode) -> Result<()> {
    install::apply(cluster, "manifests/conformance/kube-proxy.yaml").await?;
    let kubeconfig = cluster.service_account_kubeconfig("kube-system", "kube-proxy").await?;
    let program = tools::kube_proxy()?;
    for node in Place::NODES {
        let args = kube_proxy_config(&cluster.topology().state_dir(), node, mode, &kubeconfig)?;
        let program = Program { name: "kube-proxy".into(), program: program.clone(), args, env: Vec::new() };
        let process = cluster.spawn(node, &program)?;
        wait_until_healthy(cluster, node, &process).await?;
    }
    Ok(())
}

/// Its `/healthz` is good once its first rules are written.
async fn wait_until_healthy(cluster: &Cluster, node: Place, process: &Process) -> Result<()> {
    let url = format!("http://{}:10256/healthz", node.addresses().v4);
    until("readiness of kube-proxy", READY, || async {
        process.check()?;
        let asked = cluster.run_in(node, &["curl", "-fsS", "-m", "2", &url]).await?;
        Ok(match asked.status.success() {
            true => Look::Ready(()),
            false => Look::NotYet(String::from_utf8_lossy(&asked.stderr).trim().to_owned()),
        })
    })
    .await
}
