//! What a provider's own API says of a plan that waits for approval: asked once for each plan, and recorded with it, since
//! whoever approves may not call the provider.

use std::time::Instant;

use penstock_crds::{LoadBalancer, PendingPlan, PlanOutcome, PlanVerdict};
use penstock_providers::{Owner, Plan, ProviderError, Rehearsal};
use serde_json::Value;

use crate::{approval::Consent, execution::Outcome, fleet::identity, reconcile::Context};

impl Context {
    /// The outcome with what the provider says of the plan that waits, if one does.
    pub(crate) async fn judged(&self, record: &LoadBalancer, owner: &Owner, outcome: Outcome) -> Outcome {
        let (Some(plan), Ok(Some(pending))) = (&outcome.held, outcome.pending()) else { return outcome };
        let before = record.status.as_ref().and_then(|status| status.pending_plan.as_ref());
        let verdict = match standing(before, &pending) {
            Some(verdict) => Some(verdict),
            None => self.ask(record, owner, plan).await,
        };
        Outcome { verdict, ..outcome }
    }

    async fn ask(&self, record: &LoadBalancer, owner: &Owner, plan: &Plan<Value>) -> Option<PlanVerdict> {
        let answer = self.rehearsal(record, owner, plan).await;
        if let Err(error) = &answer {
            tracing::warn!(%error, "the provider could not be asked about a plan that waits");
            self.fleet.heard(&record.spec.class, error, Instant::now());
        }
        verdict(answer)
    }

    async fn rehearsal(
        &self,
        record: &LoadBalancer,
        owner: &Owner,
        plan: &Plan<Value>,
    ) -> Result<Rehearsal, ProviderError> {
        let class = &record.spec.class;
        let provider = self.fleet.outside(class).await?;
        let answer = self.execution(provider.as_ref(), owner, &Consent::Given).rehearse(plan).await;
        self.metrics.called_api(&identity(class), provider.as_ref());
        answer
    }
}

/// What was said of exactly this plan.
fn standing(before: Option<&PendingPlan>, plan: &PendingPlan) -> Option<PlanVerdict> {
    let verdict = before.filter(|before| before.hash == plan.hash)?.verdict.as_ref()?;
    (verdict.outcome != PlanOutcome::Unknown).then(|| verdict.clone())
}

fn verdict(answer: Result<Rehearsal, ProviderError>) -> Option<PlanVerdict> {
    let (outcome, message) = match answer {
        Ok(Rehearsal::NotOffered) => return None,
        Ok(Rehearsal::Accepted(message)) => (PlanOutcome::Accepted, message),
        Ok(Rehearsal::Refused(message)) => (PlanOutcome::Refused, message),
        Err(error) => (PlanOutcome::Unknown, error.to_string()),
    };
    Some(PlanVerdict { outcome, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(hash: &str, outcome: Option<PlanOutcome>) -> PendingPlan {
        let verdict = outcome.map(|outcome| PlanVerdict { outcome, message: "it says so".to_owned() });
        PendingPlan { hash: hash.to_owned(), steps: vec![], verdict }
    }

    #[test]
    fn what_was_said_of_this_plan_stands_unless_it_was_nothing() {
        let now = plan("a", None);
        let stands = |before: &PendingPlan| standing(Some(before), &now).is_some();
        assert!(
            stands(&plan("a", Some(PlanOutcome::Accepted))) && stands(&plan("a", Some(PlanOutcome::Refused)))
        );
        assert!(!stands(&plan("a", Some(PlanOutcome::Unknown))), "it is asked again");
        assert!(!stands(&plan("b", Some(PlanOutcome::Accepted))), "another plan");
        assert!(!stands(&plan("a", None)) && standing(None, &now).is_none());
    }

    #[test]
    fn a_provider_without_the_question_says_nothing_and_one_that_fails_says_why() {
        assert_eq!(verdict(Ok(Rehearsal::NotOffered)), None);
        let failed = verdict(Err(ProviderError::Retryable("it is away".to_owned()))).unwrap();
        assert_eq!((failed.outcome, failed.message.contains("it is away")), (PlanOutcome::Unknown, true));
    }
}
