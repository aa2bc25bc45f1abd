//! `up`: from nothing to two ready nodes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::Api;

use crate::cgroup::Cgroup;
use crate::cluster::{
    Cluster, admin_kubeconfig, harness_program, is_ready, pki_dir, place_cgroup, place_sandbox, server,
};
use crate::control_plane::{self, Endpoints, Files};
use crate::forward::Forward;
use crate::images::Images;
use crate::kubeconfig::{self, Credential};
use crate::local_images;
use crate::node::{Node, wait_for_file};
use crate::packages;
use crate::pki::{Authority, write_private};
use crate::process::{Process, Sandbox, Spec};
use crate::progress::{Step, step};
use crate::segment;
use crate::teardown;
use crate::tools::{Tools, cache_dir};
use crate::topology::{API_PORT, CONTROL_PLANE, Place, Topology, netns_file};
use crate::wait::{Look, until};

/// How long a kubelet may take to register and to be ready; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(180);

/// Installs the packages, builds the tools and makes the images, so that `up` finds them.
///
/// # Errors
/// One sentence about what is missing and cannot be had.
pub fn prepare() -> Result<()> {
    packages::ensure()?;
    Tools::build()?;
    Images::build()?;
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
        let topology = self.cluster.topology();
        step("make namespaces and cgroups", || {
            make_cgroups(topology)?;
            segment::create(topology)
        })?;
        let files = Files::in_directory(pki_dir(topology));
        let authority = files.create(&api_addresses())?;
        let admin = control_plane::admin_kubeconfig(&authority, &self.forward()?)?;
        let client = kubeconfig::client(&admin).await?;
        let ((), runtimes) =
            tokio::try_join!(self.control_plane(&files, &authority, &client), self.runtimes())?;
        self.nodes(&runtimes, &authority, &client).await?;
        write_private(&admin_kubeconfig(topology), &admin)?;
        Ok(self.cluster)
    }

    /// Starts the forwarder and returns the address under which this machine reaches the API server.
    fn forward(&self) -> Result<String> {
        let topology = self.cluster.topology();
        let forward = Forward {
            netns: netns_file(&topology.netns(Place::ControlPlane)),
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT)),
            port_file: topology.state_dir().join("api-port"),
        };
        let sandbox =
            Sandbox { cgroup: Some(place_cgroup(topology, Place::ControlPlane)?), ..Sandbox::default() };
        let process = self.spawn("cp-forward", self.harness.clone(), forward.args(), sandbox)?;
        wait_for_file(&process, &forward.port_file)?;
        let port = fs::read_to_string(&forward.port_file).context("read the forwarder's port")?;
        Ok(format!("https://127.0.0.1:{port}"))
    }

    async fn control_plane(&self, files: &Files, authority: &Authority, client: &kube::Client) -> Result<()> {
        let all = Step::start("start etcd and kube-apiserver");
        let tools = self.cluster.tools();
        let data = self.cluster.topology().state_dir().join("etcd");
        let etcd = self.spawn_cp("etcd", tools.etcd(), control_plane::etcd_args(&ENDPOINTS, &data))?;
        let args = control_plane::api_server_args(&ENDPOINTS, files);
        let api_server = self.spawn_cp("kube-apiserver", tools.kubernetes("kube-apiserver"), args)?;
        control_plane::wait_until_ready(client, || etcd.check().and_then(|()| api_server.check())).await?;
        let config = self.component_kubeconfig(files, authority, "kube-controller-manager")?;
        let args = control_plane::controller_manager_args(files, &config, 10257);
        self.spawn_cp("kube-controller-manager", tools.kubernetes("kube-controller-manager"), args)?;
        let config = self.component_kubeconfig(files, authority, "kube-scheduler")?;
        let args = control_plane::scheduler_args(&config);
        self.spawn_cp("kube-scheduler", tools.kubernetes("kube-scheduler"), args)?;
        local_images::install(client).await?;
        all.done();
        Ok(())
    }

    fn component_kubeconfig(&self, files: &Files, authority: &Authority, name: &str) -> Result<PathBuf> {
        let identity = authority.client(&format!("system:{name}"), None)?;
        let path = files.path(&format!("{name}.kubeconfig"));
        let server = format!("https://127.0.0.1:{API_PORT}");
        kubeconfig::write(&path, &server, authority.certificate(), &Credential::Certificate(identity))?;
        Ok(path)
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

    fn spawn_cp(&self, name: &str, program: PathBuf, args: Vec<String>) -> Result<Process> {
        let sandbox = place_sandbox(self.cluster.topology(), Place::ControlPlane)?;
        self.spawn(&format!("cp-{name}"), program, args, sandbox)
    }

    fn spawn(&self, name: &str, program: PathBuf, args: Vec<String>, sandbox: Sandbox) -> Result<Process> {
        self.cluster.ledger().spawn(&Spec { name: name.to_owned(), program, args, env: Vec::new(), sandbox })
    }
}

/// In its own namespace the control plane can have the usual ports.
const ENDPOINTS: Endpoints = Endpoints {
    etcd: 2379,
    etcd_peer: 2380,
    bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    port: API_PORT,
    reconcile_endpoints: true,
};

/// Under which addresses the API server is reached: from this machine, on the segment, and as the first address of the
/// Service CIDRs.
fn api_addresses() -> Vec<IpAddr> {
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1))];
    let service_v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x96, 0, 0, 0, 0, 1));
    own.into_iter().chain([service_v6]).chain(CONTROL_PLANE.both()).collect()
}

/// The nodes' machines make the groups inside the nodes' own.
fn make_cgroups(topology: &Topology) -> Result<()> {
    Place::ALL.iter().try_for_each(|place| Cgroup::at(topology.cgroup())?.child(place.name()).create())
}

fn not_ready(node: &NodeObject) -> String {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    ready.and_then(|condition| condition.message.clone()).unwrap_or_else(|| "no condition yet".into())
}
