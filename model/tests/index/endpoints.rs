//! Where connections go.

use std::sync::Arc;

use penstock_model::ServiceIndex;
use serde_json::{Value, json};

use crate::{
    objects::{index, service, slice},
    said::Said,
};

fn dual_stack() -> ServiceIndex {
    let mut index = index();
    let spec = json!({"clusterIPs": ["10.96.0.7", "2001:db8:96::7"], "ports": [{"port": 80}]});
    index.apply_service(&service("s", 1, &spec));
    index
}

fn ready(ip: &str) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": true}})
}

fn terminating(ip: &str, serving: bool) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": false, "serving": serving, "terminating": true}})
}

fn endpoints(index: &mut ServiceIndex, v4: &[Value], v6: &[Value]) -> Vec<String> {
    index.apply_slice(&slice("v4", "s", "IPv4", &json!(v4)));
    index.apply_slice(&slice("v6", "s", "IPv6", &json!(v6)));
    Said::all(index).endpoints()
}

#[test]
fn terminating_endpoints_serve_while_no_other_is_ready() {
    let mut index = dual_stack();
    let leaving = [terminating("10.244.0.1", true), terminating("10.244.0.2", false)];
    assert_eq!(endpoints(&mut index, &leaving, &[]), ["10.244.0.1:8080"]);
    let both = [terminating("10.244.0.1", true), ready("10.244.0.3")];
    assert_eq!(endpoints(&mut index, &both, &[]), ["10.244.0.3:8080"]);
    let unready = json!({"addresses": ["10.244.0.4"], "conditions": {"ready": false}});
    assert!(endpoints(&mut index, &[unready], &[]).is_empty());
}

#[test]
fn a_ready_endpoint_of_one_family_does_not_take_the_other_familys_last_one() {
    let mut index = dual_stack();
    let v6 = [terminating("2001:db8:244::1", true)];
    let both = endpoints(&mut index, &[ready("10.244.0.3")], &v6);
    assert_eq!(both, ["10.244.0.3:8080", "[2001:db8:244::1]:8080"]);
}

#[test]
fn what_did_not_change_stays_the_value_that_a_backend_shares() {
    let mut index = index();
    let spec = |second: u16| json!({"clusterIP": "10.96.0.7", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": second}]});
    index.apply_service(&service("s", 1, &spec(81)));
    let first = index.take_changes()[0].desired.clone().unwrap();
    index.apply_service(&service("s", 1, &spec(82)));
    assert!(index.take_changes().iter().all(|change| change.key.port != 80));
    assert!(Arc::ptr_eq(&first, index.all()[0].desired.as_ref().unwrap()));
}

#[test]
fn local_is_what_names_this_node() {
    let mut index = dual_stack();
    let at = |ip: &str, node: Value| json!({"addresses": [ip], "nodeName": node});
    let all = [at("10.244.0.1", json!("n1")), at("10.244.0.2", json!("n2")), at("10.244.0.3", Value::Null)];
    index.apply_slice(&slice("v4", "s", "IPv4", &json!(all)));
    let port = index.take_changes().pop().unwrap().desired.unwrap();
    assert_eq!(port.cluster.len(), 3);
    assert_eq!(Vec::from_iter(port.local.iter()), ["10.244.0.1:8080".parse().unwrap()]);
    assert_eq!(Vec::from_iter(port.hairpins()), ["10.244.0.1".parse::<std::net::IpAddr>().unwrap()]);
}
