//! A pool in use: its definition, and which of its addresses are free or shared.

use std::net::IpAddr;

use penstock_crds::AddressRange;
use penstock_model::Family;

use super::{
    free::FreeRuns, numbering::Numbering, occupants::Occupants, pools::Pool, shared::SharedAddresses,
    terms::Terms,
};

/// How many addresses of a pool are assigned and free; `i64::MAX` where there are as many or more. Addresses that the
/// pool leaves out are neither; one that several Services share counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// IPv4 addresses that are held, or still shown by the status of a Service that gave them up.
    pub assigned_v4: i64,
    /// The same of IPv6.
    pub assigned_v6: i64,
    /// Free IPv4 addresses.
    pub available_v4: i64,
    /// Free IPv6 addresses.
    pub available_v6: i64,
}

/// The free and shared addresses of a pool beside its definition.
#[derive(Clone, Debug)]
pub(super) struct Stock {
    pub(super) pool: Pool,
    families: [Addresses; 2],
}

/// The addresses of one family.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) free: FreeRuns,
    shared: SharedAddresses,
}

impl Stock {
    pub(super) fn new(pool: Pool) -> Self {
        let addresses = |family| Addresses::new(family, pool.avoid_buggy_ips, &pool.ranges);
        let families = [addresses(Family::IPv4), addresses(Family::IPv6)];
        Self { pool, families }
    }

    pub(super) fn of(&self, family: Family) -> &Addresses {
        &self.families[usize::from(family == Family::IPv6)]
    }

    /// Takes note of who is on an address now.
    pub(super) fn settle(&mut self, ip: IpAddr, occupants: Option<&Occupants>) {
        let addresses = self.addresses_mut(ip);
        match occupants {
            None => return,
            Some(Occupants::Sole(_)) => {}
            Some(Occupants::Sharers(sharers)) => addresses.shared.insert(ip, sharers),
        }
        addresses.free.take(ip);
    }

    /// Forgets who was on an address until now; it is free.
    pub(super) fn vacate(&mut self, ip: IpAddr, occupants: Option<&Occupants>) {
        let addresses = self.addresses_mut(ip);
        if let Some(Occupants::Sharers(sharers)) = occupants {
            addresses.shared.remove(ip, sharers);
        }
        addresses.free.give_back(ip);
    }

    fn addresses_mut(&mut self, ip: IpAddr) -> &mut Addresses {
        &mut self.families[usize::from(Family::of(ip) == Family::IPv6)]
    }

    pub(super) fn usage(&self) -> PoolUsage {
        let [v4, v6] = &self.families;
        PoolUsage {
            assigned_v4: count(v4.free.taken()),
            assigned_v6: count(v6.free.taken()),
            available_v4: count(v4.free.capacity() - v4.free.taken()),
            available_v6: count(v6.free.capacity() - v6.free.taken()),
        }
    }
}

impl Addresses {
    fn new(family: Family, avoid_buggy_ips: bool, ranges: &[AddressRange]) -> Self {
        let free = FreeRuns::new(Numbering::new(family, avoid_buggy_ips), ranges);
        Self { free, shared: SharedAddresses::default() }
    }

    /// An address to join others on: the lowest that carries the key and that `fits` accepts.
    pub(super) fn shared(&self, terms: Option<&Terms>, fits: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        self.shared.lowest(terms?, fits)
    }
}

fn count(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
