//! Who owns an address: rendezvous hashing (highest random weight, Thaler and Ravishankar 1998).
//!
//! Every node computes the same answer from the same candidates, in whatever order it learned of them. When a
//! node is lost, only its addresses move, and they spread over all that remain.
//!
//! The weight is FNV-1a (64 bit) over the address's octets and the node's name, passed through MurmurHash3's
//! finalizer `fmix64`; FNV alone leaves the last bytes of a name, which are what tells node names apart, badly
//! mixed. Announcers of two releases must agree while a DaemonSet rolls: **the weight never changes**, and a
//! test pins its values.

use std::{cmp::Reverse, net::IpAddr};

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The candidate that owns the address; `None` only without candidates. Of equal weights the lesser name wins.
pub fn owner<'a>(address: IpAddr, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates.into_iter().max_by_key(|name| (weight(address, name), Reverse(*name)))
}

fn weight(address: IpAddr, node: &str) -> u64 {
    let hash = match address {
        IpAddr::V4(v4) => fnv1a(FNV_OFFSET, &v4.octets()),
        IpAddr::V6(v6) => fnv1a(FNV_OFFSET, &v6.octets()),
    };
    fmix64(fnv1a(hash, node.as_bytes()))
}

fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

fn fmix64(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from(0xcb00_7100 + n).into()
    }

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("node-{n}")).collect()
    }

    fn own(n: u32, names: &[String]) -> Option<&str> {
        owner(address(n), names.iter().map(String::as_str))
    }

    #[test]
    fn the_weight_is_the_same_in_every_release() {
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8, "FNV-1a's published vector");
        assert_eq!(weight(address(200), "n1"), 0xdcf0_1366_bbd2_412e);
        assert_eq!(weight("2001:db8:113::200".parse().unwrap(), "n1"), 0xb458_5aa9_9851_294e);
    }

    #[test]
    fn without_candidates_nobody_owns() {
        assert_eq!(owner(address(1), []), None);
    }

    #[test]
    fn a_thousand_addresses_spread_within_a_fifth_of_even() {
        for count in [2, 3, 5] {
            let names = names(count);
            let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
            (0..1000).for_each(|n| *shares.entry(own(n, &names).unwrap()).or_default() += 1);
            let even = 1000 / count;
            for (name, share) in shares {
                // 5 nodes: the standard deviation of a share is 12.6, so a fifth of even is over 3 of them.
                assert!(share.abs_diff(even) <= even / 5, "{name} of {count} has {share}");
            }
        }
    }

    proptest! {
        #[test]
        fn all_agree_in_any_order(
            mut names in btree_set("[a-z0-9-]{1,20}", 1..12).prop_map(Vec::from_iter).prop_shuffle(),
            n in 0u32..=0xffff,
        ) {
            let first = own(n, &names).map(str::to_owned);
            prop_assert!(first.as_ref().is_some_and(|owner| names.contains(owner)));
            names.reverse();
            prop_assert_eq!(own(n, &names).map(str::to_owned), first);
        }

        #[test]
        fn a_lost_node_moves_only_its_own_addresses(
            names in btree_set("[a-z0-9-]{1,20}", 2..8).prop_map(Vec::from_iter),
            lost in any::<prop::sample::Index>(),
        ) {
            let lost = lost.get(&names).clone();
            let rest: Vec<String> = names.iter().filter(|n| **n != lost).cloned().collect();
            for n in 0..64 {
                let before = own(n, &names).unwrap();
                prop_assert!(before == lost || own(n, &rest) == Some(before));
            }
        }
    }
}
