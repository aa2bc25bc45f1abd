//! Random changes of objects: the same for the same seed.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::user::{self, User};

/// Six Services are enough to fill the pools.
const SERVICES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
/// The default class, and another that is often missing.
pub(crate) const CLASSES: [(&str, bool); 2] = [("bare-metal", true), ("other", false)];
/// From this pool everybody gets addresses; the ends of its life, and what it is in between.
const AUTOMATIC: [&[&str]; 6] = [
    &["203.0.113.200/30"],
    &["203.0.113.202/31"],
    &["203.0.113.200/32"],
    &["203.0.113.200/30", "2001:db8:113::200/126"],
    &["203.0.113.209-203.0.113.201"],
    &["203.0.113.238-203.0.113.241"],
];
/// From this one only those who ask for an address.
const ASKED: [&[&str]; 3] =
    [&["203.0.113.240/29"], &["203.0.113.240/30"], &["203.0.113.240/29", "2001:db8:113::240/125"]];

/// One change by a user.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create {
        name: &'static str,
        annotations: Value,
        spec: Value,
    },
    Delete(&'static str),
    /// A merge patch.
    Patch(&'static str, Value),
    /// A foreign hand writes this address into the status, or none.
    OverwriteStatus(&'static str, Option<String>),
    Pool(&'static str, Value),
    DeletePool(&'static str),
    CreateClass(&'static str, bool),
    DeleteClass(&'static str),
}

/// The changes of a seed, each with the pause after it.
pub(crate) fn changes(random: &mut fastrand::Rng) -> Vec<(Change, Duration)> {
    const PAUSES: [u64; 5] = [0, 0, 20, 100, 500];
    let count = random.usize(10..=24);
    (0..count)
        .map(|_| (change(random), Duration::from_millis(PAUSES[random.usize(..PAUSES.len())])))
        .collect()
}

fn change(random: &mut fastrand::Rng) -> Change {
    let index = random.usize(..SERVICES.len());
    let name = SERVICES[index];
    match random.u8(..100) {
        0..35 => create(random, index),
        35..50 => Change::Delete(name),
        50..58 => Change::Patch(name, json!({"spec": {"type": "ClusterIP"}})),
        58..65 => Change::Patch(name, json!({"spec": {"type": "LoadBalancer"}})),
        65..73 => Change::Patch(name, json!({"spec": {"loadBalancerIP": requested(random, index)}})),
        73..77 => Change::Patch(name, json!({"spec": families(random)})),
        77..83 => {
            let stolen = random.bool().then(|| format!("203.0.113.{}", 10 + index));
            Change::OverwriteStatus(name, stolen)
        }
        83..91 => pool(random),
        91..93 => Change::DeletePool(if random.bool() { "automatic" } else { "asked" }),
        _ => {
            let (name, default) = CLASSES[random.usize(..CLASSES.len())];
            if random.bool() { Change::CreateClass(name, default) } else { Change::DeleteClass(name) }
        }
    }
}

fn create(random: &mut fastrand::Rng, index: usize) -> Change {
    let mut spec = families(random);
    spec["ports"] = json!([{"port": 80 + index}]);
    spec["loadBalancerClass"] = match random.u8(..10) {
        0..5 => json!(null),
        5..7 => json!("penstock.dev/bare-metal"),
        7..9 => json!("penstock.dev/other"),
        _ => json!("other.example/class"),
    };
    if random.u8(..4) == 0 {
        spec["loadBalancerIP"] = requested(random, index);
    }
    let annotations = match random.u8(..4) {
        0 => json!({"metallb.io/allow-shared-ip": "key"}),
        _ => json!({}),
    };
    Change::Create { name: SERVICES[index], annotations, spec }
}

/// Nobody asks for what another asks for, so that nobody's fate depends on who came first.
fn requested(random: &mut fastrand::Rng, index: usize) -> Value {
    match random.u8(..6) {
        0..4 => json!(format!("203.0.113.{}", 240 + index)),
        4 => json!("198.51.100.1"),
        _ => json!(""),
    }
}

fn families(random: &mut fastrand::Rng) -> Value {
    let policy = ["SingleStack", "SingleStack", "SingleStack", "PreferDualStack", "RequireDualStack"];
    let policy = policy[random.usize(..policy.len())];
    if policy == "SingleStack" {
        json!({"ipFamilyPolicy": policy, "ipFamilies": ["IPv4"]})
    } else {
        json!({"ipFamilyPolicy": policy, "ipFamilies": ["IPv4", "IPv6"]})
    }
}

fn pool(random: &mut fastrand::Rng) -> Change {
    if random.u8(..3) == 0 {
        let addresses = ASKED[random.usize(..ASKED.len())];
        Change::Pool("asked", json!({"addresses": addresses, "autoAssign": false}))
    } else {
        let addresses = AUTOMATIC[random.usize(..AUTOMATIC.len())];
        Change::Pool("automatic", json!({"addresses": addresses}))
    }
}

/// The changes that everything begins with.
pub(crate) fn first() -> Vec<Change> {
    vec![
        Change::CreateClass(CLASSES[0].0, CLASSES[0].1),
        Change::Pool("automatic", json!({"addresses": AUTOMATIC[0]})),
        Change::Pool("asked", json!({"addresses": ASKED[0], "autoAssign": false})),
    ]
}

/// The changes after which every Service can have what it wants, whatever was before, if it may have it at all.
pub(crate) fn last() -> Vec<Change> {
    let mut changes: Vec<Change> =
        CLASSES.into_iter().map(|(name, default)| Change::CreateClass(name, default)).collect();
    let automatic = ["203.0.113.200-203.0.113.220", "2001:db8:113::200/121"];
    let asked = ["203.0.113.240/29", "2001:db8:113::300/121"];
    changes.push(Change::Pool("automatic", json!({"addresses": automatic})));
    changes.push(Change::Pool("asked", json!({"addresses": asked, "autoAssign": false})));
    changes
}

impl Change {
    /// Makes the change. What the API server refuses is no failure: users make mistakes.
    pub(crate) async fn make(&self, user: &User) -> Result<()> {
        match self.call(user).await {
            Err(error) if is_refusal(&error) => Ok(()),
            outcome => outcome.with_context(|| format!("make the change {self:?}")),
        }
    }

    async fn call(&self, user: &User) -> Result<()> {
        match self {
            Self::Create { name, annotations, spec } => {
                user.create_object(&user::service(name, annotations, spec.clone())?).await
            }
            Self::Delete(name) => user.delete(name).await,
            Self::Patch(name, patch) => user.change(name, patch.clone()).await,
            Self::OverwriteStatus(name, stolen) => {
                let ingress = stolen.as_ref().map(|ip| json!([{"ip": ip}]));
                let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}}));
                user.services().patch_status(name, &PatchParams::default(), &patch).await?;
                Ok(())
            }
            Self::Pool(name, spec) => put_pool(user, name, spec).await,
            Self::DeletePool(name) => {
                user.pools().delete(name, &DeleteParams::default()).await?;
                Ok(())
            }
            Self::CreateClass(name, default) => user.create_class(name, *default).await,
            Self::DeleteClass(name) => user.delete_class(name).await,
        }
    }
}

/// Edits a pool, or creates it.
async fn put_pool(user: &User, name: &str, spec: &Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": spec}));
    match user.pools().patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            user.pools().create(&PostParams::default(), &user::pool(name, spec)?).await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code < 500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_means_the_same() {
        let of = |seed| format!("{:?}", changes(&mut fastrand::Rng::with_seed(seed)));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
