//! Endpoints that are the address of a Service.

use penstock_model::{ObjectKey, ServiceIndex};
use serde_json::{Value, json};

use crate::{
    objects::{balanced, index, service, slice},
    said::Said,
};

fn endpoints_of(index: &mut ServiceIndex, name: &str) -> Vec<String> {
    let said = Said::all(index);
    let ports = said.ports().filter(|(key, _)| key.service.name == name);
    ports.flat_map(|(_, port)| port.cluster.iter().map(|e| e.to_string())).collect()
}

fn apply_thief(index: &mut ServiceIndex, endpoints: &[&str]) {
    index.apply_service(&service("thief", 1, &json!({"clusterIP": "10.96.0.8", "ports": [{"port": 80}]})));
    let endpoints: Vec<Value> = endpoints.iter().map(|ip| json!({"addresses": [ip]})).collect();
    index.apply_slice(&slice("t", "thief", "IPv4", &json!(endpoints)));
}

fn owner() -> Value {
    json!({
        "type": "LoadBalancer", "clusterIP": "10.96.0.7", "externalIPs": ["80.11.12.10"],
        "ports": [{"port": 443, "nodePort": 30443}]})
}

#[test]
fn an_endpoint_that_is_a_services_address_is_skipped_whichever_comes_first() {
    let vips = ["10.96.0.7", "80.11.12.10", "203.0.113.200", "10.96.0.8"];
    let all = [&vips[..], &["10.244.0.1"]].concat();
    let mut index = index();
    index.apply_service(&balanced(service("owner", 2, &owner()), &["203.0.113.200"]));
    apply_thief(&mut index, &all);
    assert_eq!(endpoints_of(&mut index, "thief"), ["10.244.0.1:8080"]);

    let mut index = crate::objects::index();
    apply_thief(&mut index, &all);
    assert_eq!(endpoints_of(&mut index, "thief").len(), 4, "all but its own");
    index.apply_service(&balanced(service("owner", 2, &owner()), &["203.0.113.200"]));
    let changed: Vec<String> = index.take_changes().iter().map(|c| c.key.to_string()).collect();
    assert_eq!(changed, ["d/owner:443/TCP", "d/thief:80/TCP"]);
    assert_eq!(endpoints_of(&mut index, "thief"), ["10.244.0.1:8080"]);
    let told: Vec<String> =
        index.refusals(&ObjectKey::new("d", "thief")).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4);
    assert_eq!(
        told[0],
        "endpoint 10.96.0.7:8080 is the address of a Service and gets no connections: take it out of the EndpointSlice"
    );

    index.delete_service(&ObjectKey::new("d", "owner"));
    assert_eq!(endpoints_of(&mut index, "thief").len(), 4);
}

#[test]
fn a_pod_with_its_nodes_address_is_an_endpoint() {
    let mut index = index();
    index.apply_service(&service("owner", 2, &owner()));
    apply_thief(&mut index, &["203.0.113.11"]);
    assert_eq!(endpoints_of(&mut index, "thief"), ["203.0.113.11:8080"]);
}

#[test]
fn who_has_no_such_endpoint_is_not_worked_on() {
    let mut index = index();
    apply_thief(&mut index, &["10.244.0.1"]);
    index.take_changes();
    index.apply_service(&service("owner", 2, &owner()));
    let changes = index.take_changes();
    assert!(changes.iter().all(|change| change.key.service.name == "owner"), "{changes:?}");
}
