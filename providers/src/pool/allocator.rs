//! Who holds which address: pure. What a Service should hold is found in [`super::search`].
//!
//! An address moves only when its holder may not have it any longer (pool edited, request changed), never
//! because another pool would suit better. A pool that is deleted, or edited into something that cannot be
//! accepted, takes nobody's address: that is a mistake more often than an intention (with MetalLB, deleting the
//! last pool wipes every status). To take addresses back, edit the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use penstock_model::ObjectKey;
use serde::{Deserialize, Serialize};

use super::{
    allocation_error::AllocationError,
    numbering::is_buggy,
    occupants::Occupants,
    pools::Pool,
    rejection::Rejection,
    search::Search,
    stock::{PoolUsage, Stock},
    terms::{Clash, Terms},
};
use crate::{Built, Desired};

/// Addresses chosen for a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The pool.
    pub pool: String,
    /// The addresses, in the order of the Service's families.
    pub addresses: Vec<IpAddr>,
    /// On what terms it shares them; `None` for nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

/// What a Service holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    pub(super) built: Built,
    pub(super) terms: Option<Terms>,
}

/// All pools and holders. Finding, taking and giving back an address costs O(log n) in the sizes of the pools and the
/// number of holders, and is linear in the number of pools.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    stocks: BTreeMap<String, Stock>,
    /// The pools' names in the order in which they are looked into.
    order: Vec<String>,
    /// First address → last address and pool of every range; ranges do not overlap.
    ranges: Ranges,
    holdings: BTreeMap<ObjectKey, Holding>,
    /// Whose each address is: held, or given up but still shown by the Service's status.
    occupied: BTreeMap<IpAddr, Occupants>,
    /// Addresses given up by a Service whose status still shows them: nobody else may have them yet, except those who
    /// shared them anyway.
    leaving: BTreeMap<ObjectKey, BTreeSet<IpAddr>>,
    /// Services that gave up a port or a key on addresses that they kept: somebody may have waited for it.
    eased: BTreeSet<ObjectKey>,
}

impl Allocator {
    /// Replaces the pools, which do not overlap ([`super::judge`]). Holders keep their addresses;
    /// [`Allocator::choose`] says if they still may.
    pub fn set_pools(&mut self, pools: BTreeMap<String, Pool>) {
        let ranges = pools.iter().flat_map(|(name, pool)| pool.ranges.iter().map(move |r| (name, r)));
        self.ranges = ranges.map(|(name, r)| (r.first(), (r.last(), name.clone()))).collect();
        self.stocks = pools.into_iter().map(|(name, pool)| (name, Stock::new(pool))).collect();
        self.order = self.stocks.keys().cloned().collect();
        let stocks = &self.stocks;
        self.order.sort_by_key(|name| stocks.get(name).map(|stock| stock.pool.rank()));
        for (ip, occupants) in &self.occupied {
            let name = pool_of(&self.ranges, &self.stocks, *ip).map(ToOwned::to_owned);
            if let Some(stock) = name.and_then(|name| self.stocks.get_mut(&name)) {
                stock.settle(*ip, Some(occupants));
            }
        }
    }

    /// What a Service holds.
    #[must_use]
    pub fn holding(&self, service: &ObjectKey) -> Option<&Built> {
        self.holdings.get(service).map(|holding| &holding.built)
    }

    /// All Services that hold anything, or whose status still shows what they held.
    #[must_use]
    pub fn holders(&self) -> Vec<ObjectKey> {
        let holding: BTreeSet<&ObjectKey> = self.holdings.keys().chain(self.leaving.keys()).collect();
        holding.into_iter().cloned().collect()
    }

    /// On what terms a Service shares what it holds.
    #[must_use]
    pub fn terms(&self, service: &ObjectKey) -> Option<&Terms> {
        self.holdings.get(service).and_then(|holding| holding.terms.as_ref())
    }

    /// How many addresses of each pool are assigned and free, by name.
    #[must_use]
    pub fn usage(&self) -> Vec<(String, PoolUsage)> {
        self.stocks.iter().map(|(name, stock)| (name.clone(), stock.usage())).collect()
    }

