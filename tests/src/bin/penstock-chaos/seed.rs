//! One seed: random changes under random faults, then rest.
//!
//! The same seed makes the same changes and rolls the same dice; which call meets which roll depends on the order in
//! which concurrent calls arrive.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::{ResourceExt, api::ListParams};
use penstock_crds::{ALLOCATED_FROM, ConditionKind, GROUP};
use penstock_e2e::wait::{Look, until};
use penstock_tests::fault_proxy::{Dice, Plan};
use serde_json::{Value, json};

use crate::{
    change::{changes, first, last},
    end_state::{Addresses, difference},
    invariants::World,
    lab::Lab,
    run::{conclude, no_doubles},
};

/// Longer than a failed call is repeated after.
const REST: Duration = Duration::from_secs(6);
/// After several faults in a row the operator pauses for longer.
const STABLE: Duration = Duration::from_secs(60);
/// Of 1,000 calls and of 1,000 events.
const FAULTS: (u32, u32) = (120, 30);

/// Plays a seed.
pub(crate) async fn play(lab: &Lab, seed: u64, quiet: Duration) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    begin(lab, random.fork().u64(..)).await?;
    for (change, pause) in changes(&mut random) {
        change.make(&lab.user).await?;
        tokio::time::sleep(pause).await;
    }
    lab.proxy.heal();
    stable(lab).await.context("after the faults")?;
    for change in last() {
        change.make(&lab.user).await?;
    }
    lab.accepted().await?;
    stable(lab).await.context("after the last pools")?;
    let end = comparable(lab.end_state(Addresses::Shape).await?);
    restart_writes_nothing(lab, quiet).await?;
    no_doubles(lab)?;
    fresh(lab, &end).await.context("compared with a fresh operator")?;
    conclude(lab, None).await
}

async fn begin(lab: &Lab, dice: u64) -> Result<()> {
    lab.clear().await?;
    for change in first() {
        change.make(&lab.user).await?;
    }
    lab.proxy.begin(Plan::Dice(Dice::new(dice, FAULTS.0, FAULTS.1)));
    lab.operator.start()
}

/// Waits until every invariant holds and nothing is written any longer.
async fn stable(lab: &Lab) -> Result<()> {
    until("a stable state", STABLE, || async {
        let violations = world(lab).await?.violations();
        Ok(if violations.is_empty() { Look::Ready(()) } else { Look::NotYet(violations.join("; ")) })
    })
    .await?;
    lab.at_rest(REST).await?;
    let violations = world(lab).await?.violations();
    ensure!(violations.is_empty(), "{}", violations.join("; "));
    Ok(())
}

async fn world(lab: &Lab) -> Result<World> {
    let all = ListParams::default();
    let mut services = lab.user.services().list(&all).await?.items;
    services.retain(|service| service.name_any() != "kubernetes");
    let (pools, classes) =
        (lab.user.pools().list(&all).await?.items, lab.user.classes().list(&all).await?.items);
    Ok(World { services, pools, classes })
}

async fn restart_writes_nothing(lab: &Lab, quiet: Duration) -> Result<()> {
    lab.operator.stop();
    lab.proxy.begin(Plan::Nothing);
    lab.operator.start()?;
    lab.watching().await?;
    lab.at_rest(quiet).await?;
    let log = lab.proxy.log();
    let writes: Vec<String> = log.iter().filter(|e| e.is_write()).map(ToString::to_string).collect();
    ensure!(writes.is_empty(), "a restarted operator writes: {}", writes.join("; "));
    Ok(())
}

/// The same objects, as users would deploy them, with an operator that knows nothing of their past.
async fn fresh(lab: &Lab, end: &Value) -> Result<()> {
    let deployed: Vec<_> = world(lab).await?.services.iter().map(as_deployed).collect::<Result<_>>()?;
    lab.clear().await?;
    for change in last() {
        change.make(&lab.user).await?;
    }
    lab.operator.start()?;
    lab.accepted().await?;
    for service in deployed {
        lab.user.create_object(&service).await?;
    }
    until("the same state", STABLE, || async {
        let fresh = comparable(lab.end_state(Addresses::Shape).await?);
        let found = difference(&fresh, end);
        Ok(if found.is_empty() { Look::Ready(()) } else { Look::NotYet(found.join("; ")) })
    })
    .await
}

/// Without what others than its user wrote.
fn as_deployed(service: &k8s_openapi::api::core::v1::Service) -> Result<k8s_openapi::api::core::v1::Service> {
    let mut object = serde_json::to_value(service)?;
    let mut spec = object["spec"].take();
    if let Some(spec) = spec.as_object_mut() {
        for key in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
            spec.remove(key);
        }
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        port["nodePort"] = Value::Null;
    }
    let mut annotations = object["metadata"]["annotations"].take();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(ALLOCATED_FROM);
    }
    Ok(serde_json::from_value(
        json!({"metadata": {"name": service.name_any(), "annotations": annotations}, "spec": spec}),
    )?)
}

/// Which pool an address came from depends on the past, and with it the pools' counts. So does what a Service holds
/// whose wish cannot be granted: it keeps what it had. What a foreign hand wrote to a Service that is none of ours is
/// not ours to remove.
fn comparable(mut state: Value) -> Value {
    for service in state["services"].as_object_mut().into_iter().flat_map(|services| services.values_mut()) {
        let class = service["spec"]["class"].as_str().and_then(|class| class.split_once('/'));
        if class.is_some_and(|(group, _)| group != GROUP) {
            service["status"]["loadBalancer"].take();
        } else if waits(service) {
            service["status"]["loadBalancer"].take();
            service["finalizers"].take();
            service["annotations"][ALLOCATED_FROM].take();
        } else if let Some(pool) = service["annotations"].get_mut(ALLOCATED_FROM) {
            *pool = json!("a pool");
        }
    }
    for pool in state["ipaddresspools"].as_object_mut().into_iter().flat_map(|pools| pools.values_mut()) {
        pool["status"] = json!({"conditions": pool["status"]["conditions"]});
    }
    state
}

fn waits(service: &Value) -> bool {
    let kind = ConditionKind::LoadBalancerProvisioning.to_string();
    let mut conditions = service["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|c| c["type"] == json!(kind) && c["status"] == json!("True"))
}
