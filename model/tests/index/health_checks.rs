//! What balancers hear at healthCheckNodePort.

use penstock_model::{HealthCheck, ObjectKey, ServiceIndex};
use serde_json::{Value, json};

use crate::objects::{index, service, slice};

fn spec(policy: &str) -> Value {
    json!({
        "type": "LoadBalancer", "clusterIPs": ["10.96.0.7", "2001:db8:96::7"], "externalTrafficPolicy": policy,
        "healthCheckNodePort": 31234, "ports": [{"port": 80, "nodePort": 30080}]})
}

fn changes(index: &mut ServiceIndex) -> Vec<(String, Option<HealthCheck>)> {
    index.take_changes();
    let changes = index.take_health_changes().into_iter();
    changes.map(|change| (change.service.to_string(), change.desired)).collect()
}

fn check(ready_v4: u32, ready_v6: u32) -> Vec<(String, Option<HealthCheck>)> {
    vec![("d/s".to_owned(), Some(HealthCheck { port: 31234, ready_v4, ready_v6 }))]
}

fn endpoint(ip: &str, node: &str, ready: bool) -> Value {
    json!({"addresses": [ip], "nodeName": node, "conditions": {"ready": ready, "serving": true, "terminating": !ready}})
}

#[test]
fn distinct_ready_addresses_on_this_node_count() {
    let mut index = index();
    index.apply_service(&service("s", 1, &spec("Local")));
    assert_eq!(changes(&mut index), check(0, 0));
    let v4 = [
        endpoint("10.244.0.1", "n1", true),
        endpoint("10.244.0.2", "n1", false),
        endpoint("10.244.0.3", "n2", true),
    ];
    index.apply_slice(&slice("a", "s", "IPv4", &json!(v4)));
    // The same pod in another slice, as for another port.
    index.apply_slice(&slice("b", "s", "IPv4", &json!([v4[0]])));
    let v6 = [endpoint("2001:db8:244::1", "n1", true), endpoint("2001:db8:244::2", "n1", true)];
    index.apply_slice(&slice("c", "s", "IPv6", &json!(v6)));
    assert_eq!(changes(&mut index), check(1, 2));
    index.delete_slice(&ObjectKey::new("d", "a"));
    assert!(changes(&mut index).is_empty(), "the other slice still has the ready one");
    index.delete_slice(&ObjectKey::new("d", "b"));
    assert_eq!(changes(&mut index), check(0, 2));
}

#[test]
fn nobody_answers_for_policy_cluster_nor_for_a_service_that_is_gone() {
    let mut index = index();
    index.apply_service(&service("s", 1, &spec("Cluster")));
    assert!(changes(&mut index).is_empty());
    index.apply_service(&service("s", 1, &spec("Local")));
    assert_eq!(changes(&mut index), check(0, 0));
    index.apply_service(&service("s", 1, &spec("Cluster")));
    assert_eq!(changes(&mut index), [("d/s".to_owned(), None)]);
    index.apply_service(&service("s", 1, &spec("Local")));
    index.take_changes();
    index.delete_service(&ObjectKey::new("d", "s"));
    assert!(changes(&mut index).is_empty(), "what nobody heard of need not be taken back");
}
