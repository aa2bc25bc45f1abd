use std::net::Ipv4Addr;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 200));

pub(super) fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(super) fn service(name: &str, policy: &str, ips: &[&str]) -> core::Service {
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    read(json!({
        "metadata": {"name": name, "namespace": "d"},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy},
        "status": {"loadBalancer": {"ingress": ingress}}
    }))
}

pub(super) fn slice(service: &str, endpoints: &[(&str, bool)]) -> discovery::EndpointSlice {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(node, ready)| {
            json!({"addresses": ["10.244.0.4"], "nodeName": node, "conditions": {"ready": ready}})
        })
        .collect();
    read(json!({
        "metadata": {"name": service, "namespace": "d", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints
    }))
}

pub(super) fn node(name: &str, labels: &Value, network_unavailable: bool) -> core::Node {
    let status = if network_unavailable { "True" } else { "False" };
    read(json!({
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "NetworkUnavailable", "status": status}]}
    }))
}

#[test]
fn with_a_dataplane_only_what_has_rules_here_is_announced_from_here() {
    let mut cluster = cluster();
    assert!(!cluster.take_standing(Standing::All(BTreeSet::new())), "nobody asked for it");
    assert_eq!(nodes(&cluster), ["n1", "n2"]);
    cluster.couple();
    assert_eq!(nodes(&cluster), ["n2"], "what others have is theirs to know");
    assert!(cluster.take_standing(Standing::More([VIP].into())));
    assert_eq!(nodes(&cluster), ["n1", "n2"]);
    assert!(cluster.take_standing(Standing::Less([VIP].into())));
    assert_eq!(nodes(&cluster), ["n2"]);
    let mut other = service("s", "Cluster", &["203.0.113.200"]);
    other.metadata.labels = Some([("service.kubernetes.io/service-proxy-name".into(), "mesh".into())].into());
    cluster.apply_service(&other);
    assert_eq!(nodes(&cluster), ["n1", "n2"], "another proxy forwards for it");
}

pub(super) fn cordoned(name: &str) -> core::Node {
    let mut object = node(name, &json!({}), false);
    object.spec = Some(read(json!({"unschedulable": true})));
    object
}

fn pool(namespace: &str, name: &str, addresses: &[&str]) -> IPAddressPool {
    read(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"addresses": addresses}}))
}

fn advertisement(name: &str, spec: &Value) -> L2Advertisement {
    read(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "L2Advertisement",
        "metadata": {"name": name, "namespace": "p"}, "spec": spec}))
}

/// Nodes n1 and n2, a pool that is announced, a Service with an endpoint on n1.
pub(super) fn cluster() -> Cluster {
    let mut cluster = Cluster::new("n1");
    cluster.apply_node(&node("n1", &json!({"rack": "r1"}), false));
    cluster.apply_node(&node("n2", &json!({"rack": "r2"}), false));
    cluster.apply_pool(&pool("p", "pool", &["203.0.113.200-203.0.113.239"]));
    cluster.apply_advertisement(&advertisement("all", &json!({})));
    cluster.apply_service(&service("s", "Cluster", &["203.0.113.200"]));
    cluster.apply_slice(&slice("s", &[("n1", true)]));
    cluster
}

fn nodes(cluster: &Cluster) -> Vec<String> {
    cluster.assignments().remove(&VIP).map(|a| a.nodes.into_iter().collect()).unwrap_or_default()
}

#[test]
fn who_may_announce() {
    type Change = fn(&mut Cluster) -> bool;
    let cases: [(&str, Change, &[&str]); 14] = [
        ("all nodes", |_| false, &["n1", "n2"]),
        ("Local", |c| c.apply_service(&service("s", "Local", &["203.0.113.200"])), &["n1"]),
        ("no ready endpoint", |c| c.apply_slice(&slice("s", &[("n1", false)])), &[]),
        ("no slice", |c| c.delete_slice(&ObjectKey::new("d", "s")), &[]),
        (
            "excluded",
            |c| {
                let label = json!({"node.kubernetes.io/exclude-from-external-load-balancers": ""});
                c.apply_node(&node("n1", &label, false))
            },
            &["n2"],
        ),
        ("network unavailable", |c| c.apply_node(&node("n2", &json!({}), true)), &["n1"]),
        ("node gone", |c| c.delete_node(&ObjectKey::new("", "n2")), &["n1"]),
        (
            "node selector",
            |c| {
                let spec = json!({"nodeSelectors": [{"matchLabels": {"rack": "r2"}}]});
                c.apply_advertisement(&advertisement("all", &spec))
            },
            &["n2"],
        ),
        (
            "other Services only",
            |c| {
                let spec = json!({"serviceSelectors": [{"matchLabels": {"tier": "gold"}}]});
                c.apply_advertisement(&advertisement("all", &spec))
            },
            &[],
        ),
        (
            "another pool only",
            |c| c.apply_advertisement(&advertisement("all", &json!({"ipAddressPools": ["other"]}))),
            &[],
        ),
        (
            "a pool of another namespace",
            |c| {
                c.delete_pool(&ObjectKey::new("p", "pool"));
                c.apply_pool(&pool("tenant", "pool", &["203.0.113.0/24"]))
            },
            &[],
        ),
        ("pool shrunk", |c| c.apply_pool(&pool("p", "pool", &["203.0.113.201/32"])), &[]),
        ("no advertisement", |c| c.delete_advertisement(&ObjectKey::new("p", "all")), &[]),
        (
            "broken advertisement",
            |c| {
                let bad =
                    json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Near"}]}]});
                c.apply_advertisement(&advertisement("all", &bad))
            },
            &[],
        ),
    ];
    for (what, change, expected) in cases {
        let mut cluster = cluster();
        change(&mut cluster);
        assert_eq!(nodes(&cluster), expected, "{what}");
    }
}