    /// Takes over what a status says, before the first allocation after a start; `origin` is the pool that the
    /// addresses came from, as far as that is written down, `terms` are those of the Service as it is now. Returns the
    /// addresses that another Service was found to hold already and does not share with this one.
    pub fn adopt(
        &mut self,
        service: &ObjectKey,
        addresses: &[IpAddr],
        origin: Option<&str>,
        terms: Option<&Terms>,
    ) -> Vec<Clash> {
        let clashes: Vec<(IpAddr, Option<Clash>)> =
            addresses.iter().map(|ip| (*ip, self.clash(*ip, service, terms))).collect();
        let free: Vec<IpAddr> = clashes.iter().filter(|(_, c)| c.is_none()).map(|(ip, _)| *ip).collect();
        if !free.is_empty() {
            let pool = self.pool_of(&free).or(origin).map(ToOwned::to_owned);
            let built = Built { addresses: free, pool, ..Built::default() };
            self.hold(service, Holding { built, terms: terms.cloned() });
        }
        clashes.into_iter().filter_map(|(_, clash)| clash).collect()
    }

    /// What the Service should hold: what it has, if it still may, else a new choice. Changes nothing.
    ///
    /// # Errors
    /// Why it gets no address.
    pub fn choose(&self, service: &ObjectKey, desired: &Desired) -> Result<Assignment, AllocationError> {
        Search::new(self, service, desired).choose()
    }

    /// What each pool would give the Service if it had nothing, or why not, in the order in which they are looked into.
    #[must_use]
    pub fn consider(
        &self,
        service: &ObjectKey,
        desired: &Desired,
    ) -> Vec<(String, Result<Vec<IpAddr>, Rejection>)> {
        let search = Search::new(self, service, desired);
        self.stocks().map(|(name, stock)| (name.to_owned(), search.consider(name, stock))).collect()
    }

    /// Whether nothing but a request of the Service itself speaks against what it holds; `desired` where that can be
    /// read.
    #[must_use]
    pub fn may_keep(&self, service: &ObjectKey, desired: Option<&Desired>) -> bool {
        let Some(holding) = self.holdings.get(service) else { return true };
        let Some(pool) = self.present_pool(&holding.built) else { return false };
        desired.is_none_or(|desired| Search::new(self, service, desired).may_stay(&pool))
    }

    /// Gives an assignment to a Service. What it held before is kept back until [`Allocator::reported`].
    ///
    /// # Errors
    /// [`AllocationError::Taken`] when somebody else got an address since it was chosen.
    pub fn commit(&mut self, service: &ObjectKey, assignment: &Assignment) -> Result<(), AllocationError> {
        let Assignment { pool, addresses, terms } = assignment.clone();
        if let Some(clash) = addresses.iter().find_map(|ip| self.clash(*ip, service, terms.as_ref())) {
            return Err(AllocationError::Taken(clash));
        }
        let before = self.holdings.remove(service).unwrap_or_default();
        if before.terms != terms && !before.built.is_empty() {
            self.eased.insert(service.clone());
        }
        self.leaving.entry(service.clone()).or_default().extend(before.built.addresses);
        let pool = Some(pool).filter(|name| !name.is_empty());
        self.hold(service, Holding { built: Built { addresses, pool, ..Built::default() }, terms });
        Ok(())
    }

    /// The Service's status shows what it holds and nothing else: the rest is free. Returns whether there was
    /// anything that somebody could wait for.
    pub fn reported(&mut self, service: &ObjectKey) -> bool {
        let left = self.leaving.remove(service).unwrap_or_default();
        left.iter().for_each(|ip| self.give_back(service, *ip));
        self.eased.remove(service) || !left.is_empty()
    }

    /// Takes back what a Service holds, for others to have. Returns whether there was anything.
    pub fn release(&mut self, service: &ObjectKey) -> bool {
        let held = self.holdings.remove(service).map(|holding| holding.built.addresses).unwrap_or_default();
        held.iter().for_each(|ip| self.give_back(service, *ip));
        self.reported(service) || !held.is_empty()
    }

