//! What the provider remembers of DigitalOcean, so that it is not asked again: pure.
//!
//! It begins with one list of everything, knows what the answer to each call of ours said, and doubts a Service after a call
//! whose end is not known. Lists tell all that there is, so that one of them settles every doubt and every wait that is older
//! than it. Only one process at a time changes anything (the leader), and one task for a Service.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::{
    name,
    observed::{Balancer, KnownCertificate, Observed},
};

/// All that is known.
#[derive(Debug)]
pub(super) struct Ledger {
    cluster: String,
    surveyed: bool,
    entries: HashMap<String, Entry>,
    /// Counts changes, so that a list that began before one does not undo it.
    changes: u64,
    /// Lists that have begun, and the last one that came to its end.
    begun: u64,
    finished: u64,
    /// What the last list cost.
    pages: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    observed: Observed,
    doubt: Option<Doubt>,
    changed: u64,
    seen: Instant,
}

/// Where a call whose end is not known may have left something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// In what is known.
    Known,
    /// It may have made something that nobody knows.
    New,
}

/// How much is known of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Only a list can tell.
    List,
    /// All that there is.
    Whole(Observed),
    /// Look at these balancers.
    Look(BTreeSet<String>),
}

/// A list that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing {
    number: u64,
    changes: u64,
}

/// All that a list told.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    pub(super) balancers: Vec<Balancer>,
    pub(super) certificates: Vec<KnownCertificate>,
    pub(super) pages: usize,
}

impl Ledger {
    /// Of the cluster of this name, in digits.
    pub(super) fn new(cluster: String) -> Self {
        let (entries, surveyed) = (HashMap::new(), false);
        Self { cluster, surveyed, entries, changes: 0, begun: 0, finished: 0, pages: 1 }
    }

    /// `fresh`: for how long nobody looks again at what may change by itself.
    pub(super) fn known(&self, uid: &str, now: Instant, fresh: Duration) -> Known {
        let Some(entry) = self.entries.get(uid) else {
            return if self.surveyed { Known::Whole(Observed::default()) } else { Known::List };
        };
        let ids = || entry.observed.balancers.iter().map(|balancer| balancer.id.clone()).collect();
        let stale = || now.saturating_duration_since(entry.seen) >= fresh;
        match entry.doubt {
            Some(Doubt::New) => Known::List,
            _ if !self.surveyed => Known::List,
            Some(Doubt::Known) => Known::Look(ids()),
            None if entry.observed.may_change_by_itself() && stale() => {
                // One question about each, or one list for all who wait.
                if self.waiting() > self.pages { Known::List } else { Known::Look(ids()) }
            }
            None => Known::Whole(entry.observed.clone()),
        }
    }

    fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.observed.may_change_by_itself()).count()
    }

    /// What was last seen, however doubtful.
    pub(super) fn last(&self, uid: &str) -> Observed {
        self.entries.get(uid).map(|entry| entry.observed.clone()).unwrap_or_default()
    }

    pub(super) fn lists_begun(&self) -> u64 {
        self.begun
    }

    /// Whether a list that began after so many others has come to its end.
    pub(super) fn listed_since(&self, begun: u64) -> bool {
        self.finished > begun
    }

    pub(super) fn begin_list(&mut self) -> Listing {
        self.begun += 1;
        Listing { number: self.begun, changes: self.changes }
    }

    /// A list came to its end: the Services of which it saw something else than was known. What changed meanwhile counts
    /// more.
    pub(super) fn listed(&mut self, listing: Listing, listed: Listed, now: Instant) -> BTreeSet<String> {
        let first = !std::mem::replace(&mut self.surveyed, true);
        (self.finished, self.pages) = (listing.number, listed.pages.max(1));
        let mut found = self.by_owner(listed);
        let mut differ = BTreeSet::new();
        for (uid, entry) in &mut self.entries {
            let seen = found.remove(uid).unwrap_or_default();
            if entry.changed > listing.changes {
                continue;
            }
            if entry.observed != seen {
                differ.insert(uid.clone());
            }
            *entry = Entry { observed: seen, doubt: None, changed: entry.changed, seen: now };
        }
        for (uid, observed) in found {
            // Without a list before it there is nothing to compare with.
            if !first {
                differ.insert(uid.clone());
            }
            let entry = Entry { observed, doubt: None, changed: self.changes, seen: now };
            self.entries.insert(uid, entry);
        }
        self.entries.retain(|_, entry| entry.doubt.is_some() || entry.observed != Observed::default());
        differ
    }

    /// By the mark. What has none and was a Service's before stays its own: somebody has renamed it.
    fn by_owner(&self, listed: Listed) -> BTreeMap<String, Observed> {
        let renamed: HashMap<&str, &str> = self
            .entries
            .iter()
            .flat_map(|(uid, e)| e.observed.balancers.iter().map(move |b| (b.id.as_str(), uid.as_str())))
            .collect();
        let mut found: BTreeMap<String, Observed> = BTreeMap::new();
        for balancer in listed.balancers {
            let uid = match name::owner_of(&balancer.spec.name) {
                Some((cluster, uid)) => Some(uid).filter(|_| cluster == self.cluster),
                None => renamed.get(balancer.id.as_str()).copied(),
            };
            if let Some(uid) = uid.map(ToOwned::to_owned) {
                found.entry(uid).or_default().balancers.push(balancer);
            }
        }
        for certificate in listed.certificates {
            if let Some(uid) = name::uid_of(&certificate.name, &self.cluster).map(ToOwned::to_owned) {
                found.entry(uid).or_default().certificates.push(certificate);
            }
        }
        found.values_mut().for_each(Observed::sort);
        found
    }

    /// All that there is of a Service's balancers, by questions about each.
    pub(super) fn learn(&mut self, uid: &str, balancers: Vec<Balancer>, now: Instant) {
        self.change(uid, now, |entry| {
            entry.observed.balancers = balancers;
            entry.observed.sort();
            entry.doubt = None;
        });
    }

    /// A call of ours succeeded.
    pub(super) fn take(&mut self, uid: &str, now: Instant, change: impl FnOnce(&mut Observed)) {
        self.change(uid, now, |entry| change(&mut entry.observed));
    }

    /// Nobody knows how a call ended.
    pub(super) fn doubt(&mut self, uid: &str, doubt: Doubt, now: Instant) {
        self.change(uid, now, |entry| entry.doubt = entry.doubt.max(Some(doubt)));
    }

    fn change(&mut self, uid: &str, now: Instant, change: impl FnOnce(&mut Entry)) {
        self.changes += 1;
        let new = Entry { observed: Observed::default(), doubt: None, changed: 0, seen: now };
        let entry = self.entries.entry(uid.to_owned()).or_insert(new);
        change(entry);
        (entry.changed, entry.seen) = (self.changes, now);
        if entry.doubt.is_none() && entry.observed == Observed::default() && self.surveyed {
            self.entries.remove(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FRESH: Duration = Duration::from_secs(3);

    fn balancer(id: &str, name: &str, status: &str) -> Balancer {
        let said = json!({"id": id, "name": name, "status": status, "region": {"slug": "fra1"}});
        crate::digitalocean::body::balancer(&said).unwrap()
    }

    fn of(uid: &str, status: &str) -> Balancer {
        balancer(uid, &format!("web.penstock.blue.{uid}"), status)
    }

    fn seen(balancers: Vec<Balancer>) -> Observed {
        Observed { balancers, certificates: vec![] }
    }

    fn list(ledger: &mut Ledger, balancers: Vec<Balancer>, now: Instant) -> Vec<String> {
        let listing = ledger.begin_list();
        ledger.listed(listing, Listed { balancers, ..Listed::default() }, now).into_iter().collect()
    }

    #[test]
    fn one_list_tells_everything_and_what_our_calls_made_is_known_without_asking() {
        let (mut ledger, now) = (Ledger::new("blue".into()), Instant::now());
        assert_eq!(ledger.known("a", now, FRESH), Known::List);
        let others = balancer("x", "web.penstock.green.a", "active");
        let differ =
            list(&mut ledger, vec![of("a", "active"), others, balancer("y", "by-hand", "active")], now);
        assert!(differ.is_empty(), "there was nothing to compare with: {differ:?}");
        assert_eq!(ledger.known("a", now, FRESH), Known::Whole(seen(vec![of("a", "active")])));
        assert_eq!(ledger.known("new", now, FRESH), Known::Whole(Observed::default()));
        ledger.take("new", now, |observed| observed.take(of("new", "active")));
        assert_eq!(ledger.known("new", now, FRESH), Known::Whole(seen(vec![of("new", "active")])));
        ledger.take("new", now, |observed| observed.forget("new"));
        assert_eq!(ledger.known("new", now, FRESH), Known::Whole(Observed::default()));
    }

    #[test]
    fn who_waits_asks_alone_and_many_who_wait_ask_once() {
        let (mut ledger, now) = (Ledger::new("blue".into()), Instant::now());
        list(&mut ledger, vec![], now);
        ledger.take("a", now, |observed| observed.take(of("a", "new")));
        let whole = Known::Whole(seen(vec![of("a", "new")]));
        assert_eq!(ledger.known("a", now + FRESH / 2, FRESH), whole, "it was seen just now");
        assert_eq!(ledger.known("a", now + FRESH, FRESH), Known::Look(["a".to_owned()].into()));
        ledger.take("b", now, |observed| observed.take(of("b", "new")));
        assert_eq!(ledger.known("a", now + FRESH, FRESH), Known::List);
        list(&mut ledger, vec![of("a", "active"), of("b", "new")], now + FRESH);
        assert_eq!(ledger.known("a", now + FRESH, FRESH), Known::Whole(seen(vec![of("a", "active")])));
    }

    #[test]
    fn a_doubt_is_settled_by_a_later_list_and_not_by_one_that_began_before() {
        let (mut ledger, now) = (Ledger::new("blue".into()), Instant::now());
        list(&mut ledger, vec![of("a", "active")], now);
        ledger.doubt("a", Doubt::Known, now);
        assert_eq!(ledger.known("a", now, FRESH), Known::Look(["a".to_owned()].into()));
        let early = ledger.begin_list();
        ledger.doubt("a", Doubt::New, now);
        ledger.doubt("a", Doubt::Known, now);
        ledger.listed(early, Listed { balancers: vec![of("a", "active")], ..Listed::default() }, now);
        assert_eq!(ledger.known("a", now, FRESH), Known::List, "what may be new stays doubtful");
        list(&mut ledger, vec![], now);
        assert_eq!(ledger.known("a", now, FRESH), Known::Whole(Observed::default()));
    }

    #[test]
    fn a_later_list_names_who_has_something_else_and_knows_what_was_renamed() {
        let (mut ledger, now) = (Ledger::new("blue".into()), Instant::now());
        list(&mut ledger, vec![of("a", "active"), of("b", "active"), of("c", "active")], now);
        let by_hand = balancer("b", "mine", "active");
        let stolen = balancer("c", "web.penstock.blue.d", "active");
        let differ = list(&mut ledger, vec![of("a", "active"), by_hand.clone(), stolen], now);
        assert_eq!(differ, ["b", "c", "d"]);
        assert_eq!(ledger.known("b", now, FRESH), Known::Whole(seen(vec![by_hand])));
        assert_eq!(ledger.known("c", now, FRESH), Known::Whole(Observed::default()));
    }
}
