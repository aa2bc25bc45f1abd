//! The life of Services whose balancer is built outside the cluster, on a real API server, by an endpoint of the
//! provider `webhook` that is strict and remembers.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use penstock_crds::{APPROVED_PLAN, FINALIZER, LoadBalancerClass};
use penstock_e2e::wait::{Look, until};
use penstock_tests::{outside_lab::OutsideLab, provisioning, shown};
use serde_json::json;

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_balancer_is_built_recorded_left_alone_and_taken_down() -> Result<()> {
    let mut lab = OutsideLab::new("Automatic").await?;
    lab.service("s", json!({})).await?;
    let served = lab.fixture.gets("s", &["203.0.113.1"]).await?;
    let ingress =
        &served.status.as_ref().unwrap().load_balancer.as_ref().unwrap().ingress.as_ref().unwrap()[0];
    assert_eq!(ingress.ports.as_ref().unwrap()[0].port, 80);
    let record = lab.record("s", |r| r.status.as_ref().is_some_and(|s| s.fingerprint.is_some())).await?;
    assert_eq!(record.spec.service_uid, served.uid().unwrap());
    assert_eq!(record.finalizers(), [FINALIZER]);
    lab.fixture.event("s", "EnsuredLoadBalancer").await?;

    // After a restart the record is read and the endpoint is not asked, also where the status has to be put right.
    lab.fixture.stop_operator().await?;
    let calls = lab.calls();
    let theft = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.99"}]}}});
    lab.fixture.services().patch_status("s", &PatchParams::default(), &Patch::Merge(theft)).await?;
    lab.fixture.start_operator().await?;
    lab.fixture.gets("s", &["203.0.113.1"]).await?;
    assert_eq!(lab.calls(), calls, "{:?}", lab.endpoint.store().since(calls));

    // A record that somebody deletes stays for as long as there is something to record: the balancer does not notice.
    lab.records().delete("s", &DeleteParams::default()).await?;
    lab.service("later", json!({})).await?;
    lab.fixture.eventually("later", |s| shown(s).len() == 1).await?;
    lab.record("s", |r| r.status.as_ref().is_some_and(|s| s.fingerprint.is_some())).await?;
    assert_eq!(lab.endpoint.store().count("PUT"), 2, "one for each Service");
    lab.fixture.delete("later").await?;
    lab.fixture.gone("later").await?;

    lab.fixture.delete("s").await?;
    lab.fixture.gone("s").await?;
    assert!(lab.endpoint.store().balancers.is_empty());
    until("the end of the record", LIMIT, || async {
        let record = lab.records().get_opt("s").await?;
        Ok(record.map_or(Look::Ready(()), |record| Look::NotYet(format!("{:?}", record.metadata))))
    })
    .await?;
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn ports_and_nodes_are_followed() -> Result<()> {
    let mut lab = OutsideLab::new("Automatic").await?;
    lab.service("s", json!({})).await?;
    lab.fixture.gets("s", &["203.0.113.1"]).await?;
    lab.fixture.change("s", json!({"spec": {"ports": [{"port": 81}]}})).await?;
    lab.endpoint("port 81", |b| b.len() == 1 && b[0].0 == [81]).await?;
    lab.fixture.event("s", "UpdatedLoadBalancer").await?;

    lab.node("n2", "192.0.2.12").await?;
    lab.endpoint("node n2", |b| b[0].1 == ["n1", "n2"]).await?;
    let nodes: Api<Node> = Api::all(lab.fixture.client.clone());
    let excluded =
        json!({"metadata": {"labels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}}});
    nodes.patch("n1", &PatchParams::default(), &Patch::Merge(excluded)).await?;
    lab.endpoint("n1 left out", |b| b[0].1 == ["n2"]).await?;
    nodes.delete("n2", &DeleteParams::default()).await?;
    lab.endpoint("no node", |b| b[0].1.is_empty()).await?;
    lab.fixture.event("s", "UnAvailableLoadBalancer").await?;

    lab.service("without-node-ports", json!({"allocateLoadBalancerNodePorts": false})).await?;
    lab.fixture.waits("without-node-ports", "RequestRefused", "spec.allocateLoadBalancerNodePorts").await?;
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn what_disturbs_or_destroys_waits_for_approval() -> Result<()> {
    let mut lab = OutsideLab::new("Manual").await?;
    lab.service("s", json!({})).await?;
    lab.fixture.gets("s", &["203.0.113.1"]).await?;
    // A port that changes breaks the connections to it.
    lab.fixture.change("s", json!({"spec": {"ports": [{"port": 81}]}})).await?;
    lab.fixture.waits("s", "ApprovalRequired", "kubectl annotate").await?;
    lab.record("s", |r| r.status.as_ref().is_some_and(|s| s.pending_plan.is_some())).await?;
    assert_eq!(shown(&lab.fixture.services().get("s").await?), ["203.0.113.1"], "what it has stays");
    // An approval of another plan is none.
    lab.fixture
        .change("s", json!({"metadata": {"annotations": {APPROVED_PLAN: "0123456789abcdef"}}}))
        .await?;
    lab.node("n2", "192.0.2.12").await?;
    lab.endpoint("node n2 before the approval, port 80 still", |b| b[0].1.len() == 2 && b[0].0 == [80])
        .await?;
    lab.approve("s").await?;
    lab.endpoint("port 81", |b| b[0].0 == [81]).await?;
    lab.fixture.eventually("s", |s| provisioning(s).is_none()).await?;

    lab.fixture.delete("s").await?;
    lab.fixture.waits("s", "ApprovalRequired", "destructive").await?;
    assert_eq!(lab.endpoint.store().balancers.len(), 1);
    lab.approve("s").await?;
    lab.fixture.gone("s").await?;
    assert!(lab.endpoint.store().balancers.is_empty());

    // After a change of type the API server takes no address in the status any more: the question must be asked all the
    // same.
    lab.service("t", json!({})).await?;
    lab.fixture.eventually("t", |s| shown(s).len() == 1).await?;
    lab.fixture.change("t", json!({"spec": {"type": "ClusterIP"}})).await?;
    lab.fixture.waits("t", "ApprovalRequired", "destructive").await?;
    lab.approve("t").await?;
    lab.fixture.eventually("t", |s| s.metadata.finalizers.is_none()).await?;
    assert!(lab.endpoint.store().balancers.is_empty());
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn nothing_is_orphaned() -> Result<()> {
    let mut lab = OutsideLab::new("Automatic").await?;
    for name in ["forced", "typed", "classless", "moved"] {
        lab.service(name, json!({})).await?;
    }
    lab.endpoint("four balancers", |b| b.len() == 4).await?;
    for name in ["forced", "typed", "classless", "moved"] {
        lab.record(name, |r| r.status.as_ref().is_some_and(|s| s.fingerprint.is_some())).await?;
    }
    // Another type: the API server drops class and status before we hear of it.
    lab.fixture.change("typed", json!({"spec": {"type": "ClusterIP"}})).await?;
    lab.fixture.eventually("typed", |s| s.metadata.finalizers.is_none()).await?;
    lab.endpoint("three balancers", |b| b.len() == 3).await?;

    // Another class of ours, while the operator is away: what the old one built goes first.
    lab.fixture.pool("pool", &["198.51.100.0/30"]).await?;
    lab.fixture.class("bare-metal", false).await?;
    lab.fixture.stop_operator().await?;
    for spec in [
        json!({"type": "ClusterIP"}),
        json!({"type": "LoadBalancer", "loadBalancerClass": "penstock.dev/bare-metal"}),
    ] {
        lab.fixture.change("moved", json!({"spec": spec})).await?;
    }
    // And one that is forced out of our hands meanwhile.
    lab.fixture.change("forced", json!({"metadata": {"finalizers": null}})).await?;
    lab.fixture.delete("forced").await?;
    lab.fixture.gone("forced").await?;
    lab.fixture.start_operator().await?;
    lab.fixture.gets("moved", &["198.51.100.0"]).await?;
    lab.endpoint("one balancer", |b| b.len() == 1).await?;

    // The class goes while it is in use: the balancer stays, and the Service says why nothing changes any more.
    let classes: Api<LoadBalancerClass> = Api::all(lab.fixture.client.clone());
    classes.delete("outside", &DeleteParams::default()).await?;
    let held = lab.fixture.waits("classless", "NoClass", "LoadBalancerClass outside does not exist").await?;
    assert_eq!(shown(&held).len(), 1);
    lab.fixture.delete("classless").await?;
    lab.fixture.gone("classless").await?;
    lab.endpoint("no balancer", <[_]>::is_empty).await?;
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn every_failure_says_what_to_change_and_heals() -> Result<()> {
    let mut lab = OutsideLab::new("Automatic").await?;
    lab.endpoint.store().refused_ports.insert(25);
    lab.service("refused", json!({"ports": [{"port": 25}]})).await?;
    lab.fixture.waits("refused", "RequestRefused", "25").await?;
    lab.fixture.event("refused", "SyncLoadBalancerFailed").await?;
    // What was refused is not asked for again, only because something else of the Service is changed.
    let calls = lab.calls();
    lab.fixture.change("refused", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    lab.service("served", json!({})).await?;
    lab.fixture.gets("served", &["203.0.113.1"]).await?;
    lab.fixture.delete("served").await?;
    lab.fixture.gone("served").await?;
    let served = lab.endpoint.store().calls[calls..].iter().map(|c| c.path.clone()).collect::<Vec<_>>();
    let uid = lab.fixture.services().get("refused").await?.uid().unwrap();
    assert!(served.iter().all(|path| !path.contains(&uid)), "{served:?}");
    lab.fixture.change("refused", json!({"spec": {"ports": [{"port": 26}]}})).await?;
    lab.fixture.gets("refused", &["203.0.113.1"]).await?;

    // It takes its time: no failure, and served in the end.
    lab.endpoint.store().unfinished = 2;
    lab.endpoint.store().retry_after = Some(1);
    lab.service("slow", json!({})).await?;
    lab.fixture.gets("slow", &["203.0.113.2"]).await?;

    let secret =
        json!({"provider": "webhook", "webhook": {"url": lab.endpoint.url(), "tokenSecret": "missing"}});
    lab.fixture.class_of("secretive", secret).await?;
    lab.fixture.service("secretive", json!({"loadBalancerClass": "penstock.dev/secretive"})).await?;
    lab.fixture.waits("secretive", "InvalidCredentials", "operator.secretNames").await?;
    lab.fixture.stop_operator().await
}
