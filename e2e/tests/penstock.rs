//! Penstock on a real cluster: the seed's Services answer, addresses come, move and go.
//!
//! All tests share the cluster `penstock-test`, one at a time. The first brings it up; `make test` removes it.

// clippy takes only functions marked as tests for tests; their parts are not.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use penstock_e2e::chart::NAMESPACE;
use penstock_e2e::cluster::Cluster;
use penstock_e2e::component::{self, COMPONENTS, OPERATOR, announcer, node_agent};
use penstock_e2e::install::install;
use penstock_e2e::process::Process;
use penstock_e2e::seed::{self, Sender};
use penstock_e2e::topology::{NODE_1, Place, Topology};
use penstock_e2e::wait::{Look, until};
use penstock_e2e::{packages, startup};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

const LIMIT: Duration = Duration::from_secs(90);

/// The client outside the cluster.
const CLIENT: Sender = Sender::Machine(Place::Client);

/// Whether the shared cluster is up; held by the test that uses it.
static UP: Mutex<bool> = Mutex::const_new(false);

async fn cluster() -> Result<(Cluster, MutexGuard<'static, bool>)> {
    packages::ensure_root()?;
    let mut up = UP.lock().await;
    let topology = Topology::new("penstock-test")?;
    if !*up {
        let cluster = startup::up(&topology).await?;
        install(&cluster).await?;
        seed::apply_all(&cluster).await?;
        *up = true;
    }
    Ok((Cluster::attach(topology.name())?, up))
}

async fn all_flows_answer(cluster: &Cluster) -> Result<()> {
    for flow in seed::flows(cluster).await? {
        flow.settle(cluster).await?;
    }
    Ok(())
}

async fn create(cluster: &Cluster, name: &str, spec: serde_json::Value) -> Result<Service> {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    let api: Api<Service> = Api::default_namespaced(cluster.client().await?);
    Ok(api.create(&PostParams::default(), &serde_json::from_value(object)?).await?)
}

async fn delete(cluster: &Cluster, name: &str) -> Result<()> {
    let api: Api<Service> = Api::default_namespaced(cluster.client().await?);
    api.delete(name, &DeleteParams::default()).await?;
    until(&format!("the end of Service {name}"), LIMIT, || async {
        Ok(match api.get_opt(name).await? {
            None => Look::Ready(()),
            Some(service) => Look::NotYet(format!("{:?}", service.metadata.finalizers)),
        })
    })
    .await
}

fn balanced() -> serde_json::Value {
    json!({"type": "LoadBalancer", "selector": {"run": "mynginx"}, "ports": [{"port": 80}]})
}

async fn answers(cluster: &Cluster, ip: IpAddr) -> Result<()> {
    until(&format!("an answer from {ip}"), LIMIT, || async {
        Ok(match seed::request(cluster, CLIENT, &format!("http://{ip}/")).await? {
            Ok(_) => Look::Ready(()),
            Err(error) => Look::NotYet(error),
        })
    })
    .await
}

/// Waits until the address is answered for by one node alone, or none, that `accept` agrees to.
async fn owned(
    cluster: &Cluster,
    ip: IpAddr,
    accept: impl Fn(Option<Place>) -> bool,
) -> Result<Option<Place>> {
    until(&format!("the owner of {ip}"), LIMIT, || async {
        let owners = seed::owners(cluster, ip).await?;
        let owner = owners.first().copied();
        let settled = owners.len() <= 1 && accept(owner);
        Ok(if settled { Look::Ready(owner) } else { Look::NotYet(format!("{owners:?} answer")) })
    })
    .await
}

async fn refused(cluster: &Cluster, from: Place, url: &str) -> Result<()> {
    until(&format!("the refusal of {url}"), LIMIT, || async {
        let error = seed::connect_error(cluster, from, url).await?;
        let refused = error.as_ref().is_some_and(|error| error.contains("Connection refused"));
        Ok(if refused { Look::Ready(()) } else { Look::NotYet(format!("{error:?}")) })
    })
    .await
}

/// A figure of the operator, over all labels; `None` while there is none.
async fn operator_metric(cluster: &Cluster, name: &str) -> Result<Option<u64>> {
    let text = OPERATOR.get(cluster, "/metrics").await?.map_err(Error::msg)?;
    let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values = samples.filter_map(|line| line.rsplit(' ').next()).map(str::parse::<u64>);
    let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((!values.is_empty()).then(|| values.iter().sum()))
}

