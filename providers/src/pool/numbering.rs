//! Addresses as numbers without gaps, so that those which a pool leaves out cost nothing.

use std::net::IpAddr;

use penstock_crds::AddressRange;
use penstock_model::Family;

/// Addresses of an IPv4 /24 that end in neither 0 nor 255.
const USABLE: u128 = 254;

/// How the addresses of a family are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbering {
    family: Family,
    /// IPv4 addresses that end in .0 and .255 have no number: some old devices take them for network or broadcast
    /// addresses.
    avoid_buggy_ips: bool,
}

impl Numbering {
    pub(super) fn new(family: Family, avoid_buggy_ips: bool) -> Self {
        Self { family, avoid_buggy_ips: avoid_buggy_ips && family == Family::IPv4 }
    }

    /// The number of an address; `None` for another family's and for those that are left out. A higher address has a
    /// higher number.
    pub(super) fn number(self, ip: IpAddr) -> Option<u128> {
        if Family::of(ip) != self.family || (self.avoid_buggy_ips && is_buggy(ip)) {
            return None;
        }
        let bits = bits(ip);
        Some(if self.avoid_buggy_ips { (bits >> 8) * USABLE + (bits & 255) - 1 } else { bits })
    }

    /// The inverse of [`Numbering::number`]. Numbers are only ever made from addresses, so an IPv4 number fits.
    pub(super) fn address(self, number: u128) -> IpAddr {
        let bits = if self.avoid_buggy_ips { (number / USABLE) << 8 | (number % USABLE + 1) } else { number };
        match (self.family, u32::try_from(bits)) {
            (Family::IPv4, Ok(v4)) => IpAddr::V4(v4.into()),
            _ => IpAddr::V6(bits.into()),
        }
    }

    /// The first and last number of a range; `None` if nothing of it has a number.
    pub(super) fn run(self, range: &AddressRange) -> Option<(u128, u128)> {
        if Family::of(range.first()) != self.family {
            return None;
        }
        let (first, last) = (bits(range.first()), bits(range.last()));
        if !self.avoid_buggy_ips {
            return Some((first, last));
        }
        // The first usable address from `first` on, and the last up to `last`.
        let (block, host) = (first >> 8, first & 255);
        let low = if host == 255 { (block + 1) * USABLE } else { block * USABLE + host.max(1) - 1 };
        let (block, host) = (last >> 8, last & 255);
        // One past the last, as there may be none below.
        let end = block * USABLE + host.min(254);
        (low < end).then(|| (low, end - 1))
    }
}

/// Whether some old devices take it for a network or broadcast address.
pub(super) fn is_buggy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    proptest! {
        /// Against counting: the same addresses, in the same order, without a gap.
        #[test]
        fn runs_are_the_usable_addresses_of_a_range(first in 0x0a00_0000_u32..0x0a00_0400, length in 0u32..800) {
            let numbering = Numbering::new(Family::IPv4, true);
            let all = (first..=first + length).map(|n| IpAddr::V4(Ipv4Addr::from(n)));
            let usable: Vec<IpAddr> = all.filter(|ip| !is_buggy(*ip)).collect();
            let ends = [first, first + length].map(|n| IpAddr::V4(Ipv4Addr::from(n)));
            let run = numbering.run(&AddressRange::new(ends[0], ends[1]).unwrap());
            let listed: Vec<IpAddr> = run.into_iter().flat_map(|(f, l)| f..=l).map(|n| numbering.address(n)).collect();
            prop_assert_eq!(&listed, &usable);
            for ip in usable {
                prop_assert_eq!(numbering.number(ip).map(|n| numbering.address(n)), Some(ip));
            }
        }
    }
}
