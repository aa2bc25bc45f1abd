//! The free addresses of a pool, as runs: the lowest one is found, taken and given back in O(log n), in a
//! /28 as in an IPv6 /64.

use std::{collections::BTreeMap, net::IpAddr};

use penstock_crds::AddressRange;

use super::numbering::Numbering;

/// Free addresses of one family: first → last of each run; no two runs touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FreeRuns {
    numbering: Numbering,
    runs: BTreeMap<u128, u128>,
    capacity: u128,
    taken: u128,
}

impl FreeRuns {
    /// All addresses of `ranges` (which do not overlap) that the numbering has.
    pub(super) fn new(numbering: Numbering, ranges: &[AddressRange]) -> Self {
        let mut free = Self { numbering, runs: BTreeMap::new(), capacity: 0, taken: 0 };
        for (first, last) in ranges.iter().filter_map(|range| numbering.run(range)) {
            // All of IPv6 is one more than fits.
            free.capacity = free.capacity.saturating_add((last - first).saturating_add(1));
            free.insert(first, last);
        }
        free
    }

    /// The lowest free address.
    pub(super) fn lowest(&self) -> Option<IpAddr> {
        self.runs.first_key_value().map(|(first, _)| self.numbering.address(*first))
    }

    /// Takes an address out; false if it was not free.
    pub(super) fn take(&mut self, ip: IpAddr) -> bool {
        let Some((taken, first, last)) = self.around(ip) else { return false };
        self.runs.remove(&first);
        self.taken += 1;
        if first < taken {
            self.runs.insert(first, taken - 1);
        }
        if taken < last {
            self.runs.insert(taken + 1, last);
        }
        true
    }

    /// Gives a taken address back.
    pub(super) fn give_back(&mut self, ip: IpAddr) {
        let Some(number) = self.numbering.number(ip).filter(|_| self.around(ip).is_none()) else { return };
        self.taken -= 1;
        self.insert(number, number);
    }

    /// How many there are at all, short of one in the whole of IPv6.
    pub(super) fn capacity(&self) -> u128 {
        self.capacity
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> u128 {
        self.taken
    }

    /// The number of a free address, and the run that it is in.
    fn around(&self, ip: IpAddr) -> Option<(u128, u128, u128)> {
        let number = self.numbering.number(ip)?;
        let (first, last) = self.runs.range(..=number).next_back()?;
        (number <= *last).then_some((number, *first, *last))
    }

    /// Adds a run and joins it with those that it touches.
    fn insert(&mut self, mut first: u128, mut last: u128) {
        while let Some((f, l)) = self.touching(first, last) {
            self.runs.remove(&f);
            first = first.min(f);
            last = last.max(l);
        }
        self.runs.insert(first, last);
    }

    fn touching(&self, first: u128, last: u128) -> Option<(u128, u128)> {
        let (f, l) = self.runs.range(..=last.saturating_add(1)).next_back()?;
        (l.saturating_add(1) >= first).then_some((*f, *l))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_model::Family;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    fn free(family: Family, ranges: &[AddressRange]) -> FreeRuns {
        FreeRuns::new(Numbering::new(family, false), ranges)
    }

    #[test]
    fn a_whole_ipv6_prefix_costs_nothing() {
        let mut free = free(Family::IPv6, &[range("2001:db8::/64")]);
        let first = free.lowest().unwrap();
        assert_eq!(first.to_string(), "2001:db8::");
        assert!(free.take(first) && !free.take(first));
        assert_eq!(free.lowest().unwrap().to_string(), "2001:db8::1");
        assert_eq!((free.capacity(), free.taken()), (1 << 64, 1));
    }

    #[test]
    fn other_families_and_addresses_outside_are_never_free() {
        let mut free = free(Family::IPv4, &[range("10.0.0.0/30"), range("2001:db8::/64")]);
        assert!(!free.take("10.0.0.4".parse().unwrap()));
        assert!(!free.take("::a00:1".parse().unwrap()));
        assert_eq!((free.capacity(), free.taken()), (4, 0));
    }

    #[test]
    fn all_of_ipv6_is_a_pool_too() {
        let mut free = free(Family::IPv6, &[range("8000::/1"), range("::/1")]);
        assert_eq!(free.capacity(), u128::MAX);
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert!(free.take(last) && !free.take(last));
        free.give_back(last);
        assert_eq!(free.taken(), 0);
    }

    #[test]
    fn runs_of_addresses_that_are_left_out_are_none() {
        let ranges: Vec<AddressRange> = (0..=255).map(|n| range(&format!("10.0.{n}.0/32"))).collect();
        let mut free = FreeRuns::new(Numbering::new(Family::IPv4, true), &ranges);
        assert_eq!((free.lowest(), free.capacity()), (None, 0));
        assert!(!free.take("10.0.7.0".parse().unwrap()));
    }

    proptest! {
        /// Against the obvious set: after any order of takes and returns the same addresses are free.
        #[test]
        fn it_is_a_set(operations in prop::collection::vec((any::<bool>(), 0u8..40), 0..200)) {
            let ranges = [range("10.0.0.3-10.0.0.9"), range("10.0.0.10-10.0.0.12"), range("10.0.0.20-10.0.0.30")];
            let mut free = free(Family::IPv4, &ranges);
            let all: BTreeSet<IpAddr> =
                (0..40).map(|n| IpAddr::from([10, 0, 0, n])).filter(|ip| ranges.iter().any(|r| r.contains(*ip))).collect();
            let mut expected = all.clone();
            for (take, last) in operations {
                let ip = IpAddr::from([10, 0, 0, last]);
                if take {
                    prop_assert_eq!(free.take(ip), expected.remove(&ip));
                } else if all.contains(&ip) {
                    free.give_back(ip);
                    expected.insert(ip);
                }
                prop_assert_eq!(free.lowest(), expected.first().copied());
                prop_assert_eq!(free.capacity() - free.taken(), expected.len() as u128);
            }
        }
    }
}