/// Waits until the operator, since its start, has looked at as many Services as there are.
async fn looked_at_all(cluster: &Cluster) -> Result<()> {
    let api: Api<Service> = Api::all(cluster.client().await?);
    let wanted = u64::try_from(api.list(&ListParams::default()).await?.items.len())?;
    until("reconciliation of the Services", LIMIT, || async {
        let done = operator_metric(cluster, "penstock_operator_reconciles_total").await?.unwrap_or(0);
        Ok(if done >= wanted { Look::Ready(()) } else { Look::NotYet(format!("{done} of {wanted}")) })
    })
    .await
}

/// Each node follows by itself, so an answer by way of one says nothing of the other.
async fn every_node_has_rules(cluster: &Cluster, ip: IpAddr, wanted: bool) -> Result<()> {
    until(&format!("rules for {ip}: {wanted}"), LIMIT, || async {
        for node in Place::NODES {
            if rules(cluster, node).await?.contains(&ip.to_string()) != wanted {
                return Ok(Look::NotYet(format!("not on {}", node.name())));
            }
        }
        Ok(Look::Ready(()))
    })
    .await
}

async fn rules(cluster: &Cluster, place: Place) -> Result<String> {
    let listed = cluster.run_in(place, &["nft", "list", "table", "inet", "penstock"]).await?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

#[tokio::test]
async fn every_service_of_the_seed_answers() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    all_flows_answer(&cluster).await
}

/// As a user asks after an installation. What the test makes is gone when it has passed.
#[tokio::test]
async fn helm_test_finds_everything_at_work() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    penstock_e2e::install::test(&cluster).await?;
    let left = ["get", "pods,roles,serviceaccounts", "--namespace", NAMESPACE, "--output", "name"];
    let left = cluster.kubectl(&left).await?;
    ensure!(!left.contains("penstock-test"), "the test left something: {left}");
    Ok(())
}

#[tokio::test]
async fn deleting_a_service_frees_its_address_everywhere() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    create(&cluster, "leaving", balanced()).await?;
    let ip = seed::external_ip(&cluster, "leaving").await?;
    answers(&cluster, ip).await?;
    every_node_has_rules(&cluster, ip, true).await?;
    delete(&cluster, "leaving").await?;
    owned(&cluster, ip, |owner| owner.is_none()).await?;
    every_node_has_rules(&cluster, ip, false).await?;
    create(&cluster, "heir", balanced()).await?;
    ensure!(
        seed::external_ip(&cluster, "heir").await? == ip,
        "the freed address is the lowest and must be given again"
    );
    answers(&cluster, ip).await?;
    delete(&cluster, "heir").await
}

#[tokio::test]
async fn restarting_the_operator_changes_nothing() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    let before = seed::service(&cluster, "load-balancer").await?;
    OPERATOR.process(&cluster).await?.kill()?;
    OPERATOR.wait_until_ready(&cluster).await?;
    looked_at_all(&cluster).await?;
    let after = seed::service(&cluster, "load-balancer").await?;
    ensure!(before.resource_version() == after.resource_version(), "written to: {after:?}");
    let writes = operator_metric(&cluster, "penstock_operator_status_writes_total").await?;
    ensure!(writes == Some(0), "a restart wrote {writes:?} times");
    create(&cluster, "later", balanced()).await?;
    let later = seed::external_ip(&cluster, "later").await?;
    ensure!(later != seed::external_ip(&cluster, "load-balancer").await?, "an address was given twice");
    delete(&cluster, "later").await
}

/// Waits until the operator has both of its Pods, ready; returns their names.
async fn both_operators(cluster: &Cluster) -> Result<Vec<String>> {
    until("two ready Pods of the operator", LIMIT, || async {
        let pods = component::pods(cluster).await?.into_iter();
        let ready = pods.filter(|pod| pod.ready && pod.name.starts_with(OPERATOR.name));
        let names: Vec<String> = ready.map(|pod| pod.name).collect();
        Ok(if names.len() == 2 { Look::Ready(names) } else { Look::NotYet(format!("{names:?}")) })
    })
    .await
}

/// Name, version and addresses of every Service that has some.
async fn balanced_services(cluster: &Cluster) -> Result<Vec<(String, Option<String>, Vec<String>)>> {
    let services = Api::<Service>::all(cluster.client().await?).list(&ListParams::default()).await?;
    let addresses = |service: &Service| {
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        ingress.iter().filter_map(|entry| entry.ip.clone()).collect::<Vec<_>>()
    };
    let described = services.iter().map(|s| (s.name_any(), s.resource_version(), addresses(s)));
    Ok(described.filter(|(.., addresses)| !addresses.is_empty()).collect())
}

