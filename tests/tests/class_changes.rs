//! From one class to another, and classes that come and go, on a real API server.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use penstock_crds::{FINALIZER, LoadBalancerClass, SERVED_BY};
use penstock_e2e::wait::{Look, until};
use penstock_tests::{doubles::Doubles, outside_lab::OutsideLab, provisioning, shown};
use serde_json::{Value, json};

/// With the default class `bare-metal` and one address in its pool.
async fn lab() -> Result<OutsideLab> {
    let lab = OutsideLab::new("Automatic").await?;
    lab.fixture.class("bare-metal", true).await?;
    lab.fixture.pool("pool", &["198.51.100.1/32"]).await?;
    Ok(lab)
}

fn classes(lab: &OutsideLab) -> Api<LoadBalancerClass> {
    Api::all(lab.fixture.client.clone())
}

/// Returns when the operator goes by it.
async fn make_default(lab: &OutsideLab, class: &str, default: bool) -> Result<()> {
    let patch = json!({"spec": {"default": default}});
    classes(lab).patch(class, &PatchParams::default(), &Patch::Merge(patch)).await?;
    until(&format!("LoadBalancerClass {class} in force"), Duration::from_secs(60), || async {
        let class = classes(lab).get(class).await?;
        let conditions = class.status.unwrap_or_default().conditions;
        let seen = conditions.iter().any(|c| c.observed_generation == class.metadata.generation);
        Ok(if seen { Look::Ready(()) } else { Look::NotYet(format!("{conditions:?}")) })
    })
    .await
}

fn served_by(service: &Service) -> Option<&str> {
    service.annotations().get(SERVED_BY).map(String::as_str)
}

fn of_type(kind: &str, class: &Value) -> Value {
    json!({"spec": {"type": kind, "loadBalancerClass": class}})
}

