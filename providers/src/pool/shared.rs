//! Where a Service with a sharing key can join others.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    occupants::{OpenTo, Sharers},
    terms::Terms,
};

/// Shared addresses of one family of a pool, by key and by whom they are open to, then by the ports taken on them: as
/// addresses with the same ports taken are as good as each other, one of each group is looked at, and thousands of
/// Services that all have one key and one port cost no more than two.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedAddresses(BTreeMap<(String, OpenTo), BTreeMap<u64, BTreeSet<IpAddr>>>);

impl SharedAddresses {
    pub(super) fn insert(&mut self, ip: IpAddr, sharers: &Sharers) {
        for open in sharers.open_to() {
            let groups = self.0.entry((sharers.key.clone(), open)).or_default();
            groups.entry(sharers.port_sum()).or_default().insert(ip);
        }
    }

    pub(super) fn remove(&mut self, ip: IpAddr, sharers: &Sharers) {
        for open in sharers.open_to() {
            let place = (sharers.key.clone(), open);
            let Some(groups) = self.0.get_mut(&place) else { continue };
            let Some(group) = groups.get_mut(&sharers.port_sum()) else { continue };
            group.remove(&ip);
            if group.is_empty() {
                groups.remove(&sharers.port_sum());
            }
            if groups.is_empty() {
                self.0.remove(&place);
            }
        }
    }

    /// The lowest address of those that carry the key and that `fits` accepts.
    pub(super) fn lowest(&self, terms: &Terms, fits: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let places = OpenTo::wanted(terms).into_iter().map(|open| (terms.sharing.key.clone(), open));
        let groups = places.filter_map(|place| self.0.get(&place)).flat_map(BTreeMap::values);
        groups.filter_map(|group| group.first().copied()).filter(|ip| fits(*ip)).min()
    }
}
