//! Every frontend with policy Cluster, with endpoints and without, and hairpins.

use super::*;
use crate::flows::service::{Endpoint, OTHER_TARGET, Port, Slice};

const BOTH: &[Pod] = &[Pod::A1, Pod::B1];

pub(super) fn cases() -> Vec<Case> {
    vec![
        everything(),
        no_endpoints(),
        hairpin(),
        hairpin_local(),
        ports(),
        targets_by_slice(),
        single(Family::V4, "IPv4 only"),
        single(Family::V6, "IPv6 only"),
        node_network(),
        outside(),
    ]
}

/// Policy Cluster: the ready endpoints of both nodes, everywhere.
fn everything() -> Case {
    let (at_1, at_2) = (from_node(N1, BOTH), from_node(N2, BOTH));
    let case = Case::new("policy Cluster", Service::ready(BOTH))
        .flow(ALL, POD1, CLUSTER_IP, &kept(BOTH))
        .flow(ALL, POD2, CLUSTER_IP, &kept(BOTH))
        // An endpoint among others is masqueraded on the way to itself only.
        .flow(MIX, Sender::Pod(Pod::A1), CLUSTER_IP, &itself_or(Pod::B1))
        .flow(ALL, NODE1, CLUSTER_IP, &at_1)
        .flow(MIX, NODE2, CLUSTER_IP, &at_2)
        .flow(ALL, CLIENT, CLUSTER_IP, &at_1)
        .flow(ALL, CLIENT, NODE_PORT_1, &at_1)
        .flow(ALL, CLIENT, NODE_PORT_2, &at_2)
        .flow(ALL, CLIENT, LB_1, &at_1)
        .flow(ALL, CLIENT, LB_2, &at_2)
        .flow(ALL, CLIENT, EXTERNAL_1, &at_1)
        .flow(ALL, CLIENT, EXTERNAL_2, &at_2);
    [NODE_PORT_1, LB_1, LB_2, EXTERNAL_1]
        .into_iter()
        .fold(case, |case, frontend| case.flow(MIX, POD1, frontend, &at_1).flow(MIX, NODE1, frontend, &at_1))
        // The first node only forwards these; the second one is who serves.
        .flow(MIX, POD1, NODE_PORT_2, &at_2)
        .flow(MIX, NODE1, NODE_PORT_2, &at_2)
        .flow(MIX, POD2, LB_1, &at_2)
}

fn itself_or(other: Pod) -> Expect {
    let itself = answerers(&[Pod::A1], Seen::Node(N1));
    Expect::Answers([itself, answerers(&[other], Seen::Kept)].concat())
}

fn no_endpoints() -> Case {
    let refused = &Expect::Refused;
    let case = Case::new("no endpoints", Service::of(Vec::new()));
    [CLUSTER_IP, NODE_PORT_1, LB_1, EXTERNAL_1]
        .into_iter()
        .fold(case, |case, frontend| {
            case.flow(ALL, CLIENT, frontend, refused)
                .flow(MIX, POD1, frontend, refused)
                .flow(MIX, NODE1, frontend, refused)
        })
        .flow(MIX, CLIENT, NODE_PORT_2, refused)
        .flow(MIX, CLIENT, LB_2, refused)
}

/// An endpoint that reaches itself through its Service sees its node, or it would answer past the translation.
fn hairpin() -> Case {
    let itself = Sender::Pod(Pod::A1);
    let case = Case::new("hairpin", Service::ready(&[Pod::A1])).flow(
        ALL,
        itself,
        CLUSTER_IP,
        &from_node(N1, &[Pod::A1]),
    );
    [NODE_PORT_1, LB_1, EXTERNAL_1]
        .into_iter()
        .fold(case, |case, frontend| case.flow(MIX, itself, frontend, &from_node(N1, &[Pod::A1])))
        // Nobody else is masqueraded, also not on the same node.
        .flow(MIX, POD1, CLUSTER_IP, &kept(&[Pod::A1]))
        .flow(MIX, Sender::Pod(Pod::A2), CLUSTER_IP, &kept(&[Pod::A1]))
        .flow(MIX, POD2, CLUSTER_IP, &kept(&[Pod::A1]))
}

fn hairpin_local() -> Case {
    let service = Service { external_local: true, internal_local: true, ..Service::ready(&[Pod::A1]) };
    let case = Case::new("hairpin, both policies Local", service);
    [CLUSTER_IP, NODE_PORT_1, LB_1, EXTERNAL_1].into_iter().fold(case, |case, frontend| {
        case.flow(MIX, Sender::Pod(Pod::A1), frontend, &from_node(N1, &[Pod::A1]))
    })
}

