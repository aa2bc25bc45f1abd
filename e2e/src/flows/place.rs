//! Who takes part in the flows, and under which addresses, as values: Pods, senders, families and protocols.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::topology::{Pair, Place, Topology};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The address of this family.
    pub fn of(self, pair: Pair) -> IpAddr {
        match self {
            Self::V4 => pair.v4.into(),
            Self::V6 => pair.v6.into(),
        }
    }

    /// Its name in the API.
    pub fn api_name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A transport protocol. There is no SCTP in the kernels that this runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];

    /// Its name in the API.
    pub fn api_name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A Pod: a namespace with one cable to its node and an echo server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pod {
    /// An endpoint on n1.
    A1,
    /// Another on n1.
    A2,
    /// On n1, never an endpoint.
    C1,
    /// An endpoint on n2.
    B1,
    /// Another on n2.
    B2,
    /// On n2, never an endpoint.
    C2,
}

impl Pod {
    /// Every Pod.
    pub const ALL: [Self; 6] = [Self::A1, Self::A2, Self::C1, Self::B1, Self::B2, Self::C2];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::A1 => "a1",
            Self::A2 => "a2",
            Self::C1 => "c1",
            Self::B1 => "b1",
            Self::B2 => "b2",
            Self::C2 => "c2",
        }
    }

    /// Its node.
    pub fn node(self) -> Place {
        match self {
            Self::A1 | Self::A2 | Self::C1 => Place::Node1,
            Self::B1 | Self::B2 | Self::C2 => Place::Node2,
        }
    }

    /// Its addresses, within its node's part of the Pod ranges.
    pub fn addresses(self) -> Pair {
        let host = match self {
            Self::A1 | Self::B1 => 11,
            Self::A2 | Self::B2 => 12,
            Self::C1 | Self::C2 => 21,
        };
        pod_address(self.node(), host)
    }
}

/// The node's address on its cables to Pods, which is their gateway.
pub fn gateway(node: Place) -> Pair {
    pod_address(node, 1)
}

/// A node's parts of the Pod ranges.
pub fn pod_ranges(node: Place) -> Vec<IpNet> {
    let Pair { v4, v6 } = pod_address(node, 0);
    vec![Ipv4Net::new_assert(v4, 24).into(), Ipv6Net::new_assert(v6, 64).into()]
}

fn pod_address(node: Place, host: u8) -> Pair {
    let number = if node == Place::Node1 { 1 } else { 2 };
    Pair {
        v4: Ipv4Addr::new(10, 244, number, host),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x244, number.into(), 0, 0, 0, host.into()),
    }
}

/// The zone of a node.
pub fn zone(node: Place) -> &'static str {
    if node == Place::Node1 { "a" } else { "b" }
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A machine outside the cluster.
    Client,
    /// A node itself.
    Node(Place),
    /// A Pod, which may be the endpoint itself.
    Pod(Pod),
}

impl Sender {
    /// The namespace that it sends from.
    pub fn netns(self, topology: &Topology) -> String {
        match self {
            Self::Client => topology.netns(Place::Client),
            Self::Node(node) => topology.netns(node),
            Self::Pod(pod) => topology.pod_netns(pod.name()),
        }
    }

    /// The addresses that it may send from when nobody changes them.
    pub fn sources(self, family: Family) -> Vec<IpAddr> {
        match self {
            Self::Client => vec![family.of(Place::Client.addresses())],
            Self::Node(node) => node_sources(node, family),
            Self::Pod(pod) => vec![family.of(pod.addresses())],
        }
    }
}

/// The addresses of a node. Which of them a masqueraded packet gets depends on the interface that it leaves by.
pub fn node_sources(node: Place, family: Family) -> Vec<IpAddr> {
    vec![family.of(node.addresses()), family.of(gateway(node))]
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Node(node) => write!(f, "node {}", node.name()),
            Self::Pod(pod) => write!(f, "pod {}", pod.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_has_an_address_of_its_own_on_its_node() {
        for pod in Pod::ALL {
            let addresses = pod.addresses();
            assert_eq!(Pod::ALL.iter().filter(|other| other.addresses() == addresses).count(), 1);
            assert!(pod_ranges(pod.node()).iter().any(|range| range.contains(&IpAddr::V6(addresses.v6))));
            assert_ne!(addresses, gateway(pod.node()));
        }
    }
}
