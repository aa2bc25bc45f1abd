//! Which endpoint stands at which index of which frontend, and what has to be done for a change. Pure.
//!
//! The order of a Service's endpoints in the kernel is history, not alphabet: a removed endpoint's index
//! goes to a new one or to the last one, so that nobody else moves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use penstock_model::{Change, Family, Frontend, FrontendAddress, PortKey, ServicePort};

use super::transaction::{Chain, Element, ElementKey, Transaction};
use crate::Programmed;

/// What the table holds.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    ports: HashMap<PortKey, Port>,
    /// How many Service ports have the local endpoint address.
    hairpins: HashMap<IpAddr, usize>,
    /// Numbers of endpoints that have chains; these stay until the next load.
    chains: BTreeSet<u32>,
    programmed: Programmed,
}

/// One programmed Service port.
#[derive(Clone, Debug, Default)]
struct Port {
    /// Shared with the index.
    desired: Arc<ServicePort>,
    v4: Vec<SocketAddr>,
    v6: Vec<SocketAddr>,
}

impl Slots {
    /// Takes changes as done and returns what has to be done for them.
    pub fn apply(&mut self, changes: &[Change]) -> Transaction {
        let mut transaction = Transaction::default();
        let mut hairpins_before = BTreeMap::new();
        for change in changes {
            let old = self.ports.remove(&change.key).unwrap_or_default();
            let new = change.desired.as_ref().map_or_else(Port::default, |desired| old.succeed(desired));
            diff_ports(&old, &new, &mut transaction);
            self.count_hairpins(&old, &new, &mut hairpins_before);
            if change.desired.is_some() {
                self.ports.insert(change.key.clone(), new);
            }
        }
        self.diff_hairpins(&hairpins_before, &mut transaction);
        self.require_chains(&mut transaction);
        self.count(&transaction);
        transaction
    }

    /// What stands in the table.
    #[must_use]
    pub fn programmed(&self) -> Programmed {
        self.programmed
    }

    /// Remembers in `before` whether an address was there when the batch began.
    fn count_hairpins(&mut self, old: &Port, new: &Port, before: &mut BTreeMap<IpAddr, bool>) {
        let (old, new) = (old.desired.hairpins(), new.desired.hairpins());
        for ip in old.difference(&new) {
            before.entry(*ip).or_insert(true);
            if let Some(count) = self.hairpins.get_mut(ip) {
                *count -= 1;
                if *count == 0 {
                    self.hairpins.remove(ip);
                }
            }
        }
        for ip in new.difference(&old) {
            before.entry(*ip).or_insert(self.hairpins.contains_key(ip));
            *self.hairpins.entry(*ip).or_default() += 1;
        }
    }

    fn diff_hairpins(&self, before: &BTreeMap<IpAddr, bool>, transaction: &mut Transaction) {
        for (ip, was) in before {
            match (was, self.hairpins.contains_key(ip)) {
                (true, false) => transaction.deletes.push(ElementKey::Hairpin(*ip)),
                (false, true) => transaction.adds.push(Element::Hairpin(*ip)),
                _ => {}
            }
        }
    }

    fn require_chains(&mut self, transaction: &mut Transaction) {
        for element in &transaction.adds {
            if let Element::Service { chain, .. } = element
                && self.chains.insert(chain.endpoints())
            {
                transaction.chains.insert(chain.endpoints());
            }
        }
    }

    fn count(&mut self, transaction: &Transaction) {
        for key in &transaction.deletes {
            if let Some(count) = counter(&mut self.programmed, key) {
                *count -= 1;
            }
        }
        for element in &transaction.adds {
            if let Some(count) = counter(&mut self.programmed, &element.key()) {
                *count += 1;
            }
        }
    }
}

fn counter<'a>(programmed: &'a mut Programmed, key: &ElementKey) -> Option<&'a mut u64> {
    match key {
        ElementKey::Service(_) | ElementKey::Refused(_) => Some(&mut programmed.frontends),
        ElementKey::Endpoint(..) => Some(&mut programmed.endpoints),
        ElementKey::Hairpin(_) => None,
    }
}

impl Port {
    /// The port as desired, with as many endpoints as possible at the index they have now.
    fn succeed(&self, desired: &Arc<ServicePort>) -> Self {
        let of_family = |family| desired.cluster.of(family).iter().copied().collect();
        Self {
            desired: Arc::clone(desired),
            v4: reassign(&self.v4, &of_family(Family::IPv4)),
            v6: reassign(&self.v6, &of_family(Family::IPv6)),
        }
    }

    fn slots(&self, frontend: &FrontendAddress) -> &[SocketAddr] {
        if frontend.ip.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    fn frontend(&self, address: &FrontendAddress) -> Option<&Frontend> {
        self.desired.frontends.iter().find(|f| f.address == *address)
    }

    /// The elements of a frontend; equal positions have equal keys, the first apart.
    fn elements(&self, frontend: Option<&Frontend>) -> impl Iterator<Item = Element> {
        frontend.into_iter().flat_map(|frontend| {
            let slots = self.slots(&frontend.address);
            let endpoints = (0_u32..).zip(slots).map(|(index, to)| Element::Endpoint {
                frontend: frontend.address,
                index,
                to: *to,
            });
            std::iter::once(entry(frontend, slots.len())).chain(endpoints)
        })
    }
}

/// What a packet to the frontend finds first.
fn entry(frontend: &Frontend, endpoints: usize) -> Element {
    let address = frontend.address;
    // The index that a packet draws has 32 bits; no API server holds that many endpoints.
    let count = u32::try_from(endpoints).unwrap_or(u32::MAX);
    match (count, frontend.kind.is_external()) {
        (0, _) => Element::Refused(address),
        (count, false) => Element::Service { frontend: address, chain: Chain::Cluster(count) },
        (count, true) => Element::Service { frontend: address, chain: Chain::External(count) },
    }
}

fn diff_ports(old: &Port, new: &Port, transaction: &mut Transaction) {
    let gone = old.desired.frontends.iter().filter(|f| new.frontend(&f.address).is_none());
    for address in gone.chain(&new.desired.frontends).map(|f| &f.address) {
        let mut before = old.elements(old.frontend(address));
        let mut after = new.elements(new.frontend(address));
        loop {
            match (before.next(), after.next()) {
                (None, None) => break,
                (before, after) if before == after => {}
                (before, after) => {
                    transaction.deletes.extend(before.map(|element| element.key()));
                    transaction.adds.extend(after);
                }
            }
        }
    }
}

/// Gives the indexes of endpoints that are gone to new ones, then to the last ones; further new ones
/// follow at the end.
fn reassign(slots: &[SocketAddr], wanted: &BTreeSet<SocketAddr>) -> Vec<SocketAddr> {
    let known: BTreeSet<&SocketAddr> = slots.iter().collect();
    let mut new = wanted.iter().filter(|e| !known.contains(e)).copied();
    let mut holes = Vec::new();
    let mut assigned = slots.to_vec();
    for (index, slot) in assigned.iter_mut().enumerate().filter(|(_, slot)| !wanted.contains(slot)) {
        match new.next() {
            Some(endpoint) => *slot = endpoint,
            None => holes.push(index),
        }
    }
    // From the back, so that the last one is never itself a hole that is still to be filled.
    for index in holes.into_iter().rev() {
        assigned.swap_remove(index);
    }
    assigned.extend(new);
    assigned
}

#[cfg(test)]
mod tests;