#[test]
fn a_change_of_labels_brings_a_service_under_a_selector() {
    let mut cluster = cluster();
    let spec = json!({"serviceSelectors": [{"matchLabels": {"tier": "gold"}}]});
    cluster.apply_advertisement(&advertisement("all", &spec));
    let mut gold = service("s", "Cluster", &["203.0.113.200"]);
    gold.metadata.labels = Some([("tier".into(), "gold".into())].into());
    assert!(cluster.apply_service(&gold));
    assert_eq!(nodes(&cluster), ["n1", "n2"]);
}

#[test]
fn a_node_that_is_about_to_go_comes_last() {
    let mut cluster = cluster();
    let both = BTreeSet::from(["n1", "n2"]);
    assert_eq!(cluster.preferred(&both), both);
    assert!(cluster.apply_node(&cordoned("n1")));
    assert_eq!(cluster.preferred(&both), ["n2"].into());
    assert_eq!(cluster.preferred(&["n1"].into()), ["n1"].into(), "nobody else is there");
    assert!(cluster.apply_node(&cordoned("n2")));
    assert_eq!(cluster.preferred(&both), both);
}

fn judged(mut pool: IPAddressPool, accepted: &str) -> IPAddressPool {
    let condition = json!({"type": "Accepted", "status": accepted, "reason": "Overlaps", "message": "",
        "lastTransitionTime": "2026-07-01T00:00:00Z"});
    pool.status = Some(read(json!({"conditions": [condition]})));
    pool
}

#[test]
fn a_refused_pool_announces_nothing_and_one_not_judged_yet_does() {
    let mut cluster = cluster();
    cluster.apply_advertisement(&advertisement("all", &json!({"ipAddressPools": ["bad"]})));
    let bad = pool("p", "bad", &["203.0.113.0/24"]);
    for (what, pool, expected) in [
        ("no condition yet", bad.clone(), 2),
        ("accepted", judged(bad.clone(), "True"), 2),
        ("refused", judged(bad.clone(), "False"), 0),
        ("accepted again", judged(bad.clone(), "True"), 2),
    ] {
        cluster.apply_pool(&pool);
        assert_eq!(nodes(&cluster).len(), expected, "{what}");
    }
    cluster.apply_pool(&judged(bad, "False"));
    cluster.apply_advertisement(&advertisement("all", &json!({"ipAddressPools": ["pool"]})));
    assert_eq!(nodes(&cluster), ["n1", "n2"], "the pool that it overlaps");
}

/// The operator lets a Service keep its address when its pool is deleted or refused; so must the announcer.
#[test]
fn the_pool_that_an_address_came_from_counts_when_no_other_has_it() {
    let mut cluster = cluster();
    let mut held = service("s", "Cluster", &["203.0.113.200"]);
    held.metadata.annotations = Some(BTreeMap::from([(ALLOCATED_FROM.to_owned(), "pool".to_owned())]));
    assert!(cluster.apply_service(&held));
    cluster.apply_advertisement(&advertisement("all", &json!({"ipAddressPools": ["pool"]})));
    cluster.apply_pool(&judged(pool("p", "pool", &["203.0.113.200-203.0.113.239"]), "False"));
    assert_eq!(nodes(&cluster), ["n1", "n2"], "refused");
    cluster.delete_pool(&ObjectKey::new("p", "pool"));
    assert_eq!(nodes(&cluster), ["n1", "n2"], "deleted");
    cluster.apply_pool(&pool("p", "other", &["203.0.113.200/32"]));
    assert!(nodes(&cluster).is_empty(), "it is another pool's now, which nothing announces");
}

