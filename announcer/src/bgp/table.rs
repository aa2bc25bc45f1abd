//! What a router is to know, and what it was told (Adj-RIB-Out): the difference becomes UPDATEs, one at a time.
//!
//! No message waits in a queue: the next one is made when the connection has room for it, from what is wanted by then. A
//! router that reads slowly, or not at all, costs no memory beyond the routes themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    Attributes, Routes,
    fsm::Session,
    wire::{Encoder, Family},
};

/// Why a router is not told of a prefix although it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// It did not agree to the family.
    #[error("the router takes no prefixes of this family in this session")]
    Family,
    /// There is no address to name.
    #[error("the node has no address of this family to be the next hop")]
    NextHop,
    /// RFC 4271 section 9.2.
    #[error("its communities do not fit into a message; give fewer")]
    TooLong,
}

/// What prefixes of one kind the next messages are about. Withdrawals come first: an address may have moved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Withdraw(Family),
    Announce(Family, Arc<Attributes>),
}

/// A session that is up, as far as the table has to know.
#[derive(Debug)]
struct Channel {
    encoder: Encoder,
    families: BTreeSet<Family>,
    /// The families whose End-of-RIB is still to be sent (RFC 4724 section 4.1).
    ends: BTreeSet<Family>,
}

/// The routes to one router.
#[derive(Debug, Default)]
pub struct Table {
    /// `None` until it is known for the first time.
    wanted: Option<BTreeMap<IpNet, Arc<Attributes>>>,
    told: BTreeSet<IpNet>,
    changes: BTreeMap<Change, BTreeSet<IpNet>>,
    channel: Option<Channel>,
}

impl Table {
    /// Sets what the router is to know. Only what differs is sent.
    pub fn set(&mut self, routes: &Routes) {
        let before = self.wanted.take().unwrap_or_default();
        let mut shared: BTreeSet<Arc<Attributes>> = before.values().cloned().collect();
        let mut wanted = BTreeMap::new();
        for (prefix, attributes) in routes {
            let same = before.get(prefix).filter(|known| ***known == *attributes).cloned();
            wanted.insert(*prefix, same.unwrap_or_else(|| share(&mut shared, attributes)));
        }
        let touched: Vec<IpNet> = before.keys().chain(wanted.keys()).copied().collect();
        self.wanted = Some(wanted);
        for prefix in touched {
            self.turn(prefix, before.get(&prefix));
        }
    }

    /// Notes the change of a prefix from what was wanted before to what is wanted now.
    fn turn(&mut self, prefix: IpNet, before: Option<&Arc<Attributes>>) {
        let now = self.wanted.as_ref().and_then(|wanted| wanted.get(&prefix)).cloned();
        if before == now.as_ref() {
            return;
        }
        let family = Family::of(&prefix);
        let pending = before.map(|before| Change::Announce(family, Arc::clone(before)));
        self.forget(&pending.unwrap_or(Change::Withdraw(family)), prefix);
        match now {
            Some(now) if self.withheld(&prefix, &now).is_none() => {
                self.note(Change::Announce(family, now), prefix)
            }
            _ if self.told.contains(&prefix) => self.note(Change::Withdraw(family), prefix),
            _ => {}
        }
    }

    fn note(&mut self, change: Change, prefix: IpNet) {
        if self.channel.is_some() {
            self.changes.entry(change).or_default().insert(prefix);
        }
    }

    fn forget(&mut self, change: &Change, prefix: IpNet) {
        if let Some(prefixes) = self.changes.get_mut(change) {
            prefixes.remove(&prefix);
            if prefixes.is_empty() {
                self.changes.remove(change);
            }
        }
    }

    /// A session is up: all is to be told.
    pub fn up(&mut self, encoder: Encoder, session: &Session) {
        self.down();
        let families = session.families.clone();
        self.channel = Some(Channel { encoder, ends: families.clone(), families });
        for family in Family::ALL {
            self.refresh(family);
        }
    }

    /// There is no session any longer, and nothing is told.
    pub fn down(&mut self) {
        self.channel = None;
        self.told.clear();
        self.changes.clear();
    }

    /// Has all prefixes of a family told again.
    pub fn refresh(&mut self, family: Family) {
        let wanted = self.wanted.iter().flatten().filter(|(prefix, _)| Family::of(prefix) == family);
        let again: Vec<_> = wanted.map(|(prefix, attributes)| (*prefix, Arc::clone(attributes))).collect();
        for (prefix, attributes) in again {
            if self.withheld(&prefix, &attributes).is_none() {
                self.note(Change::Announce(family, attributes), prefix);
            }
        }
    }

    /// The next UPDATE, if there is anything to be said; whoever takes it sends it.
    pub fn next_update(&mut self) -> Option<Vec<u8>> {
        let channel = self.channel.as_mut()?;
        let Some(mut entry) = self.changes.first_entry() else {
            // Not before it is known what is wanted: the router would forget what it kept over our restart.
            self.wanted.as_ref()?;
            return channel.ends.pop_first().map(Encoder::end_of_rib);
        };
        let message = match entry.key().clone() {
            Change::Withdraw(_) => {
                let (message, taken) = Encoder::withdraw(entry.get_mut());
                for prefix in taken {
                    self.told.remove(&prefix);
                }
                message
            }
            Change::Announce(_, attributes) => {
                let (message, taken) = channel.encoder.announce(&attributes, entry.get_mut());
                self.told.extend(taken);
                message
            }
        };
        if entry.get().is_empty() {
            entry.remove();
        }
        Some(message)
    }

    /// Whether all was said.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let ended = |channel: &Channel| channel.ends.is_empty() || self.wanted.is_none();
        self.changes.is_empty() && self.channel.as_ref().is_none_or(ended)
    }

    /// The prefixes that the router was told of.
    #[must_use]
    pub const fn told(&self) -> &BTreeSet<IpNet> {
        &self.told
    }

    /// The prefixes that it cannot be told of, and why.
    #[must_use]
    pub fn all_withheld(&self) -> BTreeMap<IpNet, Withheld> {
        let wanted = self.wanted.iter().flatten();
        wanted
            .filter_map(|(prefix, attributes)| Some((*prefix, self.withheld(prefix, attributes)?)))
            .collect()
    }

    fn withheld(&self, prefix: &IpNet, attributes: &Attributes) -> Option<Withheld> {
        let Channel { encoder, families, .. } = self.channel.as_ref()?;
        let family = Family::of(prefix);
        if !families.contains(&family) {
            return Some(Withheld::Family);
        }
        if !encoder.has_next_hop(family) {
            return Some(Withheld::NextHop);
        }
        // The others fit in any case.
        let many = attributes.communities.len() > 100;
        (many && !encoder.fits(attributes)).then_some(Withheld::TooLong)
    }
}

/// One value for all that is the same.
fn share(shared: &mut BTreeSet<Arc<Attributes>>, attributes: &Attributes) -> Arc<Attributes> {
    if let Some(same) = shared.get(attributes) {
        return Arc::clone(same);
    }
    let new = Arc::new(attributes.clone());
    shared.insert(Arc::clone(&new));
    new
}

#[cfg(test)]
mod tests;
