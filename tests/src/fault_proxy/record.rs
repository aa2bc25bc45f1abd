//! What passed through the proxy.

use std::{collections::HashMap, fmt, time::Instant};

use http::Method;

use super::{
    call::{Call, Class, WatchEvent, without_uids},
    plan::Plan,
};

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Counts the mutating calls from 1, in the order of their arrival; none for others.
    pub number: Option<usize>,
    /// What it was.
    pub call: Call,
    /// When it arrived.
    pub at: Instant,
    /// What the caller was answered; none when it got no answer.
    pub status: Option<u16>,
    /// The fault that it met.
    pub fault: Option<String>,
    is_watch: bool,
}

impl Entry {
    /// Whether it changes something besides a Lease.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.number.is_some()
    }

    /// Whether it writes an event: losing one is no difference of the end state.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.is_write() && self.call.path.contains("/events")
    }

    /// Whether it is a watch of this collection.
    #[must_use]
    pub fn watches(&self, collection: &str) -> bool {
        self.is_watch && super::call::collection(&self.call.path) == collection
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number.map(|n| n.to_string()).unwrap_or_default();
        let status = self.status.map_or_else(|| "none".to_owned(), |s| s.to_string());
        write!(f, "{number:>4} {} -> {status}", self.call)?;
        if let Some(fault) = &self.fault {
            write!(f, " ({fault})")?;
        }
        Ok(())
    }
}

/// The plan, and what has been counted since it began.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) began: Instant,
    pub(super) plan: Plan,
    pub(super) entries: Vec<Entry>,
    pub(super) events: Vec<WatchEvent>,
    /// Faults that happened.
    pub(super) fired: usize,
    calls: HashMap<(String, String), usize>,
    seen: HashMap<(String, String, String), usize>,
    mutations: usize,
}

impl Record {
    /// An empty one.
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            began: Instant::now(),
            plan,
            entries: Vec::new(),
            events: Vec::new(),
            fired: 0,
            calls: HashMap::new(),
            seen: HashMap::new(),
            mutations: 0,
        }
    }

    /// Notes a request; returns its place in the entries.
    pub(super) fn arrived(&mut self, method: &Method, path: &str, class: Class) -> usize {
        let path = without_uids(path);
        let count = self.calls.entry((method.to_string(), path.clone())).or_default();
        *count += 1;
        let call = Call { method: method.to_string(), path, occurrence: *count };
        let number = (class == Class::Mutation).then(|| {
            self.mutations += 1;
            self.mutations
        });
        let is_watch = class == Class::Watch;
        self.entries.push(Entry { number, call, at: Instant::now(), status: None, fault: None, is_watch });
        self.entries.len() - 1
    }

    /// Notes an event of a watch.
    pub(super) fn event(&mut self, collection: &str, kind: String, name: String) -> WatchEvent {
        let key = (collection.to_owned(), name.clone(), kind.clone());
        let count = self.seen.entry(key).or_default();
        *count += 1;
        let event = WatchEvent { collection: collection.to_owned(), name, kind, occurrence: *count };
        self.events.push(event.clone());
        event
    }
}
