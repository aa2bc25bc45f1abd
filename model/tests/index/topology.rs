//! Upstream's table for `CategorizeEndpoints` (kube-proxy 1.36, `pkg/proxy/topology_test.go`), in other words, and
//! what the node's own labels change.
//!
//! An endpoint is written as its last octet and what is said of it: `za` hints at zone a, `n1` at node n1, `here` is on
//! this node (n1), `no` is not ready, `leaving` is terminating and serves.

use penstock_model::{Family, Route, ServiceIndex, ServicePort};
use serde_json::{Value, json};

use crate::objects::{empty_index, node_in, service, slice};

/// Policies and frontends of a Service, as upstream's table has them.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Policy Cluster, ClusterIP only.
    Plain,
    /// internalTrafficPolicy Local, ClusterIP only.
    Internal,
    /// externalTrafficPolicy Local, with a node port.
    External,
    /// internalTrafficPolicy Local and externalTrafficPolicy Cluster, with a node port.
    InternalOpen,
    /// Both Local, with a node port.
    Both,
    /// externalTrafficPolicy Local without anything external.
    ExternalUnused,
}

impl Kind {
    fn spec(self) -> Value {
        let (internal, external, open) = match self {
            Self::Plain => ("Cluster", "Cluster", false),
            Self::Internal => ("Local", "Cluster", false),
            Self::External => ("Cluster", "Local", true),
            Self::InternalOpen => ("Local", "Cluster", true),
            Self::Both => ("Local", "Local", true),
            Self::ExternalUnused => ("Cluster", "Local", false),
        };
        let port = if open { json!({"port": 80, "nodePort": 30080}) } else { json!({"port": 80}) };
        json!({
            "clusterIP": "10.96.0.7", "internalTrafficPolicy": internal, "externalTrafficPolicy": external,
            "type": if open { "NodePort" } else { "ClusterIP" }, "ports": [port]
        })
    }
}

fn endpoint(text: &str) -> Value {
    let mut words = text.split(' ');
    let mut endpoint = json!({
        "addresses": [format!("10.1.2.{}", words.next().unwrap())], "hints": {"forZones": [], "forNodes": []}});
    for word in words {
        let name = |list: &str, word: &str| (list.to_owned(), json!({"name": word}));
        match word {
            "here" => endpoint["nodeName"] = json!("n1"),
            "no" => endpoint["conditions"] = json!({"ready": false}),
            "leaving" => {
                endpoint["conditions"] = json!({"ready": false, "serving": true, "terminating": true})
            }
            "mute" => endpoint["conditions"] = json!({"ready": false, "serving": false, "terminating": true}),
            hint => {
                let (list, name) = name(if hint.starts_with('z') { "forZones" } else { "forNodes" }, hint);
                endpoint["hints"][list].as_array_mut().unwrap().push(name);
            }
        }
    }
    endpoint
}

fn index(zone: Option<&str>, kind: Kind, endpoints: &[&str]) -> ServiceIndex {
    let mut index = empty_index();
    index.apply_node(&node_in("n1", &["203.0.113.11"], zone));
    index.apply_service(&service("s", 1, &kind.spec()));
    let endpoints: Vec<Value> = endpoints.iter().map(|text| endpoint(text)).collect();
    index.apply_slice(&slice("s1", "s", "IPv4", &json!(endpoints)));
    index
}

fn port(index: &mut ServiceIndex) -> ServicePort {
    (*index.all().pop().unwrap().desired.unwrap()).clone()
}

fn octets(endpoints: &penstock_model::EndpointSet) -> Vec<u8> {
    let octet = |e: &std::net::SocketAddr| match e {
        std::net::SocketAddr::V4(v4) => v4.ip().octets()[3],
        std::net::SocketAddr::V6(_) => panic!("{e}"),
    };
    endpoints.of(Family::IPv4).iter().map(octet).collect()
}

