//! What will be done, as a value.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much a step can hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Risk {
    /// Nobody notices.
    Safe,
    /// Connections may break for a moment.
    Disruptive,
    /// Clients must learn a new address.
    ReplacesAddress,
    /// Something is lost for good.
    Destructive,
}

impl Risk {
    /// Whether a class with manual approval wants to be asked first.
    #[must_use]
    pub fn needs_approval(self) -> bool {
        self > Self::Safe
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safe => "safe",
            Self::Disruptive => "disruptive",
            Self::ReplacesAddress => "replaces the address",
            Self::Destructive => "destructive",
        })
    }
}

/// One small, resumable step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step<A> {
    /// What is done.
    pub action: A,
    /// Why.
    pub reason: String,
    /// How much it can hurt.
    pub risk: Risk,
    /// Calls of the provider's API that it will cost.
    pub calls: u32,
}

impl<A> Step<A> {
    /// The same step with its action in another form.
    #[must_use]
    pub fn with_action<B>(&self, action: B) -> Step<B> {
        Step { action, reason: self.reason.clone(), risk: self.risk, calls: self.calls }
    }
}

/// The way from observed to desired, in order. Empty when there is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan<A> {
    /// The steps.
    pub steps: Vec<Step<A>>,
}

impl<A> Plan<A> {
    /// Nothing to do.
    #[must_use]
    pub fn empty() -> Self {
        Self { steps: Vec::new() }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps that can be carried out without asking anybody: those before the first risky one.
    #[must_use]
    pub fn harmless(&self) -> &[Step<A>] {
        let end = self.steps.iter().position(|step| step.risk.needs_approval());
        &self.steps[..end.unwrap_or(self.steps.len())]
    }

    /// Calls of the provider's API that the whole plan will cost.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.steps.iter().map(|step| step.calls).sum()
    }
}

impl<A: Serialize> Plan<A> {
    /// What an approval has to name: 16 hexadecimal digits that follow from every step. Another plan has another.
    ///
    /// # Errors
    /// An action that cannot be written as JSON.
    pub fn hash(&self) -> serde_json::Result<String> {
        fingerprint(&self.steps)
    }
}

/// 16 hexadecimal digits of the SHA-256 of the value's JSON. The keys of objects are sorted first: a plan has the same
/// hash whether its actions are a provider's own or, behind [`crate::AnyProvider`], JSON already.
///
/// # Errors
/// A value that cannot be written as JSON.
pub fn fingerprint(value: &impl Serialize) -> serde_json::Result<String> {
    let digest = Sha256::digest(serde_json::to_vec(&serde_json::to_value(value)?)?);
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(risks: &[Risk]) -> Plan<u8> {
        let step = |(action, risk): (u8, &Risk)| Step { action, reason: "why".into(), risk: *risk, calls: 1 };
        Plan { steps: (0..).zip(risks).map(step).collect() }
    }

    #[test]
    fn what_follows_a_risky_step_waits_with_it() {
        use Risk::{Destructive, Disruptive, Safe};
        assert_eq!(plan(&[Safe, Safe]).harmless().len(), 2);
        assert_eq!(plan(&[Safe, Disruptive, Safe]).harmless().len(), 1);
        assert!(plan(&[Destructive]).harmless().is_empty());
    }

    #[test]
    fn another_plan_has_another_hash() {
        let (a, b) = (plan(&[Risk::Safe]), plan(&[Risk::Disruptive]));
        assert_eq!(a.hash().unwrap(), plan(&[Risk::Safe]).hash().unwrap());
        assert_ne!(a.hash().unwrap(), b.hash().unwrap());
        assert_eq!(a.hash().unwrap().len(), 16);
    }
}
