//! `up`: from nothing to two ready nodes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::Api;

use crate::cgroup::Cgroup;
use crate::cluster::{Cluster, admin_kubeconfig, harness_program, is_ready, place_sandbox, server};
use crate::control_plane;
use crate::foundation::{Foundation, spawn_on_control_plane};
use crate::images::Images;
use crate::local_images;
use crate::node::Node;
use crate::packages;
use crate::pki::Authority;
use crate::process::{Process, Sandbox};
use crate::progress::Step;
use crate::segment;
use crate::teardown;
use crate::tools::{self, Tools, cache_dir};
use crate::topology::{API_PORT, Place, Topology};
use crate::wait::{Look, until};

/// How long a kubelet may take to register and to be ready; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(180);

/// Installs the packages, builds the tools and makes the images, so that `up` and the tests find them.
///
/// # Errors
/// One sentence about what is missing and cannot be had.
pub fn prepare() -> Result<()> {
    packages::ensure()?;
    Tools::build()?;
    Images::build()?;
    packages::ensure_for_python()?;
    tools::moto()?;
    tools::vendor_types()?;
    packages::ensure_for_routers()?;
    tools::gobgp()?;
    Ok(())
}

/// Brings the instance up, unless it is up and healthy. What is left of an earlier one is removed first.
///
/// # Errors
/// One sentence about what is missing or what failed, and where the logs are.
pub async fn up(topology: &Topology) -> Result<Cluster> {
    packages::ensure()?;
    let tools = Tools::build()?;
    let images = Images::build()?;
    if admin_kubeconfig(topology).exists() {
        let cluster = Cluster::of(topology.clone(), tools.clone())?;
        if cluster.status().await?.is_healthy() {
            return Ok(cluster);
        }
    }
    if !teardown::leftovers(topology)?.is_empty() {
        teardown::down(topology)?;
    }
    let cluster = Cluster::of(topology.clone(), tools)?;
    let started = Startup { cluster, images, harness: harness_program()? }.run().await;
    started.with_context(|| {
        let (logs, name) = (topology.state_dir().join("processes"), topology.name());
        format!(
            "the cluster {name} did not come up; its logs are in {}, and `penstock-e2e down --name {name}` removes it",
            logs.display()
        )
    })
}

struct Startup {
    cluster: Cluster,
    images: Images,
    harness: PathBuf,
}

/// The two nodes with their sandboxes, in the order of [`Place::NODES`].
type Runtimes = Vec<(Node, Sandbox)>;

impl Startup {
    async fn run(self) -> Result<Cluster> {
        let foundation = Foundation::lay(&self.cluster, &self.harness).await?;
        let ((), runtimes) = tokio::try_join!(self.control_plane(&foundation), self.runtimes())?;
        self.nodes(&runtimes, &foundation.authority, &foundation.client).await?;
        foundation.save_admin(self.cluster.topology())?;
        Ok(self.cluster)
    }

    async fn control_plane(&self, foundation: &Foundation) -> Result<()> {
        foundation.start_api_server(&self.cluster).await?;
        let tools = self.cluster.tools();
        let server = format!("https://127.0.0.1:{API_PORT}");
        let config = foundation.component_kubeconfig("kube-controller-manager", &server)?;
        let args = control_plane::controller_manager_args(&foundation.files, &config, 10257);
        let program = tools.kubernetes("kube-controller-manager");
        spawn_on_control_plane(&self.cluster, "kube-controller-manager", program, args)?;
        let config = foundation.component_kubeconfig("kube-scheduler", &server)?;
        let args = control_plane::scheduler_args(&config);
        spawn_on_control_plane(&self.cluster, "kube-scheduler", tools.kubernetes("kube-scheduler"), args)?;
        local_images::install(&foundation.client).await
    }

    /// Both nodes' containerds, at the same time.
    async fn runtimes(&self) -> Result<Runtimes> {
        let all = Step::start("start containerd on both nodes and import the images");
        let start = |place| {
            let node = self.node(place)?;
            let (harness, images, keep) = (self.harness.clone(), self.images.clone(), self.keep()?);
            Ok(tokio::task::spawn_blocking(move || {
                let sandbox = node.start_runtime(&harness, keep, &images)?;
                anyhow::Ok((node, sandbox))
            }))
        };
        let tasks: Vec<_> = Place::NODES.into_iter().map(start).collect::<Result<_>>()?;
        let mut runtimes = Vec::new();
        for task in tasks {
            runtimes.push(task.await.context("wait for a node")??);
        }
        all.done();
        Ok(runtimes)
    }

    async fn nodes(&self, runtimes: &Runtimes, authority: &Authority, client: &kube::Client) -> Result<()> {
        let all = Step::start("start the kubelets and wait for ready nodes");
        let kubelet = self.cluster.tools().kubernetes("kubelet");
        for (node, sandbox) in runtimes {
            node.start_kubelet(&kubelet, &server(), authority, sandbox)?;
        }
        let mut pods = Vec::new();
        for (node, _) in runtimes {
            let cidrs = self.pod_cidrs(client, node.place).await?;
            node.configure_pod_network(&cidrs)?;
            pods.push((node.place, cidrs));
        }
        segment::route_pods(self.cluster.topology(), &pods)?;
        for place in Place::NODES {
            self.wait_for_node(client, place, |node| is_ready(node).then_some(())).await?;
        }
        all.done();
        local_images::wait_until_effective(client).await
    }

    /// The controller manager hands out the parts of the Pod CIDRs in an order of its own.
    async fn pod_cidrs(&self, client: &kube::Client, place: Place) -> Result<Vec<IpNet>> {
        let cidrs = self.wait_for_node(client, place, |node| node.spec.as_ref()?.pod_cidrs.clone()).await?;
        let parsed = cidrs.iter().map(|cidr| cidr.parse().with_context(|| format!("{cidr:?} is not a CIDR")));
        parsed.collect()
    }

    async fn wait_for_node<T>(
        &self,
        client: &kube::Client,
        place: Place,
        found: impl Fn(&NodeObject) -> Option<T>,
    ) -> Result<T> {
        let nodes: Api<NodeObject> = Api::all(client.clone());
        until(&format!("readiness of node {}", place.name()), READY, || async {
            self.cluster.ledger().all()?.iter().try_for_each(Process::check)?;
            let node = nodes.get_opt(place.name()).await.context("ask for a node")?;
            Ok(match node.as_ref().and_then(&found) {
                Some(value) => Look::Ready(value),
                None => Look::NotYet(node.as_ref().map_or("it has not registered".into(), not_ready)),
            })
        })
        .await
    }

    fn node(&self, place: Place) -> Result<Node> {
        let topology = self.cluster.topology();
        Ok(Node {
            place,
            root: topology.state_dir().join(place.name()),
            sandbox: place_sandbox(topology, place)?,
            cgroup: Cgroup::at(topology.cgroup())?.child(place.name()),
            ledger: self.cluster.ledger().clone(),
        })
    }

    /// What nodes have to see of this machine: the instance's files, the programs, the images.
    fn keep(&self) -> Result<Vec<PathBuf>> {
        let programs = self.harness.parent().map(Path::to_owned);
        let keep = [Some(self.cluster.topology().state_dir()), Some(cache_dir()?), programs];
        Ok(keep.into_iter().flatten().collect())
    }
}

fn not_ready(node: &NodeObject) -> String {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    ready.and_then(|condition| condition.message.clone()).unwrap_or_else(|| "no condition yet".into())
}