#[test]
fn a_nodes_own_address_is_left_out_and_said_so() {
    let taken = |cluster: &Cluster| cluster.taken().into_keys().collect::<Vec<_>>();
    let key = (VIP, ObjectKey::new("d", "s"));
    let mut cluster = cluster();
    assert_eq!(taken(&cluster), []);
    for name in ["n1", "n2"] {
        let mut object = node(name, &json!({}), false);
        let addresses = json!([{"type": "InternalIP", "address": VIP.to_string()}]);
        object.status.as_mut().unwrap().addresses = read(addresses);
        cluster.apply_node(&object);
        assert!(cluster.assignments().is_empty(), "InternalIP of {name}");
        assert_eq!(taken(&cluster), std::slice::from_ref(&key));
        cluster.apply_node(&node(name, &json!({}), false));
        assert_eq!(nodes(&cluster), ["n1", "n2"]);
    }
    cluster.set_own_addresses([VIP].into());
    assert!(cluster.assignments().is_empty(), "an interface's");
    assert_eq!(taken(&cluster), [key]);
    cluster.delete_advertisement(&ObjectKey::new("p", "all"));
    assert_eq!(taken(&cluster), [], "it would not be announced anyway");
}

#[test]
fn a_shared_address_may_be_announced_by_the_nodes_of_any_of_its_services() {
    let mut cluster = cluster();
    cluster.apply_service(&service("s", "Local", &["203.0.113.200"]));
    assert_eq!(nodes(&cluster), ["n1"]);
    cluster.apply_service(&service("t", "Local", &["203.0.113.200"]));
    cluster.apply_slice(&slice("t", &[("n2", true)]));
    assert_eq!(nodes(&cluster), ["n1", "n2"]);
    assert_eq!(cluster.assignments()[&VIP].services.len(), 2);
}

#[test]
fn addresses_of_both_families_count_where_a_pool_that_is_announced_has_them() {
    let mut cluster = cluster();
    cluster.apply_pool(&pool("p", "six", &["2001:db8:113::200-2001:db8:113::2ff"]));
    let ips = ["203.0.113.200", "2001:db8:113::200", "203.0.113.201", "198.51.100.1", "2001:db8:113::300"];
    cluster.apply_service(&service("s", "Cluster", &ips));
    let announced: Vec<String> = cluster.assignments().keys().map(ToString::to_string).collect();
    assert_eq!(announced, ["203.0.113.200", "203.0.113.201", "2001:db8:113::200"]);
}

#[test]
fn a_service_that_changes_its_type_is_forgotten() {
    let mut cluster = cluster();
    let mut object = service("s", "Cluster", &["203.0.113.200"]);
    object.spec.as_mut().unwrap().type_ = Some("ClusterIP".into());
    assert!(cluster.apply_service(&object));
    assert!(cluster.assignments().is_empty());
}

#[test]
fn interfaces_are_those_of_the_advertisements_that_select_this_node() {
    let mut cluster = cluster();
    let rack = |rack: &str, interface: &str| json!({"nodeSelectors": [{"matchLabels": {"rack": rack}}], "interfaces": [interface]});
    cluster.apply_advertisement(&advertisement("r1", &rack("r1", "bond0")));
    cluster.apply_advertisement(&advertisement("r2", &rack("r2", "eth7")));
    let expected = InterfaceSelection { default: true, named: BTreeSet::from(["bond0".into()]) };
    assert_eq!(cluster.assignments()[&VIP].interfaces, expected);
}

#[test]
fn what_does_not_matter_says_so() {
    let mut cluster = cluster();
    assert!(!cluster.apply_node(&node("n1", &json!({"rack": "r1"}), false)), "the same node again");
    assert!(!cluster.apply_service(&service("s", "Cluster", &["203.0.113.200"])), "the same Service");
    let mut annotated = service("s", "Cluster", &["203.0.113.200"]);
    annotated.metadata.annotations = Some([("a".into(), "b".into())].into());
    assert!(!cluster.apply_service(&annotated), "an annotation");
    assert!(cluster.apply_service(&service("s", "Local", &["203.0.113.200"])));
    assert!(cluster.apply_service(&service("s", "Local", &["203.0.113.201"])));
    assert!(!cluster.apply_slice(&slice("cluster-internal", &[("n1", true)])), "no address behind it");
    assert!(!cluster.apply_service(&service("pending", "Cluster", &[])), "no address yet");
    assert!(cluster.apply_node(&node("n1", &json!({}), false)));
}
