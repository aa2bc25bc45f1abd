//! Services that get no address from us are watched too: what of them is not served is said.

#![allow(clippy::unwrap_used)] // a test may panic

use anyhow::Result;
use k8s_openapi::api::{core::v1::Service, events::v1::Event};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use penstock_crds::{APPROVED_PLAN, ExternalIPPolicy};
use penstock_tests::{Fixture, provisioning, replica::Protocol, shown};
use serde_json::{Value, json};

fn said<'a>(service: &'a Service, kind: &str) -> Option<&'a str> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == kind && c.status == "False").map(|c| c.message.as_str())
}

const EXTERNAL_IPS: &str = "penstock.dev/ExternalIPsAccepted";

async fn policy(fixture: &Fixture, name: &str, spec: Value) -> Result<()> {
    let object: ExternalIPPolicy = serde_json::from_value(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ExternalIPPolicy", "metadata": {"name": name}, "spec": spec
    }))?;
    Api::all(fixture.client.clone()).create(&PostParams::default(), &object).await?;
    Ok(())
}

#[tokio::test]
async fn external_ips_need_a_policy_and_external_names_a_name() -> Result<()> {
    const EXTERNAL_NAME: &str = "penstock.dev/ExternalNameAccepted";
    let mut fixture = Fixture::with_operator().await?;
    let spec = json!({"type": "NodePort", "externalIPs": ["198.51.100.10"]});
    fixture.service("ips", spec).await?;
    fixture.eventually("ips", |s| said(s, EXTERNAL_IPS).is_some_and(|m| m.contains("198.51.100.10"))).await?;
    assert!(fixture.event("ips", "ExternalIPsRefused").await?.contains("ExternalIPPolicy"));
    policy(&fixture, "other", json!({"namespaces": ["elsewhere"], "cidrs": ["198.51.100.0/24"]})).await?;
    policy(&fixture, "ours", json!({"namespaces": ["default"], "cidrs": ["198.51.100.10/32"]})).await?;
    fixture.eventually("ips", |s| said(s, EXTERNAL_IPS).is_none()).await?;

    fixture.service("name", json!({"type": "ExternalName", "externalName": "192.0.2.1"})).await?;
    fixture.eventually("name", |s| said(s, EXTERNAL_NAME).is_some()).await?;
    fixture.event("name", "ExternalNameInvalid").await?;
    fixture.change("name", json!({"spec": {"externalName": "www.example.com"}})).await?;
    fixture.eventually("name", |s| said(s, EXTERNAL_NAME).is_none()).await?;
    fixture.stop_operator().await
}

/// Waits until the operator has published an event of a Service that is created now, and with it all before.
async fn all_events_are_published(fixture: &Fixture, name: &str) -> Result<()> {
    fixture.service(name, json!({})).await?;
    fixture.event(name, "IPAllocated").await.map(drop)
}

/// How often the operator wrote to the Service or its status.
fn writes(protocol: &Protocol, service: &str) -> usize {
    let path = format!("/api/v1/namespaces/default/services/{service}");
    let status = format!("{path}/status");
    protocol.changes().iter().filter(|change| [&path, &status].contains(&&change.path)).count()
}

/// How often an event with this reason was published of the Service.
async fn told(fixture: &Fixture, service: &str, reason: &str) -> Result<i32> {
    let events =
        Api::<Event>::default_namespaced(fixture.client.clone()).list(&ListParams::default()).await?;
    let about = |e: &&Event| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(service);
    let of_reason = events.iter().filter(about).filter(|e| e.reason.as_deref() == Some(reason));
    Ok(of_reason.map(|e| e.series.as_ref().map_or(1, |series| series.count)).sum())
}

#[tokio::test]
async fn an_address_and_a_refused_external_ip_are_one_write() -> Result<()> {
    let (fixture, protocol) = (Fixture::start().await?, Protocol::default());
    fixture.class("bare-metal", true).await?;
    fixture.pool("pool", &["203.0.113.200/29"]).await?;
    let operator = fixture.replica("operator", &protocol).await?;
    all_events_are_published(&fixture, "first").await?;

    fixture.service("s", json!({"externalIPs": ["198.51.100.10"]})).await?;
    let both = |s: &Service| said(s, EXTERNAL_IPS).is_some() && shown(s) == ["203.0.113.201"];
    fixture.eventually("s", both).await?;
    fixture.event("s", "ExternalIPsRefused").await?;
    all_events_are_published(&fixture, "second").await?;
    assert_eq!(writes(&protocol, "s"), 1);
    // One more when an admin allows it; its address is no news then.
    policy(&fixture, "ours", json!({"namespaces": ["default"], "cidrs": ["198.51.100.10/32"]})).await?;
    fixture.eventually("s", |s| said(s, EXTERNAL_IPS).is_none()).await?;
    all_events_are_published(&fixture, "third").await?;
    assert_eq!(writes(&protocol, "s"), 2);
    assert_eq!(told(&fixture, "s", "IPAllocated").await?, 1);

    // Also of a Service that waits.
    let spec = json!({"externalIPs": ["198.51.100.11"], "loadBalancerIP": "192.0.2.1"});
    fixture.service("starving", spec).await?;
    fixture.waits("starving", "RequestRefused", "192.0.2.1").await?;
    fixture.eventually("starving", |s| said(s, EXTERNAL_IPS).is_some()).await?;
    all_events_are_published(&fixture, "fourth").await?;
    assert_eq!(writes(&protocol, "starving"), 1);
    operator.stop().await
}

#[tokio::test]
async fn pools_count_and_an_address_moves_only_with_approval_where_the_class_says_so() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    fixture.class_of("careful", json!({"provider": "pool", "default": true, "approval": "Manual"})).await?;
    fixture.start_operator().await?;
    fixture.pool("pool", &["203.0.113.200/31"]).await?;
    fixture.service("s", json!({})).await?;
    fixture.gets("s", &["203.0.113.200"]).await?;
    let counts = |assigned, available| {
        let api = fixture.pools();
        async move {
            penstock_e2e::wait::until("the pool's counts", std::time::Duration::from_secs(60), || async {
                let status = api.get("pool").await?.status.unwrap_or_default();
                let said = (status.assigned_ipv4, status.available_ipv4) == (assigned, available);
                Ok(if said {
                    penstock_e2e::wait::Look::Ready(())
                } else {
                    penstock_e2e::wait::Look::NotYet(format!("{status:?}"))
                })
            })
            .await
        }
    };
    counts(1, 1).await?;

    fixture.change("s", json!({"spec": {"loadBalancerIP": "203.0.113.201"}})).await?;
    let asked = fixture.waits("s", "ApprovalRequired", "kubectl annotate").await?;
    assert_eq!(shown(&asked), ["203.0.113.200"]);
    let hash = provisioning(&asked).unwrap().1.rsplit('=').next().unwrap();
    fixture.change("s", json!({"metadata": {"annotations": {APPROVED_PLAN: hash}}})).await?;
    fixture.gets("s", &["203.0.113.201"]).await?;

    fixture.delete("s").await?;
    let asked = fixture.waits("s", "ApprovalRequired", "destructive").await?;
    let hash = provisioning(&asked).unwrap().1.rsplit('=').next().unwrap();
    fixture.change("s", json!({"metadata": {"annotations": {APPROVED_PLAN: hash}}})).await?;
    fixture.gone("s").await?;
    counts(0, 2).await?;
    fixture.stop_operator().await
}
