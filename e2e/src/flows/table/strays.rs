//! Packets to what no Service has, Services that are not for us, and addresses that a node leaves alone.

use super::*;
use crate::flows::service::Port;

const BOTH: &[Pod] = &[Pod::A1, Pod::B1];
const LB_OUTSIDE: Frontend = Frontend::LoadBalancer(Way::Outside);
const EXTERNAL_OUTSIDE: Frontend = Frontend::ExternalIp(Way::Outside);

pub(super) fn cases() -> Vec<Case> {
    vec![unknown_port(), other_protocol(), unowned(), addresses(), ip_mode(), not_ours(), not_allowed()]
}

/// The packet went where the network routes it. The CNI masquerades Pods on this way.
fn outside() -> Expect {
    Expect::Answers(vec![Answerer { host: Host::Outside, port: 80, seen: Seen::Node(N1) }])
}

fn unknown_port() -> Case {
    let refused = || Expect::Refused;
    Case::new("a port that the Service lacks", Service::ready(BOTH))
        .port_flow(8080, POD1, CLUSTER_IP, refused())
        .port_flow(8080, NODE1, CLUSTER_IP, refused())
        .port_flow(8080, CLIENT, CLUSTER_IP, refused())
        .port_flow(81, POD2, CLUSTER_IP, refused())
}

fn other_protocol() -> Case {
    let ports = vec![Port { name: "tcp", protocol: Tcp, number: 80, target: 8080 }];
    let udp = &[(Udp, V4), (Udp, V6)];
    let case = Case::new("a protocol that the Service lacks", Service { ports, ..Service::ready(BOTH) });
    [POD1, NODE1, CLIENT]
        .into_iter()
        .fold(case, |case, from| case.flow(udp, from, CLUSTER_IP, &Expect::Refused))
        .flow(TCP, POD1, CLUSTER_IP, &kept(BOTH))
}

/// A host outside would answer there if packets got so far; by UDP it would do so from another address.
fn unowned() -> Case {
    let case = Case::new("an address that no Service has", Service::ready(BOTH));
    [POD1, POD2, NODE1]
        .into_iter()
        .fold(case, |case, from| case.flow(TCP, from, Frontend::Unowned, &Expect::Dropped))
}

/// Node ports are at the primary addresses only, and never on loopback (CVE-2020-8558).
fn addresses() -> Case {
    Case::new("addresses of a node that are not primary", Service::ready(BOTH))
        .flow(MIX, POD1, Frontend::NodePortAtGateway(N1), &Expect::Refused)
        .flow(MIX, NODE1, Frontend::NodePortAtGateway(N1), &Expect::Refused)
        .flow(ALL, NODE1, Frontend::NodePortAtLoopback, &Expect::Refused)
        .flow(MIX, POD1, NODE_PORT_1, &from_node(N1, BOTH))
}

/// The load balancer itself wants to see these packets.
fn ip_mode() -> Case {
    let service = Service { ip_mode: "Proxy", ways: vec![Way::Outside], ..Service::ready(BOTH) };
    Case::new("ipMode Proxy", service)
        .flow(TCP, POD1, LB_OUTSIDE, &outside())
        .flow(TCP, NODE1, LB_OUTSIDE, &outside())
        .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, BOTH))
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
}

/// Another program forwards these.
fn not_ours() -> Case {
    let labels = vec![("service.kubernetes.io/service-proxy-name", "somebody-else")];
    let ways = vec![Way::Outside];
    let service = Service { labels, ways, cluster_ips_outside: true, ..Service::ready(BOTH) };
    let case = Case::new("the label service-proxy-name", service)
        .flow(ONE, CLIENT, NODE_PORT_1, &Expect::Refused)
        .flow(TCP, POD1, LB_OUTSIDE, &outside())
        .flow(TCP, POD1, EXTERNAL_OUTSIDE, &outside());
    // In the Service range it is an address that no Service of ours has: see `unowned`.
    [POD1, NODE1]
        .into_iter()
        .fold(case, |case, from| case.flow(TCP, from, Frontend::ClusterIpOutside, &Expect::Dropped))
}

/// ExternalIPs that no policy allows stay with who has them (CVE-2020-8554).
fn not_allowed() -> Case {
    Case::new(
        "externalIPs that no policy allows",
        Service { ways: vec![Way::Outside], ..Service::ready(BOTH) },
    )
    .flow(TCP, POD1, EXTERNAL_OUTSIDE, &outside())
    .flow(TCP, NODE1, EXTERNAL_OUTSIDE, &outside())
    .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
}
