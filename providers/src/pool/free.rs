//! The free addresses of a pool, as runs: the lowest one is found, taken and given back in O(log n), in a
//! /28 as in an IPv6 /64.

use std::{collections::BTreeMap, net::IpAddr};

use penstock_crds::AddressRange;
use penstock_model::Family;

/// An address as a number within its family.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The inverse of [`number`]; runs are only ever made from addresses, so an IPv4 number fits.
fn address(family: Family, number: u128) -> IpAddr {
    match (family, u32::try_from(number)) {
        (Family::IPv4, Ok(v4)) => IpAddr::V4(v4.into()),
        _ => IpAddr::V6(number.into()),
    }
}

/// Free addresses of one family: first → last of each run; no two runs touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FreeRuns {
    family: Family,
    runs: BTreeMap<u128, u128>,
    /// The sum of the runs' lengths.
    count: u128,
}

impl FreeRuns {
    /// All addresses of `ranges` that are of the family.
    pub(super) fn new(family: Family, ranges: &[AddressRange]) -> Self {
        let mut free = Self { family, runs: BTreeMap::new(), count: 0 };
        for range in ranges.iter().filter(|r| Family::of(r.first()) == family) {
            free.insert(number(range.first()), number(range.last()));
        }
        free
    }

    /// The lowest free address that `allowed` accepts. A run is given up after its first few addresses are
    /// refused, so `allowed` may refuse at most three neighbours in a row.
    pub(super) fn lowest(&self, allowed: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let candidates = self.runs.iter().flat_map(|(first, last)| (*first..=*last).take(4));
        candidates.map(|n| address(self.family, n)).find(|ip| allowed(*ip))
    }

    /// Takes an address out; false if it was not free.
    pub(super) fn take(&mut self, ip: IpAddr) -> bool {
        let taken = number(ip);
        let Some((first, last)) = self.runs.range(..=taken).next_back().map(|(f, l)| (*f, *l)) else {
            return false;
        };
        if Family::of(ip) != self.family || last < taken {
            return false;
        }
        self.runs.remove(&first);
        self.count -= 1;
        if first < taken {
            self.runs.insert(first, taken - 1);
        }
        if taken < last {
            self.runs.insert(taken + 1, last);
        }
        true
    }

    /// Gives an address back.
    pub(super) fn give_back(&mut self, ip: IpAddr) {
        if Family::of(ip) == self.family {
            self.insert(number(ip), number(ip));
        }
    }

    /// How many are free.
    pub(super) fn len(&self) -> u128 {
        self.count
    }

    /// Adds a run and joins it with those that it touches or overlaps.
    fn insert(&mut self, mut first: u128, mut last: u128) {
        while let Some((f, l)) = self.touching(first, last) {
            self.runs.remove(&f);
            self.count -= l - f + 1;
            first = first.min(f);
            last = last.max(l);
        }
        self.runs.insert(first, last);
        self.count += last - first + 1;
    }

    fn touching(&self, first: u128, last: u128) -> Option<(u128, u128)> {
        let (f, l) = self.runs.range(..=last.saturating_add(1)).next_back()?;
        (l.saturating_add(1) >= first).then_some((*f, *l))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_whole_ipv6_prefix_costs_nothing() {
        let mut free = FreeRuns::new(Family::IPv6, &[range("2001:db8::/64")]);
        let first = free.lowest(|_| true).unwrap();
        assert_eq!(first.to_string(), "2001:db8::");
        assert!(free.take(first) && !free.take(first));
        assert_eq!(free.lowest(|_| true).unwrap().to_string(), "2001:db8::1");
        assert_eq!(free.len(), (1 << 64) - 1);
    }

    #[test]
    fn other_families_and_addresses_outside_are_never_free() {
        let mut free = FreeRuns::new(Family::IPv4, &[range("10.0.0.0/30"), range("2001:db8::/64")]);
        assert!(!free.take("10.0.0.4".parse().unwrap()));
        assert!(!free.take("::a00:1".parse().unwrap()));
        assert_eq!(free.len(), 4);
    }

    proptest! {
        /// Against the obvious set: after any order of takes and returns the same addresses are free.
        #[test]
        fn it_is_a_set(operations in prop::collection::vec((any::<bool>(), 0u8..40), 0..200)) {
            let ranges = [range("10.0.0.3-10.0.0.9"), range("10.0.0.10-10.0.0.12"), range("10.0.0.20-10.0.0.30")];
            let mut free = FreeRuns::new(Family::IPv4, &ranges);
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
                prop_assert_eq!(free.lowest(|_| true), expected.first().copied());
                prop_assert_eq!(free.len(), expected.len() as u128);
            }
        }
    }
}