/// Deletes the Pod that leads, and waits until the other one does.
async fn hand_over(cluster: &Cluster, first: &str, second: &str) -> Result<()> {
    cluster.kubectl(&["delete", "pod", first, "--namespace", NAMESPACE, "--wait=false"]).await?;
    let deleted = Instant::now();
    until("the other operator's lead", LIMIT, || async {
        let leader = component::leader(cluster, OPERATOR.name).await?;
        Ok(if leader.as_deref() == Some(second) {
            Look::Ready(())
        } else {
            Look::NotYet(format!("{leader:?}"))
        })
    })
    .await?;
    println!("{second} leads {:.2} s after {first} was deleted", deleted.elapsed().as_secs_f64());
    OPERATOR.wait_until_ready(cluster).await
}

#[tokio::test]
async fn when_the_leading_operator_is_deleted_the_other_goes_on_with_what_there_is() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    let pods = both_operators(&cluster).await?;
    let first = component::leader(&cluster, OPERATOR.name).await?.context("no operator leads")?;
    let second = pods.iter().find(|name| **name != first).context("only the leader is ready")?;
    ensure!(pods.contains(&first), "{first} leads, and the Pods are {pods:?}");
    let before = balanced_services(&cluster).await?;
    // The Pod that comes in place of the first would compete.
    let [n1, n2] = Place::NODES.map(Place::name);
    cluster.kubectl(&["cordon", n1, n2]).await?;
    let handed_over = hand_over(&cluster, &first, second).await;
    cluster.kubectl(&["uncordon", n1, n2]).await?;
    handed_over?;

    looked_at_all(&cluster).await?;
    let after = balanced_services(&cluster).await?;
    ensure!(before == after, "a hand-over wrote to Services: {before:?} became {after:?}");
    create(&cluster, "afterwards", balanced()).await?;
    let ip = seed::external_ip(&cluster, "afterwards").await?;
    let leader = component::leader(&cluster, OPERATOR.name).await?;
    ensure!(leader.as_ref() == Some(second), "{leader:?} gave the address");
    ensure!(!before.iter().any(|(.., taken)| taken.contains(&ip.to_string())), "{ip} was given twice");
    answers(&cluster, ip).await?;
    delete(&cluster, "afterwards").await?;
    both_operators(&cluster).await.map(drop)
}

#[tokio::test]
async fn killing_the_owners_announcer_moves_the_address_to_the_other_node() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    let ip = seed::external_ip(&cluster, "load-balancer").await?;
    let first = owned(&cluster, ip, |owner| owner.is_some()).await?.unwrap();
    // The kubelet would start it again before anybody misses it.
    let kubelet = cluster.process(first, "kubelet")?.context("the kubelet was never started")?.freeze()?;
    announcer(first).process(&cluster).await?.kill()?;
    let killed = Instant::now();
    let second = owned(&cluster, ip, |owner| owner.is_some_and(|node| node != first)).await?.unwrap();
    println!(
        "{ip} moved from {} to {} in {:.1} s",
        first.name(),
        second.name(),
        killed.elapsed().as_secs_f64()
    );
    answers(&cluster, ip).await?;
    // Back again: one owner, whoever it is, and still an answer.
    drop(kubelet);
    announcer(first).wait_until_ready(&cluster).await?;
    owned(&cluster, ip, |owner| owner.is_some()).await?;
    answers(&cluster, ip).await
}

/// Lets the node agents' DaemonSet run on no node, or on all again.
async fn send_node_agents_away(cluster: &Cluster, away: bool) -> Result<()> {
    let nowhere = if away { json!("nowhere") } else { json!(null) };
    let selector = json!({"spec": {"template": {"spec": {"nodeSelector": {"penstock.dev/test": nowhere}}}}});
    let patch = selector.to_string();
    let args = ["patch", "daemonset/penstock-node", "--namespace", NAMESPACE, "--patch", &patch];
    cluster.kubectl(&args).await.map(|_| ())
}

#[tokio::test]
async fn rules_stay_while_the_node_agents_are_away() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    for node in Place::NODES {
        node_agent(node).process(&cluster).await?.kill()?;
    }
    // The kubelets start them again at once; these end in good order, and nobody starts them again.
    send_node_agents_away(&cluster, true).await?;
    until("the end of the node agents", LIMIT, || async {
        let running = Place::NODES.map(|node| node_agent(node).containers(&cluster));
        let running = running.into_iter().collect::<Result<Vec<_>>>()?.concat();
        Ok(if running.is_empty() { Look::Ready(()) } else { Look::NotYet(format!("{running:?}")) })
    })
    .await?;
    all_flows_answer(&cluster).await?;
    send_node_agents_away(&cluster, false).await?;
    for node in Place::NODES {
        node_agent(node).wait_until_ready(&cluster).await?;
    }
    all_flows_answer(&cluster).await
}

