//! What the flows need beyond the segment: Pods without a kubelet, and a network outside that has routes to Services.

use std::fmt::Write;

use anyhow::Result;

use crate::flows::frontend::{Way, external_ranges, service_ranges_outside};
use crate::flows::place::{Pod, gateway, pod_ranges};
use crate::netns;
use crate::segment::{self, MACHINE};
use crate::topology::{NODE_1, NODE_2, Pair, Place, SERVICES, Topology};

/// Refusals are ICMP errors, and many rows wait for one at a time.
const UNLIMITED: &[(&str, &str)] = &[("ipv4/icmp_ratelimit", "0"), ("ipv6/icmp/ratelimit", "0")];

/// Makes all Pods, and all routes. The segment has to be there.
///
/// # Errors
/// When the kernel refuses something.
pub fn create(topology: &Topology) -> Result<()> {
    for pod in Pod::ALL {
        let name = topology.pod_netns(pod.name());
        netns::create(&name)?;
        netns::sysctl(&name, MACHINE)?;
        netns::batch(&topology.netns(pod.node()), &cable(pod, &name))?;
        netns::batch(&name, &pod_commands(pod))?;
    }
    let ranges: Vec<_> = Place::NODES.iter().map(|node| (*node, pod_ranges(*node))).collect();
    segment::route_pods(topology, &ranges)?;
    for place in Place::NODES {
        netns::sysctl(&topology.netns(place), UNLIMITED)?;
    }
    netns::batch(&topology.netns(Place::Client), &outside())
}

/// The node's end of a Pod's cable: what the CNI plugin ptp does.
fn cable(pod: Pod, netns: &str) -> String {
    let (name, Pair { v4, v6 }, own) = (pod.name(), pod.addresses(), gateway(pod.node()));
    format!(
        "link add pod-{name} type veth peer name eth0 netns {netns}\nlink set pod-{name} up\n\
         address add {}/32 dev pod-{name}\naddress add {}/128 dev pod-{name} nodad\n\
         route add {v4}/32 dev pod-{name}\nroute add {v6}/128 dev pod-{name}\n",
        own.v4, own.v6
    )
}

fn pod_commands(pod: Pod) -> String {
    let (Pair { v4, v6 }, gateway) = (pod.addresses(), gateway(pod.node()));
    let mut commands = format!(
        "link set lo up\naddress add {v4}/32 dev eth0\naddress add {v6}/128 dev eth0 nodad\nlink set eth0 up\n"
    );
    for gateway in gateway.both() {
        // Writing to a string cannot fail.
        let _ = writeln!(commands, "route add {gateway} dev eth0\nroute add default via {gateway} dev eth0");
    }
    commands
}

/// The client's routes. It also has the addresses that it must answer at when a node lets packets pass.
fn outside() -> String {
    let mut commands = String::new();
    let mut route = |range: &str, via: Option<Pair>| {
        let family = usize::from(range.contains(':'));
        let _ = match via {
            Some(node) => writeln!(commands, "route add {range} via {}", node.both()[family]),
            None => writeln!(commands, "route add local {range} dev lo"),
        };
    };
    for way in Way::ALL {
        let via = match way {
            Way::Node1 => Some(NODE_1),
            Way::Node2 => Some(NODE_2),
            Way::Outside => None,
        };
        external_ranges(way).as_flattened().iter().for_each(|range| route(range, via));
    }
    route(&SERVICES.0.to_string(), Some(NODE_1));
    route(&SERVICES.1.to_string(), Some(NODE_1));
    service_ranges_outside().as_flattened().iter().for_each(|range| route(range, None));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_one_way_out_of_each_family() {
        let commands = pod_commands(Pod::B1);
        assert!(commands.contains("address add 10.244.2.11/32 dev eth0\n"), "{commands}");
        assert!(commands.contains("route add default via 2001:db8:244:2::1 dev eth0\n"), "{commands}");
        assert_eq!(commands.matches("default").count(), 2);
        assert!(cable(Pod::B1, "x-pod-b1").contains("route add 2001:db8:244:2::b/128 dev pod-b1\n"));
    }

    #[test]
    fn the_client_reaches_services_through_nodes_and_has_the_rest() {
        let commands = outside();
        assert!(commands.contains("route add 198.18.12.0/24 via 203.0.113.12\n"), "{commands}");
        assert!(commands.contains("route add local 2001:db8:198:3::/112 dev lo\n"), "{commands}");
        assert!(commands.contains("route add local 10.96.200.0/24 dev lo\n"), "{commands}");
        assert!(commands.contains("route add local 2001:db8:96::c900/120 dev lo\n"), "{commands}");
        assert!(commands.contains("route add 2001:db8:96::/112 via 2001:db8:113::11\n"), "{commands}");
        assert!(!commands.contains("default"));
    }
}
