//! A change of the table's content as a value, independent of how the kernel is told.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use penstock_model::{Family, FrontendAddress};

/// The chain that a frontend's connections go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Cluster traffic over so many endpoints: masqueraded only if it comes from outside the cluster.
    Cluster(u32),
    /// External traffic over so many endpoints: always masqueraded, so that answers return through this node.
    External(u32),
}

impl Chain {
    /// Over how many endpoints it chooses.
    #[must_use]
    pub fn endpoints(self) -> u32 {
        match self {
            Self::Cluster(count) | Self::External(count) => count,
        }
    }
}

/// One element of the table's maps and sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// A frontend with endpoints.
    Service {
        /// The frontend.
        frontend: FrontendAddress,
        /// Where its connections go.
        chain: Chain,
    },
    /// A frontend without endpoints: its connections are rejected.
    Refused(FrontendAddress),
    /// One endpoint of a frontend.
    Endpoint {
        /// The frontend.
        frontend: FrontendAddress,
        /// From 0, without gaps.
        index: u32,
        /// Where the endpoint listens; of the frontend's family.
        to: SocketAddr,
    },
    /// A local endpoint's address: its connections to itself are masqueraded.
    Hairpin(IpAddr),
}

/// What identifies an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementKey {
    /// See [`Element::Service`].
    Service(FrontendAddress),
    /// See [`Element::Refused`].
    Refused(FrontendAddress),
    /// See [`Element::Endpoint`]: frontend and index.
    Endpoint(FrontendAddress, u32),
    /// See [`Element::Hairpin`].
    Hairpin(IpAddr),
}

impl Element {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> ElementKey {
        match *self {
            Self::Service { frontend, .. } => ElementKey::Service(frontend),
            Self::Refused(frontend) => ElementKey::Refused(frontend),
            Self::Endpoint { frontend, index, .. } => ElementKey::Endpoint(frontend, index),
            Self::Hairpin(ip) => ElementKey::Hairpin(ip),
        }
    }
}

impl ElementKey {
    /// The family whose map it stands in.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Service(frontend) | Self::Refused(frontend) | Self::Endpoint(frontend, _) => {
                Family::of(frontend.ip)
            }
            Self::Hairpin(ip) => Family::of(*ip),
        }
    }
}

/// What is carried out at once or not at all, in the order of the fields. Removals come before additions:
/// an address may move from one Service to another, and replacing an element is removing and adding it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Numbers of endpoints whose chains do not exist yet.
    pub chains: BTreeSet<u32>,
    /// Elements to remove.
    pub deletes: Vec<ElementKey>,
    /// Elements to add.
    pub adds: Vec<Element>,
}

impl Transaction {
    /// How many operations it is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chains.len() + self.deletes.len() + self.adds.len()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
