//! A pool in use: its definition, and which of its addresses are free.

use std::net::IpAddr;

use penstock_model::Family;

use super::{free::FreeRuns, pools::Pool};
use crate::FamilyNeed;

/// The free addresses of a pool beside its definition.
#[derive(Clone, Debug)]
pub(super) struct Stock {
    pub(super) pool: Pool,
    free: [FreeRuns; 2],
}

impl Stock {
    pub(super) fn new(pool: Pool) -> Self {
        let free = [Family::IPv4, Family::IPv6].map(|family| FreeRuns::new(family, &pool.ranges));
        Self { pool, free }
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.pool.ranges.iter().any(|range| range.contains(ip))
    }

    pub(super) fn of(&self, family: Family) -> &FreeRuns {
        &self.free[usize::from(family == Family::IPv6)]
    }

    pub(super) fn of_mut(&mut self, family: Family) -> &mut FreeRuns {
        &mut self.free[usize::from(family == Family::IPv6)]
    }

    /// What the Service holds of this family in this pool, else the lowest free address: an address stays even
    /// where its neighbour of the other family has to move.
    pub(super) fn held_or_lowest(&self, family: Family, held: &[IpAddr]) -> Option<IpAddr> {
        let kept = held.iter().copied().find(|ip| Family::of(*ip) == family && self.contains(*ip));
        kept.or_else(|| self.of(family).lowest(|ip| !(self.pool.avoid_buggy_ips && is_buggy(ip))))
    }

    /// One free address of each family, or of those that there are if the others are not required.
    pub(super) fn pick(&self, needs: &[FamilyNeed], held: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let picked: Vec<(FamilyNeed, Option<IpAddr>)> =
            needs.iter().map(|need| (*need, self.held_or_lowest(need.family, held))).collect();
        if picked.iter().any(|(need, ip)| need.required && ip.is_none()) {
            return None;
        }
        let addresses: Vec<IpAddr> = picked.into_iter().filter_map(|(_, ip)| ip).collect();
        (!addresses.is_empty()).then_some(addresses)
    }
}

/// Some old devices take these for network or broadcast addresses.
fn is_buggy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
}
