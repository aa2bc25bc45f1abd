//! Balancers from an HTTP endpoint of the user's own: an appliance, an IPAM, a home-grown cloud. The contract is
//! `docs/webhook.md`.
//!
//! A balancer's id is the UID of its Service: nothing has to be written down before a call, and what a crashed process
//! left behind is found again under the same path.

mod answer;
mod balancer;
mod change;
#[cfg(test)]
mod document;
mod endpoint;
mod error;
mod planner;
mod spec;

use penstock_crds::WebhookParameters;
use penstock_model::Protocol;
use serde::Serialize;

pub use crate::Timeouts;
pub use balancer::{Balancer, BalancerOwner, BalancerStatus, State};
pub use error::WebhookError;
pub use planner::{Action, Observed};
pub use spec::{HealthCheck, Spec, SpecFamily, SpecFrontend};

use crate::{
    Built, Capabilities, Certificate, Desired, Owner, Plan, Provider, ProviderError, Step, Target,
    shown_text::shown,
};
use answer::Answer;
use endpoint::Endpoint;

/// The provider `webhook`, for one class.
#[derive(Debug)]
pub struct WebhookProvider {
    endpoint: Endpoint,
}

/// The body of a `PUT`. Without targets it leaves them as they are.
#[derive(Serialize)]
struct Wanted<'a> {
    owner: BalancerOwner,
    spec: &'a Spec,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<&'a [Target]>,
}

/// The body of a `PUT` of the nodes alone.
#[derive(Serialize)]
struct WantedTargets<'a> {
    owner: BalancerOwner,
    targets: &'a [Target],
}

impl WebhookProvider {
    /// A provider for a class; `token` is what its Secret holds.
    ///
    /// # Errors
    /// Parameters or a token that nothing can be called with.
    pub fn new(parameters: &WebhookParameters, token: Option<String>) -> Result<Self, WebhookError> {
        Self::with_timeouts(parameters, token, Timeouts::default())
    }

    /// As [`WebhookProvider::new`], with other time-outs.
    ///
    /// # Errors
    /// As [`WebhookProvider::new`].
    pub fn with_timeouts(
        parameters: &WebhookParameters,
        token: Option<String>,
        timeouts: Timeouts,
    ) -> Result<Self, WebhookError> {
        Ok(Self { endpoint: Endpoint::new(parameters, token, timeouts)? })
    }
}

impl Provider for WebhookProvider {
    type Action = Action;
    type Observed = Observed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            provider: "webhook",
            protocols: vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
            mixed_protocols: true,
            max_ports: None,
            creates_outside: true,
            sends_to_nodes: true,
        }
    }

    async fn observe(&self, owner: &Owner) -> Result<Observed, ProviderError> {
        let answer = self.endpoint.get(owner).await?;
        match answer.status.as_u16() {
            200 => Ok(Observed { balancer: Some(read(owner, &answer)?) }),
            404 if answer.is_absent() => Ok(Observed::default()),
            _ => Err(answer.failure("GET")),
        }
    }

    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Observed,
    ) -> Result<Plan<Action>, ProviderError> {
        planner::plan(owner, desired, observed)
    }

    async fn apply(
        &self,
        owner: &Owner,
        step: &Step<Action>,
        _: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        let of = BalancerOwner::from(owner);
        match &step.action {
            Action::Create { spec, targets } => {
                let wanted = Wanted { owner: of, spec, targets: Some(targets) };
                accepted(&self.endpoint.put(owner, &wanted).await?)
            }
            Action::Update { spec } => {
                let wanted = Wanted { owner: of, spec, targets: None };
                accepted(&self.endpoint.put(owner, &wanted).await?)
            }
            Action::SetTargets { targets } => {
                accepted(&self.endpoint.put_targets(owner, &WantedTargets { owner: of, targets }).await?)
            }
            Action::Delete => gone(&self.endpoint.delete(owner).await?),
        }
    }

    fn built(&self, observed: &Observed) -> Built {
        observed.balancer.as_ref().map(Balancer::built).unwrap_or_default()
    }
}

fn read(owner: &Owner, answer: &Answer) -> Result<Balancer, ProviderError> {
    let balancer: Balancer = serde_json::from_slice(&answer.body).map_err(|e| {
        ProviderError::Retryable(format!("the endpoint's balancer cannot be read: {}", shown(&e.to_string())))
    })?;
    planner::owned(owner, &balancer)?;
    let mut balancer = balancer.sorted();
    balancer.status.retry_after_seconds = answer.wait().filter(|_| balancer.status.state.is_passing());
    Ok(balancer)
}

fn accepted(answer: &Answer) -> Result<(), ProviderError> {
    match answer.status.as_u16() {
        200 | 201 => Ok(()),
        202 => Err(answer.pending()),
        _ => Err(answer.failure("PUT")),
    }
}

fn gone(answer: &Answer) -> Result<(), ProviderError> {
    match answer.status.as_u16() {
        204 => Ok(()),
        202 => Err(answer.pending()),
        404 if answer.is_absent() => Ok(()),
        _ => Err(answer.failure("DELETE")),
    }
}