/// A hard end, without anything that the agent could do about its rules, and the start that the kubelet makes of it.
#[tokio::test]
async fn the_kubelet_starts_a_killed_node_agent_again_and_no_flow_notices() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    let mut before = Vec::new();
    for node in Place::NODES {
        let process = node_agent(node).process(&cluster).await?;
        process.kill()?;
        before.push(process);
    }
    all_flows_answer(&cluster).await?;
    for (node, before) in Place::NODES.into_iter().zip(before) {
        node_agent(node).wait_until_ready(&cluster).await?;
        ensure!(node_agent(node).process(&cluster).await?.pid() != before.pid(), "it was never ended");
    }
    all_flows_answer(&cluster).await
}

#[tokio::test]
async fn services_follow_their_pods() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    let before = seed::pods(&cluster).await?;
    let ip = seed::external_ip(&cluster, "load-balancer").await?;
    // Without Pods a connection is refused, not dropped: whoever asks knows at once.
    cluster.kubectl(&["scale", "deployment/mynginx", "--replicas=0"]).await?;
    let cluster_ip = format!("http://{}/", seed::cluster_ip(&cluster, "mynginx").await?);
    refused(&cluster, Place::Client, &format!("http://{}:30080/", NODE_1.v4)).await?;
    refused(&cluster, Place::Node2, &cluster_ip).await?;
    // The address of a Service that nobody serves is nobody's.
    owned(&cluster, ip, |owner| owner.is_none()).await?;
    cluster.kubectl(&["scale", "deployment/mynginx", "--replicas=2"]).await?;
    cluster.kubectl(&["rollout", "status", "deployment/mynginx", "--timeout=120s"]).await?;
    ensure!(seed::pods(&cluster).await?.is_disjoint(&before), "the Pods were to be new ones");
    all_flows_answer(&cluster).await
}

#[tokio::test]
async fn one_bad_object_does_not_stop_the_others() -> Result<()> {
    let (cluster, _guard) = cluster().await?;
    // The kubelet starts again what crashes: they are to be the same processes at the end.
    let mut before = Vec::new();
    for component in COMPONENTS {
        before.push(component.process(&cluster).await?);
    }
    let pool = |addresses: &str| {
        format!(
            "apiVersion: penstock.dev/v1alpha1\nkind: IPAddressPool\n\
             metadata: {{ name: bad, namespace: penstock-system }}\nspec: {{ addresses: ['{addresses}'] }}\n"
        )
    };
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), pool("203.0.113.300/32"))?;
    let path = file.path().display().to_string();
    let refusal = cluster.kubectl(&["apply", "-f", &path]).await.unwrap_err().to_string();
    ensure!(refusal.contains("every entry must be a CIDR"), "{refusal}");
    std::fs::write(file.path(), pool("203.0.113.239-203.0.113.250"))?;
    cluster.kubectl(&["apply", "-f", &path]).await?;
    let condition = "--for=jsonpath={.status.conditions[0].reason}=Overlaps";
    cluster.kubectl(&["wait", condition, "-n", "penstock-system", "ippool/bad", "--timeout=60s"]).await?;

    let mut spec = balanced();
    spec["loadBalancerIP"] = json!("198.51.100.1");
    create(&cluster, "outside", spec).await?;
    let condition = "--for=jsonpath={.status.conditions[0].reason}=RequestRefused";
    cluster.kubectl(&["wait", condition, "service/outside", "--timeout=60s"]).await?;
    create(&cluster, "fine", balanced()).await?;
    answers(&cluster, seed::external_ip(&cluster, "fine").await?).await?;
    // An externalIP that no admin allows is served by nobody; its Service is otherwise untouched.
    let mut spec = balanced();
    spec["type"] = json!("ClusterIP");
    spec["externalIPs"] = json!(["203.0.113.199"]);
    create(&cluster, "hijack", spec).await?;
    let cluster_ip = seed::cluster_ip(&cluster, "hijack").await?;
    until("the rules of the Service", LIMIT, || async {
        let rules = rules(&cluster, Place::Node1).await?;
        Ok(if rules.contains(&cluster_ip) { Look::Ready(()) } else { Look::NotYet("not there".into()) })
    })
    .await?;
    ensure!(
        !rules(&cluster, Place::Node1).await?.contains("203.0.113.199"),
        "an externalIP outside the allow-list"
    );
    for name in ["outside", "fine", "hijack"] {
        delete(&cluster, name).await?;
    }
    cluster.kubectl(&["delete", "-f", &path]).await?;
    all_flows_answer(&cluster).await?;
    before.iter().try_for_each(Process::check)
}
