//! A change of the table's content as a value, independent of how the kernel is told.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use penstock_model::{Family, FrontendAddress, Scope};

use super::chain::{Chain, Target};

/// One element of the table's maps and sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// A frontend with endpoints, and what happens to its connections.
    Service(FrontendAddress, Target),
    /// With [`Target::ShortCircuit`]: what happens to connections from pods and from this node.
    Inside(FrontendAddress, Target),
    /// With [`Target::ShortCircuit`]: what happens to all others.
    Outside(FrontendAddress, Target),
    /// A frontend without endpoints: its connections are rejected.
    Refused(FrontendAddress),
    /// One endpoint of a frontend without affinity: scope, index from 0 without gaps, where it listens.
    Endpoint(FrontendAddress, Scope, u32, SocketAddr),
    /// A frontend with affinity: what distinguishes its Service port from others, as the upper bits of its tokens.
    Affine(FrontendAddress, u32),
    /// How many endpoints of the scope a frontend with affinity has.
    Choice(FrontendAddress, Scope, u32),
    /// One endpoint of a frontend with affinity: scope, index from 0 without gaps, token.
    Token(FrontendAddress, Scope, u32, u32),
    /// Where the endpoint with the token listens.
    Holder(FrontendAddress, Scope, u32, SocketAddr),
    /// A frontend that not everybody may connect to.
    Firewalled(FrontendAddress),
    /// Who may.
    Source(FrontendAddress, IpNet),
    /// A local endpoint's address: its connections to itself are masqueraded.
    Hairpin(IpAddr),
    /// A ClusterIP: its other ports are rejected.
    ClusterIp(IpAddr),
}

/// What identifies an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementKey {
    /// See [`Element::Service`].
    Service(FrontendAddress),
    /// See [`Element::Inside`].
    Inside(FrontendAddress),
    /// See [`Element::Outside`].
    Outside(FrontendAddress),
    /// See [`Element::Refused`].
    Refused(FrontendAddress),
    /// See [`Element::Endpoint`]: frontend, scope and index.
    Endpoint(FrontendAddress, Scope, u32),
    /// See [`Element::Affine`].
    Affine(FrontendAddress),
    /// See [`Element::Choice`].
    Choice(FrontendAddress, Scope),
    /// See [`Element::Token`]: frontend, scope and index.
    Token(FrontendAddress, Scope, u32),
    /// See [`Element::Holder`]: frontend, scope and token.
    Holder(FrontendAddress, Scope, u32),
    /// See [`Element::Firewalled`].
    Firewalled(FrontendAddress),
    /// See [`Element::Source`].
    Source(FrontendAddress, IpNet),
    /// See [`Element::Hairpin`].
    Hairpin(IpAddr),
    /// See [`Element::ClusterIp`].
    ClusterIp(IpAddr),
}

impl Element {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> ElementKey {
        match *self {
            Self::Service(frontend, _) => ElementKey::Service(frontend),
            Self::Inside(frontend, _) => ElementKey::Inside(frontend),
            Self::Outside(frontend, _) => ElementKey::Outside(frontend),
            Self::Refused(frontend) => ElementKey::Refused(frontend),
            Self::Endpoint(frontend, scope, index, _) => ElementKey::Endpoint(frontend, scope, index),
            Self::Affine(frontend, _) => ElementKey::Affine(frontend),
            Self::Choice(frontend, scope, _) => ElementKey::Choice(frontend, scope),
            Self::Token(frontend, scope, index, _) => ElementKey::Token(frontend, scope, index),
            Self::Holder(frontend, scope, token, _) => ElementKey::Holder(frontend, scope, token),
            Self::Firewalled(frontend) => ElementKey::Firewalled(frontend),
            Self::Source(frontend, net) => ElementKey::Source(frontend, net),
            Self::Hairpin(ip) => ElementKey::Hairpin(ip),
            Self::ClusterIp(ip) => ElementKey::ClusterIp(ip),
        }
    }

    /// The chain that it leads to.
    pub(super) fn chain(&self) -> Option<Chain> {
        match *self {
            Self::Service(_, Target::Send(send))
            | Self::Inside(_, Target::Send(send))
            | Self::Outside(_, Target::Send(send)) => Some(Chain::Send(send)),
            Self::Choice(_, scope, count) => Some(Chain::Token(scope, count)),
            _ => None,
        }
    }
}

impl ElementKey {
    /// The address whose family's map it stands in.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Service(frontend)
            | Self::Inside(frontend)
            | Self::Outside(frontend)
            | Self::Refused(frontend)
            | Self::Endpoint(frontend, ..)
            | Self::Affine(frontend)
            | Self::Choice(frontend, _)
            | Self::Token(frontend, ..)
            | Self::Holder(frontend, ..)
            | Self::Firewalled(frontend)
            | Self::Source(frontend, _) => frontend.ip,
            Self::Hairpin(ip) | Self::ClusterIp(ip) => *ip,
        }
    }

    /// The family whose map it stands in.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.ip())
    }
}

/// What is carried out at once or not at all, in the order of the fields. Removals come before additions:
/// an address may move from one Service to another, and replacing an element is removing and adding it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Chains that do not exist yet.
    pub chains: BTreeSet<Chain>,
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
