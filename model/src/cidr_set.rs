//! A set of networks that answers quickly whether an address lies in one of them.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks of both families, none within another, in the order of their addresses: a look-up is a binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CidrSet(Vec<IpNet>);

impl CidrSet {
    /// Whether one of the networks contains the address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let behind = self.0.partition_point(|net| net.network() <= ip);
        behind.checked_sub(1).is_some_and(|last| self.0[last].contains(&ip))
    }
}

impl FromIterator<IpNet> for CidrSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let nets: Vec<IpNet> = nets.into_iter().map(|net| net.trunc()).collect();
        let mut disjoint = IpNet::aggregate(&nets);
        disjoint.sort_by_key(IpNet::network);
        Self(disjoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// From few bits, so that networks contain each other and addresses hit them.
    fn any_ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u8>()
                .prop_map(|bits| IpAddr::V4(Ipv4Addr::from(u32::from(bits) << 28 | u32::from(bits) >> 4))),
            any::<u8>()
                .prop_map(|bits| IpAddr::V6(Ipv6Addr::from(u128::from(bits) << 124 | u128::from(bits) >> 4))),
            Just(IpAddr::V4(Ipv4Addr::BROADCAST)),
        ]
    }

    fn any_net() -> impl Strategy<Value = IpNet> {
        (any_ip(), 0_u8..=128).prop_map(|(ip, len)| {
            let longest = if ip.is_ipv4() { 32 } else { 128 };
            IpNet::new(ip, len.min(longest)).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_set_contains_what_one_of_its_networks_does(nets in vec(any_net(), 0..12), ip in any_ip()) {
            let set = CidrSet::from_iter(nets.clone());
            prop_assert_eq!(set.contains(ip), nets.iter().any(|net| net.contains(&ip)));
            // The order in which they came says nothing.
            prop_assert_eq!(set, nets.into_iter().rev().collect());
        }
    }
}
