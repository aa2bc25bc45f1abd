//! What the provider remembers of AWS, so that it is not asked again: pure.
//!
//! It begins with a survey of everything in bulk, knows what each call of ours has changed, and doubts a Service after a
//! call whose end is not known. Only one process at a time changes anything (the leader), and one task for a Service.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::{
    action::Action,
    observed::{Made, Observed},
    survey::Clue,
};

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    surveyed: bool,
    /// For how long AWS may not show what was created.
    lag: Duration,
    /// Before it another process may have created something.
    born: Option<Instant>,
    /// The last survey began late enough to have seen that.
    trusted: bool,
    entries: HashMap<String, Entry>,
    /// The last of those that had their turn.
    turn: String,
    /// Counts changes, so that a survey that began before one does not undo it.
    changes: u64,
}

/// What is known of a Service.
#[derive(Clone, Debug, Default)]
struct Entry {
    observed: Observed,
    /// Listeners, attributes and targets too.
    whole: bool,
    /// What may exist besides; something is doubtful as long as there is any.
    doubts: BTreeSet<Clue>,
    doubtful: bool,
    /// What a call of ours created, or found: AWS answers the creation of what exists with it, whoever owns it.
    unconfirmed: BTreeSet<String>,
    /// When a call was made last of which nobody knows what it created.
    unclear: Option<Instant>,
    /// When something was created last, which AWS may not show at once.
    created: Option<Instant>,
    changed: u64,
}

/// How much is known of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Ask for everything first.
    Nothing,
    /// All that there is.
    Whole(Observed),
    /// But for listeners, attributes and targets.
    Outline(Observed),
    /// Look at these.
    Doubtful(BTreeSet<Clue>),
}

impl Ledger {
    /// Begins with nothing.
    pub(super) fn new(lag: Duration, now: Instant) -> Self {
        Self { lag, born: Some(now), ..Self::default() }
    }

    /// How long it may take until AWS shows all that there is of a Service; `None`: it was asked late enough.
    pub(super) fn unsettled(&self, uid: &str, now: Instant) -> Option<Duration> {
        let unclear = self.entries.get(uid).and_then(|entry| entry.unclear);
        let since = [unclear, self.born.filter(|_| !self.trusted)].into_iter().flatten().max()?;
        Some((since + self.lag).saturating_duration_since(now))
    }

    /// What there is of a Service is asked for next.
    pub(super) fn look_again(&mut self, uid: &str) {
        if self.born.is_some() && !self.trusted {
            self.surveyed = false;
            self.entries.remove(uid);
        } else if let Some(entry) = self.entries.get_mut(uid) {
            entry.doubtful = true;
        }
    }

    pub(super) fn known(&self, uid: &str) -> Known {
        match self.entries.get(uid) {
            Some(entry) if entry.doubtful => Known::Doubtful(entry.clues()),
            Some(entry) if entry.whole => Known::Whole(entry.observed.clone()),
            Some(entry) if self.surveyed => Known::Outline(entry.observed.clone()),
            None if self.surveyed => Known::Whole(Observed::default()),
            _ => Known::Nothing,
        }
    }

    /// By what all that may be the Service's is found.
    pub(super) fn clues(&self, uid: &str) -> BTreeSet<Clue> {
        self.entries.get(uid).map(Entry::clues).unwrap_or_default()
    }

    /// What was last seen, however doubtful.
    pub(super) fn last(&self, uid: &str) -> Observed {
        self.entries.get(uid).map(|entry| entry.observed.clone()).unwrap_or_default()
    }

    /// Where a survey begins: what changes from now on it may not have seen.
    pub(super) fn mark(&self) -> u64 {
        self.changes
    }

    /// A survey that began at `from`; whatever was done meanwhile counts more.
    pub(super) fn surveyed(&mut self, found: BTreeMap<String, Observed>, from: Instant) {
        self.surveyed = true;
        self.trusted |= self.born.is_none_or(|born| from >= born + self.lag);
        for (uid, observed) in found {
            self.entries.entry(uid).or_insert_with(|| Entry { observed, ..Entry::default() });
        }
    }

    /// A later survey, begun at `mark`: the Services of which it saw something else than was known. They are doubtful
    /// now.
    pub(super) fn compared(&mut self, mark: u64, found: &BTreeMap<String, Observed>) -> BTreeSet<String> {
        self.changes += 1;
        let mut differ = BTreeSet::new();
        // Without a survey before it there is nothing to compare with.
        if !self.surveyed {
            return differ;
        }
        for (uid, entry) in &mut self.entries {
            let nothing = Observed::default();
            let seen = found.get(uid).unwrap_or(&nothing);
            if entry.changed <= mark && !entry.doubtful && !entry.observed.looks_like(seen) {
                entry.doubt(seen.clues());
                differ.insert(uid.clone());
            }
        }
        for (uid, seen) in found {
            if !self.entries.contains_key(uid) {
                let entry = Entry { observed: seen.clone(), ..Entry::default() };
                self.entries.insert(uid.clone(), entry);
                differ.insert(uid.clone());
            }
        }
        differ
    }

