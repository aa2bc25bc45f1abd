//! Which endpoint stands at which index of which frontend, and what has to be done for a change. Pure.
//!
//! The order of a Service's endpoints in the kernel is history, not alphabet: a removed endpoint's index
//! goes to a new one or to the last one, so that nobody else moves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use penstock_model::{Change, PortKey};

use super::{
    chain::Chain,
    token::PortNumbers,
    transaction::{Element, ElementKey, Transaction},
};
use crate::Programmed;

mod port;
mod view;

use port::Port;
use view::View;

/// What the table holds.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    ports: HashMap<PortKey, Port>,
    numbers: PortNumbers,
    /// How many Service ports have the element, of those that several may have.
    shared: HashMap<Element, usize>,
    /// Those that exist; they stay until the next load.
    chains: BTreeSet<Chain>,
    programmed: Programmed,
}

impl Slots {
    /// Takes changes as done and returns what has to be done for them.
    pub fn apply(&mut self, changes: &[Change]) -> Transaction {
        let mut transaction = Transaction::default();
        let mut shared_before = BTreeMap::new();
        for change in changes {
            let old = self.ports.remove(&change.key).unwrap_or_default();
            let new = self.succeed(&old, change);
            diff_ports(&old, &new, &mut transaction);
            self.count_shared(&old, &new, &mut shared_before);
            if change.desired.is_some() {
                self.ports.insert(change.key.clone(), new);
            }
        }
        self.diff_shared(&shared_before, &mut transaction);
        self.require_chains(&mut transaction);
        self.count(&transaction);
        transaction
    }

    /// What stands in the table.
    #[must_use]
    pub fn programmed(&self) -> Programmed {
        self.programmed
    }

    /// A port keeps its number as long as it has affinity.
    fn succeed(&mut self, old: &Port, change: &Change) -> Port {
        let desired = change.desired.clone().unwrap_or_default();
        let number = match (old.number, desired.affinity_seconds) {
            (number, Some(_)) => Some(number.unwrap_or_else(|| self.numbers.take(&change.key))),
            (Some(number), None) => {
                self.numbers.release(&change.key, number);
                None
            }
            (None, None) => None,
        };
        old.succeed(desired, number)
    }

    /// Remembers in `before` whether an element was there when the batch began.
    fn count_shared(&mut self, old: &Port, new: &Port, before: &mut BTreeMap<Element, bool>) {
        let (old, new) = (old.shared(), new.shared());
        for element in old.difference(&new) {
            before.entry(*element).or_insert(true);
            if let Some(count) = self.shared.get_mut(element) {
                *count -= 1;
                if *count == 0 {
                    self.shared.remove(element);
                }
            }
        }
        for element in new.difference(&old) {
            before.entry(*element).or_insert(self.shared.contains_key(element));
            *self.shared.entry(*element).or_default() += 1;
        }
    }

    fn diff_shared(&self, before: &BTreeMap<Element, bool>, transaction: &mut Transaction) {
        for (element, was) in before {
            match (was, self.shared.contains_key(element)) {
                (true, false) => transaction.deletes.push(element.key()),
                (false, true) => transaction.adds.push(*element),
                _ => {}
            }
        }
    }

    fn require_chains(&mut self, transaction: &mut Transaction) {
        for chain in transaction.adds.iter().filter_map(Element::chain) {
            if !self.chains.contains(&chain) {
                let new: Vec<Chain> =
                    chain.block().into_iter().filter(|chain| self.chains.insert(*chain)).collect();
                transaction.chains.extend(new);
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
        ElementKey::Endpoint(..) | ElementKey::Token(..) => Some(&mut programmed.endpoints),
        _ => None,
    }
}

fn diff_ports(old: &Port, new: &Port, transaction: &mut Transaction) {
    let gone = old.desired.frontends.iter().filter(|f| new.frontend(&f.address).is_none());
    for address in gone.chain(&new.desired.frontends).map(|f| &f.address) {
        View::diff(&old.view(address), &new.view(address), transaction);
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
