//! What the provider remembers of AWS, so that it is not asked again: pure.
//!
//! It begins with a survey of everything in bulk, knows what each call of ours has changed, and doubts a Service after a
//! call whose end is not known. Only one process at a time changes anything (the leader), and one task for a Service.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    action::Action,
    observed::{Made, Observed},
    survey::Clue,
};

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    surveyed: bool,
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
    pub(super) fn known(&self, uid: &str) -> Known {
        match self.entries.get(uid) {
            Some(entry) if entry.doubtful => Known::Doubtful(entry.clues()),
            Some(entry) if entry.whole => Known::Whole(entry.observed.clone()),
            Some(entry) if self.surveyed => Known::Outline(entry.observed.clone()),
            None if self.surveyed => Known::Whole(Observed::default()),
            _ => Known::Nothing,
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

    /// The first survey; whatever was done meanwhile counts more.
    pub(super) fn surveyed(&mut self, found: BTreeMap<String, Observed>) {
        self.surveyed = true;
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

    /// All that there is of a Service.
    pub(super) fn learn(&mut self, uid: &str, observed: Observed) {
        self.changes += 1;
        if observed == Observed::default() && self.surveyed {
            self.entries.remove(uid);
            return;
        }
        let entry = Entry { observed, whole: true, changed: self.changes, ..Entry::default() };
        self.entries.insert(uid.to_owned(), entry);
    }

    /// A call of ours succeeded.
    pub(super) fn take(&mut self, uid: &str, action: &Action, made: Made) {
        self.changes += 1;
        let entry =
            self.entries.entry(uid.to_owned()).or_insert_with(|| Entry { whole: true, ..Entry::default() });
        if action.creates() {
            entry.unconfirmed.insert(made.arn.clone());
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
    pub(super) fn doubt(&mut self, uid: &str, clues: BTreeSet<Clue>) {
        self.changes += 1;
        let entry = self.entries.entry(uid.to_owned()).or_default();
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
mod tests {
    use super::*;
    use crate::aws::{
        IpAddressType, Scheme,
        spec::{BalancerSpec, SubnetSpec},
    };

    fn create(name: &str) -> Action {
        Action::CreateLoadBalancer {
            spec: BalancerSpec {
                name: name.into(),
                scheme: Scheme::Internal,
                ip_address_type: IpAddressType::Ipv4,
                subnets: vec![SubnetSpec::plain("subnet-a")],
                security_groups: BTreeSet::new(),
                tags: crate::aws::Pairs::new(),
            },
        }
    }

    fn made(arn: &str) -> Made {
        Made { arn: arn.into(), ..Made::default() }
    }

    fn seen(arn: &str) -> Observed {
        let mut observed = Observed::default();
        observed.take(&create(arn), made(arn));
        observed
    }

    fn survey(all: &[&str]) -> BTreeMap<String, Observed> {
        all.iter().map(|uid| ((*uid).to_owned(), seen(uid))).collect()
    }

    #[test]
    fn nothing_is_known_before_a_survey_and_all_after_it() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.known("a"), Known::Nothing);
        ledger.surveyed(survey(&["a"]));
        assert_eq!(ledger.known("a"), Known::Outline(seen("a")));
        assert_eq!(ledger.known("new"), Known::Whole(Observed::default()));
        ledger.learn("a", seen("a"));
        assert_eq!(ledger.known("a"), Known::Whole(seen("a")));
    }

    #[test]
    fn what_our_calls_make_is_known_without_asking() {
        let mut ledger = Ledger::default();
        ledger.surveyed(BTreeMap::new());
        ledger.take("a", &create("a"), made("a"));
        assert_eq!(ledger.known("a"), Known::Whole(seen("a")));
        ledger.take("a", &Action::DeleteLoadBalancer { balancer: "a".into() }, Made::default());
        assert_eq!(ledger.known("a"), Known::Whole(Observed::default()));
    }

    #[test]
    fn after_a_call_whose_end_nobody_knows_what_it_may_have_made_is_looked_for() {
        let mut ledger = Ledger::default();
        ledger.surveyed(survey(&["a"]));
        ledger.doubt("a", create("b").clues());
        let clues = BTreeSet::from([Clue::BalancerArn("a".into()), Clue::BalancerName("b".into())]);
        assert_eq!(ledger.known("a"), Known::Doubtful(clues));
        ledger.learn("a", Observed::default());
        assert_eq!(ledger.known("a"), Known::Whole(Observed::default()), "gone, and no doubt is left");
    }

    #[test]
    fn a_sweep_names_who_has_something_else_and_what_changed_meanwhile_counts_more() {
        let mut ledger = Ledger::default();
        ledger.surveyed(survey(&["gone", "same"]));
        let mark = ledger.mark();
        ledger.take("new", &create("new"), made("new"));
        let differ = ledger.compared(mark, &survey(&["same", "stranger"]));
        assert_eq!(differ, BTreeSet::from(["gone".to_owned(), "stranger".to_owned()]));
        assert_eq!(ledger.known("new"), Known::Whole(seen("new")), "the survey began before it");
        assert!(matches!(ledger.known("gone"), Known::Doubtful(_)));
        let again = ledger.compared(ledger.mark(), &survey(&["same", "stranger", "new"]));
        assert!(again.is_empty(), "{again:?}");
    }

    #[test]
    fn a_sweep_that_is_the_first_survey_names_nobody() {
        let mut ledger = Ledger::default();
        assert!(ledger.compared(ledger.mark(), &survey(&["a"])).is_empty());
        ledger.surveyed(survey(&["a"]));
        assert_eq!(ledger.known("a"), Known::Outline(seen("a")));
    }

    #[test]
    fn what_a_creation_found_is_nobodys_until_its_tags_are_seen() {
        let mut ledger = Ledger::default();
        ledger.surveyed(BTreeMap::new());
        ledger.take("a", &create("mine"), made("mine"));
        ledger.take("a", &create("theirs"), made("theirs"));
        assert_eq!(ledger.unconfirmed("a"), ["mine", "theirs"].map(ToOwned::to_owned).into());
        ledger.confirm("a", &BTreeSet::from(["mine".to_owned()]));
        ledger.disown("a", &BTreeSet::from(["theirs".to_owned()]));
        assert_eq!(ledger.unconfirmed("a"), BTreeSet::new());
        assert_eq!(ledger.known("a"), Known::Whole(seen("mine")));
    }

    #[test]
    fn everybody_has_a_turn() {
        let mut ledger = Ledger::default();
        ledger.surveyed(survey(&["a", "b", "c"]));
        ledger.learn("c", seen("c"));
        let turns = |ledger: &mut Ledger| ledger.take_turns(2).into_iter().collect::<Vec<_>>();
        assert_eq!(turns(&mut ledger), ["a", "b"]);
        assert_eq!(turns(&mut ledger), ["a", "c"]);
        assert!(matches!(ledger.known("c"), Known::Doubtful(_)));
        assert_eq!(turns(&mut ledger), ["b", "c"]);
    }
}
