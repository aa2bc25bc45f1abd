//! Who may connect to a load balancer IP.

use penstock_model::{FrontendKind, ServiceIndex, Sources};
use serde_json::{Value, json};

use crate::{
    objects::{NODE, balanced, index, node, service},
    said::Said,
};

fn spec(ranges: &[&str]) -> Value {
    json!({
        "type": "LoadBalancer", "clusterIPs": ["10.96.0.7", "2001:db8:96::7"], "externalIPs": ["80.11.12.10"],
        "loadBalancerSourceRanges": ranges, "ports": [{"port": 80, "nodePort": 30080}]})
}

fn apply(index: &mut ServiceIndex, ranges: &[&str]) {
    index.apply_service(&balanced(service("s", 1, &spec(ranges)), &["203.0.113.200", "2001:db8:113::200"]));
}

/// For each frontend with a filter: the address and the ranges.
fn filters(index: &mut ServiceIndex) -> Vec<(String, Vec<String>)> {
    let said = Said::all(index);
    let (_, port) = said.ports().next().unwrap();
    let filter = |f: &penstock_model::Frontend| match port.treatment(f).sources {
        Sources::All => None,
        Sources::Only(nets) => {
            assert_eq!(f.kind, FrontendKind::LoadBalancer);
            Some((f.address.ip.to_string(), nets.iter().map(ToString::to_string).collect()))
        }
    };
    port.frontends.iter().filter_map(filter).collect()
}

fn filter(ip: &str, ranges: &[&str]) -> (String, Vec<String>) {
    (ip.to_owned(), ranges.iter().map(|&r| r.to_owned()).collect())
}

#[test]
fn ranges_hold_for_the_load_balancer_ips_of_their_family_only() {
    let mut index = index();
    apply(&mut index, &["198.51.100.0/24"]);
    assert_eq!(filters(&mut index), [filter("203.0.113.200", &["198.51.100.0/24"])]);
    apply(&mut index, &["198.51.100.0/24", " 2001:db8:51::/48"]);
    let v6 = filter("2001:db8:113::200", &["2001:db8:51::/48"]);
    assert_eq!(filters(&mut index), [filter("203.0.113.200", &["198.51.100.0/24"]), v6]);
    apply(&mut index, &["198.51.100.0/24", "0.0.0.0/0"]);
    assert!(filters(&mut index).is_empty());
}

#[test]
fn a_node_in_a_range_may_use_the_address_that_is_also_its_own() {
    let mut index = index();
    apply(&mut index, &["203.0.113.8/29"]);
    assert_eq!(filters(&mut index), [filter("203.0.113.200", &["203.0.113.8/29", "203.0.113.200/32"])]);
    index.apply_node(&node(NODE, &["203.0.113.21"]));
    assert_eq!(filters(&mut index), [filter("203.0.113.200", &["203.0.113.8/29"])]);
}
