//! What the endpoint was asked.

use std::{collections::BTreeMap, time::Duration};

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `CreateLoadBalancer`.
    pub action: String,
    /// The parameters of a call to ELBv2. Those of ACM are not kept: they hold private keys.
    pub parameters: BTreeMap<String, String>,
    /// When it came, by the endpoint's clock.
    pub at: Duration,
    /// What it was answered; 0 where the connection was closed instead.
    pub status: u16,
    /// The code of the refusal.
    pub code: Option<String>,
}

/// Whether a call changes nothing.
#[must_use]
pub fn is_reading(action: &str) -> bool {
    ["Describe", "List", "Get"].iter().any(|start| action.starts_with(start))
}

/// All calls so far, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct RequestLog {
    /// The calls.
    pub calls: Vec<Call>,
}

impl RequestLog {
    /// How many calls there were of an action.
    #[must_use]
    pub fn count(&self, action: &str) -> usize {
        self.calls.iter().filter(|call| call.action == action).count()
    }

    /// Calls by action.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(call.action.as_str()).or_default() += 1;
        }
        counts
    }

    /// Actions from number `first` on, the first being 0; those that were refused with their code.
    #[must_use]
    pub fn since(&self, first: usize) -> Vec<String> {
        let line = |call: &Call| match &call.code {
            Some(code) => format!("{} {code}", call.action),
            None => call.action.clone(),
        };
        self.calls.iter().skip(first).map(line).collect()
    }

    /// How many calls there were of any action.
    #[must_use]
    pub fn total(&self) -> usize {
        self.calls.len()
    }

    /// How many calls were refused with a code.
    #[must_use]
    pub fn refused(&self, code: &str) -> usize {
        self.calls.iter().filter(|call| call.code.as_deref() == Some(code)).count()
    }

    /// Those that were not describes.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.calls.iter().filter(|call| !is_reading(&call.action)).count()
    }

    /// Panics unless the calls from number `first` on were these, in this order.
    pub fn assert_since(&self, first: usize, expected: &[&str]) {
        assert_eq!(self.since(first), expected);
    }
}
