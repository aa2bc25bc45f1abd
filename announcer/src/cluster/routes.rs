//! What this node tells routers.
//!
//! Every node that can serve an address says so, by BGP there need not be one owner; a node that cannot hear of the
//! others goes on. A shared address is told by the nodes of any of its Services, an aggregate while one address in it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use penstock_model::Node;

use super::{Announced, Cluster};
use crate::{
    bgp::{Attributes, Routes},
    route_advertisement::RouteAdvertisement,
};

impl Cluster {
    /// What each of the peers is to be told by this node, when these nodes live.
    #[must_use]
    pub fn routes(&self, peers: &BTreeSet<&str>, live: &BTreeSet<String>) -> BTreeMap<String, Routes> {
        let mut told: BTreeMap<String, Routes> =
            peers.iter().map(|peer| ((*peer).to_owned(), Routes::new())).collect();
        for (address, advertisement, attributes) in self.announced_here(live) {
            let told = told.iter_mut().filter(|(peer, _)| advertisement.tells(peer));
            for (_, routes) in told {
                routes
                    .entry(advertisement.prefix(address))
                    .and_modify(|known| known.merge(&attributes))
                    .or_insert_with(|| attributes.clone());
            }
        }
        told
    }

    /// Each address that this node serves, with each advertisement that takes it.
    fn announced_here(
        &self,
        live: &BTreeSet<String>,
    ) -> impl Iterator<Item = (IpAddr, &RouteAdvertisement, Attributes)> {
        let all = self.services.values().flat_map(|announced| {
            announced.service.load_balancer_ips.iter().map(move |address| (announced, *address))
        });
        let free = all.filter(|(_, address)| self.holder(*address).is_none());
        free.flat_map(move |(announced, address)| {
            let advertisements = self.covering(&self.route_advertisements, announced, address);
            advertisements.into_iter().filter_map(move |advertisement| {
                let attributes = advertisement.attributes(&self.community_names).ok()?;
                self.serves(announced, address, advertisement, live).then_some((
                    address,
                    advertisement,
                    attributes,
                ))
            })
        })
    }

    fn serves(
        &self,
        announced: &Announced,
        address: IpAddr,
        advertisement: &RouteAdvertisement,
        live: &BTreeSet<String>,
    ) -> bool {
        let may = |node: &&Node| advertisement.as_ref().selects(node);
        let here = |node: &&Node| node.name == self.own_name || live.contains(&node.name);
        let candidates = self.serving(&announced.service, address).filter(may).filter(here);
        let candidates = candidates.map(|node| node.name.as_str()).collect();
        self.preferred(&candidates).contains(self.own_name.as_str())
    }

    /// What stands in advertisements and cannot be carried out, one sentence an object.
    #[must_use]
    pub fn problems(&self) -> BTreeSet<String> {
        let unreadable = self.advertisements.iter().filter_map(|(key, read)| {
            Some(format!(
                "L2Advertisement {}: nothing is announced for it: {}",
                key.name,
                read.as_ref().err()?
            ))
        });
        let untold = self.route_advertisements.iter().filter_map(|(key, read)| {
            let reason = match read {
                Ok(advertisement) => advertisement.attributes(&self.community_names).err()?.to_string(),
                Err(reason) => reason.clone(),
            };
            Some(format!("BGPAdvertisement {}: nothing is announced for it: {reason}", key.name))
        });
        unreadable.chain(untold).collect()
    }
}

#[cfg(test)]
mod tests;
