//! Who holds which address: pure.
//!
//! An address moves only when its holder may not have it any longer (pool edited, request changed), never
//! because another pool would suit better. A pool that is deleted, or edited into something that cannot be
//! accepted, takes nobody's address: that is a mistake more often than an intention (with MetalLB, deleting the
//! last pool wipes every status). To take addresses back, edit the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use penstock_model::{Family, ObjectKey};
use serde::Serialize;

use super::{allocation_error::AllocationError, pools::Pool, stock::Stock};
use crate::{Built, Desired, FamilyNeed};

/// Addresses chosen for a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The pool.
    pub pool: String,
    /// The addresses, in the order of the Service's families.
    pub addresses: Vec<IpAddr>,
}

/// All pools and holders.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    stocks: BTreeMap<String, Stock>,
    holdings: BTreeMap<ObjectKey, Built>,
    /// Whose each address is: held, or given up but still shown by the Service's status.
    holders: BTreeMap<IpAddr, ObjectKey>,
    /// Addresses given up by a Service whose status still shows them: nobody else may have them yet.
    leaving: BTreeMap<ObjectKey, BTreeSet<IpAddr>>,
}

impl Allocator {
    /// Replaces the pools. Holders keep their addresses; [`Allocator::choose`] says if they still may.
    pub fn set_pools(&mut self, pools: BTreeMap<String, Pool>) {
        self.stocks = pools.into_iter().map(|(name, pool)| (name, Stock::new(pool))).collect();
        for ip in self.holders.keys() {
            for stock in self.stocks.values_mut() {
                stock.of_mut(Family::of(*ip)).take(*ip);
            }
        }
    }

    /// What a Service holds.
    #[must_use]
    pub fn holding(&self, service: &ObjectKey) -> Option<&Built> {
        self.holdings.get(service)
    }

    /// Free addresses of each pool and family.
    pub fn free(&self) -> impl Iterator<Item = (&str, Family, u128)> {
        self.stocks.iter().flat_map(|(name, stock)| {
            [Family::IPv4, Family::IPv6].map(|family| (name.as_str(), family, stock.of(family).len()))
        })
    }

    /// Takes over what a status says, before the first allocation after a start; `origin` is the pool that the
    /// addresses came from, as far as that is written down. Returns the addresses that another Service was found
    /// to hold already.
    pub fn adopt(&mut self, service: &ObjectKey, addresses: &[IpAddr], origin: Option<&str>) -> Vec<IpAddr> {
        let (free, taken): (Vec<IpAddr>, Vec<IpAddr>) =
            addresses.iter().partition(|ip| self.holders.get(*ip).is_none_or(|holder| holder == service));
        if !free.is_empty() {
            let pool = self.pool_of(&free).or(origin).map(ToOwned::to_owned);
            self.hold(service, Built { addresses: free, pool, ..Built::default() });
        }
        taken
    }

    /// Gives an assignment to a Service. What it held before is kept back until [`Allocator::reported`].
    ///
    /// # Errors
    /// [`AllocationError::Taken`] when somebody else got an address since it was chosen.
    pub fn commit(&mut self, service: &ObjectKey, assignment: &Assignment) -> Result<(), AllocationError> {
        for ip in &assignment.addresses {
            if let Some(holder) = self.holders.get(ip).filter(|holder| *holder != service) {
                return Err(AllocationError::Taken { ip: *ip, holder: holder.clone() });
            }
        }
        let before = self.holdings.remove(service).map(|built| built.addresses).unwrap_or_default();
        self.leaving.entry(service.clone()).or_default().extend(before);
        let Assignment { pool, addresses } = assignment.clone();
        let pool = Some(pool).filter(|name| !name.is_empty());
        self.hold(service, Built { addresses, pool, ..Built::default() });
        Ok(())
    }

    /// The Service's status shows what it holds and nothing else: the rest is free. Returns whether there was
    /// any.
    pub fn reported(&mut self, service: &ObjectKey) -> bool {
        let left = self.leaving.remove(service).unwrap_or_default();
        left.iter().for_each(|ip| self.give_back(*ip));
        !left.is_empty()
    }

