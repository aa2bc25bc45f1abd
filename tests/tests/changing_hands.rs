//! Services whose class, finalizer or controller changes while nobody of ours looks: nothing is lost, nothing is left
//! behind, and nobody else's work is touched.

#![allow(clippy::unwrap_used)] // a test may panic

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{DeleteParams, Patch},
};
use penstock_crds::{ALLOCATED_FROM, ALLOCATED_FROM_METALLB, LoadBalancerClass, SERVED_BY};
use penstock_tests::{
    Fixture, outside_lab::OutsideLab, provisioning, shown, webhook_endpoint::WebhookEndpoint,
};
use serde_json::json;

/// An operator, the class `outside` of a webhook, and a Service of it that has its balancer.
async fn outside() -> Result<(Fixture, WebhookEndpoint)> {
    let lab = OutsideLab::new("Automatic").await?;
    lab.service("s", json!({})).await?;
    lab.fixture.eventually("s", |s| !shown(s).is_empty()).await?;
    Ok((lab.fixture, lab.endpoint))
}

/// What another controller would write.
async fn show(fixture: &Fixture, name: &str, ip: &str) -> Result<()> {
    let given = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
    fixture.services().patch_status(name, &Default::default(), &Patch::Merge(given)).await?;
    Ok(())
}

#[tokio::test]
async fn a_class_that_is_made_again_for_pools_takes_down_what_it_built_outside() -> Result<()> {
    let (mut fixture, endpoint) = outside().await?;
    fixture.stop_operator().await?;
    let classes: Api<LoadBalancerClass> = Api::all(fixture.client.clone());
    classes.delete("outside", &DeleteParams::default()).await?;
    fixture.class_of("outside", json!({"provider": "pool"})).await?;
    fixture.pool("pool", &["198.51.100.0/30"]).await?;
    fixture.start_operator().await?;
    fixture.gets("s", &["198.51.100.0"]).await?;
    assert!(endpoint.store().balancers.is_empty(), "the address of a pool comes after the balancer is gone");
    fixture.stop_operator().await
}

#[tokio::test]
async fn a_service_whose_finalizer_was_dropped_keeps_its_balancer() -> Result<()> {
    let (mut fixture, endpoint) = outside().await?;
    let before = endpoint.store().balancers.clone();
    fixture.stop_operator().await?;
    // As `kubectl replace` does with a manifest that knows nothing of us; and there is no class to put it right.
    fixture.change("s", json!({"metadata": {"finalizers": null, "annotations": {SERVED_BY: null}}})).await?;
    let classes: Api<LoadBalancerClass> = Api::all(fixture.client.clone());
    classes.delete("outside", &DeleteParams::default()).await?;
    fixture.start_operator().await?;
    let held = fixture.waits("s", "NoClass", "LoadBalancerClass outside does not exist").await?;
    assert_eq!(shown(&held).len(), 1, "{held:?}");
    let webhook = json!({"provider": "webhook", "webhook": {"url": endpoint.url()}});
    fixture.class_of("outside", webhook).await?;
    let marked = |s: &Service| s.metadata.finalizers.is_some() && provisioning(s).is_none();
    fixture.eventually("s", |s| marked(s) && shown(s) == shown(&held)).await?;
    assert_eq!(endpoint.store().balancers, before);
    assert!(endpoint.store().calls.iter().all(|call| call.method != "DELETE"));
    fixture.stop_operator().await
}

#[tokio::test]
async fn a_service_from_metallb_stays_where_it_is_until_its_own_pool_comes() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.stop_operator().await?;
    fixture.service("s", json!({})).await?;
    let from = json!({"metadata": {"annotations": {ALLOCATED_FROM_METALLB: "own"}}});
    fixture.change("s", from).await?;
    show(&fixture, "s", "198.51.100.7").await?;
    fixture.pool("first", &["203.0.113.200/30"]).await?;
    fixture.start_operator().await?;
    let from = |pool: &'static str| {
        move |s: &Service| {
            let said = s.metadata.annotations.as_ref().and_then(|a| a.get(ALLOCATED_FROM));
            shown(s) == ["198.51.100.7"] && said.is_some_and(|said| said == pool)
        }
    };
    fixture.eventually("s", from("own")).await?;
    fixture.pool("own", &["198.51.100.0/28"]).await?;
    fixture.service("later", json!({"loadBalancerIP": "198.51.100.8"})).await?;
    fixture.gets("later", &["198.51.100.8"]).await?;
    fixture.eventually("s", from("own")).await?;
    fixture.stop_operator().await
}

#[tokio::test]
async fn the_addresses_of_the_controller_that_serves_it_now_stay() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.pool("pool", &["203.0.113.200/32"]).await?;
    fixture.service("s", json!({})).await?;
    fixture.gets("s", &["203.0.113.200"]).await?;
    fixture.stop_operator().await?;
    for spec in [
        json!({"type": "ClusterIP"}),
        json!({"type": "LoadBalancer", "loadBalancerClass": "other.example/x"}),
    ] {
        fixture.change("s", json!({"spec": spec})).await?;
    }
    show(&fixture, "s", "198.51.100.7").await?;
    fixture.start_operator().await?;
    let left = fixture.eventually("s", |s| s.metadata.finalizers.is_none()).await?;
    assert_eq!(shown(&left), ["198.51.100.7"]);
    // And ours is free again.
    fixture.service("next", json!({})).await?;
    fixture.gets("next", &["203.0.113.200"]).await?;
    fixture.stop_operator().await
}
