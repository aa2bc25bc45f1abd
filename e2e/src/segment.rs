//! The layer-2 segment of an instance: a bridge in a namespace of its own, and one cable from it to each machine.
//!
//! Nothing is attached to the machine's own namespace, so that no packet can leave. The client is the default gateway
//! of all others, as a router would be, but forwards nothing.

use std::fmt::Write;

use anyhow::Result;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::netns;
use crate::topology::{
    CLIENT, EXTERNAL_HOST, EXTERNAL_IP, NODE_1, PODS, Pair, Place, SEGMENT_PREFIX, Topology,
};

/// What every machine's namespace is set to before it has an interface: no duplicate address detection (an address
/// must be usable at once), no router advertisements, no reverse path filter (asymmetric paths are part of the tests).
pub(crate) const MACHINE: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// Makes every namespace of the instance, and connects them.
///
/// # Errors
/// When a namespace exists already or the kernel refuses something.
pub fn create(topology: &Topology) -> Result<()> {
    let segment = topology.segment_netns();
    netns::create(&segment)?;
    netns::sysctl(&segment, &[("ipv6/conf/default/disable_ipv6", "1"), ("ipv6/conf/all/disable_ipv6", "1")])?;
    for place in Place::ALL {
        let name = topology.netns(place);
        netns::create(&name)?;
        netns::sysctl(&name, MACHINE)?;
        let forwarding = if place.is_node() { "1" } else { "0" };
        netns::sysctl(&name, &[("ipv4/ip_forward", forwarding), ("ipv6/conf/all/forwarding", forwarding)])?;
    }
    netns::batch(&segment, &bridge_commands(topology))?;
    Place::ALL.iter().try_for_each(|place| netns::batch(&topology.netns(*place), &machine_commands(*place)))
}

/// Multicast snooping is off: without a querier on the segment it would have neighbour discovery time out.
fn bridge_commands(topology: &Topology) -> String {
    let mut commands =
        "link set lo up\nlink add lan type bridge stp_state 0 mcast_snooping 0\nlink set lan up\n".to_owned();
    for place in Place::ALL {
        let (port, netns) = (place.name(), topology.netns(place));
        // Writing to a string cannot fail.
        let _ = writeln!(commands, "link add {port} type veth peer name eth0 netns {netns}");
        let _ = writeln!(commands, "link set {port} master lan up");
    }
    commands
}

fn machine_commands(place: Place) -> String {
    let Pair { v4, v6 } = place.addresses();
    let (length_v4, length_v6) = SEGMENT_PREFIX;
    let mut commands = format!(
        "link set lo up\naddress add {v4}/{length_v4} dev eth0\naddress add {v6}/{length_v6} dev eth0 nodad\n\
         link set eth0 up\n"
    );
    let _ = match place {
        Place::Client => writeln!(
            commands,
            "address add {EXTERNAL_HOST}/32 dev lo\nroute add {EXTERNAL_IP}/32 via {}",
            NODE_1.v4
        ),
        _ => writeln!(commands, "route add default via {}\nroute add default via {}", CLIENT.v4, CLIENT.v6),
    };
    commands
}

/// The Pod network between machines: a route to each node's Pods from the other nodes and the control plane.
///
/// # Errors
/// When a route cannot be set.
pub fn route_pods(topology: &Topology, pods: &[(Place, Vec<IpNet>)]) -> Result<()> {
    for place in [Place::ControlPlane, Place::Node1, Place::Node2] {
        netns::batch(&topology.netns(place), &pod_routes(place, pods))?;
    }
    Place::NODES.iter().try_for_each(|node| netns::nft(&topology.netns(*node), &masquerade()))
}

fn pod_routes(from: Place, pods: &[(Place, Vec<IpNet>)]) -> String {
    let mut commands = String::new();
    for (node, cidrs) in pods.iter().filter(|(node, _)| *node != from) {
        for cidr in cidrs {
            let via = node.addresses().both()[usize::from(matches!(cidr, IpNet::V6(_)))];
            let _ = writeln!(commands, "route replace {cidr} via {via}");
        }
    }
    commands
}

/// What a CNI does for Pods that speak to the world: it knows no route to them, so they borrow the node's address.
fn masquerade() -> String {
    let (v4, v6): (Ipv4Net, Ipv6Net) = PODS;
    format!(
        "table inet cluster-network {{\n chain postrouting {{\n  \
         type nat hook postrouting priority srcnat; policy accept;\n  \
         ip saddr {v4} ip daddr != {v4} oifname eth0 masquerade\n  \
         ip6 saddr {v6} ip6 daddr != {v6} oifname eth0 masquerade\n }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_has_no_way_out_and_is_everybody_elses() {
        let client = machine_commands(Place::Client);
        assert!(!client.contains("default"), "{client}");
        assert!(client.contains("route add 80.11.12.10/32 via 203.0.113.11"), "{client}");
        let node = machine_commands(Place::Node1);
        assert!(node.contains("address add 2001:db8:113::11/64 dev eth0 nodad"), "{node}");
        assert!(node.contains("route add default via 2001:db8:113::1\n"), "{node}");
    }

    #[test]
    fn every_cable_ends_inside_the_instance() {
        let commands = bridge_commands(&Topology::new("test").unwrap());
        for line in commands.lines().filter(|line| line.contains("veth")) {
            assert!(line.contains(" netns test-"), "{line}");
        }
        assert_eq!(commands.matches("veth").count(), Place::ALL.len());
    }

    #[test]
    fn pods_are_routed_to_their_node_by_family() {
        let pods = [
            (Place::Node1, vec!["10.244.1.0/24".parse().unwrap(), "2001:db8:244:1::/64".parse().unwrap()]),
            (Place::Node2, vec!["10.244.0.0/24".parse().unwrap(), "2001:db8:244::/64".parse().unwrap()]),
        ];
        assert_eq!(
            pod_routes(Place::Node1, &pods),
            "route replace 10.244.0.0/24 via 203.0.113.12\nroute replace 2001:db8:244::/64 via 2001:db8:113::12\n"
        );
        assert_eq!(pod_routes(Place::ControlPlane, &pods).lines().count(), 4);
    }
}
