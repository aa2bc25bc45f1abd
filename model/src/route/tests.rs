use std::net::SocketAddr;

use super::*;
use crate::{EndpointSet, FrontendAddress, Protocol, SourceRanges};

const SENDERS: [Sender; 3] = [Sender::Pod, Sender::Node, Sender::Outside];

/// Where the endpoints are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Nowhere,
    Elsewhere,
    Here,
}

fn port(place: Place, internal: TrafficPolicy, external: TrafficPolicy) -> ServicePort {
    let v4 = |last: u8| SocketAddr::from(([10, 244, 0, last], 8080));
    // Another family's endpoint is nobody's.
    let v6: SocketAddr = "[2001:db8:244::1]:8080".parse().unwrap();
    let (cluster, local): (EndpointSet, EndpointSet) = match place {
        Place::Nowhere => ([v6].into_iter().collect(), [v6].into_iter().collect()),
        Place::Elsewhere => ([v4(1), v6].into_iter().collect(), [v6].into_iter().collect()),
        Place::Here => ([v4(1), v4(2)].into_iter().collect(), [v4(2)].into_iter().collect()),
    };
    ServicePort {
        cluster,
        local,
        internal_policy: internal,
        external_policy: external,
        ..ServicePort::default()
    }
}

fn frontend(kind: FrontendKind) -> Frontend {
    let address = FrontendAddress { ip: [10, 96, 0, 7].into(), protocol: Protocol::Tcp, port: 80 };
    Frontend { address, kind }
}

fn fates(port: &ServicePort, kind: FrontendKind) -> [Fate; 3] {
    SENDERS.map(|sender| port.treatment(&frontend(kind)).route.fate(sender))
}

const EXTERNAL: [FrontendKind; 3] =
    [FrontendKind::NodePort, FrontendKind::LoadBalancer, FrontendKind::ExternalIp];

use TrafficPolicy::{Cluster, Local};

const fn sent(scope: Scope, masqueraded: bool) -> Fate {
    Fate::Sent { scope, masqueraded }
}

#[test]
fn without_any_endpoint_of_the_family_everybody_is_refused() {
    for (internal, external) in [(Cluster, Cluster), (Local, Local)] {
        for kind in EXTERNAL.into_iter().chain([FrontendKind::ClusterIp]) {
            assert_eq!(fates(&port(Place::Nowhere, internal, external), kind), [Fate::Rejected; 3]);
        }
    }
}

#[test]
fn a_cluster_ip_keeps_the_source_of_pods_only() {
    let to = |scope| [sent(scope, false), sent(scope, true), sent(scope, true)];
    for external in [Cluster, Local] {
        let fates = |place, internal| fates(&port(place, internal, external), FrontendKind::ClusterIp);
        assert_eq!(fates(Place::Elsewhere, Cluster), to(Scope::Cluster));
        assert_eq!(fates(Place::Here, Cluster), to(Scope::Cluster));
        assert_eq!(fates(Place::Here, Local), to(Scope::Local));
        assert_eq!(fates(Place::Elsewhere, Local), [Fate::Dropped; 3]);
    }
}

#[test]
fn external_frontends_follow_the_external_policy_but_from_the_inside() {
    for kind in EXTERNAL {
        for internal in [Cluster, Local] {
            let fates = |place, external| fates(&port(place, internal, external), kind);
            assert_eq!(fates(Place::Elsewhere, Cluster), [sent(Scope::Cluster, true); 3]);
            assert_eq!(fates(Place::Here, Cluster), [sent(Scope::Cluster, true); 3]);
            let inside = [sent(Scope::Cluster, false), sent(Scope::Cluster, true)];
            assert_eq!(fates(Place::Here, Local), [inside[0], inside[1], sent(Scope::Local, false)]);
            assert_eq!(fates(Place::Elsewhere, Local), [inside[0], inside[1], Fate::Dropped]);
        }
    }
}

#[test]
fn a_set_that_is_named_has_an_endpoint() {
    for place in [Place::Nowhere, Place::Elsewhere, Place::Here] {
        for (internal, external) in [(Cluster, Cluster), (Cluster, Local), (Local, Cluster), (Local, Local)] {
            let port = port(place, internal, external);
            for kind in EXTERNAL.into_iter().chain([FrontendKind::ClusterIp]) {
                let route = port.treatment(&frontend(kind)).route;
                assert!(
                    !route.uses(Scope::Cluster) || !port.cluster.of(Family::IPv4).is_empty(),
                    "{route:?}"
                );
                assert!(!route.uses(Scope::Local) || !port.local.of(Family::IPv4).is_empty(), "{route:?}");
            }
        }
    }
}

#[test]
fn source_ranges_stand_before_every_route_of_a_load_balancer_ip_also_without_endpoints() {
    for place in [Place::Nowhere, Place::Elsewhere, Place::Here] {
        let mut port = port(place, Local, Local);
        port.source_ranges = SourceRanges::new(&["192.0.2.0/24".parse().unwrap()], false);
        for kind in EXTERNAL.into_iter().chain([FrontendKind::ClusterIp]) {
            let filtered = port.treatment(&frontend(kind)).sources != &Sources::All;
            assert_eq!(filtered, kind == FrontendKind::LoadBalancer, "{kind:?}");
        }
    }
}
