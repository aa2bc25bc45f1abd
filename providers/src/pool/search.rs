//! What a Service should hold: pure.
//!
//! Pools are looked into in a fixed order: those pinned by selectors by ascending priority, then the others; of the same
//! rank by name. A pool without autoAssign serves only those who ask for it, pinned or not. Within a pool the lowest
//! free address is taken, except that a Service with a sharing key first joins others of its key, in whichever of its
//! pools they are. (MetalLB v0.15.2, `getIPFromCIDR`, takes the lowest address that is free or can be shared, so that a
//! key shares or does not share as lower addresses happen to be free. Who writes a key means to share.)

use std::{collections::BTreeSet, net::IpAddr};

use penstock_model::{Family, ObjectKey};

use super::{
    allocation_error::AllocationError,
    allocator::{Allocator, Assignment},
    rejection::Rejection,
    stock::Stock,
    terms::Terms,
};
use crate::{Desired, FamilyNeed};

/// One Service's search.
pub(super) struct Search<'a> {
    allocator: &'a Allocator,
    service: &'a ObjectKey,
    desired: &'a Desired,
    terms: Option<Terms>,
    held: &'a [IpAddr],
}

/// What a pool has for the Service.
struct Offer {
    addresses: Vec<IpAddr>,
    /// One of them is joined with others.
    joins: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(allocator: &'a Allocator, service: &'a ObjectKey, desired: &'a Desired) -> Self {
        let held = allocator.holding(service).map(|built| built.addresses.as_slice()).unwrap_or_default();
        Self { allocator, service, desired, terms: Terms::of(desired), held }
    }

    pub(super) fn choose(&self) -> Result<Assignment, AllocationError> {
        match self.kept() {
            Some(kept) => Ok(kept),
            None => self.fresh(),
        }
    }

    /// What the pool would give if the Service had nothing.
    pub(super) fn consider(&self, name: &str, stock: &Stock) -> Result<Vec<IpAddr>, Rejection> {
        self.asked(name, stock)?;
        self.served(name, stock)?;
        Ok(self.offer(stock, false)?.addresses)
    }

    /// Whether the pool still serves the Service, its other holders agree with it, and it has the right families.
    pub(super) fn may_stay(&self, pool: &str) -> bool {
        let served = self.allocator.stock(pool).is_none_or(|stock| self.admitted(stock).is_ok());
        served
            && self.allowed_by_class(pool)
            && families_fit(self.held, &self.desired.families)
            && self.held.iter().all(|ip| self.fits(*ip))
    }

    /// The present holding, if nothing forbids it, and an address of each other family that the Service would like and
    /// that its pool has by now.
    fn kept(&self) -> Option<Assignment> {
        let holding = self.allocator.held(self.service)?;
        let pool = self.allocator.present_pool(&holding.built)?;
        let request = &self.desired.request;
        let as_asked = request.pool.as_ref().is_none_or(|asked| *asked == pool)
            && request.addresses.iter().all(|ip| self.held.contains(ip));
        if !as_asked || !self.may_stay(&pool) {
            return None;
        }
        let addresses = match self.allocator.stock(&pool) {
            None => self.held.to_vec(),
            Some(stock) => {
                let wanted = self.desired.families.iter();
                wanted.filter_map(|need| self.pick(stock, need.family)).map(|(ip, _)| ip).collect()
            }
        };
        Some(self.assignment(&pool, addresses))
    }

    fn fresh(&self) -> Result<Assignment, AllocationError> {
        if self.allocator.stocks().next().is_none() {
            return Err(AllocationError::NoPool);
        }
        match &self.desired.request.pool {
            _ if !self.desired.request.addresses.is_empty() => self.from(self.pool_of_request()?),
            Some(pool) => self.from(pool),
            None => self.automatic(),
        }
    }

    /// From the pool that is asked for, by name or through its addresses.
    fn from(&self, pool: &str) -> Result<Assignment, AllocationError> {
        let unknown = || AllocationError::UnknownPool(pool.to_owned());
        let stock = self.allocator.stock(pool).ok_or_else(unknown)?;
        let not_served = |why| AllocationError::NotServed { pool: pool.to_owned(), why };
        self.served(pool, stock).map_err(not_served)?;
        match self.offer(stock, false) {
            Ok(offer) => Ok(self.assignment(pool, offer.addresses)),
            Err(Rejection::Taken(clash)) => Err(clash.into()),
            Err(_) => Err(self.exhausted(&[(pool, stock)])),
        }
    }

