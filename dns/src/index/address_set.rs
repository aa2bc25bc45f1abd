//! Which objects have an address.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use penstock_model::ObjectKey;

/// Addresses, each with the keys of the objects that have it.
#[derive(Debug, Default)]
pub(crate) struct AddressSet(BTreeSet<(IpAddr, Arc<ObjectKey>)>);

impl AddressSet {
    pub(crate) fn add(&mut self, addresses: impl Iterator<Item = IpAddr>, key: &Arc<ObjectKey>) {
        self.0.extend(addresses.map(|ip| (ip, Arc::clone(key))));
    }

    pub(crate) fn remove(&mut self, addresses: impl Iterator<Item = IpAddr>, key: &Arc<ObjectKey>) {
        for ip in addresses {
            self.0.remove(&(ip, Arc::clone(key)));
        }
    }

    /// The objects with the address, in the order of their keys.
    pub(crate) fn at(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<ObjectKey>> {
        let first = (ip, Arc::new(ObjectKey::new("", "")));
        self.0.range(first..).take_while(move |(at, _)| *at == ip).map(|(_, key)| key)
    }
}
