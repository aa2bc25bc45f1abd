//! What providers send, read by the types of the clouds' own clients: a check that does not come from who wrote provider and
//! double. The clouds' OpenAPI descriptions are in no package that could be had offline.

use std::collections::BTreeSet;

use anyhow::Result;
use penstock_e2e::vendor_types::faults;
use penstock_providers::{Desired, Provider};
use penstock_tests::{
    certificate::certificates,
    provider_contract::{Foreign, Rig, owner, settle},
};
use serde_json::{Value, json};

use super::{digitalocean::DigitalOceanRig, hetzner::HetznerRig};

/// What was sent to its double.
pub(crate) trait Sends: Rig {
    /// The cloud with the call, and the body; without keys of certificates.
    fn sent(&self) -> Vec<(String, Value)>;
}

/// Every kind of change that the provider knows, a certificate, what others break, and something that is taken.
async fn life<R: Sends>() -> Result<Vec<(String, Value)>> {
    let (rig, me) = (R::start().await?, owner("u1"));
    let provider = rig.provider().await;
    for (_, wanted) in R::life() {
        settle(&provider, &me, Some(&wanted)).await?;
    }
    settle(&provider, &me, None).await?;
    let plain = R::life().swap_remove(0).1;
    for certificate in certificates() {
        let mut wanted = Desired { certificate: Some(certificate.clone()), ..plain.clone() };
        wanted.frontends[0].port = 443;
        settle(&provider, &me, Some(&wanted)).await?;
    }
    for (_, damage) in R::damages() {
        settle(&rig.provider().await, &me, Some(&plain)).await?;
        damage(&rig);
    }
    settle(&rig.provider().await, &me, Some(&plain)).await?;
    settle(&rig.provider().await, &me, None).await?;
    let adopted = rig.adoptable(Foreign::Nobodys).await?;
    let fresh = rig.provider().await;
    let observed = settle(&fresh, &me, Some(&adopted)).await?;
    // What would wait for approval, too.
    let plan = fresh.plan(&me, Some(&R::life().swap_remove(1).1), &observed)?;
    fresh.rehearse(&me, &plan).await?;
    Ok(rig.sent())
}

/// All calls that can be made were made, and none has a field that the vendor does not send.
async fn check<R: Sends>(calls: &[&str]) -> Result<()> {
    let sent = life::<R>().await?;
    let made: BTreeSet<&str> = sent.iter().map(|(call, _)| call.as_str()).collect();
    assert_eq!(made, calls.iter().copied().collect());
    let count = sent.len();
    let found = tokio::task::spawn_blocking(move || faults(&sent)).await??;
    assert_eq!(found, [""; 0], "of {count} requests");
    Ok(())
}

#[tokio::test]
async fn hetzners_own_client_sends_no_other_fields() -> Result<()> {
    check::<HetznerRig>(&[
        "hetzner POST add_service",
        "hetzner POST add_target",
        "hetzner POST attach_to_network",
        "hetzner POST certificates",
        "hetzner POST change_algorithm",
        "hetzner POST change_type",
        "hetzner POST delete_service",
        "hetzner POST disable_public_interface",
        "hetzner POST enable_public_interface",
        "hetzner POST load_balancers",
        "hetzner POST remove_target",
        "hetzner POST update_service",
        "hetzner PUT load_balancer",
    ])
    .await
}

#[tokio::test]
async fn digitaloceans_own_client_sends_no_other_fields() -> Result<()> {
    check::<DigitalOceanRig>(&[
        "digitalocean DELETE droplets",
        "digitalocean POST certificates",
        "digitalocean POST droplets",
        "digitalocean POST load_balancers",
        "digitalocean PUT load_balancers",
    ])
    .await
}

#[tokio::test]
async fn a_field_that_the_vendor_does_not_have_is_found() -> Result<()> {
    let wrong = [
        ("hetzner PUT load_balancer", json!({"nam": "a"})),
        ("digitalocean POST load_balancers", json!({"size_unit": "1"})),
        ("hetzner PUT load_balancer", json!({"name": "a"})),
        ("hetzner POST something", json!({})),
    ];
    let wrong: Vec<(String, Value)> = wrong.map(|(call, body)| (call.to_owned(), body)).into();
    let found = tokio::task::spawn_blocking(move || faults(&wrong)).await??;
    assert_eq!(found.len(), 3, "{found:?}");
    Ok(())
}