    fn pool_of_request(&self) -> Result<&'a str, AllocationError> {
        let addresses = &self.desired.request.addresses;
        for ip in addresses {
            if !self.desired.families.iter().any(|need| need.family == Family::of(*ip)) {
                return Err(AllocationError::ForeignFamily(*ip));
            }
            if self.allocator.pool_of(&[*ip]).is_none() {
                let left_out = |pool: &str| AllocationError::LeftOut { ip: *ip, pool: pool.to_owned() };
                let outside = AllocationError::OutsidePools(*ip);
                return Err(self.allocator.range_of(*ip).map_or(outside, left_out));
            }
        }
        self.allocator.pool_of(addresses).ok_or(AllocationError::TwoPools)
    }

    fn automatic(&self) -> Result<Assignment, AllocationError> {
        let (mut candidates, mut rejections) = (Vec::new(), Vec::new());
        for (name, stock) in self.allocator.stocks() {
            match self.served(name, stock).and_then(|()| self.asked(name, stock)) {
                Ok(()) => candidates.push((name, stock)),
                Err(why) => rejections.push((name.to_owned(), why)),
            }
        }
        if candidates.is_empty() {
            return Err(AllocationError::NoPoolForIt(rejections));
        }
        // A pool that has every family comes before one that lacks a family which the Service can do without.
        for all_families in [true, false] {
            for joining in [true, false] {
                let offers = candidates.iter().filter(|_| !joining || self.terms.is_some());
                let mut offers =
                    offers.filter_map(|(name, stock)| Some((name, self.offer(stock, all_families).ok()?)));
                if let Some((name, offer)) = offers.find(|(_, offer)| offer.joins || !joining) {
                    return Ok(self.assignment(name, offer.addresses));
                }
            }
        }
        Err(self.exhausted(&candidates))
    }

    /// Whether the Service asks for the pool, or for none and the pool serves those too.
    fn asked(&self, name: &str, stock: &Stock) -> Result<(), Rejection> {
        let request = &self.desired.request;
        if let Some(pool) = &request.pool {
            return if pool == name { Ok(()) } else { Err(Rejection::OtherPoolAsked(pool.clone())) };
        }
        if let Some(ip) = request.addresses.iter().find(|ip| self.allocator.pool_of(&[**ip]) != Some(name)) {
            return Err(Rejection::OtherAddressAsked(*ip));
        }
        let automatic = stock.pool.auto_assign || !request.addresses.is_empty();
        if automatic { Ok(()) } else { Err(Rejection::NotAutomatic) }
    }

    fn served(&self, name: &str, stock: &Stock) -> Result<(), Rejection> {
        if self.allowed_by_class(name) { self.admitted(stock) } else { Err(Rejection::NotOfClass) }
    }

    fn admitted(&self, stock: &Stock) -> Result<(), Rejection> {
        stock.pool.pinning.as_ref().map_or(Ok(()), |pinning| pinning.admits(&self.desired.selection))
    }

    fn allowed_by_class(&self, pool: &str) -> bool {
        let allowed = &self.desired.request.class_pools;
        allowed.is_empty() || allowed.iter().any(|name| name == pool)
    }

    /// One address of each family, or of those that there are if the others are not required.
    fn offer(&self, stock: &Stock, all_families: bool) -> Result<Offer, Rejection> {
        let mut offer = Offer { addresses: Vec::new(), joins: false };
        let mut missing = Vec::new();
        for need in &self.desired.families {
            let asked =
                self.desired.request.addresses.iter().copied().find(|ip| Family::of(*ip) == need.family);
            if let Some(clash) = asked.and_then(|ip| self.clash(ip)) {
                return Err(clash.into());
            }
            match asked.map(|ip| (ip, false)).or_else(|| self.pick(stock, need.family)) {
                Some((ip, joins)) => {
                    offer.addresses.push(ip);
                    offer.joins |= joins;
                }
                None => missing.push(*need),
            }
        }
        let essential = missing.iter().any(|need| need.required || all_families);
        if essential || offer.addresses.is_empty() { Err(rejection(stock, &missing)) } else { Ok(offer) }
    }

    /// What the Service holds of this family in this pool, else an address to join others on, else the lowest free one;
    /// and whether it joins others. An address stays even where its neighbour of the other family has to move.
    fn pick(&self, stock: &Stock, family: Family) -> Option<(IpAddr, bool)> {
        let held = self.held.iter().copied().filter(|ip| Family::of(*ip) == family && self.fits(*ip));
        let kept = held.filter(|ip| self.in_stock(*ip, stock)).map(|ip| (ip, false)).next();
        let addresses = stock.of(family);
        let joined = || addresses.shared(self.terms.as_ref(), |ip| self.fits(ip)).map(|ip| (ip, true));
        kept.or_else(joined).or_else(|| addresses.free.lowest().map(|ip| (ip, false)))
    }

    fn in_stock(&self, ip: IpAddr, stock: &Stock) -> bool {
        let pool = self.allocator.pool_of(&[ip]).and_then(|name| self.allocator.stock(name));
        pool.is_some_and(|pool| std::ptr::eq(pool, stock))
    }

    fn fits(&self, ip: IpAddr) -> bool {
        self.clash(ip).is_none()
    }

    fn clash(&self, ip: IpAddr) -> Option<super::Clash> {
        self.allocator.clash(ip, self.service, self.terms.as_ref())
    }

    fn assignment(&self, pool: &str, addresses: Vec<IpAddr>) -> Assignment {
        Assignment { pool: pool.to_owned(), addresses, terms: self.terms.clone() }
    }

    fn exhausted(&self, pools: &[(&str, &Stock)]) -> AllocationError {
        let missing: Vec<Family> = self.desired.families.iter().map(|need| need.family).collect();
        let lacks = |family: &Family| pools.iter().all(|(_, stock)| stock.of(*family).free.capacity() == 0);
        let lacking = missing.iter().copied().filter(lacks).collect();
        let pools = pools.iter().map(|(name, _)| (*name).to_owned()).collect();
        AllocationError::Exhausted { missing, pools, lacking }
    }
}

fn rejection(stock: &Stock, missing: &[FamilyNeed]) -> Rejection {
    let missing: Vec<Family> = missing.iter().map(|need| need.family).collect();
    let lacks = |family: &Family| stock.of(*family).free.capacity() == 0;
    let lacking: Vec<Family> = missing.iter().copied().filter(lacks).collect();
    if lacking.is_empty() { Rejection::Exhausted(missing) } else { Rejection::LacksFamilies(lacking) }
}

/// Every address is of a family that the Service has, and no required family is without one.
fn families_fit(held: &[IpAddr], needs: &[FamilyNeed]) -> bool {
    let held: BTreeSet<Family> = held.iter().map(|ip| Family::of(*ip)).collect();
    let wanted = |family: &Family| needs.iter().any(|need| need.family == *family);
    held.iter().all(wanted) && needs.iter().all(|need| !need.required || held.contains(&need.family))
}
