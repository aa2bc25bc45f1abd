//! Rules by address, in a small tree of chains: what a packet walks through grows with the logarithm of the number of
//! addresses, and a change writes the chains on the way to it. Pure.
//!
//! A chain of at most [`BUCKET`] keys holds their rules; a larger one leads to chains of longer prefixes. Which there are
//! follows from the keys alone, so that any way to a set of keys ends in the same chains.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::{Bound, RangeInclusive},
};

use ipnet::IpNet;
use penstock_model::{Family, FrontendAddress, Protocol};

use super::{
    chains::{Chains, Patch, Rules, Table},
    name::hashed,
};

/// How many keys one chain has rules of.
const BUCKET: usize = 32;
/// How many ports are one block, where an address has more frontends than a bucket.
const BLOCK: u16 = 64;

/// The prefixes by which chains lead to others. ClusterIPs differ in the last bits.
fn lengths(family: Family) -> &'static [u8] {
    match family {
        Family::IPv4 => &[0, 12, 17, 22, 27, 32],
        Family::IPv6 => &[0, 64, 108, 113, 118, 123, 128],
    }
}

/// What rules are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) ip: IpAddr,
    pub(super) what: What,
}

/// What of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A port.
    Port(Protocol, u16),
    /// What none of its ports is: behind them.
    Rest,
}

impl Key {
    const FIRST: What = What::Port(Protocol::Tcp, 0);

    pub(super) fn of(frontend: FrontendAddress) -> Self {
        Self { ip: frontend.ip, what: What::Port(frontend.protocol, frontend.port) }
    }

    pub(super) fn all_of(ip: IpAddr) -> Self {
        Self { ip, what: What::Rest }
    }

    fn matches(self, side: &str) -> String {
        match self.what {
            What::Port(protocol, port) => {
                let protocol = protocol.lower();
                format!("{side} {} -p {protocol} -m {protocol} --dport {port}", self.ip)
            }
            What::Rest => format!("{side} {}", self.ip),
        }
    }
}

/// A chain of the tree, by the first key that belongs there and how deep it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    first: Key,
    depth: usize,
}

/// Rules of a key, and how many have put them there: all the same ones.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    holders: usize,
    rules: Rules,
}

/// Rules by key.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    table: Table,
    root: &'static str,
    /// `-d` or `-s`.
    side: &'static str,
    family: Family,
    entries: BTreeMap<Key, Entry>,
}

impl Tree {
    /// An empty one. It has one chain, its root.
    pub(super) fn new(table: Table, root: &'static str, side: &'static str, family: Family) -> Self {
        Self { table, root, side, family, entries: BTreeMap::new() }
    }

    /// Takes keys away and then adds others; returns what that means for the chains.
    pub(super) fn update(&mut self, gone: &[Key], new: &[(Key, Rules)]) -> Patch {
        let touched: Vec<Key> = gone.iter().chain(new.iter().map(|(key, _)| key)).copied().collect();
        if touched.is_empty() {
            return Patch::default();
        }
        let few = BUCKET + touched.len();
        let before = self.around(&touched, few);
        gone.iter().for_each(|key| self.release(key));
        new.iter().for_each(|(key, rules)| self.hold(*key, rules));
        // Whatever had so few keys has no more than this now: what was looked at before is looked at again.
        Patch::between(&before, self.around(&touched, few + touched.len()))
    }

    /// All chains.
    pub(super) fn chains(&self) -> Chains {
        let mut chains = Chains::new();
        self.add_subtree(self.root_place(), &mut chains);
        chains
    }

