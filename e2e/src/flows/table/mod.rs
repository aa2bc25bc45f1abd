//! The table: what a Service has to do on a node, case by case. Upstream's behaviour (kube-proxy v1.36 in nftables mode,
//! which it is run against) decides what is right.

mod endpoints;
mod frontends;
mod policies;
mod sources;
mod strays;

use crate::flows::flow::Case;
use crate::flows::frontend::{Frontend, Way};
use crate::flows::judgement::{Answerer, Expect, Seen};
use crate::flows::place::{Family, Pod, Protocol, Sender};
use crate::flows::service::{Host, Service, TARGET};
use crate::topology::Place;

use Family::{V4, V6};
use Protocol::{Tcp, Udp};

/// Every case.
pub fn table() -> Vec<Case> {
    [frontends::cases(), policies::cases(), endpoints::cases(), sources::cases(), strays::cases()].concat()
}

/// The Service whose answer on every frontend says that all objects before it have reached a node. Not in the table.
pub fn canary() -> Case {
    let case = Case::new("canary", Service::ready(&[Pod::A1, Pod::B1]));
    let from = [(POD1, NODE_PORT_1), (POD2, NODE_PORT_2)];
    from.into_iter().fold(case, |case, (pod, node_port)| {
        let any = &kept(&[Pod::A1, Pod::B1]);
        [CLUSTER_IP, LB_1, EXTERNAL_1, node_port]
            .into_iter()
            .fold(case, |case, to| case.flow(ALL, pod, to, any))
    })
}

/// Protocols and families: all four, and fewer where they can make no difference.
const ALL: &[(Protocol, Family)] = &[(Tcp, V4), (Tcp, V6), (Udp, V4), (Udp, V6)];
/// Each protocol and each family once.
const MIX: &[(Protocol, Family)] = &[(Tcp, V4), (Udp, V6)];
/// TCP by both families.
const TCP: &[(Protocol, Family)] = &[(Tcp, V4), (Tcp, V6)];
/// One of them.
const ONE: &[(Protocol, Family)] = &[(Tcp, V4)];

const N1: Place = Place::Node1;
const N2: Place = Place::Node2;
const CLIENT: Sender = Sender::Client;
const POD1: Sender = Sender::Pod(Pod::C1);
const POD2: Sender = Sender::Pod(Pod::C2);
const NODE1: Sender = Sender::Node(N1);
const NODE2: Sender = Sender::Node(N2);
const CLUSTER_IP: Frontend = Frontend::ClusterIp;
const NODE_PORT_1: Frontend = Frontend::NodePort(N1);
const NODE_PORT_2: Frontend = Frontend::NodePort(N2);
const LB_1: Frontend = Frontend::LoadBalancer(Way::Node1);
const LB_2: Frontend = Frontend::LoadBalancer(Way::Node2);
const EXTERNAL_1: Frontend = Frontend::ExternalIp(Way::Node1);
const EXTERNAL_2: Frontend = Frontend::ExternalIp(Way::Node2);

fn answerers(hosts: &[impl Into<Host> + Copy], seen: Seen) -> Vec<Answerer> {
    hosts.iter().map(|host| Answerer { host: (*host).into(), port: TARGET, seen }).collect()
}

/// Each of these answers, and sees the sender.
fn kept(hosts: &[impl Into<Host> + Copy]) -> Expect {
    Expect::Answers(answerers(hosts, Seen::Kept))
}

/// Each of these answers, and sees the node.
fn from_node(node: Place, hosts: &[impl Into<Host> + Copy]) -> Expect {
    Expect::Answers(answerers(hosts, Seen::Node(node)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::flows::flow::{Flow, Numbered, Row, numbered};

    fn rows() -> Vec<Row> {
        let cases = numbered(table()).unwrap();
        cases.iter().flat_map(|numbered| numbered.case.rows(numbered.addresses)).collect()
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let rows = rows();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let twice: Vec<&str> = rows
            .iter()
            .map(|row| row.name.as_str())
            .filter(|name| rows.iter().filter(|row| row.name == *name).count() > 1)
            .collect();
        assert_eq!(names.len(), rows.len(), "{twice:#?}");
    }

    #[test]
    fn there_are_as_many_flows_as_were_asked_for() {
        assert!(rows().len() >= 150, "{}", rows().len());
    }

    #[test]
    fn every_case_has_objects_of_its_own_and_flows() {
        let cases = numbered(table()).unwrap();
        let names: BTreeSet<String> =
            cases.iter().map(|numbered| numbered.case.object_name(numbered.addresses)).collect();
        assert_eq!(names.len(), cases.len());
        for Numbered { addresses, case } in &cases {
            assert!(!case.flows.is_empty(), "{}", case.title);
            assert!(case.object_name(*addresses).len() < 60, "{}", case.object_name(*addresses));
        }
    }

    /// Whoever waits until a Service has forgotten him must not be kept in mind by another flow.
    #[test]
    fn nobody_asks_a_service_twice_that_has_to_forget() {
        let forgets = |flow: &Flow| matches!(flow.expect, Expect::Forgets(..));
        for case in table() {
            for flow in case.flows.iter().filter(|flow| forgets(flow)) {
                let same = |other: &&Flow| {
                    (other.from, other.family, other.protocol) == (flow.from, flow.family, flow.protocol)
                };
                assert_eq!(case.flows.iter().filter(same).count(), 1, "{}: {flow:?}", case.title);
            }
        }
    }

    #[test]
    fn the_table_covers_every_frontend_by_every_wire() {
        let rows = rows();
        for to in [CLUSTER_IP, NODE_PORT_1, NODE_PORT_2, LB_1, LB_2, EXTERNAL_1, EXTERNAL_2] {
            for (protocol, family) in ALL {
                let same = |row: &&Row| {
                    let flow = &row.flow;
                    (flow.to, flow.protocol, flow.family) == (to, *protocol, *family)
                };
                assert!(rows.iter().any(|row| same(&row)), "{to} {protocol:?} {family:?}");
            }
        }
    }
}
