//! Who agrees to a plan: pure.

use std::collections::BTreeMap;

use penstock_crds::{APPROVED_PLAN, Approval, PendingPlan, PendingStep, PlanOutcome, PlanVerdict};
use penstock_providers::{Plan, ProviderError, Risk, Step};
use serde_json::Value;

/// Which plans may be carried out whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Every one.
    Given,
    /// Those without a risky step, and the one whose hash was approved.
    Needed {
        /// What the annotation says.
        approved: Option<String>,
    },
}

impl Consent {
    /// What a class and an object's annotations agree to.
    #[must_use]
    pub fn of(approval: Approval, annotations: Option<&BTreeMap<String, String>>) -> Self {
        match approval {
            Approval::Automatic => Self::Given,
            Approval::Manual => {
                Self::Needed { approved: annotations.and_then(|a| a.get(APPROVED_PLAN)).cloned() }
            }
        }
    }

    /// The steps of a plan that may be carried out now: all of them, or those before the first risky one.
    ///
    /// # Errors
    /// A plan that cannot be written as JSON.
    pub fn allowed<'a>(&self, plan: &'a Plan<Value>) -> Result<&'a [Step<Value>], ProviderError> {
        let agreed = match self {
            Self::Given => true,
            Self::Needed { approved } => approved.is_some() && *approved == Some(hash(plan)?),
        };
        Ok(if agreed { &plan.steps } else { plan.harmless() })
    }
}

fn hash(plan: &Plan<Value>) -> Result<String, ProviderError> {
    plan.hash().map_err(|error| ProviderError::Retryable(format!("the plan is not JSON: {error}")))
}

/// A plan that waits, as the record keeps it.
///
/// # Errors
/// A plan that cannot be written as JSON.
pub fn pending(plan: &Plan<Value>) -> Result<PendingPlan, ProviderError> {
    let step = |step: &Step<Value>| PendingStep {
        reason: step.reason.clone(),
        risk: risk(step.risk),
        calls: step.calls,
    };
    Ok(PendingPlan { hash: hash(plan)?, steps: plan.steps.iter().map(step).collect(), verdict: None })
}

fn risk(risk: Risk) -> String {
    match risk {
        Risk::Safe => "safe",
        Risk::Disruptive => "disruptive",
        Risk::ReplacesAddress => "replacesAddress",
        Risk::Destructive => "destructive",
    }
    .to_owned()
}

/// What a user reads about a plan that waits. `resource` is what has to carry the annotation, as kubectl names it.
#[must_use]
pub fn question(plan: &PendingPlan, resource: &str) -> String {
    let steps: Vec<String> = plan.steps.iter().map(|s| format!("{} ({})", s.reason, s.risk)).collect();
    let command = approve_command(&plan.hash, resource);
    let verdict = plan.verdict.as_ref().map(|verdict| format!("; {}", judgement(verdict)));
    format!("waits for approval: {}{}; to agree: {command}", steps.join("; "), verdict.unwrap_or_default())
}

/// What a provider's API says of a plan, in a sentence.
#[must_use]
pub fn judgement(verdict: &PlanVerdict) -> String {
    let word = match verdict.outcome {
        PlanOutcome::Accepted => "the provider accepts it",
        PlanOutcome::Refused => "the provider would refuse it",
        PlanOutcome::Unknown => "the provider could not be asked about it",
    };
    format!("{word} ({})", verdict.message)
}

/// How somebody agrees to the plan of this hash; `resource` as for [`question`].
#[must_use]
pub fn approve_command(hash: &str, resource: &str) -> String {
    format!("kubectl annotate --overwrite {resource} {APPROVED_PLAN}={hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(risks: &[Risk]) -> Plan<Value> {
        let step =
            |risk: &Risk| Step { action: Value::Null, reason: "it must".into(), risk: *risk, calls: 1 };
        Plan { steps: risks.iter().map(step).collect() }
    }

    fn manual(approved: Option<&str>) -> Consent {
        Consent::Needed { approved: approved.map(ToOwned::to_owned) }
    }

    #[test]
    fn only_the_approved_plan_goes_past_its_first_risky_step() {
        use Risk::{Destructive, Safe};
        let risky = plan(&[Safe, Destructive, Safe]);
        let hash = risky.hash().unwrap();
        let allowed = |consent: &Consent, plan: &Plan<Value>| consent.allowed(plan).unwrap().len();
        assert_eq!(allowed(&Consent::Given, &risky), 3);
        assert_eq!(allowed(&manual(None), &risky), 1);
        assert_eq!(allowed(&manual(Some(&hash)), &risky), 3);
        assert_eq!(allowed(&manual(Some(&hash)), &plan(&[Destructive])), 0);
        assert_eq!(allowed(&manual(None), &plan(&[Safe, Safe])), 2);
    }

    #[test]
    fn the_question_names_steps_risk_and_the_command_that_answers_it() {
        let pending = pending(&plan(&[Risk::Destructive])).unwrap();
        let text = question(&pending, "-n shop service web");
        assert!(text.contains("it must (destructive)"), "{text}");
        let command =
            format!("kubectl annotate --overwrite -n shop service web {APPROVED_PLAN}={}", pending.hash);
        assert!(text.ends_with(&command), "{text}");
    }
}
