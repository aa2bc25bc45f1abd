//! The life of Services with addresses from pools, on a real API server.

#![allow(clippy::unwrap_used)] // a test may panic

use anyhow::Result;
use penstock_crds::FINALIZER;
use penstock_tests::{Fixture, shown};
use serde_json::json;

#[tokio::test]
async fn a_service_gets_an_address_keeps_it_over_a_restart_and_gives_it_back() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.pool("pool", &["203.0.113.200-203.0.113.201"]).await?;
    fixture.service("first", json!({})).await?;
    let first = fixture.gets("first", &["203.0.113.200"]).await?;
    assert_eq!(first.metadata.finalizers.as_deref(), Some([FINALIZER.to_owned()].as_slice()));
    assert!(fixture.event("first", "IPAllocated").await?.contains("203.0.113.200 from IPAddressPool pool"));

    // While the operator is away another Service comes: the restart must neither move nor give away the first's.
    fixture.stop_operator().await?;
    fixture.service("second", json!({})).await?;
    fixture.start_operator().await?;
    fixture.gets("second", &["203.0.113.201"]).await?;
    let after = fixture.services().get("first").await?;
    assert_eq!(after.metadata.resource_version, first.metadata.resource_version, "a restart writes nothing");

    fixture.service("third", json!({})).await?;
    fixture.waits("third", "Exhausted", "no free IPv4 address in IPAddressPool pool").await?;
    fixture.event("third", "AllocationFailed").await?;
    fixture.delete("first").await?;
    fixture.gone("first").await?;
    fixture.gets("third", &["203.0.113.200"]).await?;
    fixture.stop_operator().await
}

#[tokio::test]
async fn a_change_of_type_cleans_up_also_when_the_operator_was_away() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.pool("pool", &["203.0.113.200/32"]).await?;
    fixture.service("a", json!({"loadBalancerClass": "penstock.dev/bare-metal"})).await?;
    fixture.gets("a", &["203.0.113.200"]).await?;
    // The API server drops status and class by itself; the finalizer is what is left to find it by.
    fixture.stop_operator().await?;
    fixture.change("a", json!({"spec": {"type": "ClusterIP"}})).await?;
    fixture.start_operator().await?;
    let clean = fixture.eventually("a", |s| s.metadata.finalizers.is_none() && shown(s).is_empty()).await?;
    let conditions = clean.status.unwrap().conditions.unwrap_or_default();
    assert!(conditions.is_empty(), "{conditions:?}");
    fixture.service("b", json!({})).await?;
    fixture.gets("b", &["203.0.113.200"]).await?;
    // And back.
    fixture.change("a", json!({"spec": {"type": "LoadBalancer"}})).await?;
    fixture.waits("a", "Exhausted", "no free IPv4").await?;
    fixture.change("b", json!({"spec": {"type": "NodePort"}})).await?;
    fixture.gets("a", &["203.0.113.200"]).await?;
    fixture.stop_operator().await
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.pool("pool", &["203.0.113.200/30"]).await?;
    let foreign = fixture.service("foreign", json!({"loadBalancerClass": "other.example/class"})).await?;
    let plain = fixture.service("plain", json!({"type": "ClusterIP"})).await?;
    fixture.service("ours", json!({})).await?;
    fixture.gets("ours", &["203.0.113.200"]).await?;
    for before in [foreign, plain] {
        let name = before.metadata.name.as_deref().unwrap();
        let after = fixture.services().get(name).await?;
        assert_eq!(
            after.metadata.resource_version, before.metadata.resource_version,
            "{name} was written to"
        );
    }
    fixture.service("lost", json!({"loadBalancerClass": "penstock.dev/unknown"})).await?;
    fixture.waits("lost", "NoClass", "LoadBalancerClass unknown does not exist").await?;
    fixture.class("unknown", false).await?;
    fixture.gets("lost", &["203.0.113.201"]).await?;
    fixture.stop_operator().await
}

