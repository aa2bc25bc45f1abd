//! The way from what the endpoint has to what a Service wants. Pure.
//!
//! All changes of the spec are one step, because one call carries them: its reason lists them and its risk is the
//! highest among them. The nodes are a step of their own and come first. So nodes still come and go while a risky
//! change waits for approval, and since the waiting step does not name them, their coming and going does not undo
//! the approval either.

use std::{fmt::Display, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    answer::POLL,
    balancer::{Balancer, BalancerOwner, State},
    change::{self, Change},
    spec::Spec,
};
use crate::{
    Desired, Owner, Plan, ProviderError, Risk, Step, Target,
    shown_text::{bounded, shown},
};

/// What a step of this provider does: one call each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// `PUT` of the whole object.
    Create {
        /// What is asked for.
        spec: Spec,
        /// The nodes.
        targets: Vec<Target>,
    },
    /// `PUT` of the spec alone: the nodes stay as they are.
    Update {
        /// What is asked for.
        spec: Spec,
    },
    /// `PUT` of the nodes alone.
    SetTargets {
        /// The nodes.
        targets: Vec<Target>,
    },
    /// `DELETE`.
    Delete,
}

/// What the endpoint has for a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Its balancer, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<Balancer>,
}

/// # Errors
/// What the Service cannot have; [`ProviderError::Pending`] where nothing is left to do but to wait;
/// [`ProviderError::Retryable`] where the endpoint could not do what it accepted.
pub(super) fn plan(
    owner: &Owner,
    desired: Option<&Desired>,
    observed: &Observed,
) -> Result<Plan<Action>, ProviderError> {
    if let Some(balancer) = &observed.balancer {
        owned(owner, balancer)?;
        if balancer.status.state == State::Deleting {
            return Err(ProviderError::Pending(poll_after(balancer)));
        }
    }
    match (desired, &observed.balancer) {
        (None, None) => Ok(Plan::empty()),
        (None, Some(balancer)) => Ok(single(delete(balancer))),
        (Some(desired), None) => Ok(single(create(Spec::of(desired)?, targets(desired)))),
        (Some(desired), Some(balancer)) => update(Spec::of(desired)?, targets(desired), balancer),
    }
}

/// # Errors
/// [`ProviderError::NotOwned`] when the balancer is not this Service's.
pub(super) fn owned(owner: &Owner, balancer: &Balancer) -> Result<(), ProviderError> {
    if balancer.owner == BalancerOwner::from(owner) {
        return Ok(());
    }
    Err(ProviderError::NotOwned(bounded(&format!(
        "the endpoint has a balancer under the UID {} that belongs to Service {}: it is left alone",
        owner.uid, balancer.owner
    ))))
}

fn targets(desired: &Desired) -> Vec<Target> {
    let mut targets = desired.targets.clone();
    targets.sort_unstable();
    targets
}

fn update(spec: Spec, wanted: Vec<Target>, balancer: &Balancer) -> Result<Plan<Action>, ProviderError> {
    let changes = change::changes(balancer, &spec);
    let nodes = change::targets(&balancer.targets, &wanted)
        .map(|reason| step(Action::SetTargets { targets: wanted }, reason, Risk::Safe));
    let rest = (!changes.is_empty()).then(|| {
        let risk = changes.iter().map(|change| change.risk).max().unwrap_or(Risk::Safe);
        step(Action::Update { spec }, reason(&changes), risk)
    });
    let steps: Vec<Step<Action>> = nodes.into_iter().chain(rest).collect();
    if steps.is_empty() {
        finished(balancer)?;
    }
    Ok(Plan { steps })
}

/// Whether what was accepted is there.
fn finished(balancer: &Balancer) -> Result<(), ProviderError> {
    let status = &balancer.status;
    match (status.state, balancer.contradiction()) {
        (State::Active, None) => Ok(()),
        (State::Active, Some(lack)) => {
            Err(failed(format_args!("says that the balancer is active, with {lack}")))
        }
        (State::Error, _) => {
            Err(failed(format_args!("could not build the balancer: {}", shown(&status.message))))
        }
        (State::Provisioning | State::Deleting, _) => Err(ProviderError::Pending(poll_after(balancer))),
    }
}

fn failed(what: impl Display) -> ProviderError {
    ProviderError::Retryable(format!("the endpoint {what}"))
}

fn poll_after(balancer: &Balancer) -> Duration {
    balancer.status.retry_after_seconds.map_or(POLL, Duration::from_secs)
}

fn create(spec: Spec, targets: Vec<Target>) -> Step<Action> {
    let ports = change::list_frontends(&spec.frontends);
    let reason = format!("the Service has no balancer yet: {ports}; {} nodes", targets.len());
    step(Action::Create { spec, targets }, reason, Risk::Safe)
}

fn delete(balancer: &Balancer) -> Step<Action> {
    let status = &balancer.status;
    let addresses = status.addresses.iter().map(ToString::to_string);
    let held: Vec<String> = addresses.chain(status.hostname.as_deref().map(shown)).collect();
    let held = if held.is_empty() { "without an address".to_owned() } else { held.join(", ") };
    let reason = format!("the Service no longer wants its balancer ({held})");
    step(Action::Delete, reason, Risk::Destructive)
}

fn reason(changes: &[Change]) -> String {
    changes.iter().map(|change| change.what.as_str()).collect::<Vec<_>>().join("; ")
}

fn step(action: Action, reason: String, risk: Risk) -> Step<Action> {
    Step { action, reason, risk, calls: 1 }
}

fn single(step: Step<Action>) -> Plan<Action> {
    Plan { steps: vec![step] }
}
