//! What is to be announced, as a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{bgp::Routes, peering::Session};

/// What is to be announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The addresses that this node owns and the interfaces to answer on.
    pub owned: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Whether addresses may be claimed, by gratuitous ARP and unsolicited advertisements.
    pub claiming: bool,
    /// The routers to talk to, by the names of their BGPPeers.
    pub sessions: BTreeMap<String, Session>,
    /// What each of them is to be told.
    pub routes: BTreeMap<String, Routes>,
    /// What cannot be carried out: one sentence an object.
    pub problems: BTreeSet<String>,
}

impl Orders {
    /// The addresses to answer for on one interface.
    #[must_use]
    pub fn on(&self, interface: &str) -> BTreeSet<IpAddr> {
        self.owned.iter().filter(|(_, names)| names.contains(interface)).map(|(ip, _)| *ip).collect()
    }

    /// The addresses that are in these orders and not in those before.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<IpAddr> {
        self.owned.keys().filter(|ip| !before.owned.contains_key(ip)).copied().collect()
    }
}