    /// The pools in the order in which they are looked into.
    pub(super) fn stocks(&self) -> impl Iterator<Item = (&str, &Stock)> {
        self.order.iter().filter_map(|name| Some((name.as_str(), self.stocks.get(name)?)))
    }

    pub(super) fn stock(&self, name: &str) -> Option<&Stock> {
        self.stocks.get(name)
    }

    pub(super) fn held(&self, service: &ObjectKey) -> Option<&Holding> {
        self.holdings.get(service)
    }

    /// What keeps a Service of these terms from having an address.
    pub(super) fn clash(&self, ip: IpAddr, service: &ObjectKey, terms: Option<&Terms>) -> Option<Clash> {
        self.occupied.get(&ip)?.clash(ip, service, terms)
    }

    /// The pool that has all of these addresses and leaves out none.
    pub(super) fn pool_of(&self, addresses: &[IpAddr]) -> Option<&str> {
        let of = |ip: &IpAddr| pool_of(&self.ranges, &self.stocks, *ip);
        let (first, others) = addresses.split_first()?;
        of(first).filter(|pool| others.iter().all(|ip| of(ip) == Some(*pool)))
    }

    /// The pool whose ranges include an address, even if it leaves that one out.
    pub(super) fn range_of(&self, ip: IpAddr) -> Option<&str> {
        range_of(&self.ranges, ip)
    }

    /// The pool that a holding is from: the one that contains it now, or the one that it came from, as long as
    /// that one is not in use. `None` where its pool was edited so that it no longer contains it.
    pub(super) fn present_pool(&self, held: &Built) -> Option<String> {
        let origin = || match &held.pool {
            Some(name) => Some(name).filter(|name| !self.stocks.contains_key(*name)).cloned(),
            None => self.stocks.is_empty().then(String::new),
        };
        self.pool_of(&held.addresses).map(ToOwned::to_owned).or_else(origin)
    }

    fn hold(&mut self, service: &ObjectKey, holding: Holding) {
        for ip in &holding.built.addresses {
            let joined = |before| Some(Occupants::joined(before, service, holding.terms.as_ref()));
            self.occupy(*ip, joined);
        }
        if let Some(leaving) = self.leaving.get_mut(service) {
            leaving.retain(|ip| !holding.built.addresses.contains(ip));
        }
        self.holdings.insert(service.clone(), holding);
    }

    fn give_back(&mut self, service: &ObjectKey, ip: IpAddr) {
        self.occupy(ip, |before| before.and_then(|occupants| occupants.left(service)));
    }

    fn occupy(&mut self, ip: IpAddr, change: impl FnOnce(Option<Occupants>) -> Option<Occupants>) {
        let before = self.occupied.remove(&ip);
        let pool = pool_of(&self.ranges, &self.stocks, ip).map(ToOwned::to_owned);
        let mut stock = pool.and_then(|name| self.stocks.get_mut(&name));
        if let Some(stock) = &mut stock {
            stock.vacate(ip, before.as_ref());
        }
        let after = change(before);
        if let Some(stock) = stock {
            stock.settle(ip, after.as_ref());
        }
        if let Some(after) = after {
            self.occupied.insert(ip, after);
        }
    }
}

type Ranges = BTreeMap<IpAddr, (IpAddr, String)>;

fn range_of(ranges: &Ranges, ip: IpAddr) -> Option<&str> {
    // IPv4 addresses sort before all of IPv6, so a range never seems to reach into the other family.
    let (_, (last, name)) = ranges.range(..=ip).next_back()?;
    (ip <= *last).then_some(name.as_str())
}

fn pool_of<'a>(ranges: &'a Ranges, stocks: &BTreeMap<String, Stock>, ip: IpAddr) -> Option<&'a str> {
    let name = range_of(ranges, ip)?;
    let left_out = |stock: &Stock| stock.pool.avoid_buggy_ips && is_buggy(ip);
    stocks.get(name).filter(|stock| !left_out(stock)).map(|_| name)
}
