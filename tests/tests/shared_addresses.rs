//! Addresses that several Services share, and pools that are kept for some namespaces, on a real API server.

#![allow(clippy::unwrap_used)] // a test may panic

use anyhow::Result;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use penstock_crds::{ALLOW_SHARED_IP, IPAddressPool};
use penstock_tests::{Fixture, doubles::Doubles, provisioning, shown};
use serde_json::{Value, json};

async fn sharer(fixture: &Fixture, name: &str, key: &str, port: u16, more: Value) -> Result<Service> {
    let mut object =
        json!({"metadata": {"annotations": {ALLOW_SHARED_IP: key}}, "spec": {"ports": [{"port": port}]}});
    object["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fixture.service_in("default", name, object).await
}

#[tokio::test]
async fn services_of_one_key_share_an_address_as_long_as_no_port_clashes() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    let doubles = Doubles::watch(fixture.client.clone());
    fixture.pool("pool", &["203.0.113.200/31"]).await?;
    for (name, port) in [("a", 80), ("b", 443)] {
        sharer(&fixture, name, "web", port, json!({})).await?;
        fixture.gets(name, &["203.0.113.200"]).await?;
    }
    let asks = json!({"loadBalancerIP": "203.0.113.200"});
    sharer(&fixture, "c", "web", 80, asks.clone()).await?;
    let clash = "Service default/a has port 80/TCP of 203.0.113.200: change spec.ports of one of the two";
    fixture.waits("c", "RequestRefused", clash).await?;
    assert!(fixture.event("c", "AllocationFailed").await?.contains(clash));
    sharer(&fixture, "other", "mail", 25, asks.clone()).await?;
    fixture.waits("other", "RequestRefused", "give this Service the same").await?;
    fixture.service("alone", asks).await?;
    fixture.waits("alone", "RequestRefused", "both Services need the same annotation").await?;

    // The port of the first goes, and the one that waited for it gets the address.
    fixture.change("a", json!({"spec": {"ports": [{"port": 81}]}})).await?;
    fixture.gets("c", &["203.0.113.200"]).await?;
    // A clash that comes later moves whoever makes it, and nobody else; until then the two show the same.
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.change("b", json!({"spec": {"ports": [{"port": 81}]}})).await?;
    fixture.gets("b", &["203.0.113.201"]).await?;
    let doubles = Doubles::watch(fixture.client.clone());
    for name in ["a", "c"] {
        assert_eq!(shown(&fixture.services().get(name).await?), ["203.0.113.200"], "{name}");
    }
    // A sharer that leaves takes nothing with it; the last one does.
    fixture.delete("a").await?;
    fixture.gone("a").await?;
    let kept = fixture.services().get("c").await?;
    assert_eq!((shown(&kept), provisioning(&kept)), (vec!["203.0.113.200"], None));
    fixture.waits("alone", "RequestRefused", "Service default/c holds 203.0.113.200").await?;
    fixture.delete("other").await?;
    fixture.delete("c").await?;
    fixture.gets("alone", &["203.0.113.200"]).await?;
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.stop_operator().await
}

#[tokio::test]
async fn sharing_survives_a_restart_and_ends_with_the_key() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    let doubles = Doubles::watch(fixture.client.clone());
    fixture.pool("pool", &["203.0.113.200/31"]).await?;
    for (name, port) in [("a", 80), ("b", 443)] {
        sharer(&fixture, name, "web", port, json!({})).await?;
        fixture.gets(name, &["203.0.113.200"]).await?;
    }
    let before = fixture.services().get("b").await?.metadata.resource_version;
    fixture.stop_operator().await?;
    sharer(&fixture, "c", "web", 80, json!({"loadBalancerIP": "203.0.113.200"})).await?;
    fixture.start_operator().await?;
    fixture.waits("c", "RequestRefused", "Service default/a has port 80/TCP").await?;
    assert_eq!(
        fixture.services().get("b").await?.metadata.resource_version,
        before,
        "a restart writes nothing"
    );
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.change("b", json!({"metadata": {"annotations": {ALLOW_SHARED_IP: null}}})).await?;
    fixture.gets("b", &["203.0.113.201"]).await?;
    let doubles = Doubles::watch(fixture.client.clone());
    fixture.service("d", json!({})).await?;
    fixture.waits("d", "Exhausted", "no free IPv4 address").await?;
    fixture.delete("b").await?;
    fixture.gets("d", &["203.0.113.201"]).await?;
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.stop_operator().await
}

/// A pool for namespaces with the label `team: gold`.
async fn pool_for_gold(fixture: &Fixture, name: &str, address: &str, priority: u32) -> Result<()> {
    let object: IPAddressPool = serde_json::from_value(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool", "metadata": {"name": name},
        "spec": {"addresses": [address], "serviceAllocation": {
            "priority": priority, "namespaceSelectors": [{"matchLabels": {"team": "gold"}}]
        }}
    }))?;
    fixture.pools().create(&PostParams::default(), &object).await?;
    Ok(())
}

async fn label(fixture: &Fixture, namespace: &str, team: Value) -> Result<()> {
    let labels = json!({"metadata": {"labels": {"team": team}}});
    let api: Api<Namespace> = Api::all(fixture.client.clone());
    api.patch(namespace, &PatchParams::default(), &Patch::Merge(labels)).await?;
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_is_relabelled_gets_into_its_pools_and_out_of_them() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    let doubles = Doubles::watch(fixture.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}}))?;
    Api::<Namespace>::all(fixture.client.clone()).create(&PostParams::default(), &namespace).await?;
    // By name the second would come first.
    pool_for_gold(&fixture, "z-first", "203.0.113.200/32", 10).await?;
    pool_for_gold(&fixture, "a-second", "203.0.113.201/32", 20).await?;
    let says = |reason: &'static str, sentence: &'static str| {
        move |s: &Service| provisioning(s).is_some_and(|(r, m)| r == reason && m.contains(sentence))
    };
    let has = |ip: &'static str| move |s: &Service| shown(s) == [ip];
    fixture.service_in("shop", "one", json!({})).await?;
    let sentence = "admits neither the name nor the labels of namespace shop";
    fixture.eventually_in("shop", "one", says("NoPool", sentence)).await?;

    label(&fixture, "shop", json!("gold")).await?;
    fixture.eventually_in("shop", "one", has("203.0.113.200")).await?;
    fixture.service_in("shop", "three", json!({})).await?;
    fixture.eventually_in("shop", "three", has("203.0.113.201")).await?;
    fixture.service_in("shop", "four", json!({})).await?;
    fixture.eventually_in("shop", "four", says("Exhausted", "IPAddressPools z-first, a-second")).await?;
    // A Service of another namespace gets nothing from them, also on request.
    fixture.service("stranger", json!({"loadBalancerIP": "203.0.113.200"})).await?;
    fixture.waits("stranger", "RequestRefused", "labels of namespace default").await?;

    // The label goes: those whom the pools no longer serve lose what they have, and hear why.
    label(&fixture, "shop", Value::Null).await?;
    for name in ["one", "three"] {
        let lost = fixture.eventually_in("shop", name, says("NoPool", sentence)).await?;
        assert_eq!(shown(&lost), Vec::<&str>::new(), "{name}");
    }
    label(&fixture, "default", json!("gold")).await?;
    fixture.gets("stranger", &["203.0.113.200"]).await?;
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.stop_operator().await
}
