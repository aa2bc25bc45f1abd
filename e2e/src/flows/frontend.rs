//! Frontends: the addresses and ports under which a Service of the table is reached, by its place in the table.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::flows::place::{Family, Protocol, gateway};
use crate::topology::{Pair, Place};

/// Where packets to an external address of a Service come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The network outside routes it to the first node.
    Node1,
    /// The network outside routes it to the second node.
    Node2,
    /// A host outside the cluster has it: whoever is not served gets its answer.
    Outside,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Node1, Self::Node2, Self::Outside];
    /// The ways that lead to nodes.
    pub const NODES: [Self; 2] = [Self::Node1, Self::Node2];

    fn number(self) -> u8 {
        match self {
            Self::Node1 => 1,
            Self::Node2 => 2,
            Self::Outside => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Node1 => "n1",
            Self::Node2 => "n2",
            Self::Outside => "a host outside",
        }
    }
}

/// Which address of a Service is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frontend {
    /// Its ClusterIP.
    ClusterIp,
    /// The ClusterIP of a Service that has it where a host outside does too.
    ClusterIpOutside,
    /// Its node port at the node's primary address.
    NodePort(Place),
    /// Its node port at the address that the node has towards its Pods, which is not primary.
    NodePortAtGateway(Place),
    /// Its node port at the sender's loopback address.
    NodePortAtLoopback,
    /// An ingress of its status.
    LoadBalancer(Way),
    /// One of its externalIPs.
    ExternalIp(Way),
    /// An address in the Service range that no Service has.
    Unowned,
}

/// The first two octets of what this network calls load balancer and external addresses (RFC 2544).
const EXTERNAL_V4: (u8, u8) = (198, 18);

/// The ranges of load balancer and external addresses by way: everybody outside has routes for these.
pub fn external_ranges(way: Way) -> [[String; 2]; 2] {
    let (balancer, other) = (external(way, 0, 0), external(way, 10, 0));
    [balancer, other].map(|pair| [format!("{}/24", pair.v4), format!("{}/112", pair.v6)])
}

fn external(way: Way, kind: u8, index: u8) -> Pair {
    let third = kind + way.number();
    Pair {
        v4: Ipv4Addr::new(EXTERNAL_V4.0, EXTERNAL_V4.1, third, index),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x198, third.into(), 0, 0, 0, index.into()),
    }
}

/// The addresses of the Service at this place in the table; there are fewer than 250.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses(pub u8);

impl Addresses {
    /// Its ClusterIPs.
    pub fn cluster_ips(self) -> Pair {
        service_address(1, self.0)
    }

    /// Its ClusterIPs where a host outside has them too: whoever is neither served nor dropped gets its answer.
    pub fn cluster_ips_outside(self) -> Pair {
        service_address(OUTSIDE, self.0)
    }

    /// Its load balancer address on this way.
    pub fn load_balancer(self, way: Way) -> Pair {
        external(way, 0, self.0)
    }

    /// Its externalIP on this way.
    pub fn external_ip(self, way: Way) -> Pair {
        external(way, 10, self.0)
    }

    /// The node port of the Service's port at this place in its list.
    pub fn node_port(self, place: usize) -> u16 {
        30_000 + u16::from(self.0) * 8 + u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// The port of its health check on nodes, behind those of its ports.
    pub fn health_check_node_port(self) -> u16 {
        self.node_port(7)
    }

    /// Where a frontend is. `port` is the Service's port, `node_port` what it is on nodes.
    pub fn socket(self, frontend: Frontend, family: Family, port: u16, node_port: u16) -> SocketAddr {
        let at = |pair: Pair, port| SocketAddr::new(family.of(pair), port);
        match frontend {
            Frontend::ClusterIp => at(self.cluster_ips(), port),
            Frontend::ClusterIpOutside => at(self.cluster_ips_outside(), port),
            Frontend::NodePort(node) => at(node.addresses(), node_port),
            Frontend::NodePortAtGateway(node) => at(gateway(node), node_port),
            Frontend::NodePortAtLoopback => at(LOOPBACK, node_port),
            Frontend::LoadBalancer(way) => at(self.load_balancer(way), port),
            Frontend::ExternalIp(way) => at(self.external_ip(way), port),
            Frontend::Unowned => at(service_address(UNOWNED, self.0), port),
        }
    }
}

/// The parts of the Service ranges that a host outside has too: of no Service of the table, and of some.
const UNOWNED: u8 = 200;
const OUTSIDE: u8 = 201;

/// These parts.
pub fn service_ranges_outside() -> [[String; 2]; 2] {
    [UNOWNED, OUTSIDE].map(|block| {
        let Pair { v4, v6 } = service_address(block, 0);
        [format!("{v4}/24"), format!("{v6}/120")]
    })
}

const LOOPBACK: Pair = Pair { v4: Ipv4Addr::LOCALHOST, v6: Ipv6Addr::LOCALHOST };

fn service_address(block: u8, index: u8) -> Pair {
    let low = u16::from(block) << 8 | u16::from(index);
    Pair { v4: Ipv4Addr::new(10, 96, block, index), v6: Ipv6Addr::new(0x2001, 0xdb8, 0x96, 0, 0, 0, 0, low) }
}

/// Both addresses as strings, of the families that are wanted.
pub fn texts(pair: Pair, families: &[Family]) -> Vec<String> {
    families.iter().map(|family| IpAddr::to_string(&family.of(pair))).collect()
}

/// A short name for a protocol and a family.
pub fn wire(protocol: Protocol, family: Family) -> String {
    format!("{} {}", protocol.api_name(), family.api_name())
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterIp => f.write_str("ClusterIP"),
            Self::ClusterIpOutside => f.write_str("ClusterIP that a host outside has too"),
            Self::NodePort(node) => write!(f, "NodePort of {}", node.name()),
            Self::NodePortAtGateway(node) => write!(f, "NodePort at the second address of {}", node.name()),
            Self::NodePortAtLoopback => f.write_str("NodePort at loopback"),
            Self::LoadBalancer(way) => write!(f, "LoadBalancer IP at {}", way.name()),
            Self::ExternalIp(way) => write!(f, "externalIP at {}", way.name()),
            Self::Unowned => f.write_str("an unowned Service address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::SERVICES;

    #[test]
    fn addresses_lie_where_they_are_routed() {
        let addresses = Addresses(7);
        assert!(SERVICES.0.contains(&addresses.cluster_ips().v4));
        assert!(SERVICES.1.contains(&addresses.cluster_ips().v6));
        let socket = addresses.socket(Frontend::Unowned, Family::V6, 80, 0);
        assert!(SERVICES.1.contains(&match socket.ip() {
            IpAddr::V6(address) => address,
            IpAddr::V4(_) => unreachable!(),
        }));
        let ranges = external_ranges(Way::Node2);
        assert_eq!(
            ranges.as_flattened(),
            ["198.18.2.0/24", "2001:db8:198:2::/112", "198.18.12.0/24", "2001:db8:198:c::/112"]
        );
        assert_eq!(addresses.external_ip(Way::Node2).v4.to_string(), "198.18.12.7");
        assert_eq!(addresses.external_ip(Way::Node2).v6.to_string(), "2001:db8:198:c::7");
    }

    #[test]
    fn node_ports_of_neighbours_differ() {
        assert!(Addresses(1).node_port(7) < Addresses(2).node_port(0));
        assert!(Addresses(250).node_port(7) <= 32_767);
    }
}
