//! Penstock on a cluster as its users install it: our image on the nodes, and the chart through helm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::chart::{Chart, DNS_NAMESPACE, NAMESPACE};
use crate::cluster::{Cluster, output};
use crate::cluster_dns::wait_for_an_answer;
use crate::component::{COMPONENTS, Component, NODE_AGENT, OURS, logs};
use crate::flows::program::Mode;
use crate::images::Images;
use crate::penstock_image::PenstockImage;
use crate::progress::step_async;
use crate::topology::{API_PORT, CLUSTER_DNS, CONTROL_PLANE, Place, pod_cidrs, service_cidrs};

/// What of Penstock a cluster gets; operator and announcer always.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// How the node agent forwards. `None` is without one, for a cluster whose nodes have kube-proxy.
    pub node: Option<Mode>,
    /// The addresses that node ports answer at (`node.nodePortAddresses`); `None` is the chart's default.
    pub node_port_addresses: Option<Ipv4Net>,
    /// Whether penstock-dns is the cluster's DNS.
    pub dns: bool,
}

impl Parts {
    /// Every part.
    pub const ALL: Self = Self { node: Some(Mode::Nftables), node_port_addresses: None, dns: true };

    fn has(self, component: &Component) -> bool {
        self.node.is_some() || component.label != NODE_AGENT
    }
}

/// Installs Penstock, a class and a pool, or replaces what is installed by what was built last.
///
/// # Errors
/// One sentence about what failed, with the Pods and the ends of their logs.
pub async fn install(cluster: &Cluster) -> Result<()> {
    install_parts(cluster, Parts::ALL).await
}

/// [`install`] of some parts.
///
/// # Errors
/// As [`install`].
pub async fn install_parts(cluster: &Cluster, parts: Parts) -> Result<()> {
    let image = step_async("make Penstock's image and import it", image(cluster)).await?;
    step_async("install the chart and wait for its Pods", async {
        if let Err(error) = upgrade(cluster, &values(&image, parts)).await {
            bail!("{error:#}\n{}", state(cluster).await);
        }
        apply(cluster, "manifests/penstock/pool.yaml").await?;
        for component in COMPONENTS.iter().filter(|component| parts.has(component)) {
            component.wait_until_ready(cluster).await?;
        }
        if parts.dns { wait_for_an_answer(cluster, Place::Node2, CLUSTER_DNS).await } else { Ok(()) }
    })
    .await
}

/// The image of what was built last.
///
/// # Errors
/// When a program is not built, or a file cannot be written.
pub async fn built_image(cluster: &Cluster) -> Result<PenstockImage> {
    let directory = cluster.topology().state_dir().join("images");
    let made = tokio::task::spawn_blocking(move || PenstockImage::build(&Images::build()?, &directory));
    made.await.context("wait for the image")?
}

/// The image of what was built last, on every node.
async fn image(cluster: &Cluster) -> Result<PenstockImage> {
    let image = built_image(cluster).await?;
    tokio::try_join!(image.import(cluster, Place::Node1), image.import(cluster, Place::Node2))?;
    Ok(image)
}

/// What a user of such a cluster would write. Without kube-proxy the node agent is the only one who makes ClusterIPs work.
fn values(image: &PenstockImage, parts: Parts) -> Value {
    json!({
        "node": parts.node.map_or(json!({ "enabled": false }), |mode| node(mode, parts.node_port_addresses)),
        // Nobody is outside to be asked for other names.
        "dns": { "enabled": parts.dns, "clusterIP": CLUSTER_DNS.to_string(), "config": { "upstreams": [] } },
        "image": { "tag": image.tag() },
        "apiServer": { "host": CONTROL_PLANE.v4.to_string(), "port": API_PORT },
        "clusterCIDR": pod_cidrs(),
        "serviceCIDR": service_cidrs(),
    })
}

fn node(mode: Mode, node_port_addresses: Option<Ipv4Net>) -> Value {
    let mut values = json!({ "mode": mode.to_string() });
    if let Some(range) = node_port_addresses {
        values["nodePortAddresses"] = range.to_string().into();
    }
    values
}

async fn upgrade(cluster: &Cluster, values: &Value) -> Result<()> {
    let file = values_file(cluster);
    fs::write(&file, values.to_string()).with_context(|| format!("write {}", file.display()))?;
    helm(Chart::new(cluster.tools()).upgrade(&cluster.kubeconfig(), &file)?).await
}

/// The values of the last installation.
pub fn values_file(cluster: &Cluster) -> PathBuf {
    cluster.topology().state_dir().join("penstock-values.json")
}

/// Runs one of the [`Chart`]'s commands.
///
/// # Errors
/// With what helm says.
pub async fn helm(command: Command) -> Result<()> {
    let action = command.get_args().next().unwrap_or_default().to_string_lossy().into_owned();
    let output = output(command).await.context("run helm")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm {action} failed: {}", said.trim());
    Ok(())
}

/// Asks `helm test` whether what is installed is at work.
///
/// # Errors
/// When it is not, with what the test's Pod said.
pub async fn test(cluster: &Cluster) -> Result<()> {
    let command = Chart::new(cluster.tools()).test(&cluster.kubeconfig())?;
    let output = output(command).await.context("run helm")?;
    if output.status.success() {
        return Ok(());
    }
    let log = ["logs", "penstock-test", "--namespace", NAMESPACE];
    let log = cluster.kubectl(&log).await.unwrap_or_else(|error| error.to_string());
    bail!("helm test failed: {}\n{log}", String::from_utf8_lossy(&output.stderr).trim())
}

/// What there is to see of an installation that failed.
async fn state(cluster: &Cluster) -> String {
    let pods = ["get", "pods", "--all-namespaces", "--selector", OURS, "--output", "wide"];
    let mut text = cluster.kubectl(&pods).await.unwrap_or_else(|error| error.to_string());
    let events = ["get", "events", "--all-namespaces", "--field-selector=type=Warning"];
    text += &cluster.kubectl(&events).await.unwrap_or_else(|error| error.to_string());
    for (namespace, label) in
        [(NAMESPACE, "operator"), (NAMESPACE, "announcer"), (NAMESPACE, NODE_AGENT), (DNS_NAMESPACE, "dns")]
    {
        text += &logs(cluster, namespace, label).await;
    }
    text
}

/// Applies a file or folder of this crate.
///
/// # Errors
/// What the API server says.
pub async fn apply(cluster: &Cluster, relative: &str) -> Result<()> {
    let path = manifest(relative)?;
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &path]).await.map(|_| ())
}

/// The path of a file or folder of this crate, as kubectl takes it.
///
/// # Errors
/// When the checkout's path is not UTF-8.
pub fn manifest(relative: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(relative);
    path.into_os_string().into_string().ok().context("the checkout's path is not UTF-8")
}