    /// Takes back what a Service holds, for others to have. Returns whether there was anything.
    pub fn release(&mut self, service: &ObjectKey) -> bool {
        let held = self.holdings.remove(service).map(|built| built.addresses).unwrap_or_default();
        held.iter().for_each(|ip| self.give_back(*ip));
        self.reported(service) || !held.is_empty()
    }

    fn give_back(&mut self, ip: IpAddr) {
        self.holders.remove(&ip);
        if let Some(stock) = self.stocks.values_mut().find(|s| s.contains(ip)) {
            stock.of_mut(Family::of(ip)).give_back(ip);
        }
    }

    /// Whether nothing but a wish of the Service itself speaks against what it holds.
    #[must_use]
    pub fn may_keep(&self, service: &ObjectKey) -> bool {
        self.holdings.get(service).is_none_or(|held| self.present_pool(held).is_some())
    }

    /// What the Service should hold: what it has, if it still may, else a new choice. Changes nothing.
    ///
    /// # Errors
    /// Why it gets no address.
    pub fn choose(&self, service: &ObjectKey, desired: &Desired) -> Result<Assignment, AllocationError> {
        match self.kept(service, desired) {
            Some(kept) => Ok(self.completed(kept, desired)),
            None => self.fresh(service, desired),
        }
    }

    fn hold(&mut self, service: &ObjectKey, built: Built) {
        for ip in &built.addresses {
            self.holders.insert(*ip, service.clone());
            for stock in self.stocks.values_mut() {
                stock.of_mut(Family::of(*ip)).take(*ip);
            }
        }
        if let Some(leaving) = self.leaving.get_mut(service) {
            leaving.retain(|ip| !built.addresses.contains(ip));
        }
        self.holdings.insert(service.clone(), built);
    }

    fn pool_of(&self, addresses: &[IpAddr]) -> Option<&str> {
        let holds_all = |stock: &Stock| addresses.iter().all(|ip| stock.contains(*ip));
        self.stocks.iter().find(|(_, stock)| holds_all(stock)).map(|(name, _)| name.as_str())
    }

    /// The present holding, if nothing forbids it.
    fn kept(&self, service: &ObjectKey, desired: &Desired) -> Option<Assignment> {
        let held = self.holdings.get(service)?;
        let pool = self.present_pool(held)?;
        let request = &desired.request;
        let pool_fits =
            request.pool.as_deref().is_none_or(|p| p == pool) && self.allowed_by_class(&pool, desired);
        let wanted: BTreeSet<IpAddr> = request.addresses.iter().copied().collect();
        let held_set: BTreeSet<IpAddr> = held.addresses.iter().copied().collect();
        let request_fits = wanted.is_subset(&held_set);
        let fits = pool_fits && request_fits && families_fit(&held_set, &desired.families);
        fits.then(|| Assignment { pool, addresses: held.addresses.clone() })
    }

    /// The pool that a holding is from: the one that contains it now, or the one that it came from, as long as
    /// that one is not in use. `None` where its pool was edited so that it no longer contains it.
    fn present_pool(&self, held: &Built) -> Option<String> {
        let origin = || match &held.pool {
            Some(name) => Some(name).filter(|name| !self.stocks.contains_key(*name)).cloned(),
            None => self.stocks.is_empty().then(String::new),
        };
        self.pool_of(&held.addresses).map(ToOwned::to_owned).or_else(origin)
    }

    /// What it keeps, and an address of each other family that it would like and that its pool has by now.
    fn completed(&self, kept: Assignment, desired: &Desired) -> Assignment {
        let Some(stock) = self.stocks.get(&kept.pool) else { return kept };
        let wanted = desired.families.iter();
        let addresses =
            wanted.filter_map(|need| stock.held_or_lowest(need.family, &kept.addresses)).collect();
        Assignment { addresses, ..kept }
    }

    fn fresh(&self, service: &ObjectKey, desired: &Desired) -> Result<Assignment, AllocationError> {
        if self.stocks.is_empty() {
            return Err(AllocationError::NoPool);
        }
        let held = self.holdings.get(service).map(|built| built.addresses.as_slice()).unwrap_or_default();
        if desired.request.addresses.is_empty() {
            self.any(desired, held)
        } else {
            self.requested(service, desired, held)
        }
    }

