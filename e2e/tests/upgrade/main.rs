//! helm's upgrade, rollback and uninstall on a real cluster: no connection is lost, nothing is left, addresses stay.

// clippy takes only functions marked as tests for tests; their parts are not.
#![allow(clippy::unwrap_used)]

mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use penstock_e2e::chart::Chart;
use penstock_e2e::cluster::{Cluster, harness_program};
use penstock_e2e::component;
use penstock_e2e::install::{helm, install, values_file};
use penstock_e2e::seed::{self, Sender};
use penstock_e2e::topology::{NODE_1, Place, Topology};
use penstock_e2e::wait::{Look, until};
use penstock_e2e::{packages, startup, teardown};

use traffic::Traffic;

const NAME: &str = "upgrade-test";

/// Of each of the four flows: together 10 000 connections.
const LEAST: usize = 2500;

/// The programs made these, so that helm does not know them; docs/install.md says how they are removed.
const STAYS: [&str; 5] = [
    "lease.coordination.k8s.io/penstock-announcer-n1",
    "lease.coordination.k8s.io/penstock-announcer-n2",
    "lease.coordination.k8s.io/penstock-operator",
    "nodeannouncement.penstock.dev/n1",
    "nodeannouncement.penstock.dev/n2",
];

/// How long Pods may take to end; the DNS' answer for a while after they were asked to.
const LIMIT: Duration = Duration::from_secs(90);

/// The flow whose address moves.
const BALANCER: &str = "load balancer's address";

/// Removes the cluster also when the test fails.
struct Down(Topology);

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = teardown::down(&self.0) {
            eprintln!("{error:#}");
        }
    }
}

/// To a load balancer's address and a node port from outside, to a ClusterIP from a node and from a Pod.
async fn start_traffic(cluster: &Cluster) -> Result<Vec<Traffic>> {
    let balancer = format!("http://{}/", seed::external_ip(cluster, "load-balancer").await?);
    let cluster_ip = format!("http://{}/", seed::cluster_ip(cluster, "mynginx").await?);
    let node_port = format!("http://{}:30080/", NODE_1.v4);
    let (client, node) = (Sender::Machine(Place::Client), Sender::Machine(Place::Node2));
    let start = |name, from, url: &str| Traffic::start(cluster, name, from, url, LEAST);
    Ok(vec![
        start(BALANCER, client, &balancer),
        start("node port", client, &node_port),
        start("ClusterIP from a node", node, &cluster_ip),
        start("ClusterIP from a pod", Sender::Pod, &cluster_ip),
    ])
}

/// A connection that is open when its address moves to another node, which does not know it, does not survive. An announcer
/// that is replaced hands its addresses over, and each of the two is replaced twice; a flow has one connection at a time.
const MOVES: usize = 4;

async fn end_traffic(traffic: Vec<Traffic>) -> Result<()> {
    let (mut made, mut failures, mut cut) = (0, Vec::new(), Vec::new());
    for flow in traffic {
        let name = flow.name;
        let tally = flow.end().await?;
        println!("{name}: {tally}");
        made += tally.made;
        let told = |failure: String| format!("{name}: {failure}");
        failures.extend(tally.failures.into_iter().map(told));
        if name == BALANCER { &mut cut } else { &mut failures }.extend(tally.cut.into_iter().map(told));
    }
    println!("{made} connections: {} failed; cut while their address moved: {cut:#?}", failures.len());
    ensure!(made >= 4 * LEAST, "only {made} connections were made");
    ensure!(failures.is_empty(), "{} of {made} connections failed: {failures:#?}", failures.len());
    ensure!(cut.len() <= MOVES, "the address moved {MOVES} times at most, and more were cut: {cut:#?}");
    Ok(())
}

/// The names of our Pods.
async fn pods(cluster: &Cluster) -> Result<BTreeSet<String>> {
    Ok(component::pods(cluster).await?.into_iter().map(|pod| pod.name).collect())
}

/// Every Pod of ours becomes another one, twice, under traffic.
async fn upgrade_and_roll_back(cluster: &Cluster) -> Result<()> {
    let (chart, config) = (Chart::new(cluster.tools()), cluster.kubeconfig());
    let before = pods(cluster).await?;
    let traffic = start_traffic(cluster).await?;
    let mut upgrade = chart.upgrade(&config, &values_file(cluster))?;
    upgrade.arg("--set=log.level=info\\,kube=warn,dns.config.ttl=6");
    helm(upgrade).await?;
    let upgraded = pods(cluster).await?;
    helm(chart.rollback(&config)?).await?;
    let rolled_back = pods(cluster).await?;
    end_traffic(traffic).await?;
    ensure!(before.is_disjoint(&upgraded), "the upgrade left Pods: {before:?}, {upgraded:?}");
    ensure!(upgraded.is_disjoint(&rolled_back), "the rollback left Pods: {upgraded:?}, {rolled_back:?}");
    Ok(())
}

