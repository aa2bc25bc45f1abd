//! The addresses of all nodes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use crate::Family;

/// Which node has which addresses, and which addresses are a node's.
#[derive(Debug, Default)]
pub(crate) struct NodeTable {
    by_name: BTreeMap<Box<str>, Box<[IpAddr]>>,
    /// How many nodes have the address.
    owners: HashMap<IpAddr, u32>,
}

impl NodeTable {
    pub(crate) fn is_node(&self, ip: IpAddr) -> bool {
        self.owners.contains_key(&ip)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    /// A node's addresses, in the object's order; none of a node that is not known.
    pub(crate) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.by_name.get(name).map(AsRef::as_ref).unwrap_or_default()
    }

    /// kube-proxy's `--nodeport-addresses=primary`.
    pub(crate) fn primary_ip(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.addresses(name).iter().copied().find(|ip| Family::of(*ip) == family)
    }

    /// `None` forgets the node.
    pub(crate) fn set(&mut self, name: &str, addresses: Option<&[IpAddr]>) {
        for ip in distinct(&self.by_name.remove(name).unwrap_or_default()) {
            if let Some(count) = self.owners.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    self.owners.remove(&ip);
                }
            }
        }
        if let Some(addresses) = addresses {
            distinct(addresses).into_iter().for_each(|ip| *self.owners.entry(ip).or_default() += 1);
            self.by_name.insert(name.into(), addresses.into());
        }
    }
}

fn distinct(addresses: &[IpAddr]) -> BTreeSet<IpAddr> {
    addresses.iter().copied().collect()
}