    /// So many Services, after those that had their turn before, are doubtful now: what a survey does not tell is looked
    /// at again.
    pub(super) fn take_turns(&mut self, count: usize) -> BTreeSet<String> {
        let mut all: Vec<String> = self.entries.keys().cloned().collect();
        all.sort_unstable();
        let start = all.partition_point(|uid| *uid <= self.turn);
        all.rotate_left(start);
        all.truncate(count);
        self.turn = all.last().cloned().unwrap_or_default();
        for uid in &all {
            if let Some(entry) = self.entries.get_mut(uid).filter(|entry| entry.whole) {
                entry.doubtful = true;
            }
        }
        all.into_iter().collect()
    }

    /// All that AWS shows of a Service to who asked `from` then on.
    pub(super) fn learn(&mut self, uid: &str, observed: Observed, from: Instant) {
        self.changes += 1;
        // What may not be shown yet, or is not although it was there just now, is looked for again.
        let before = self.entries.remove(uid).unwrap_or_default();
        let early = |at: &Instant| from < *at + self.lag;
        let lost = !before.observed.clues().is_subset(&observed.clues());
        let unclear = before.unclear.filter(early).or(before.created.filter(early).filter(|_| lost));
        if observed == Observed::default() && self.surveyed && unclear.is_none() {
            return;
        }
        let doubts = if unclear.is_some() { before.clues() } else { BTreeSet::new() };
        let (whole, changed, created) = (true, self.changes, before.created);
        let entry = Entry { observed, whole, doubts, unclear, created, changed, ..Entry::default() };
        self.entries.insert(uid.to_owned(), entry);
    }

    /// A call of ours succeeded.
    pub(super) fn take(&mut self, uid: &str, action: &Action, made: Made, now: Instant) {
        self.changes += 1;
        let entry =
            self.entries.entry(uid.to_owned()).or_insert_with(|| Entry { whole: true, ..Entry::default() });
        if action.creates() {
            entry.unconfirmed.insert(made.arn.clone());
            entry.created = Some(now);
        }
        entry.observed.take(action, made);
        entry.changed = self.changes;
    }

    /// The ARNs of what may be somebody else's.
    pub(super) fn unconfirmed(&self, uid: &str) -> BTreeSet<String> {
        self.entries.get(uid).map(|entry| entry.unconfirmed.clone()).unwrap_or_default()
    }

    /// These are the Service's.
    pub(super) fn confirm(&mut self, uid: &str, arns: &BTreeSet<String>) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.unconfirmed.retain(|arn| !arns.contains(arn));
        }
    }

    /// These are not: as if they had never been seen.
    pub(super) fn disown(&mut self, uid: &str, arns: &BTreeSet<String>) {
        self.changes += 1;
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.observed.balancers.retain(|balancer| !arns.contains(&balancer.arn));
            entry.observed.groups.retain(|group| !arns.contains(&group.arn));
            entry.unconfirmed.retain(|arn| !arns.contains(arn));
            entry.changed = self.changes;
        }
    }

    /// Nobody knows how a call ended; it may have made what the clues name.
    pub(super) fn doubt(&mut self, uid: &str, clues: BTreeSet<Clue>, now: Instant) {
        self.changes += 1;
        let entry = self.entries.entry(uid.to_owned()).or_default();
        if !clues.is_empty() {
            entry.unclear = Some(now);
        }
        entry.changed = self.changes;
        entry.doubt(clues);
    }
}

impl Entry {
    fn doubt(&mut self, clues: BTreeSet<Clue>) {
        self.doubtful = true;
        self.doubts.extend(clues);
    }

    fn clues(&self) -> BTreeSet<Clue> {
        self.observed.clues().into_iter().chain(self.doubts.clone()).collect()
    }
}

impl Observed {
    pub(super) fn clues(&self) -> BTreeSet<Clue> {
        let balancers = self.balancers.iter().map(|balancer| Clue::BalancerArn(balancer.arn.clone()));
        let groups = self.groups.iter().map(|group| Clue::GroupArn(group.arn.clone()));
        let certificates = self.certificates.iter().map(|one| Clue::CertificateArn(one.arn.clone()));
        balancers.chain(groups).chain(certificates).collect()
    }

    /// Whether a survey, which has neither listeners nor attributes nor targets, saw the same.
    fn looks_like(&self, seen: &Self) -> bool {
        let balancers = self.balancers.iter().map(|b| (&b.arn, &b.spec, b.failed));
        let groups = self.groups.iter().map(|g| (&g.arn, &g.spec));
        let certificates = self.certificates.iter().map(|c| (&c.arn, &c.tags));
        balancers.eq(seen.balancers.iter().map(|b| (&b.arn, &b.spec, b.failed)))
            && groups.eq(seen.groups.iter().map(|g| (&g.arn, &g.spec)))
            && certificates.eq(seen.certificates.iter().map(|c| (&c.arn, &c.tags)))
    }
}

#[cfg(test)]
mod tests;