fn port(name: &'static str, protocol: Protocol, number: u16, target: u16) -> Port {
    Port { name, protocol, number, target }
}

/// Each port leads to its own target, also where two protocols share the number.
fn ports() -> Case {
    let ports = vec![
        port("first", Tcp, 80, TARGET),
        port("second", Tcp, 81, OTHER_TARGET),
        port("shared", Udp, 80, OTHER_TARGET),
    ];
    let other = |seen| Expect::Answers(vec![Answerer { host: Pod::A1.into(), port: OTHER_TARGET, seen }]);
    let (udp, masqueraded) = (&[(Udp, V4), (Udp, V6)], Seen::Node(N1));
    Case::new("several ports", Service { ports, ..Service::ready(&[Pod::A1]) })
        .flow(TCP, POD1, CLUSTER_IP, &kept(&[Pod::A1]))
        .flow(udp, POD1, CLUSTER_IP, &other(Seen::Kept))
        .port_flow(81, POD1, CLUSTER_IP, other(Seen::Kept))
        .flow(TCP, CLIENT, NODE_PORT_1, &from_node(N1, &[Pod::A1]))
        .flow(udp, CLIENT, NODE_PORT_1, &other(masqueraded))
        .port_flow(81, CLIENT, NODE_PORT_1, other(masqueraded))
        .flow(udp, CLIENT, LB_1, &other(masqueraded))
        .port_flow(81, CLIENT, LB_1, other(masqueraded))
}

/// A named target port may be another number in each Pod; slices then say so.
fn targets_by_slice() -> Case {
    let moved = Slice { targets: vec![("tcp", OTHER_TARGET)], ..vec![Endpoint::ready(Pod::B1)].into() };
    let slices = vec![vec![Endpoint::ready(Pod::A1)].into(), moved];
    let both = |seen| {
        let at = |host: Pod, port| Answerer { host: host.into(), port, seen };
        Expect::Answers(vec![at(Pod::A1, TARGET), at(Pod::B1, OTHER_TARGET)])
    };
    Case::new("a named port with another target in each slice", Service { slices, ..Service::default() })
        .flow(TCP, POD1, CLUSTER_IP, &both(Seen::Kept))
        .flow(TCP, CLIENT, NODE_PORT_1, &both(Seen::Node(N1)))
        .flow(&[(Udp, V4)], POD1, CLUSTER_IP, &kept(BOTH))
}

/// The other family is not served, neither at the node port.
fn single(family: Family, title: &'static str) -> Case {
    let other = if family == V4 { V6 } else { V4 };
    Case::new(title, Service { families: vec![family], ..Service::ready(BOTH) })
        .flow(&[(Tcp, family), (Udp, family)], POD1, CLUSTER_IP, &kept(BOTH))
        .flow(&[(Tcp, family), (Udp, family)], CLIENT, NODE_PORT_1, &from_node(N1, BOTH))
        .flow(&[(Tcp, other), (Udp, other)], CLIENT, NODE_PORT_1, &Expect::Refused)
        .flow(&[(Tcp, other), (Udp, other)], POD1, CLUSTER_IP, &Expect::Dropped)
}

/// An endpoint in a node's own network. The CNI masquerades Pods towards it unless they are on the same node.
fn node_network() -> Case {
    let host = &[Host::Node1];
    Case::new("an endpoint in the node's own network", Service::of(vec![Endpoint::ready(Host::Node1)]))
        .flow(TCP, POD1, CLUSTER_IP, &kept(host))
        .flow(TCP, POD2, CLUSTER_IP, &from_node(N2, host))
        .flow(TCP, NODE1, CLUSTER_IP, &from_node(N1, host))
        .flow(TCP, NODE2, CLUSTER_IP, &from_node(N2, host))
        // Nothing is masqueraded that does not leave the node.
        .flow(TCP, CLIENT, NODE_PORT_1, &kept(host))
        .flow(TCP, CLIENT, LB_1, &kept(host))
        .flow(TCP, CLIENT, NODE_PORT_2, &from_node(N2, host))
}

/// Slices written by hand may lead out of the cluster.
fn outside() -> Case {
    let host = &[Host::Outside];
    let service = || Service::of(vec![Endpoint::ready(Host::Outside)]);
    Case::new("an endpoint outside the cluster", service())
        .flow(TCP, POD1, CLUSTER_IP, &from_node(N1, host))
        .flow(TCP, NODE1, CLUSTER_IP, &from_node(N1, host))
        .flow(TCP, CLIENT, NODE_PORT_1, &from_node(N1, host))
        .flow(TCP, CLIENT, EXTERNAL_2, &from_node(N2, host))
}
