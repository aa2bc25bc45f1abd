//! Several operators on a real API server: one leads, and one follows another without both writing.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use penstock_operator::leadership::GateKeeper;
use penstock_tests::{Fixture, replica::Protocol};
use serde_json::json;

/// A cluster with a class and a pool of many addresses, and no operator yet.
async fn cluster() -> Result<Fixture> {
    let fixture = Fixture::start().await?;
    fixture.class("bare-metal", true).await?;
    fixture.pool("pool", &["203.0.113.0/24"]).await?;
    Ok(fixture)
}

async fn provisioned(fixture: &Fixture, name: &str) -> Result<()> {
    fixture.service(name, json!({})).await?;
    fixture.eventually(name, |service| !penstock_tests::shown(service).is_empty()).await.map(drop)
}

#[tokio::test]
async fn one_of_two_writes_and_after_a_clean_stop_the_other() -> Result<()> {
    let (fixture, protocol) = (cluster().await?, Protocol::default());
    let first = fixture.replica("first", &protocol).await?;
    let led = fixture.led_by("first").await?;
    assert_eq!((led.lease_transitions, led.lease_duration_seconds), (Some(0), Some(15)));
    assert!(led.acquire_time.is_some());
    let second = fixture.replica("second", &protocol).await?;
    provisioned(&fixture, "before").await?;
    assert!(protocol.changes().iter().all(|change| change.identity == "first"), "{:?}", protocol.changes());

    // Work is under way while it is told to stop.
    for n in 0..40 {
        fixture.service(&format!("during-{n}"), json!({})).await?;
    }
    first.stop().await?;
    let spec = fixture.led_by("second").await?;
    assert_eq!(spec.lease_transitions, Some(1));
    for n in 0..40 {
        fixture.eventually(&format!("during-{n}"), |s| !penstock_tests::shown(s).is_empty()).await?;
    }
    provisioned(&fixture, "after").await?;

    let changes = protocol.changes();
    let taken = changes.iter().position(|change| change.identity == "second").unwrap();
    let given_up = changes.iter().rposition(|change| change.identity == "first").unwrap();
    assert!(changes[given_up].is_about_the_lease(), "it gives the Lease up last: {changes:?}");
    assert!(changes[taken].is_about_the_lease(), "it takes the Lease first: {changes:?}");
    assert!(given_up < taken, "two wrote at once: {changes:?}");

    second.stop().await?;
    fixture.lease(|spec| spec.holder_identity.as_deref() == Some("")).await?;
    Ok(())
}

#[tokio::test]
async fn after_a_kill_another_takes_over_and_the_same_goes_on() -> Result<()> {
    let (fixture, protocol) = (cluster().await?, Protocol::default());
    let first = fixture.replica("first", &protocol).await?;
    let led = fixture.led_by("first").await?;
    let second = fixture.replica("second", &protocol).await?;

    // Its next life goes on, although another one stands by and waits for the Lease to run out.
    first.kill().await?;
    let first = fixture.replica("first", &protocol).await?;
    provisioned(&fixture, "one").await?;
    let spec = fixture.led_by("first").await?;
    assert_eq!((spec.acquire_time, spec.lease_transitions), (led.acquire_time, Some(0)));

    first.kill().await?;
    let spec = fixture.led_by("second").await?;
    assert_eq!(spec.lease_transitions, Some(1));
    provisioned(&fixture, "two").await?;
    second.stop().await
}

#[tokio::test]
async fn a_leader_whose_lease_another_has_ends_and_says_so() -> Result<()> {
    let (fixture, protocol) = (cluster().await?, Protocol::default());
    let first = fixture.replica("first", &protocol).await?;
    fixture.led_by("first").await?;
    let taken = Patch::Merge(json!({"spec": {"holderIdentity": "other"}}));
    fixture.leases().patch("penstock-operator", &PatchParams::default(), &taken).await?;
    let error = format!("{:#}", first.ended().await.unwrap_err());
    assert!(error.contains("leadership was lost with Lease penstock-system/penstock-operator"), "{error}");
    assert!(error.contains(r#"names "other" as its holder"#), "{error}");
    fixture.led_by("other").await.map(drop)
}

#[tokio::test]
async fn what_a_stale_leader_writes_never_reaches_the_api_server() -> Result<()> {
    let (fixture, keeper) = (Fixture::start().await?, GateKeeper::default());
    let protocol = Protocol::default();
    let client = keeper.gate().client(&protocol.recorded("stale", fixture.operator_client().await?));
    let service = fixture.service("a", json!({})).await?;
    let api: Api<Service> = Api::default_namespaced(client);
    let condition = json!({"type": "Stale", "status": "True", "reason": "Test", "message": "",
        "lastTransitionTime": "2026-07-01T00:00:00Z"});
    let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));

    keeper.open_until(Some(Instant::now()));
    let refused = api.patch_status("a", &PatchParams::default(), &patch).await.unwrap_err();
    assert!(refused.to_string().contains("not the leader"), "{refused}");
    let after = api.get("a").await?;
    assert_eq!(after.metadata.resource_version, service.metadata.resource_version);

    keeper.open_until(Some(Instant::now() + Duration::from_secs(3600)));
    api.patch_status("a", &PatchParams::default(), &patch).await?;
    assert_eq!(protocol.changes().len(), 1);
    Ok(())
}
