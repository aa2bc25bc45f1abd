//! EndpointSlices of a generated cluster. Pure.

use std::net::Ipv4Addr;

use fastrand::Rng;
use serde_json::{Value, json};

use super::object::Object;
use super::population::{Hint, OF_NAMES, endpoint_v4, endpoint_v6, one};

/// How many endpoints a large slice has: more than a datagram holds.
const MANY: usize = 90;

/// A slice of the Service, or, now and then, of nobody.
pub fn slice(rng: &mut Rng, hint: &mut Hint, name: &str) -> Object {
    let families = ["IPv4", "IPv4", "IPv4", "IPv6", "IPv6", "FQDN"];
    let kind = *one(rng, if hint.name == OF_NAMES { &families } else { &families[..5] });
    let count = if rng.u8(..25) == 0 { MANY } else { rng.usize(0..6) };
    let endpoints: Vec<Value> = (0..count).map(|_| endpoint(rng, hint, kind)).collect();
    let ports = ports(rng, hint);
    let service = match rng.u8(..30) {
        0 => "nobody",
        _ => hint.name.as_str(),
    };
    let metadata = match rng.u8(..100) {
        0 => json!({ "name": name }),
        _ => json!({ "name": name, "labels": { "kubernetes.io/service-name": service } }),
    };
    object(&hint.namespace, &metadata, kind, &endpoints, &ports)
}

/// A slice of the Service with one address.
pub fn of_address(hint: &Hint, address: Ipv4Addr) -> Object {
    let metadata = json!({ "name": "own-address", "labels": { "kubernetes.io/service-name": hint.name } });
    let ports = [json!({ "name": "dns", "protocol": "UDP", "port": 53 })];
    object(&hint.namespace, &metadata, "IPv4", &[json!({ "addresses": [address.to_string()] })], &ports)
}

fn object(namespace: &str, metadata: &Value, kind: &str, endpoints: &[Value], ports: &[Value]) -> Object {
    let body = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": kind, "endpoints": endpoints, "ports": ports,
    });
    Object::new(format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"), body)
}

fn endpoint(rng: &mut Rng, hint: &mut Hint, kind: &str) -> Value {
    let addresses: Vec<String> = (0..if rng.u8(..12) == 0 { 2 } else { 1 })
        .map(|_| match kind {
            "IPv4" => endpoint_v4(rng).to_string(),
            "IPv6" => endpoint_v6(rng).to_string(),
            _ => (*one(rng, &["host.example.test", "www.example.test"])).to_owned(),
        })
        .collect();
    let mut endpoint = json!({ "addresses": addresses });
    hint.endpoints.extend(addresses);
    let conditions = match rng.u8(..8) {
        0 => json!({ "ready": false, "serving": true, "terminating": true }),
        1 => json!({ "ready": false, "serving": false, "terminating": false }),
        2 => json!({ "ready": true, "serving": true, "terminating": true }),
        3 => json!({}),
        _ => json!({ "ready": true }),
    };
    endpoint["conditions"] = conditions;
    if rng.u8(..3) == 0 {
        let hostname = *one(rng, &["web-0", "web-1", "web-2", "db", "10-244-0-9", "x"]);
        endpoint["hostname"] = hostname.into();
        hint.endpoints.push(hostname.into());
    }
    endpoint
}

fn ports(rng: &mut Rng, hint: &mut Hint) -> Vec<Value> {
    let ports = match rng.u8(..6) {
        0 => vec![],
        1 => vec![json!({ "protocol": "TCP", "port": 8080 })],
        2 => vec![json!({ "name": "any", "protocol": "TCP" })],
        3 => vec![
            json!({ "name": "http", "protocol": "TCP", "port": 8080 }),
            json!({ "name": "sip", "protocol": "UDP", "port": 5060 }),
            json!({ "name": "signal", "protocol": "SCTP", "port": 36412 }),
        ],
        _ => vec![json!({ "name": "http", "protocol": "TCP", "port": 8080 })],
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    hint.ports.extend(ports.iter().map(|port| (text(&port["name"]), text(&port["protocol"]))));
    ports
}
