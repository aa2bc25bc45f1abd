//! What will be done, as a value.

use serde::{Deserialize, Serialize};

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
}