/// The addresses that each Service has from a pool.
async fn addresses(cluster: &Cluster) -> Result<BTreeMap<String, Vec<String>>> {
    let services = Api::<Service>::all(cluster.client().await?).list(&ListParams::default()).await?;
    let given = |service: &Service| {
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        ingress.iter().filter_map(|entry| entry.ip.clone()).collect::<Vec<_>>()
    };
    let given = services.iter().map(|service| (service.name_any(), given(service)));
    Ok(given.filter(|(_, addresses)| !addresses.is_empty()).collect())
}

/// Objects of every kind that are the chart's or bear Penstock's name, but for kinds and what users write of them.
async fn objects_of_ours(cluster: &Cluster) -> Result<Vec<String>> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--output=name"]).await?;
    let kept = [
        "customresourcedefinitions.",
        "events",
        "loadbalancerclasses.",
        "ipaddresspools.",
        "l2advertisements.",
        "externalippolicies.",
    ];
    let kinds: Vec<&str> =
        kinds.lines().filter(|kind| !kept.iter().any(|kept| kind.starts_with(kept))).collect();
    let all = ["get", &kinds.join(","), "--all-namespaces", "--output=name"];
    let listed = cluster.kubectl(&all).await?;
    let ours = listed.lines().filter(|name| name.contains("penstock") && !name.starts_with("namespace/"));
    // The controller manager puts the one, and the API server the other, for each kind.
    let ours = ours.filter(|name| !name.contains("local-images.e2e") && !name.starts_with("apiservice"));
    Ok(ours.map(str::to_owned).collect())
}

async fn table_is_there(cluster: &Cluster, node: Place) -> Result<bool> {
    let listed = cluster.run_in(node, &["nft", "list", "tables"]).await?;
    Ok(String::from_utf8_lossy(&listed.stdout).contains("penstock"))
}

/// Rules stay, as kube-proxy's do, so that Services work until another proxy has them; `penstock-node cleanup` removes them.
async fn clean_up_the_nodes(cluster: &Cluster) -> Result<()> {
    let program = harness_program()?.with_file_name("penstock-node").display().to_string();
    for node in Place::NODES {
        ensure!(table_is_there(cluster, node).await?, "the rules of {} went with the agent", node.name());
        let cleaned = cluster.run_in(node, &[&program, "cleanup"]).await?;
        ensure!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
        ensure!(!table_is_there(cluster, node).await?, "cleanup left rules on {}", node.name());
    }
    Ok(())
}

async fn uninstall_and_install_again(cluster: &Cluster) -> Result<()> {
    let before = addresses(cluster).await?;
    ensure!(before.contains_key("load-balancer"), "{before:?}");
    helm(Chart::new(cluster.tools()).uninstall(&cluster.kubeconfig())?).await?;
    until("the end of our objects", LIMIT, || async {
        let left = objects_of_ours(cluster).await?;
        Ok(if left == STAYS { Look::Ready(()) } else { Look::NotYet(format!("{left:#?} are left")) })
    })
    .await?;
    clean_up_the_nodes(cluster).await?;
    ensure!(addresses(cluster).await? == before, "an address went with the operator");
    install(cluster).await?;
    for flow in seed::flows(cluster).await? {
        flow.settle(cluster).await?;
    }
    let after = addresses(cluster).await?;
    ensure!(after == before, "addresses changed: {before:?} became {after:?}");
    Ok(())
}

#[tokio::test]
async fn an_installation_changes_and_goes_without_a_loss() -> Result<()> {
    packages::ensure_root()?;
    let topology = Topology::new(NAME)?;
    let _down = Down(topology.clone());
    let cluster = startup::up(&topology).await?;
    install(&cluster).await?;
    seed::apply_all(&cluster).await?;
    for flow in seed::flows(&cluster).await? {
        flow.settle(&cluster).await?;
    }
    upgrade_and_roll_back(&cluster).await?;
    uninstall_and_install_again(&cluster).await
}
