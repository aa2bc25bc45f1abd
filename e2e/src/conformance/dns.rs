//! The cluster's DNS: CoreDNS as a process on the control plane's machine, behind the Service `kube-dns`. Penstock has
//! no DNS of its own yet.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::{Cluster, Program};
use crate::install;
use crate::tools::E2eTest;
use crate::topology::{CLUSTER_DNS, CONTROL_PLANE, Place};
use crate::wait::{Look, until};

/// How long it may take to have read the cluster's Services; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(60);

/// What it says of a name that is always there.
const PROBE: &str = "kube-dns.kube-system.svc.cluster.local";

/// Starts it and waits until it answers.
///
/// # Errors
/// When it ends early or does not answer; the message has the end of its log.
pub async fn start(cluster: &Cluster, suite: &E2eTest) -> Result<()> {
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
    until("an answer of the cluster's DNS", READY, || async {
        process.check()?;
        let server = CONTROL_PLANE.v4.to_string();
        let asked = cluster.run_in(Place::ControlPlane, &["busybox", "nslookup", PROBE, &server]).await?;
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        Ok(match said.contains(&CLUSTER_DNS.to_string()) {
            true => Look::Ready(()),
            false => Look::NotYet(said.trim().to_owned()),
        })
    })
    .await
}

/// Nothing is forwarded: there is nobody outside to ask.
fn configuration(kubeconfig: &str) -> String {
    format!(
        ".:53 {{\n    bind {}\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        \
         kubeconfig {kubeconfig}\n        pods insecure\n        ttl 30\n    }}\n    cache 5\n}}\n",
        CONTROL_PLANE.v4
    )
}
