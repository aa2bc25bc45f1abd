//! Penstock on a cluster: our kinds, our RBAC, and the three programs as processes in the right namespaces, each
//! with the kubeconfig of its own ServiceAccount. Until there is a chart, this is how it is installed here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, Program, harness_program};
use crate::process::Process;
use crate::progress::step_async;
use crate::topology::{Place, pod_cidrs, service_cidrs};
use crate::wait::{Look, until};

/// How long a program may take to see the cluster; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(60);

/// Where our own objects live.
const NAMESPACE: &str = "penstock-system";

/// Our definitions and RBAC, in the order in which they are needed.
const OBJECTS: [&str; 5] = [
    "../crds/yaml",
    "manifests/penstock/namespace.yaml",
    "manifests/penstock/operator.yaml",
    "manifests/penstock/announcer.yaml",
    "manifests/penstock/node.yaml",
];

/// One of our programs in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// The program's and ServiceAccount's name.
    pub name: &'static str,
    /// Where it runs.
    pub place: Place,
    /// The port of its health and metrics, on its namespace's loopback.
    pub port: u16,
}

/// The operator.
pub const OPERATOR: Component =
    Component { name: "penstock-operator", place: Place::ControlPlane, port: 9780 };

/// The announcer of a node.
pub const fn announcer(place: Place) -> Component {
    Component { name: "penstock-announcer", place, port: 9781 }
}

/// The node agent of a node.
pub const fn node_agent(place: Place) -> Component {
    Component { name: "penstock-node", place, port: 9782 }
}

/// Every process of ours.
pub const COMPONENTS: [Component; 5] = [
    OPERATOR,
    announcer(Place::Node1),
    announcer(Place::Node2),
    node_agent(Place::Node1),
    node_agent(Place::Node2),
];

/// Installs Penstock, a class and a pool. What runs already is restarted, so that it is what was built last.
///
/// # Errors
/// One sentence about what failed, with the end of the program's log.
pub async fn install(cluster: &Cluster) -> Result<()> {
    step_async("install Penstock's kinds and RBAC", async {
        for objects in OBJECTS {
            apply(cluster, objects).await?;
        }
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        cluster.kubectl(&wait).await.map(|_| ())
    })
    .await?;
    step_async("start operator, announcers and node agents", async {
        for component in COMPONENTS {
            component.restart(cluster).await?;
        }
        apply(cluster, "manifests/penstock/pool.yaml").await?;
        for component in COMPONENTS {
            component.wait_until_ready(cluster).await?;
        }
        Ok(())
    })
    .await
}

/// Applies a file or folder of this crate.
///
/// # Errors
/// What the API server says.
pub async fn apply(cluster: &Cluster, relative: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(relative);
    let path = path.to_str().context("the checkout's path is not UTF-8")?;
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", path]).await.map(|_| ())
}

impl Component {
    /// Its process, alive or not.
    ///
    /// # Errors
    /// When it was never started.
    pub fn process(&self, cluster: &Cluster) -> Result<Process> {
        let process = cluster.process(self.place, self.name)?;
        process.with_context(|| format!("{} was never started on {}", self.name, self.place.name()))
    }

    /// Starts it; ends it first where it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn restart(&self, cluster: &Cluster) -> Result<()> {
        if let Some(running) = cluster.process(self.place, self.name)? {
            running.stop()?;
        }
        let kubeconfig = cluster.service_account_kubeconfig(NAMESPACE, self.name).await?;
        let program = Program {
            name: self.name.to_owned(),
            program: program(self.name)?,
            args: self.args(),
            env: vec![("KUBECONFIG".to_owned(), kubeconfig.display().to_string())],
        };
        cluster.spawn(self.place, &program).map(|_| ())
    }

    fn args(&self) -> Vec<String> {
        let mut args = vec![format!("--http-address=127.0.0.1:{}", self.port)];
        if self.place.is_node() {
            args.push(format!("--node-name={}", self.place.name()));
        }
        if self.name == "penstock-node" {
            args.push(format!("--cluster-cidr={}", pod_cidrs()));
            args.push(format!("--service-cidr={}", service_cidrs()));
        }
        args
    }

    /// Waits until its `/readyz` says yes.
    ///
    /// # Errors
    /// When it ends or does not get ready; with the end of its log.
    pub async fn wait_until_ready(&self, cluster: &Cluster) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let process = self.process(cluster)?;
        let what = format!("readiness of {} on {}", self.name, self.place.name());
        until(&what, READY, || async {
            process.check()?;
            let answer = cluster.run_in(self.place, &["curl", "-fsS", "--max-time", "5", &url]).await?;
            Ok(match answer.status.success() {
                true => Look::Ready(()),
                false => Look::NotYet(String::from_utf8_lossy(&answer.stderr).trim().to_owned()),
            })
        })
        .await
        .with_context(|| format!("the end of its log:\n{}", process.log_tail()))
    }
}

/// Our programs are built beside the harness.
fn program(name: &str) -> Result<PathBuf> {
    let path = harness_program()?.with_file_name(name);
    ensure!(path.is_file(), "{} is not built; run: cargo build --workspace --bins", path.display());
    Ok(path)
}
