//! Objects as nobody should write them: each harms only itself.

use penstock_model::{ObjectKey, Route};
use serde_json::{Value, json};

use crate::{
    objects::{index, read, service},
    said::Said,
};

fn apply_bystander(index: &mut penstock_model::ServiceIndex) {
    index.apply_service(&service(
        "bystander",
        1,
        &json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}),
    ));
    let endpoints = json!([{"addresses": ["10.244.9.9"]}]);
    index.apply_slice(&crate::objects::slice("bystander", "bystander", "IPv4", &endpoints));
}

fn bystander(said: &Said) -> Vec<String> {
    let ports = said.ports().filter(|(key, _)| key.service.name == "bystander");
    ports.flat_map(|(_, port)| port.cluster.iter().map(|e| e.to_string())).collect()
}

#[test]
fn ten_thousand_ports_and_slices_of_a_thousand_endpoints_with_a_hundred_ports() {
    let mut index = index();
    let name = |n: usize| format!("p\u{f6}rt-{n}");
    let ports: Vec<Value> = (1..=10_000).map(|n| json!({"name": name(n), "port": n})).collect();
    index.apply_service(&service("s", 1, &json!({"clusterIP": "10.96.0.7", "ports": ports})));
    let endpoint = |n: usize| json!({"addresses": [format!("10.244.{}.{}", n / 250, n % 250 + 1)], "nodeName": "n\u{1f4a5}"});
    index.apply_slice(&read(json!({
        "metadata": {"name": "a", "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4", "endpoints": (0..1_000).map(endpoint).collect::<Vec<_>>(),
        "ports": (1..=100).map(|n| json!({"name": name(n), "port": 8_000 + n})).collect::<Vec<_>>()})));
    apply_bystander(&mut index);
    let mut said = Said::default();
    said.add(index.take_changes());
    assert_eq!(said.frontends().len(), 10_001);
    let served = said.ports().filter(|(_, port)| port.cluster.len() == 1_000);
    assert_eq!(served.count(), 100);
    let refused =
        |port: &penstock_model::ServicePort| port.treatment(&port.frontends[0]).route == Route::Reject;
    assert_eq!(said.ports().filter(|(_, port)| refused(port)).count(), 9_900);
    assert_eq!(bystander(&said), ["10.244.9.9:8080"]);
    index.delete_service(&ObjectKey::new("d", "s"));
    said.add(index.take_changes());
    assert_eq!(said.frontends(), ["10.96.0.9:80/TCP"]);
}

#[test]
fn nonsense_in_every_field_is_left_out() {
    let mut index = index();
    apply_bystander(&mut index);
    index.apply_service(&read(json!({
        "metadata": {"name": "\u{202e}", "namespace": "d"},
        "spec": {
            "clusterIPs": ["10.96.0.9", "x"], "externalIPs": ["\u{fe0f}"], "type": "Nonsense", "sessionAffinity": "\u{0}",
            "loadBalancerSourceRanges": ["\u{1f4a5}/8"], "healthCheckNodePort": -1, "externalTrafficPolicy": "x",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": i32::MIN}},
            "ports": [
                {"port": 0}, {"port": -1}, {"port": 70_000}, {"port": 80, "protocol": "QUIC"},
                {"port": 80, "nodePort": 70_000}, {"port": 80}]}})));
    index.apply_slice(&read(json!({
        "metadata": {"name": "b", "namespace": "d", "labels": {"kubernetes.io/service-name": "bystander"}},
        "addressType": "IPv4", "ports": [{"port": 8080}, {"port": -1}, {"port": 0}, {}],
        "endpoints": [{"addresses": []}, {"addresses": ["\u{fe0f}"]}, {"addresses": ["::1"]}]})));
    let said = Said::all(&mut index);
    assert_eq!(said.owner("10.96.0.9:80/TCP").unwrap(), "bystander");
    assert_eq!(bystander(&said), ["10.244.9.9:8080"]);
}
