//! What is known about a Service and about whom it depends on.

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Service},
    jiff::Timestamp,
};
use penstock_crds::{LoadBalancer, LoadBalancerClassSpec, ProviderKind};
use penstock_model::ObjectKey;
use penstock_operator::{Intent, Membership, intent};
use serde::Serialize;

use crate::{
    forecast::Forecast,
    pool_side::{self, PoolRefusal},
    scene::Scene,
};

/// A Lease without a duration lasts as long as the operator's own do.
const DURATION_SECONDS: i32 = 15;

/// Everything that an explanation follows from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The Service.
    pub service: Service,
    /// What the operator would do; `None` where classes or pools are not known.
    pub forecast: Option<Forecast>,
    /// The class that serves it, if there is one.
    pub class: Option<ClassFacts>,
    /// Of a class of the provider `pool`: every pool, those in use in the order of looking.
    pub pools: Vec<(String, PoolState)>,
    /// What was built for it outside.
    pub record: Option<LoadBalancer>,
    /// Who works.
    pub operator: OperatorState,
    /// Where operator, pools and Secrets live.
    pub operator_namespace: String,
    /// The Service's last warnings, the newest first.
    pub warnings: Vec<Warning>,
}

/// A class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFacts {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub spec: LoadBalancerClassSpec,
    /// Why it is not accepted.
    pub refused: Option<String>,
}

/// What a pool is to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolState {
    /// It is not in use: its condition's message.
    NotAccepted(String),
    /// It would serve the Service.
    Serves,
    /// It does not.
    Rejects(PoolRefusal),
    /// Nothing is asked of it.
    InUse,
}

/// Whether an operator works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorState {
    /// The user may not know.
    Unknown,
    /// No operator has ever led here.
    NoLease,
    /// The last one has given up the Lease.
    Vacant {
        /// When.
        since: Option<Timestamp>,
    },
    /// The Lease was not renewed in time.
    Stale {
        /// Who held it.
        holder: String,
        /// The last renewal.
        since: Option<Timestamp>,
    },
    /// One works.
    Runs {
        /// Who.
        holder: String,
    },
}

/// A warning event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// When it was last seen.
    pub time: Option<String>,
    /// The event's reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// How often it was seen.
    pub count: i32,
}

impl OperatorState {
    /// Reads the operator's Lease, as of `now`.
    #[must_use]
    pub fn of(lease: &Lease, now: Timestamp) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let since = spec.renew_time.map(|time| time.0);
        let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
            return Self::Vacant { since };
        };
        let duration = spec.lease_duration_seconds.unwrap_or(DURATION_SECONDS);
        let age = since.map(|renewal| now.as_second() - renewal.as_second());
        match age {
            Some(age) if age <= i64::from(duration) => Self::Runs { holder },
            _ => Self::Stale { holder, since },
        }
    }
}

/// The class that serves a Service, as the operator sees it.
#[must_use]
pub fn class_facts(service: &Service, scene: &Scene) -> Option<ClassFacts> {
    let Membership::Ours(name, spec) = scene.world.classes.membership(service) else { return None };
    let verdict = scene.class_verdicts.get(name).and_then(|verdict| verdict.clone().err());
    let refused = verdict.map(|(_, message)| message);
    Some(ClassFacts { name: name.to_owned(), spec: spec.clone(), refused })
}

/// What every pool is to a Service that has nothing yet; nothing where its class does not take from pools.
#[must_use]
pub fn pool_states(service: &Service, scene: &Scene) -> Vec<(String, PoolState)> {
    let Some(class) = class_facts(service, scene) else { return Vec::new() };
    if class.spec.provider != ProviderKind::Pool {
        return Vec::new();
    }
    let said = match intent(service, &scene.world) {
        Intent::Provision(wanted) => {
            pool_side::consider(&scene.pool, &ObjectKey::of(&service.metadata), &wanted.desired)
        }
        _ => Vec::new(),
    };
    let mut states: Vec<(String, PoolState)> = said
        .into_iter()
        .map(|(name, answer)| (name, answer.map_or_else(PoolState::Rejects, |()| PoolState::Serves)))
        .collect();
    for (name, verdict) in &scene.pool_verdicts {
        match verdict {
            Err(refused) => states.push((name.clone(), PoolState::NotAccepted(refused.message.clone()))),
            Ok(_) if !states.iter().any(|(known, _)| known == name) => {
                states.push((name.clone(), PoolState::InUse));
            }
            Ok(_) => {}
        }
    }
    states
}