#[tokio::test]
async fn a_new_default_class_moves_nobody_and_serves_who_comes_next() -> Result<()> {
    let mut lab = lab().await?;
    lab.fixture.service("old", json!({})).await?;
    let old = lab.fixture.gets("old", &["198.51.100.1"]).await?;
    assert_eq!(served_by(&old), Some("bare-metal"));
    make_default(&lab, "bare-metal", false).await?;
    make_default(&lab, "outside", true).await?;
    lab.fixture.service("new", json!({})).await?;
    let new = lab.fixture.gets("new", &["203.0.113.1"]).await?;
    assert_eq!(served_by(&new), Some("outside"));
    let kept = lab.fixture.services().get("old").await?;
    assert_eq!(kept.resource_version(), old.resource_version(), "nothing is written to the one that stays");

    // Also when it changes, and after a restart.
    lab.fixture.change("old", json!({"spec": {"ports": [{"port": 81}]}})).await?;
    let port =
        |s: &Service| s.status.clone()?.load_balancer?.ingress?[0].ports.clone()?.first().map(|p| p.port);
    let kept = lab.fixture.eventually("old", |s| port(s) == Some(81)).await?;
    assert_eq!((shown(&kept), served_by(&kept)), (vec!["198.51.100.1"], Some("bare-metal")));
    lab.fixture.stop_operator().await?;
    lab.fixture.start_operator().await?;
    lab.fixture.service("newer", json!({})).await?;
    lab.fixture.gets("newer", &["203.0.113.2"]).await?;
    let after = lab.fixture.services().get("old").await?;
    assert_eq!(after.resource_version(), kept.resource_version());
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn a_class_that_is_deleted_in_use_leaves_its_services_what_they_have() -> Result<()> {
    let mut lab = lab().await?;
    lab.fixture.service("pooled", json!({})).await?;
    lab.fixture.gets("pooled", &["198.51.100.1"]).await?;
    lab.service("outside", json!({})).await?;
    lab.fixture.gets("outside", &["203.0.113.1"]).await?;
    for class in ["bare-metal", "outside"] {
        classes(&lab).delete(class, &DeleteParams::default()).await?;
    }
    for (name, class, address) in
        [("pooled", "bare-metal", "198.51.100.1"), ("outside", "outside", "203.0.113.1")]
    {
        let why = format!("LoadBalancerClass {class} does not exist: create it");
        let held = lab.fixture.waits(name, "NoClass", &why).await?;
        assert_eq!(shown(&held), [address]);
        assert!(held.finalizers().contains(&FINALIZER.to_owned()));
    }
    let calls = lab.calls();
    lab.fixture.change("outside", json!({"spec": {"ports": [{"port": 81}]}})).await?;
    // Another of the same class shows that the change was looked at.
    lab.service("later", json!({})).await?;
    lab.fixture.waits("later", "NoClass", "LoadBalancerClass outside").await?;
    assert_eq!(lab.calls(), calls);
    assert_eq!(lab.balancer("outside", |_| true).await?.spec.frontends[0].port, 80);

    // The pool's address is not free meanwhile; the classes come back, and everything goes on where it stopped.
    lab.fixture.class("another", true).await?;
    lab.fixture.service("hungry", json!({})).await?;
    lab.fixture.waits("hungry", "Exhausted", "no free IPv4 address").await?;
    lab.fixture.class("bare-metal", false).await?;
    let url = lab.endpoint.url();
    lab.fixture.class_of("outside", json!({"provider": "webhook", "webhook": {"url": url}})).await?;
    lab.balancer("outside", |b| b.spec.frontends[0].port == 81).await?;
    for (name, address) in [("pooled", "198.51.100.1"), ("outside", "203.0.113.1"), ("later", "203.0.113.2")]
    {
        let served =
            lab.fixture.eventually(name, |s| provisioning(s).is_none() && !shown(s).is_empty()).await?;
        assert_eq!(shown(&served), [address]);
    }

    // Without its class, a Service that goes gives back what it has all the same.
    classes(&lab).delete("bare-metal", &DeleteParams::default()).await?;
    lab.fixture.waits("pooled", "NoClass", "LoadBalancerClass bare-metal").await?;
    lab.fixture.delete("pooled").await?;
    lab.fixture.gone("pooled").await?;
    lab.fixture.gets("hungry", &["198.51.100.1"]).await?;
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn by_way_of_another_type_a_service_changes_its_class() -> Result<()> {
    let mut lab = lab().await?;
    let doubles = Doubles::watch(lab.fixture.client.clone());
    let (pool, outside) = (json!("penstock.dev/bare-metal"), json!("penstock.dev/outside"));
    lab.fixture.service("s", json!({"loadBalancerClass": pool})).await?;
    lab.fixture.gets("s", &["198.51.100.1"]).await?;
    lab.fixture.service("waiting", json!({})).await?;
    lab.fixture.waits("waiting", "Exhausted", "no free IPv4 address").await?;

    // The class alone cannot be changed, nor taken away.
    for class in [outside.clone(), Value::Null] {
        let refused = lab.fixture.change("s", of_type("LoadBalancer", &class)).await.unwrap_err().to_string();
        assert!(refused.contains("may not change once set"), "{refused}");
    }
    let changed = lab.fixture.change("s", json!({"spec": {"type": "ClusterIP"}})).await?;
    assert_eq!(
        (changed.spec.unwrap().load_balancer_class, shown(&lab.fixture.services().get("s").await?).len()),
        (None, 0)
    );
    lab.fixture.change("s", of_type("LoadBalancer", &outside)).await?;
    let moved = lab.fixture.gets("s", &["203.0.113.1"]).await?;
    assert_eq!(served_by(&moved), Some("outside"));
    assert!(!moved.annotations().contains_key("penstock.dev/ip-allocated-from-pool"), "{moved:?}");
    lab.fixture.gets("waiting", &["198.51.100.1"]).await?;

    // And back: nothing is left at the endpoint, and the pool's address is another's by now.
    lab.fixture.change("s", json!({"spec": {"type": "ClusterIP"}})).await?;
    lab.fixture.change("s", of_type("LoadBalancer", &pool)).await?;
    lab.fixture.waits("s", "Exhausted", "no free IPv4 address").await?;
    lab.endpoint("no balancer", <[_]>::is_empty).await?;
    assert!(lab.records().get_opt("s").await?.is_none());
    lab.fixture.delete("waiting").await?;
    let back = lab.fixture.gets("s", &["198.51.100.1"]).await?;
    assert_eq!(served_by(&back), Some("bare-metal"));
    assert_eq!(lab.endpoint.store().count("DELETE"), 1);
    assert_eq!(doubles.take(), Vec::<String>::new());
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn who_names_no_class_moves_when_its_mark_is_taken_away() -> Result<()> {
    let mut lab = lab().await?;
    let doubles = Doubles::watch(lab.fixture.client.clone());
    lab.fixture.service("s", json!({})).await?;
    lab.fixture.gets("s", &["198.51.100.1"]).await?;
    lab.fixture.service("waiting", json!({"loadBalancerClass": "penstock.dev/bare-metal"})).await?;
    lab.fixture.waits("waiting", "Exhausted", "no free IPv4 address").await?;
    make_default(&lab, "bare-metal", false).await?;
    make_default(&lab, "outside", true).await?;
    let unmark = json!({"metadata": {"annotations": {SERVED_BY: null}}});
    lab.fixture.change("s", unmark.clone()).await?;
    let moved = lab.fixture.gets("s", &["203.0.113.1"]).await?;
    assert_eq!(served_by(&moved), Some("outside"));
    lab.fixture.gets("waiting", &["198.51.100.1"]).await?;

    make_default(&lab, "outside", false).await?;
    make_default(&lab, "bare-metal", true).await?;
    lab.fixture.delete("waiting").await?;
    lab.fixture.gone("waiting").await?;
    lab.fixture.change("s", unmark).await?;
    let back = lab.fixture.gets("s", &["198.51.100.1"]).await?;
    assert_eq!(served_by(&back), Some("bare-metal"));
    lab.endpoint("no balancer", <[_]>::is_empty).await?;
    assert!(lab.records().get_opt("s").await?.is_none());
    assert_eq!(doubles.take(), Vec::<String>::new());
    lab.fixture.stop_operator().await
}
