//! `kubectl penstock pools`: how full each IPAddressPool is, who has what of it, and who goes without.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Result, bail};
use kube::ResourceExt;
use penstock_model::{Family, ObjectKey};
use penstock_providers::{Built, pool::PoolUsage};
use serde::Serialize;

use crate::{
    access::Gaps,
    cluster::Cluster,
    facts::{PoolState, pool_states},
    forecast::{Outcome, forecast},
    outside_provider::outside_provider,
    scene::Scene,
};

/// Without these every figure would be wrong: what is held is what the Services show.
const NEEDED: [&str; 3] = ["ipaddresspools.penstock.dev", "loadbalancerclasses.penstock.dev", "services"];

/// What the command prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolsReport {
    /// By name.
    pub pools: Vec<PoolReport>,
    /// What may not be as it stands here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// Its `spec.addresses`.
    pub addresses: Vec<String>,
    /// Whether Services get addresses of it that do not ask for it.
    pub auto_assign: bool,
    /// Why it is not in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The families that it has; none while it is not in use.
    pub families: Vec<FamilyUsage>,
    /// Who has what, in the order of addresses.
    pub holders: Vec<Holder>,
    /// Who would take an address of it and gets none.
    pub waiting: Vec<Waiting>,
}

/// How many addresses of a family a pool has, as the operator counts them: those that it leaves out do not count, one that
/// several Services share counts once, and 9223372036854775807 stands for as many or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyUsage {
    /// Which.
    pub family: Family,
    /// All.
    pub size: i64,
    /// Held.
    pub used: i64,
    /// Not held.
    pub free: i64,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The address.
    pub address: IpAddr,
    /// Several where they share it.
    pub services: Vec<ObjectKey>,
}

/// Who would take an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The Service.
    pub service: ObjectKey,
    /// A sentence about "it", the pool.
    pub why: String,
}

/// Reads the pools, or one of them.
///
/// # Errors
/// When what counts cannot be read, or there is no pool of that name.
pub async fn pools(cluster: &Cluster, name: Option<&str>) -> Result<PoolsReport> {
    let mut gaps = Gaps::default();
    let objects = cluster.objects(&mut gaps).await?;
    gaps.refuse("count", &NEEDED)?;
    let mut report = pools_report(&Scene::of(objects)).await;
    report.notes.extend(gaps.sentences());
    if let Some(name) = name {
        if !report.pools.iter().any(|pool| pool.name == name) {
            let known = report.pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>().join(", ");
            bail!(
                "IPAddressPool {}/{name} does not exist; there is {}",
                cluster.operator_namespace,
                or_none(known)
            );
        }
        report.pools.retain(|pool| pool.name == name);
    }
    Ok(report)
}

fn or_none(names: String) -> String {
    if names.is_empty() { "none".to_owned() } else { names }
}

/// All pools as they stand, and who would still go without after everybody got what there is.
pub async fn pools_report(scene: &Scene) -> PoolsReport {
    let usage: BTreeMap<String, PoolUsage> = scene.pool.usage().into_iter().collect();
    let holdings = scene.pool.holdings();
    let waiting = waiting(scene).await;
    let mut pools: Vec<PoolReport> = scene
        .objects
        .pools
        .iter()
        .map(|object| {
            let name = object.name_any();
            PoolReport {
                addresses: object.spec.addresses.clone(),
                auto_assign: object.spec.auto_assign,
                refused: scene
                    .pool_verdicts
                    .get(&name)
                    .and_then(|v| v.as_ref().err())
                    .map(|r| format!("{}: {}", r.reason, r.message)),
                families: usage.get(&name).map(families).unwrap_or_default(),
                holders: holders(&name, &holdings),
                waiting: waiting.get(&name).cloned().unwrap_or_default(),
                name,
            }
        })
        .collect();
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    let notes = homeless(&pools, &holdings);
    PoolsReport { pools, notes }
}

fn families(usage: &PoolUsage) -> Vec<FamilyUsage> {
    let of =
        |family, used: i64, free: i64| FamilyUsage { family, size: used.saturating_add(free), used, free };
    let both = [
        of(Family::IPv4, usage.assigned_v4, usage.available_v4),
        of(Family::IPv6, usage.assigned_v6, usage.available_v6),
    ];
    both.into_iter().filter(|usage| usage.size > 0).collect()
}

fn holders(pool: &str, holdings: &[(ObjectKey, Built)]) -> Vec<Holder> {
    let mut by_address: BTreeMap<IpAddr, Vec<ObjectKey>> = BTreeMap::new();
    for (service, built) in holdings.iter().filter(|(_, built)| built.pool.as_deref() == Some(pool)) {
        for address in &built.addresses {
            by_address.entry(*address).or_default().push(service.clone());
        }
    }
    by_address.into_iter().map(|(address, services)| Holder { address, services }).collect()
}

/// Those who hold addresses of no pool that there is.
fn homeless(pools: &[PoolReport], holdings: &[(ObjectKey, Built)]) -> Vec<String> {
    let exists = |name: &str| pools.iter().any(|pool| pool.name == name);
    let lost = holdings.iter().filter(|(_, built)| !built.pool.as_deref().is_some_and(exists));
    lost.map(|(service, built)| {
        let addresses = built.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let origin = built
            .pool
            .as_ref()
            .map(|pool| format!(" of IPAddressPool {pool}, which is gone"))
            .unwrap_or_else(|| " of no IPAddressPool".to_owned());
        format!("Service {service} holds {addresses}{origin}")
    })
    .collect()
}

/// Who goes without, by pool. Each Service is looked at after those before it got what there is.
async fn waiting(scene: &Scene) -> BTreeMap<String, Vec<Waiting>> {
    let mut waiting: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
    for service in scene.in_turn() {
        let forecast = forecast(service, scene, outside_provider).await;
        forecast.play(service, scene).await;
        if !matches!(forecast.outcome, Outcome::Refused { .. }) {
            continue;
        }
        for (pool, state) in pool_states(service, scene) {
            if let PoolState::Rejects(refusal) = state
                && refusal.wanted
            {
                waiting
                    .entry(pool)
                    .or_default()
                    .push(Waiting { service: forecast.service.clone(), why: refusal.why });
            }
        }
    }
    waiting
}
