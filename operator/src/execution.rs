//! Observe, plan, apply, until nothing is left to do.

use std::{future::Future, time::Instant};

use penstock_crds::{PendingPlan, PlanVerdict};
use penstock_providers::{AnyProvider, Built, Certificate, Desired, Owner, Plan, ProviderError, Rehearsal};
use serde_json::Value;

use crate::{
    approval::{Consent, pending},
    leadership::Gate,
    metrics::Metrics,
};

/// How often a plan that no longer fits is made anew before the Service has to wait its turn again.
const ATTEMPTS: usize = 3;

/// What a pass came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// What there was before it.
    pub(crate) before: Built,
    /// What there is now.
    pub(crate) built: Built,
    /// The same in the provider's own terms, for the record.
    pub(crate) observed: Value,
    /// What waits for approval; `None` where all is as desired.
    pub(crate) held: Option<Plan<Value>>,
    /// What the provider's API says of that.
    pub(crate) verdict: Option<PlanVerdict>,
}

impl Outcome {
    /// The plan that waits, as the record keeps it.
    ///
    /// # Errors
    /// A plan that cannot be written as JSON.
    pub(crate) fn pending(&self) -> Result<Option<PendingPlan>, ProviderError> {
        let Some(plan) = &self.held else { return Ok(None) };
        Ok(Some(PendingPlan { verdict: self.verdict.clone(), ..pending(plan)? }))
    }
}

/// Brings one balancer to what is desired, as far as there is consent.
pub(crate) struct Execution<'a> {
    pub(crate) provider: &'a dyn AnyProvider,
    pub(crate) owner: &'a Owner,
    pub(crate) consent: &'a Consent,
    pub(crate) metrics: &'a Metrics,
    pub(crate) gate: &'a Gate,
}

impl Execution<'_> {
    /// `None` is nothing.
    ///
    /// # Errors
    /// What the Service cannot have, or as the provider fails.
    pub(crate) async fn carry_out(&self, desired: Option<&Desired>) -> Result<Outcome, ProviderError> {
        if let Some(desired) = desired {
            self.provider.capabilities().check(desired)?;
        }
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let observed = self.measured("observe", self.provider.observe(self.owner)).await?;
            let built = self.provider.built(&observed)?;
            let built = match desired {
                Some(desired) => self.provider.shown(desired, built),
                None => built,
            };
            let before = before.get_or_insert_with(|| built.clone()).clone();
            let plan = self.provider.plan(self.owner, desired, &observed)?;
            let steps = self.consent.allowed(&plan)?;
            if steps.is_empty() {
                let held = Some(plan).filter(|plan| !plan.is_empty());
                return Ok(Outcome { before, built, observed, held, verdict: None });
            }
            tracing::debug!(?plan, "applying");
            self.apply(steps, desired.and_then(|desired| desired.certificate.as_ref())).await?;
        }
        Err(ProviderError::Retryable("the plan did not converge".to_owned()))
    }

    /// What a pass would do. Changes nothing.
    ///
    /// # Errors
    /// As the provider fails.
    pub(crate) async fn examine(&self, desired: &Desired) -> Result<Plan<Value>, ProviderError> {
        let observed = self.measured("observe", self.provider.observe(self.owner)).await?;
        self.provider.plan(self.owner, Some(desired), &observed)
    }

    /// What would wait for approval on the way to nothing. Changes nothing.
    ///
    /// # Errors
    /// As the provider fails.
    pub(crate) async fn ask_to_remove(&self) -> Result<Outcome, ProviderError> {
        let observed = self.measured("observe", self.provider.observe(self.owner)).await?;
        let built = self.provider.built(&observed)?;
        let plan = self.provider.plan(self.owner, None, &observed)?;
        let agreed = self.consent.allowed(&plan)?.len() == plan.steps.len();
        let held = Some(plan).filter(|_| !agreed);
        Ok(Outcome { before: built.clone(), built, observed, held, verdict: None })
    }

    /// What the provider's API says of a plan that is not carried out.
    ///
    /// # Errors
    /// As the provider fails.
    pub(crate) async fn rehearse(&self, plan: &Plan<Value>) -> Result<Rehearsal, ProviderError> {
        self.gate.check().map_err(|lost| ProviderError::Retryable(lost.to_string()))?;
        self.measured("rehearse", self.provider.rehearse(self.owner, plan)).await
    }

    /// A conflict ends the pass: what is left is planned anew.
    async fn apply(
        &self,
        steps: &[penstock_providers::Step<Value>],
        certificate: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        for step in steps {
            // One that has lost the lead must not touch what its successor builds.
            self.gate.check().map_err(|lost| ProviderError::Retryable(lost.to_string()))?;
            match self.measured("apply", self.provider.apply(self.owner, step, certificate)).await {
                Err(ProviderError::Conflict(why) | ProviderError::NotFound(why)) => {
                    tracing::debug!(why, "planning again");
                    return Ok(());
                }
                applied => applied?,
            }
        }
        Ok(())
    }

    async fn measured<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let start = Instant::now();
        let answer = answer.await;
        let outcome = answer.as_ref().map_or_else(ProviderError::kind, |_| "ok");
        self.metrics.called(self.provider.capabilities().provider, call, outcome, start.elapsed());
        answer
    }
}