/// Zone, kind, endpoints; then those for Cluster and for Local. What no frontend uses is not compared.
type Case = (Option<&'static str>, Kind, &'static [&'static str], &'static [u8], Option<&'static [u8]>);

use Kind::{Both, External, ExternalUnused, Internal, InternalOpen, Plain};

const HINTED_LOCAL: &[&str] = &["3 za here", "4 zb here", "5 zc", "6 za"];
const HINTED_NODES: &[&str] = &["3 za n1", "4 zb n2", "5 zc n3", "6 za n4"];

#[rustfmt::skip]
const CASES: [Case; 32] = [
    (Some("za"), Plain, &["3 za", "4 zb", "5 zc", "6 za"], &[3, 6], None),
    (Some("za"), Plain, HINTED_LOCAL, &[3, 6], None),
    (Some("za"), External, HINTED_LOCAL, &[3, 6], Some(&[3, 4])),
    (Some("za"), InternalOpen, HINTED_LOCAL, &[3, 6], Some(&[3, 4])),
    (None, Plain, &["3 za"], &[3], None),
    (Some(""), Plain, &["3 za"], &[3], None),
    (Some("zb"), Plain, &["3 za"], &[3], None),
    (Some("za"), Plain, &["3 za", "4 zb", "5 zc", "6 za no"], &[3], None),
    (Some("za"), Plain, &["3 za no", "4 zb", "5 zc", "6 za no"], &[4, 5], None),
    (Some("za"), Plain, &["3 za", "4 zb", "5", "6 za"], &[3, 4, 5, 6], None),
    (Some("zc"), Plain, &["3 za zb zc", "4 zb zc", "5 zb zd", "6 zc"], &[3, 4, 6], None),
    (Some("za"), Plain, HINTED_NODES, &[3], None),
    (Some("za"), Plain, &["3 za n1", "4", "5 zc n3", "6 za n4"], &[3, 4, 5, 6], None),
    // None of them for this node, so its zone's.
    (Some("za"), Plain, &["3 za n5", "4 zb n2", "5 zc n3", "6 za n4"], &[3, 6], None),
    // Hints for zones stand where those for nodes are incomplete.
    (Some("za"), Plain, &["3 za n1", "4 zb", "5 za"], &[3, 5], None),
    (Some("za"), External, &["0 za here", "1 zb here", "2 za", "3 zb"], &[0, 2], Some(&[0, 1])),
    (None, Internal, &[], &[], Some(&[])),
    (None, Internal, &["0", "1"], &[0, 1], Some(&[])),
    (None, Internal, &["0 here", "1 here"], &[0, 1], Some(&[0, 1])),
    (None, Internal, &["0 here", "1"], &[0, 1], Some(&[0])),
    (None, Plain, &["0 no", "1 no"], &[], None),
    (None, Plain, &["0 no", "1"], &[1], None),
    (None, Plain, &["0 leaving here", "1 leaving"], &[0, 1], None),
    (None, InternalOpen, &["0 here", "1"], &[0, 1], Some(&[0])),
    (None, External, &["0 here", "1"], &[0, 1], Some(&[0])),
    (None, Both, &["0 here", "1"], &[0, 1], Some(&[0])),
    (None, Both, &["0", "1"], &[0, 1], Some(&[])),
    (None, Both, &["0 leaving", "1 leaving"], &[0, 1], Some(&[])),
    (None, External, &["0", "1 mute here", "2 leaving here", "3 leaving"], &[0], Some(&[2])),
    (None, ExternalUnused, &["0", "1 here"], &[0, 1], None),
    (None, Plain, &[], &[], None),
    (None, Plain, &["0 mute"], &[], None),
];

#[test]
fn endpoints_are_chosen_as_upstream_chooses_them() {
    for (zone, kind, endpoints, cluster, local) in CASES {
        let port = port(&mut index(zone, kind, endpoints));
        let case = format!("{zone:?} {kind:?} {endpoints:?}");
        assert_eq!(octets(&port.cluster), cluster, "{case}");
        if let Some(local) = local {
            assert_eq!(octets(&port.local), local, "{case}");
        } else {
            // Only for hairpins: what it has, policy Cluster leads to.
            assert!(port.local.iter().all(|endpoint| port.cluster.contains(&endpoint)), "{case}");
        }
        let rejected = port.frontends.iter().all(|f| port.treatment(f).route == Route::Reject);
        assert_eq!(rejected, cluster.is_empty(), "{case}");
    }
}

#[test]
fn hints_of_one_family_say_nothing_of_the_other() {
    let mut index = index(Some("za"), Plain, &["3 za", "4 zb"]);
    let spec = json!({"clusterIPs": ["10.96.0.7", "2001:db8:96::7"], "ports": [{"port": 80}]});
    index.apply_service(&service("s", 1, &spec));
    let v6 = json!([{"addresses": ["2001:db8:244::1"]}, {"addresses": ["2001:db8:244::2"]}]);
    index.apply_slice(&slice("s2", "s", "IPv6", &v6));
    let port = port(&mut index);
    assert_eq!(octets(&port.cluster), [3]);
    assert_eq!(port.cluster.of(Family::IPv6).len(), 2);
}

#[test]
fn a_node_that_changes_its_zone_is_led_elsewhere_and_only_what_has_hints_is_worked_on() {
    let mut index = index(Some("za"), Plain, &["3 za", "4 zb"]);
    index.apply_service(&service("plain", 1, &json!({"clusterIP": "10.96.0.8", "ports": [{"port": 80}]})));
    index.apply_slice(&slice("plain", "plain", "IPv4", &json!([{"addresses": ["10.1.2.9"]}])));
    index.take_changes();
    let moved = |index: &mut ServiceIndex, zone| {
        index.apply_node(&node_in("n1", &["203.0.113.11"], zone));
        let mut changes = index.take_changes();
        assert_eq!(changes.len(), 1, "{changes:?}");
        octets(&changes.pop().unwrap().desired.unwrap().cluster)
    };
    assert_eq!(moved(&mut index, Some("zb")), [4]);
    assert_eq!(moved(&mut index, None), [3, 4]);
    index.apply_node(&node_in("n2", &["203.0.113.12"], Some("za")));
    assert!(index.take_changes().is_empty(), "another node's zone is its own affair");
    index.apply_node(&node_in("n1", &["203.0.113.11"], Some("za")));
    index.take_changes();
    index.delete_node("n1");
    let changes = index.take_changes();
    assert_eq!(octets(&changes[0].desired.as_ref().unwrap().cluster), [3, 4]);
}
