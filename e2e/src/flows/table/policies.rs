//! Traffic policies Local, and their short circuit for traffic from within the cluster.

use super::*;
use crate::flows::service::Endpoint;

const BOTH: &[Pod] = &[Pod::A1, Pod::B1];
const A1: &[Pod] = &[Pod::A1];
const B1: &[Pod] = &[Pod::B1];

pub(super) fn cases() -> Vec<Case> {
    vec![
        external_both(),
        external_elsewhere(),
        external_spread(),
        external_none(),
        internal_both(),
        internal_elsewhere(),
        internal_none(),
        both_policies(),
        node_name_decides(),
        without_node_name(),
    ]
}

fn external(pods: &[Pod]) -> Service {
    Service { external_local: true, ..Service::ready(pods) }
}

fn internal(pods: &[Pod]) -> Service {
    Service { internal_local: true, ..Service::ready(pods) }
}

fn external_both() -> Case {
    let case = Case::new("eTP Local", external(BOTH))
        .flow(ALL, CLIENT, NODE_PORT_1, &kept(A1))
        .flow(ALL, CLIENT, NODE_PORT_2, &kept(B1))
        .flow(ALL, CLIENT, LB_1, &kept(A1))
        .flow(ALL, CLIENT, LB_2, &kept(B1))
        .flow(ALL, CLIENT, EXTERNAL_1, &kept(A1))
        .flow(MIX, CLIENT, EXTERNAL_2, &kept(B1))
        // Not external: nothing changes.
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
        .flow(MIX, NODE1, CLUSTER_IP, &from_node(N1, BOTH))
        .flow(MIX, CLIENT, CLUSTER_IP, &from_node(N1, BOTH))
        // On the way to another node a Pod is not known as one any more: the CNI masquerades it.
        .flow(MIX, POD1, NODE_PORT_2, &from_node(N1, B1))
        .flow(MIX, NODE1, NODE_PORT_2, &from_node(N1, B1));
    short_circuit(case, BOTH, &[NODE_PORT_1, LB_1, LB_2, EXTERNAL_1])
}

/// Pods and the node itself reach all endpoints through external addresses: a Pod as itself, the node masqueraded.
fn short_circuit(case: Case, endpoints: &[Pod], frontends: &[Frontend]) -> Case {
    frontends.iter().fold(case, |case, frontend| {
        case.flow(MIX, POD1, *frontend, &kept(endpoints)).flow(
            MIX,
            NODE1,
            *frontend,
            &from_node(N1, endpoints),
        )
    })
}

fn external_elsewhere() -> Case {
    let case = Case::new("eTP Local, endpoints elsewhere only", external(B1))
        .flow(ALL, CLIENT, NODE_PORT_1, &Expect::Dropped)
        .flow(ALL, CLIENT, LB_1, &Expect::Dropped)
        .flow(MIX, CLIENT, EXTERNAL_1, &Expect::Dropped)
        .flow(MIX, CLIENT, NODE_PORT_2, &kept(B1))
        .flow(MIX, CLIENT, LB_2, &kept(B1))
        .flow(MIX, CLIENT, EXTERNAL_2, &kept(B1))
        .flow(MIX, POD1, CLUSTER_IP, &kept(B1))
        .flow(MIX, NODE2, NODE_PORT_1, &Expect::Dropped);
    short_circuit(case, B1, &[NODE_PORT_1, LB_1, EXTERNAL_1])
}

fn external_spread() -> Case {
    let local = &[Pod::A1, Pod::A2];
    let all = &[Pod::A1, Pod::A2, Pod::B1, Pod::B2];
    Case::new("eTP Local, two endpoints on each node", external(all))
        .flow(MIX, CLIENT, NODE_PORT_1, &kept(local))
        .flow(MIX, CLIENT, LB_1, &kept(local))
        .flow(MIX, CLIENT, LB_2, &kept(&[Pod::B1, Pod::B2]))
        .flow(MIX, POD1, LB_1, &kept(all))
}

fn external_none() -> Case {
    let case = Case::new("eTP Local, no endpoints", external(&[]));
    [NODE_PORT_1, LB_1, EXTERNAL_1].into_iter().fold(case, |case, frontend| {
        case.flow(MIX, CLIENT, frontend, &Expect::Refused).flow(ONE, POD1, frontend, &Expect::Refused).flow(
            ONE,
            NODE1,
            frontend,
            &Expect::Refused,
        )
    })
}

fn internal_both() -> Case {
    Case::new("iTP Local", internal(BOTH))
        .flow(ALL, POD1, CLUSTER_IP, &kept(A1))
        .flow(ALL, POD2, CLUSTER_IP, &kept(B1))
        .flow(MIX, NODE1, CLUSTER_IP, &from_node(N1, A1))
        .flow(MIX, CLIENT, CLUSTER_IP, &from_node(N1, A1))
        .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, BOTH))
        .flow(MIX, CLIENT, LB_1, &from_node(N1, BOTH))
        .flow(MIX, POD1, LB_1, &from_node(N1, BOTH))
        .flow(MIX, NODE1, EXTERNAL_1, &from_node(N1, BOTH))
}

fn internal_elsewhere() -> Case {
    Case::new("iTP Local, endpoints elsewhere only", internal(B1))
        .flow(ALL, POD1, CLUSTER_IP, &Expect::Dropped)
        .flow(MIX, NODE1, CLUSTER_IP, &Expect::Dropped)
        .flow(MIX, CLIENT, CLUSTER_IP, &Expect::Dropped)
        .flow(MIX, POD2, CLUSTER_IP, &kept(B1))
        .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, B1))
        .flow(MIX, CLIENT, LB_1, &from_node(N1, B1))
}

fn internal_none() -> Case {
    Case::new("iTP Local, no endpoints", internal(&[]))
        .flow(MIX, POD1, CLUSTER_IP, &Expect::Refused)
        .flow(ONE, NODE1, CLUSTER_IP, &Expect::Refused)
        .flow(ONE, CLIENT, NODE_PORT_1, &Expect::Refused)
}

fn both_policies() -> Case {
    Case::new(
        "both policies Local, endpoints elsewhere only",
        Service { internal_local: true, ..external(B1) },
    )
    .flow(MIX, POD1, CLUSTER_IP, &Expect::Dropped)
    .flow(MIX, CLIENT, NODE_PORT_1, &Expect::Dropped)
    .flow(MIX, CLIENT, NODE_PORT_2, &kept(B1))
    .flow(MIX, POD1, LB_1, &kept(B1))
    .flow(MIX, NODE1, LB_1, &from_node(N1, B1))
}

/// What is local follows from `nodeName`, never from the address.
fn node_name_decides() -> Case {
    let endpoints = vec![Endpoint::ready(Pod::A1).on(Some(N2)), Endpoint::ready(Pod::B1).on(Some(N1))];
    Case::new(
        "iTP Local, names of nodes that differ from addresses",
        Service { internal_local: true, ..Service::of(endpoints) },
    )
    .flow(MIX, POD1, CLUSTER_IP, &kept(B1))
    .flow(MIX, POD2, CLUSTER_IP, &kept(A1))
}

fn without_node_name() -> Case {
    let service = Service::of(vec![Endpoint::ready(Pod::A1).on(None)]);
    Case::new("eTP Local, an endpoint without a node's name", Service { external_local: true, ..service })
        .flow(MIX, CLIENT, NODE_PORT_1, &Expect::Dropped)
        .flow(MIX, POD1, NODE_PORT_1, &kept(A1))
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1))
}
