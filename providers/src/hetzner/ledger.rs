//! What the provider remembers of Hetzner, so that it is not asked again: pure.
//!
//! It begins with a survey of everything in bulk, knows what each call of ours has changed, and doubts a Service after a
//! call whose end is not known. Only one process at a time changes anything (the leader), and one task for a Service.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    action::Action,
    observed::{Balancer, Observed},
};

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    surveyed: bool,
    entries: HashMap<String, Entry>,
    /// Counts changes, so that a survey that began before one does not undo it.
    changes: u64,
}

/// What is known of a Service.
#[derive(Clone, Debug, Default)]
struct Entry {
    observed: Observed,
    doubtful: bool,
    changed: u64,
}

/// How much is known of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Ask for everything first.
    Nothing,
    /// All that there is.
    Whole(Observed),
    /// Look again.
    Doubtful,
}

impl Ledger {
    pub(super) fn known(&self, uid: &str) -> Known {
        match self.entries.get(uid) {
            Some(entry) if entry.doubtful => Known::Doubtful,
            Some(entry) => Known::Whole(entry.observed.clone()),
            None if self.surveyed => Known::Whole(Observed::default()),
            None => Known::Nothing,
        }
    }

    /// What was last seen, however doubtful.
    pub(super) fn last(&self, uid: &str) -> Observed {
        self.entries.get(uid).map(|entry| entry.observed.clone()).unwrap_or_default()
    }

    /// Where a survey begins: what changes from now on it may not have seen.
    pub(super) fn mark(&self) -> u64 {
        self.changes
    }

    /// A survey that began at `mark`: the Services of which it saw something else than was known. They are doubtful
    /// now. The first one is only remembered.
    pub(super) fn surveyed(&mut self, mark: u64, found: BTreeMap<String, Observed>) -> BTreeSet<String> {
        let first = !std::mem::replace(&mut self.surveyed, true);
        let mut differ = BTreeSet::new();
        let nothing = Observed::default();
        for (uid, entry) in &mut self.entries {
            let seen = found.get(uid).unwrap_or(&nothing);
            if entry.changed <= mark && !entry.doubtful && entry.observed != *seen {
                entry.doubtful = true;
                differ.insert(uid.clone());
            }
        }
        for (uid, observed) in found {
            self.entries.entry(uid).or_insert_with_key(|uid| {
                if !first {
                    differ.insert(uid.clone());
                }
                Entry { observed, ..Entry::default() }
            });
        }
        differ
    }

    /// All that there is of a Service.
    pub(super) fn learn(&mut self, uid: &str, observed: Observed) {
        self.changes += 1;
        let entry = Entry { observed, doubtful: false, changed: self.changes };
        self.entries.insert(uid.to_owned(), entry);
    }

    /// A call of ours succeeded.
    pub(super) fn take(&mut self, uid: &str, action: &Action, made: Option<Balancer>) {
        self.changes += 1;
        let entry = self.entries.entry(uid.to_owned()).or_default();
        entry.observed.take(action, made);
        entry.changed = self.changes;
    }

    /// Nobody knows how a call ended.
    pub(super) fn doubt(&mut self, uid: &str) {
        self.changes += 1;
        let entry = self.entries.entry(uid.to_owned()).or_default();
        entry.doubtful = true;
        entry.changed = self.changes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Pairs;

    fn seen(id: u64) -> Observed {
        let balancer = Balancer {
            id,
            name: "b".into(),
            labels: Pairs::new(),
            load_balancer_type: "lb11".into(),
            location: "fsn1".into(),
            network_zone: "eu-central".into(),
            algorithm: crate::hetzner::Algorithm::RoundRobin,
            public_interface: true,
            addresses: vec![],
            networks: vec![],
            protected: false,
            services: vec![],
            targets: BTreeSet::new(),
        };
        Observed { balancers: vec![balancer], ..Observed::default() }
    }

    fn survey(all: &[(&str, u64)]) -> BTreeMap<String, Observed> {
        all.iter().map(|(uid, id)| ((*uid).to_owned(), seen(*id))).collect()
    }

    #[test]
    fn nothing_is_known_before_a_survey_and_all_after_it() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.known("a"), Known::Nothing);
        assert!(ledger.surveyed(0, survey(&[("a", 1)])).is_empty(), "the first compares with nothing");
        assert_eq!(ledger.known("a"), Known::Whole(seen(1)));
        assert_eq!(ledger.known("new"), Known::Whole(Observed::default()));
        ledger.doubt("a");
        assert_eq!(ledger.known("a"), Known::Doubtful);
        ledger.learn("a", Observed::default());
        assert_eq!(ledger.known("a"), Known::Whole(Observed::default()));
    }

    #[test]
    fn a_sweep_names_who_has_something_else_and_what_changed_meanwhile_counts_more() {
        let mut ledger = Ledger::default();
        ledger.surveyed(0, survey(&[("gone", 1), ("same", 2), ("deleted", 3)]));
        let mark = ledger.mark();
        ledger.take("deleted", &Action::Delete { balancer: 3 }, None);
        let found = survey(&[("same", 2), ("stranger", 4), ("deleted", 3)]);
        let differ = ledger.surveyed(mark, found.clone());
        assert_eq!(differ, BTreeSet::from(["gone".to_owned(), "stranger".to_owned()]));
        assert_eq!(ledger.known("deleted"), Known::Whole(Observed::default()), "the survey began before it");
        assert_eq!(ledger.known("gone"), Known::Doubtful);
        assert_eq!(ledger.surveyed(ledger.mark(), found), BTreeSet::from(["deleted".to_owned()]));
    }
}