    fn requested(
        &self,
        service: &ObjectKey,
        desired: &Desired,
        held: &[IpAddr],
    ) -> Result<Assignment, AllocationError> {
        let addresses = &desired.request.addresses;
        for ip in addresses {
            if !desired.families.iter().any(|need| need.family == Family::of(*ip)) {
                return Err(AllocationError::ForeignFamily(*ip));
            }
            let known =
                self.stocks.iter().any(|(name, s)| s.contains(*ip) && self.allowed_by_class(name, desired));
            if !known {
                return Err(AllocationError::OutsidePools(*ip));
            }
            if let Some(holder) = self.holders.get(ip).filter(|holder| *holder != service) {
                return Err(AllocationError::Taken { ip: *ip, holder: holder.clone() });
            }
        }
        let pool = self.pool_of(addresses).ok_or(AllocationError::TwoPools)?;
        self.with_requested(pool, desired, held)
    }

    /// The requested addresses, and one more for each other family that the Service needs.
    fn with_requested(
        &self,
        pool: &str,
        desired: &Desired,
        held: &[IpAddr],
    ) -> Result<Assignment, AllocationError> {
        let mut addresses = Vec::new();
        for need in &desired.families {
            let asked = desired.request.addresses.iter().copied().find(|ip| Family::of(*ip) == need.family);
            let other = || self.stocks.get(pool).and_then(|stock| stock.held_or_lowest(need.family, held));
            match asked.or_else(other) {
                Some(ip) => addresses.push(ip),
                None if need.required => return Err(exhausted(&[*need], vec![pool.to_owned()])),
                None => {}
            }
        }
        Ok(Assignment { pool: pool.to_owned(), addresses })
    }

    fn any(&self, desired: &Desired, held: &[IpAddr]) -> Result<Assignment, AllocationError> {
        let candidates = self.candidates(desired)?;
        let all: Vec<FamilyNeed> =
            desired.families.iter().map(|n| FamilyNeed { required: true, ..*n }).collect();
        // A pool that has every family comes before one that lacks a family which the Service can do without.
        for needs in [&all, &desired.families] {
            let found = candidates.iter().find_map(|(name, stock)| Some((name, stock.pick(needs, held)?)));
            if let Some((name, addresses)) = found {
                return Ok(Assignment { pool: (*name).to_owned(), addresses });
            }
        }
        Err(exhausted(&desired.families, candidates.iter().map(|(name, _)| (*name).to_owned()).collect()))
    }

    /// The pools to look into, in a fixed order: by name.
    fn candidates(&self, desired: &Desired) -> Result<Vec<(&str, &Stock)>, AllocationError> {
        if let Some(wanted) = &desired.request.pool {
            let (name, stock) = self
                .stocks
                .get_key_value(wanted)
                .ok_or_else(|| AllocationError::UnknownPool(wanted.clone()))?;
            if !self.allowed_by_class(name, desired) {
                return Err(AllocationError::PoolNotOfClass(wanted.clone()));
            }
            return Ok(vec![(name, stock)]);
        }
        let automatic =
            self.stocks.iter().filter(|(name, s)| s.pool.auto_assign && self.allowed_by_class(name, desired));
        let automatic: Vec<_> = automatic.map(|(name, stock)| (name.as_str(), stock)).collect();
        if automatic.is_empty() { Err(AllocationError::NoAutomaticPool) } else { Ok(automatic) }
    }

    fn allowed_by_class(&self, pool: &str, desired: &Desired) -> bool {
        let allowed = &desired.request.class_pools;
        allowed.is_empty() || allowed.iter().any(|name| name == pool)
    }
}

fn exhausted(needs: &[FamilyNeed], pools: Vec<String>) -> AllocationError {
    AllocationError::Exhausted { missing: needs.iter().map(|n| n.family).collect(), pools }
}

/// Every address is of a family that the Service has, and no required family is without one.
fn families_fit(held: &BTreeSet<IpAddr>, needs: &[FamilyNeed]) -> bool {
    let has = |family| held.iter().any(|ip| Family::of(*ip) == family);
    let wanted = |ip: &IpAddr| needs.iter().any(|need| need.family == Family::of(*ip));
    held.iter().all(wanted) && needs.iter().all(|need| !need.required || has(need.family))
}
