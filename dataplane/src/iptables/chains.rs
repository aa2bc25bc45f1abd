//! Chains with their rules, and what it takes to come from some to others.

use std::collections::{BTreeMap, BTreeSet};

/// The tables that hold rules of ours, in the order in which they are written: a frontend that is no longer translated is
/// refused from then on and not let through for a moment. (What was translated is not refused.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
}

impl Table {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Filter, Self::Nat];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

/// A chain of a table.
pub(super) type Chain = (Table, String);

/// Rules as iptables takes them, behind `-A CHAIN`.
pub(super) type Rules = Vec<String>;

/// Chains with all their rules.
pub(super) type Chains = BTreeMap<Chain, Rules>;

/// What has to be done: chains are written whole or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) written: Chains,
    pub(super) deleted: BTreeSet<Chain>,
}

impl Patch {
    /// From chains to others, where these are all that differ.
    pub(super) fn between(before: &Chains, mut after: Chains) -> Self {
        let deleted = before.keys().filter(|chain| !after.contains_key(*chain)).cloned().collect();
        after.retain(|chain, rules| before.get(chain) != Some(rules));
        Self { written: after, deleted }
    }

    /// And another, of other chains.
    pub(super) fn extend(&mut self, other: Self) {
        self.written.extend(other.written);
        self.deleted.extend(other.deleted);
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.deleted.is_empty()
    }

    /// How many rules are written and chains deleted.
    pub(super) fn len(&self) -> usize {
        self.written.values().map(Vec::len).sum::<usize>() + self.deleted.len()
    }

    /// Does it to chains.
    #[cfg(test)]
    pub(super) fn apply_to(&self, chains: &mut Chains) {
        for chain in &self.deleted {
            assert!(chains.remove(chain).is_some(), "{chain:?} is deleted and was not there");
        }
        chains.extend(self.written.clone());
    }
}
