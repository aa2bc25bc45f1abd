//! Our programs on a cluster, as the Pods that the chart makes of them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use crate::chart::NAMESPACE;
use crate::cluster::Cluster;
use crate::container::{Container, containers};
use crate::process::Process;
use crate::topology::Place;
use crate::wait::{Look, until};

/// How long a program may take to see the cluster; it bounds the wait for a broken one. The kubelet waits up to 40 s
/// before it starts one again that was killed three times.
const READY: Duration = Duration::from_secs(90);

/// One of our programs: on one node, or wherever the scheduler put it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// The program's and ServiceAccount's name.
    pub name: &'static str,
    /// What the label `app.kubernetes.io/component` of its Pods says.
    pub label: &'static str,
    /// Its node, where there is one on each; it is then on the node's own network.
    pub node: Option<Place>,
    /// The port of its health and metrics: on the node's loopback, or at the Pod's address.
    pub port: u16,
}

/// What all Pods that the chart makes are labelled with.
pub const OURS: &str = "app.kubernetes.io/name=penstock";

/// The label of the node agent.
pub const NODE_AGENT: &str = "node";

/// The operator.
pub const OPERATOR: Component =
    Component { name: "penstock-operator", label: "operator", node: None, port: 9780 };

/// The announcer of a node.
pub const fn announcer(node: Place) -> Component {
    Component { name: "penstock-announcer", label: "announcer", node: Some(node), port: 9781 }
}

/// The node agent of a node.
pub const fn node_agent(node: Place) -> Component {
    Component { name: "penstock-node", label: NODE_AGENT, node: Some(node), port: 9782 }
}

/// Every program of ours in every place.
pub const COMPONENTS: [Component; 5] = [
    OPERATOR,
    announcer(Place::Node1),
    announcer(Place::Node2),
    node_agent(Place::Node1),
    node_agent(Place::Node2),
];

impl Component {
    /// Its running containers: one, but while one replaces another or none could be started.
    ///
    /// # Errors
    /// When a node's control groups cannot be read.
    pub fn containers(&self, cluster: &Cluster) -> Result<Vec<Container>> {
        let nodes = self.node.map_or(Place::NODES.to_vec(), |node| vec![node]);
        let found: Vec<_> =
            nodes.into_iter().map(|node| containers(cluster, node, self.name)).collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The process that does its work: that of its only container, or of the replica that leads. After its end the
    /// kubelet starts another.
    ///
    /// # Errors
    /// When none runs, or none of several leads.
    pub async fn process(&self, cluster: &Cluster) -> Result<Process> {
        Ok(self.at_work(cluster).await?.process)
    }

    async fn at_work(&self, cluster: &Cluster) -> Result<Container> {
        let mut found = self.containers(cluster)?;
        if self.node.is_none() {
            let leader = leader(cluster, self.name).await?;
            found.retain(|container| leader.as_ref() == Some(&container.pod));
        }
        ensure!(found.len() < 2, "{} runs {} times", self.name, found.len());
        found.pop().with_context(|| format!("{} does not run, or none of its replicas leads", self.name))
    }

    /// What it answers to a request for `path`; none while it does not.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub async fn get(&self, cluster: &Cluster, path: &str) -> Result<std::result::Result<String, String>> {
        // Any node reaches a Pod's address.
        let from = self.node.unwrap_or(Place::Node1);
        let Some(host) = self.host(cluster).await? else { return Ok(Err("it has no address".to_owned())) };
        let url = format!("http://{host}:{}{path}", self.port);
        let output = cluster.run_in(from, &["curl", "-fsS", "--max-time", "5", &url]).await?;
        Ok(match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        })
    }

    /// Where it listens, as seen from a node.
    async fn host(&self, cluster: &Cluster) -> Result<Option<String>> {
        if self.node.is_some() {
            return Ok(Some("127.0.0.1".to_owned()));
        }
        let Ok(container) = self.at_work(cluster).await else { return Ok(None) };
        let pods: Api<Pod> = Api::namespaced(cluster.client().await?, NAMESPACE);
        let pod = pods.get_opt(&container.pod).await.context("ask for a Pod")?;
        Ok(pod.and_then(|pod| pod.status?.pod_ip))
    }

    /// Waits until exactly one does the work and its `/readyz` says yes.
    ///
    /// # Errors
    /// When it does not get ready; with the end of its log.
    pub async fn wait_until_ready(&self, cluster: &Cluster) -> Result<()> {
        let node = self.node.map_or("a node", |node| node.name());
        let what = format!("readiness of {} on {node}", self.name);
        let ready = until(&what, READY, || async {
            if let Err(error) = self.process(cluster).await {
                return Ok(Look::NotYet(error.to_string()));
            }
            Ok(match self.get(cluster, "/readyz").await? {
                Ok(_) => Look::Ready(()),
                Err(reason) => Look::NotYet(reason),
            })
        });
        match ready.await {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", logs(cluster, NAMESPACE, self.label).await),
        }
    }
}

/// The Pod that the Lease of this name says to lead.
///
/// # Errors
/// When the API server does not answer.
pub async fn leader(cluster: &Cluster, name: &str) -> Result<Option<String>> {
    let leases: Api<Lease> = Api::namespaced(cluster.client().await?, NAMESPACE);
    let lease = leases.get_opt(name).await.context("ask for the Lease")?;
    Ok(lease.and_then(|lease| lease.spec?.holder_identity))
}

/// The end of the logs of a component's Pods, or why there are none.
pub async fn logs(cluster: &Cluster, namespace: &str, label: &str) -> String {
    let selector = format!("app.kubernetes.io/component={label}");
    let logs = ["logs", "--namespace", namespace, "--selector", &selector, "--prefix", "--tail=15"];
    cluster.kubectl(&logs).await.unwrap_or_else(|error| error.to_string())
}

/// The state of our Pods, but for those that are being deleted. Those of the DNS are in another namespace.
///
/// # Errors
/// When the API server does not answer.
pub async fn pods(cluster: &Cluster) -> Result<Vec<PodState>> {
    let pods: Api<Pod> = Api::all(cluster.client().await?);
    let listed = pods.list(&ListParams::default().labels(OURS)).await.context("list our Pods")?;
    let stay = listed.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(stay.map(PodState::of).collect())
}

/// What `status` shows of a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// Its node; empty while it has none.
    pub node: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often its containers were started again.
    pub restarts: i32,
}

impl PodState {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let ready = |condition: &&k8s_openapi::api::core::v1::PodCondition| {
            condition.type_ == "Ready" && condition.status == "True"
        };
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            ready: status.conditions.iter().flatten().any(|condition| ready(&condition)),
            restarts: status
                .container_statuses
                .iter()
                .flatten()
                .map(|container| container.restart_count)
                .sum(),
        }
    }
}