#[tokio::test]
async fn bad_input_harms_only_itself() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.service("early", json!({})).await?;
    fixture.waits("early", "NoPool", "there is no usable IPAddressPool").await?;
    fixture.pool("good", &["203.0.113.200/30"]).await?;
    fixture.gets("early", &["203.0.113.200"]).await?;

    // What CEL can see is refused at once, each with its sentence.
    let refused = [
        ("nonsense", "every entry must be a CIDR"),
        ("010.0.0.1-010.0.0.9", "every entry must be a CIDR"),
        ("203.0.113.5/24", "no host bits set"),
        ("0.0.0.0/0", "must not be /0"),
        ("203.0.113.9-2001:db8::1", "must not mix IPv4 and IPv6"),
    ];
    for (addresses, sentence) in refused {
        let error = fixture.pool("bad", &[addresses]).await.unwrap_err().to_string();
        assert!(error.contains(sentence), "{addresses}: {error}");
    }
    for (spec, sentence) in [
        (json!({"interfaces": ["eth0", "a b"]}), "neither slashes nor spaces"),
        (json!({"ipAddressPools": ["good", "good"]}), "Duplicate value"),
    ] {
        let error = fixture.advertisement("bad", spec).await.unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }
    fixture.advertisement("without-spec", serde_json::Value::Null).await?;
    // What it cannot see stands in the condition.
    fixture.pool("reversed", &["203.0.113.230-203.0.113.220"]).await?;
    fixture.pool_says("reversed", "False", "ends before it begins").await?;
    fixture.pool("overlap", &["203.0.113.201-203.0.113.210"]).await?;
    fixture.pool_says("overlap", "False", "of IPAddressPool good").await?;
    fixture.pool_says("good", "True", "").await?;

    fixture.service("outside", json!({"loadBalancerIP": "198.51.100.1"})).await?;
    fixture.waits("outside", "RequestRefused", "asks for 198.51.100.1, which is in no IPAddressPool").await?;
    assert!(fixture.event("outside", "AllocationFailed").await?.contains("198.51.100.1"));
    fixture.service("fine", json!({"loadBalancerIP": "203.0.113.203"})).await?;
    fixture.gets("fine", &["203.0.113.203"]).await?;
    fixture.change("outside", json!({"spec": {"loadBalancerIP": "203.0.113.202"}})).await?;
    fixture.gets("outside", &["203.0.113.202"]).await?;
    fixture.stop_operator().await
}

#[tokio::test]
async fn pools_come_shrink_and_go() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.pool("a", &["203.0.113.200/31"]).await?;
    fixture.service("s", json!({"ipFamilyPolicy": "RequireDualStack"})).await?;
    fixture.waits("s", "Exhausted", "no free IPv4 and IPv6 address").await?;
    fixture.pool("b", &["203.0.113.210/32", "2001:db8:113::200/128"]).await?;
    fixture.gets("s", &["203.0.113.210", "2001:db8:113::200"]).await?;
    fixture.service("t", json!({})).await?;
    fixture.gets("t", &["203.0.113.200"]).await?;

    let edit = json!({"spec": {"addresses": ["203.0.113.201/32"]}});
    fixture.pools().patch("a", &Default::default(), &kube::api::Patch::Merge(edit)).await?;
    fixture.gets("t", &["203.0.113.201"]).await?;
    assert!(fixture.event("t", "ClearAssignment").await?.contains("203.0.113.200"));

    // An edit that cannot be accepted, then no pool at all, one after the other: nobody loses an address.
    let edit = json!({"spec": {"addresses": ["203.0.113.201-203.0.113.209"]}});
    fixture.pools().patch("b", &Default::default(), &kube::api::Patch::Merge(edit)).await?;
    fixture.pool_says("b", "False", "of IPAddressPool a").await?;
    fixture.service("u", json!({})).await?;
    fixture.waits("u", "Exhausted", "no free IPv4 address in IPAddressPool a").await?;
    assert_eq!(shown(&fixture.services().get("s").await?), ["203.0.113.210", "2001:db8:113::200"]);
    for pool in ["b", "a"] {
        fixture.pools().delete(pool, &Default::default()).await?;
    }
    fixture.waits("u", "NoPool", "no usable IPAddressPool").await?;
    assert_eq!(shown(&fixture.services().get("t").await?), ["203.0.113.201"]);
    assert_eq!(shown(&fixture.services().get("s").await?), ["203.0.113.210", "2001:db8:113::200"]);
    fixture.stop_operator().await
}

#[tokio::test]
async fn a_service_that_becomes_ours_later_keeps_the_address_that_another_controller_gave_it() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    fixture.start_operator().await?;
    fixture.pool("pool", &["203.0.113.200/30"]).await?;
    fixture.service("old", json!({})).await?;
    let given = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.202"}]}}});
    fixture.services().patch_status("old", &Default::default(), &kube::api::Patch::Merge(given)).await?;
    fixture.class("bare-metal", true).await?;
    fixture.eventually("old", |s| s.metadata.finalizers.is_some() && shown(s) == ["203.0.113.202"]).await?;
    fixture.stop_operator().await
}

#[tokio::test]
async fn a_status_changed_by_a_foreign_hand_is_put_right() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.pool("pool", &["203.0.113.200/30"]).await?;
    fixture.service("s", json!({})).await?;
    fixture.gets("s", &["203.0.113.200"]).await?;
    let theft = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}});
    fixture.services().patch_status("s", &Default::default(), &kube::api::Patch::Merge(theft)).await?;
    fixture.gets("s", &["203.0.113.200"]).await?;
    fixture.stop_operator().await
}