    fn release(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.holders -= 1;
            if entry.holders == 0 {
                self.entries.remove(key);
            }
        }
    }

    fn hold(&mut self, key: Key, rules: &Rules) {
        let entry = self.entries.entry(key).or_insert_with(|| Entry { holders: 0, rules: Vec::new() });
        entry.holders += 1;
        entry.rules.clone_from(rules);
    }

    /// The chains that may differ when these keys come or go: those on the way to them, and all behind one that has so few
    /// keys that it may hold their rules itself, or cease to.
    fn around(&self, keys: &[Key], few: usize) -> Chains {
        // With whether all behind it is there too.
        let (mut chains, mut seen) = (Chains::new(), BTreeMap::new());
        for key in keys {
            let mut next = Some(self.root_place());
            while let Some(place) = next {
                let whole = *seen.entry(place).or_insert_with(|| self.add_way(place, few, &mut chains));
                next = if whole { None } else { self.next(place, *key) };
                next = next.filter(|next| self.count(*next, 1) > 0);
            }
        }
        chains
    }

    /// Adds a chain, and those behind it if it has few keys. Returns whether it has.
    fn add_way(&self, place: Place, few: usize, chains: &mut Chains) -> bool {
        let has_few = self.count(place, few + 1) <= few;
        if has_few {
            self.add_subtree(place, chains);
        } else {
            chains.insert(self.chain(place), self.rules(place));
        }
        has_few
    }

    fn add_subtree(&self, place: Place, chains: &mut Chains) {
        chains.insert(self.chain(place), self.rules(place));
        if !self.is_bucket(place) {
            self.children(place).into_iter().for_each(|child| self.add_subtree(child, chains));
        }
    }

    fn root_place(&self) -> Place {
        let ip = match self.family {
            Family::IPv4 => IpAddr::from([0; 4]),
            Family::IPv6 => IpAddr::from([0; 16]),
        };
        Place { first: Key { ip, what: Key::FIRST }, depth: 0 }
    }

    fn chain(&self, place: Place) -> (Table, String) {
        if place.depth == 0 {
            return (self.table, self.root.to_owned());
        }
        let text = format!("{} {:?} {}", self.root, place.first, place.depth);
        (self.table, hashed("BRN", &text))
    }

    /// One level deeper, towards a key. `None` where there is no chain any more.
    fn next(&self, place: Place, key: Key) -> Option<Place> {
        let depth = place.depth + 1;
        let lengths = lengths(self.family);
        if let Some(length) = lengths.get(depth) {
            // The lengths are those of the family.
            let net = IpNet::new(key.ip, *length).ok()?;
            return Some(Place { first: Key { ip: net.network(), what: Key::FIRST }, depth });
        }
        match key.what {
            What::Port(protocol, port) if depth == lengths.len() => {
                let what = What::Port(protocol, port / BLOCK * BLOCK);
                Some(Place { first: Key { ip: key.ip, what }, depth })
            }
            _ => None,
        }
    }

    /// All keys that belong to a chain or one behind it.
    fn range(&self, place: Place) -> RangeInclusive<Key> {
        let lengths = lengths(self.family);
        let last = match (lengths.get(place.depth), place.first.what) {
            (Some(length), _) => {
                let net = IpNet::new(place.first.ip, *length).unwrap_or_else(|_| place.first.ip.into());
                Key::all_of(net.broadcast())
            }
            (None, What::Port(protocol, port)) => {
                Key { what: What::Port(protocol, port + (BLOCK - 1)), ..place.first }
            }
            (None, What::Rest) => place.first,
        };
        place.first..=last
    }

    /// How many keys, counted up to a limit.
    fn count(&self, place: Place, limit: usize) -> usize {
        self.entries.range(self.range(place)).take(limit).count()
    }

    fn is_bucket(&self, place: Place) -> bool {
        place.depth == lengths(self.family).len() || self.count(place, BUCKET + 1) <= BUCKET
    }

    fn rules(&self, place: Place) -> Rules {
        if self.is_bucket(place) {
            return self
                .entries
                .range(self.range(place))
                .flat_map(|(key, entry)| self.spell(*key, entry))
                .collect();
        }
        let children = self.children(place).into_iter().map(|child| self.way_to(child));
        // What is for the rest of one address stands beside the chains of its ports.
        let rest = Key::all_of(place.first.ip);
        let is_address = place.depth + 1 == lengths(self.family).len();
        let rest = self.entries.get(&rest).filter(|_| is_address).map(|entry| self.spell(rest, entry));
        children.chain(rest.into_iter().flatten()).collect()
    }

    fn spell(&self, key: Key, entry: &Entry) -> Vec<String> {
        let matches = key.matches(self.side);
        entry.rules.iter().map(|rule| format!("{matches} {rule}")).collect()
    }

    /// From one child to the next, without looking at the keys within.
    fn children(&self, place: Place) -> Vec<Place> {
        let (mut children, range) = (Vec::new(), self.range(place));
        let (mut from, to) = (Bound::Included(*range.start()), Bound::Included(*range.end()));
        while let Some((key, _)) = self.entries.range((from, to)).next() {
            match self.next(place, *key) {
                Some(child) => {
                    children.push(child);
                    from = Bound::Excluded(*self.range(child).end());
                }
                None => from = Bound::Excluded(*key),
            }
            if matches!(from, Bound::Excluded(last) if last == *range.end()) {
                break;
            }
        }
        children
    }

    fn way_to(&self, child: Place) -> String {
        let (_, name) = self.chain(child);
        match (lengths(self.family).get(child.depth), child.first.what) {
            (None, What::Port(protocol, first)) => {
                let (protocol, last) = (protocol.lower(), first + (BLOCK - 1));
                // It comes back for the rest of the address.
                format!("-p {protocol} -m {protocol} --dport {first}:{last} -j {name}")
            }
            (length, _) => {
                let length = length.copied().unwrap_or_default();
                format!("{} {}/{length} -g {name}", self.side, child.first.ip)
            }
        }
    }
}

#[cfg(test)]
mod tests;
