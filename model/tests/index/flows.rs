//! UDP flows that have to begin anew.

use penstock_model::{Flow, FrontendAddress, ObjectKey, Protocol, ServiceIndex};
use serde_json::{Value, json};

use crate::objects::{index, read, service};

fn udp(frontends: &Value) -> Value {
    let mut spec = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 53, "protocol": "UDP"}]});
    spec.as_object_mut().unwrap().extend(frontends.as_object().unwrap().clone());
    spec
}

fn apply(index: &mut ServiceIndex, endpoints: &[(&str, &str)]) {
    let conditions = |state: &str| match state {
        "ready" => json!({"ready": true}),
        "leaving" => json!({"ready": false, "serving": true, "terminating": true}),
        _ => json!({"ready": false, "serving": false, "terminating": true}),
    };
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(ip, state)| json!({"addresses": [ip], "conditions": conditions(state), "nodeName": "n1"}))
        .collect();
    index.apply_slice(&read(json!({
        "metadata": {"name": "a", "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4", "ports": [{"port": 5353, "protocol": "UDP"}], "endpoints": endpoints})));
}

fn flow(frontend: &str, endpoint: &str) -> Flow {
    let address: std::net::SocketAddr = frontend.parse().unwrap();
    let frontend = FrontendAddress { ip: address.ip(), protocol: Protocol::Udp, port: address.port() };
    Flow { frontend, endpoint: endpoint.parse().unwrap() }
}

fn stale(index: &mut ServiceIndex) -> Vec<Flow> {
    index.take_changes();
    index.take_stale_flows()
}

const CLUSTER_IP: &str = "10.96.0.7:53";

fn started(spec: &Value) -> ServiceIndex {
    let mut index = index();
    index.apply_service(&service("s", 1, spec));
    apply(&mut index, &[("10.244.0.1", "ready"), ("10.244.0.2", "ready")]);
    stale(&mut index);
    index
}

#[test]
fn flows_to_an_endpoint_that_no_longer_serves_end_on_every_frontend_also_with_the_last_one() {
    let mut index = started(&udp(&json!({
        "type": "NodePort", "externalIPs": ["80.11.12.10"],
        "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}]})));
    let frontends = [CLUSTER_IP, "80.11.12.10:53", "203.0.113.11:30053"];
    apply(&mut index, &[("10.244.0.1", "gone"), ("10.244.0.2", "leaving")]);
    assert_eq!(stale(&mut index), frontends.map(|f| flow(f, "10.244.0.1:5353")));
    apply(&mut index, &[]);
    assert_eq!(stale(&mut index), frontends.map(|f| flow(f, "10.244.0.2:5353")));
    assert!(stale(&mut index).is_empty());
}

#[test]
fn flows_go_on_where_only_new_ones_go_elsewhere() {
    let mut index = started(&udp(&json!({})));
    apply(&mut index, &[("10.244.0.1", "leaving"), ("10.244.0.2", "ready")]);
    assert!(stale(&mut index).is_empty());
    assert!(!index.is_stale(&flow(CLUSTER_IP, "10.244.0.1:5353")));
    index.apply_service(&service("s", 1, &udp(&json!({"internalTrafficPolicy": "Local"}))));
    assert!(stale(&mut index).is_empty());
}

#[test]
fn all_flows_of_a_frontend_end_with_it_unless_another_service_has_it_and_the_endpoint() {
    let external = json!({"externalIPs": ["80.11.12.10"]});
    let mut index = started(&udp(&external));
    index.apply_service(&service("s", 1, &udp(&json!({}))));
    assert_eq!(stale(&mut index), ["10.244.0.1:5353", "10.244.0.2:5353"].map(|e| flow("80.11.12.10:53", e)));
    index.apply_service(&service("s", 1, &udp(&external)));
    let mut heir = service("heir", 2, &udp(&external));
    heir.spec.as_mut().unwrap().cluster_ip = Some("10.96.0.8".into());
    index.apply_service(&heir);
    let heirs = json!({
        "metadata": {"name": "b", "namespace": "d", "labels": {"kubernetes.io/service-name": "heir"}},
        "addressType": "IPv4", "ports": [{"port": 5353, "protocol": "UDP"}],
        "endpoints": [{"addresses": ["10.244.0.2"]}]});
    index.apply_slice(&read(heirs));
    stale(&mut index);
    index.delete_service(&ObjectKey::new("d", "s"));
    let ended = stale(&mut index);
    assert!(ended.contains(&flow("80.11.12.10:53", "10.244.0.1:5353")));
    assert!(!ended.contains(&flow("80.11.12.10:53", "10.244.0.2:5353")), "the heir serves it too");
    assert!(ended.contains(&flow(CLUSTER_IP, "10.244.0.2:5353")));
}

#[test]
fn what_was_sent_before_there_were_rules_begins_anew() {
    let mut index = index();
    index.apply_service(&service("s", 1, &udp(&json!({}))));
    assert!(stale(&mut index).is_empty());
    apply(&mut index, &[("10.244.0.1", "ready")]);
    assert_eq!(stale(&mut index), [flow(CLUSTER_IP, CLUSTER_IP)]);
    assert!(index.is_stale(&flow(CLUSTER_IP, CLUSTER_IP)));
    assert!(index.is_stale(&flow(CLUSTER_IP, "10.244.0.9:5353")));
    assert!(!index.is_stale(&flow(CLUSTER_IP, "10.244.0.1:5353")));
    assert!(!index.is_stale(&flow("192.0.2.1:53", "192.0.2.1:53")), "not ours");
}

#[test]
fn tcp_says_itself_when_it_ends() {
    let mut index = index();
    index.apply_service(&service("s", 1, &json!({"clusterIP": "10.96.0.7", "ports": [{"port": 53}]})));
    apply(&mut index, &[("10.244.0.1", "ready")]);
    index.take_changes();
    index.delete_service(&ObjectKey::new("d", "s"));
    assert!(stale(&mut index).is_empty());
}
