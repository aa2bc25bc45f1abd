//! The cluster's DNS on the cluster under test: penstock-dns as the chart installs it, or CoreDNS as a process on the control
//! plane's machine, behind the Service `kube-dns`.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

use crate::cluster::{Cluster, Program};
use crate::cluster_dns::wait_for_an_answer;
use crate::conformance::proxy::Proxy;
use crate::install;
use crate::tools::E2eTest;
use crate::topology::{CONTROL_PLANE, Place};

/// Who answers names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dns {
    /// penstock-dns, in Pods.
    Penstock,
    /// CoreDNS.
    #[value(name = "coredns")]
    CoreDns,
}

impl fmt::Display for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Penstock => "penstock",
            Self::CoreDns => "coredns",
        })
    }
}

impl Dns {
    /// The one that is recorded with this proxy: ours with ours, and with kube-proxy that of most clusters.
    pub fn beside(proxy: Proxy) -> Self {
        match proxy {
            Proxy::Penstock => Self::Penstock,
            Proxy::KubeProxy => Self::CoreDns,
        }
    }
}

/// Starts CoreDNS and waits until it answers.
///
/// # Errors
/// When it ends early or does not answer; the message has the end of its log.
pub async fn start_coredns(cluster: &Cluster, suite: &E2eTest) -> Result<()> {
    install::apply(cluster, "manifests/conformance/dns.yaml").await?;
    let kubeconfig = cluster.service_account_kubeconfig("kube-system", "coredns").await?;
    let corefile = cluster.topology().state_dir().join("Corefile");
    fs::write(&corefile, configuration(&kubeconfig.display().to_string())).context("write the Corefile")?;
    let process = cluster.spawn(
        Place::ControlPlane,
        &Program {
            name: "coredns".into(),
            program: suite.coredns(),
            args: vec!["-conf".into(), corefile.display().to_string()],
            env: Vec::new(),
        },
    )?;
    let answered = wait_for_an_answer(cluster, Place::ControlPlane, CONTROL_PLANE.v4).await;
    process.check()?;
    answered
}

/// Nothing is forwarded: there is nobody outside to ask.
fn configuration(kubeconfig: &str) -> String {
    format!(
        ".:53 {{\n    bind {}\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        \
         kubeconfig {kubeconfig}\n        pods insecure\n        ttl 30\n    }}\n    cache 5\n}}\n",
        CONTROL_PLANE.v4
    )
}
