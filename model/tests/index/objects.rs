//! The objects of the tests.

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::{ExternalIpAllowList, ExternalIpPolicy, IndexConfig, ServiceIndex};
use serde_json::{Value, json};

/// The node that the index is for.
pub(crate) const NODE: &str = "n1";

/// An index without objects. ExternalIPs may be in 80.11.12.0/24 and, as a careless admin could have it, in
/// 10.0.0.0/8, part of which is reserved.
pub(crate) fn empty_index() -> ServiceIndex {
    let allowed = allowed(&["80.11.12.0/24", "10.0.0.0/8", "203.0.113.0/24", "127.0.0.0/8"]);
    let reserved = ["10.244.0.0/16", "2001:db8:96::/112"].map(|net| net.parse().unwrap()).into();
    let external_ips = ExternalIpPolicy { allowed, reserved, ..ExternalIpPolicy::default() };
    ServiceIndex::new(IndexConfig { node_name: NODE.into(), external_ips, ..IndexConfig::default() })
}

/// Networks that every namespace may use.
pub(crate) fn allowed(nets: &[&str]) -> ExternalIpAllowList {
    nets.iter().map(|net| (None, net.parse().unwrap())).collect()
}

/// An index that knows its node, 203.0.113.11 and 2001:db8:113::11.
pub(crate) fn index() -> ServiceIndex {
    let mut index = empty_index();
    index.apply_node(&node(NODE, &["203.0.113.11", "2001:db8:113::11"]));
    index
}

/// A Node with these addresses.
pub(crate) fn node(name: &str, internal_ips: &[&str]) -> core::Node {
    let addresses: Vec<Value> =
        internal_ips.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
    read(json!({"metadata": {"name": name}, "status": {"addresses": addresses}}))
}

/// A Node with these addresses in a zone.
pub(crate) fn node_in(name: &str, internal_ips: &[&str], zone: Option<&str>) -> core::Node {
    let mut node = node(name, internal_ips);
    let label = zone.map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone.to_owned()));
    node.metadata.labels = Some(label.into_iter().collect());
    node
}

/// A Service of the namespace `d`, created in the second `created` of some minute, with the name as its UID.
pub(crate) fn service(name: &str, created: u8, spec: &Value) -> core::Service {
    read(json!({
        "metadata": {
            "name": name, "namespace": "d", "uid": name,
            "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z")},
        "spec": spec
    }))
}

/// The Service with load balancer addresses in its status.
pub(crate) fn balanced(mut service: core::Service, ips: &[&str]) -> core::Service {
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    service.status = read(json!({"loadBalancer": {"ingress": ingress}}));
    service
}

/// A slice of the Service for its unnamed TCP port, with 8080 as the endpoints' port.
pub(crate) fn slice(name: &str, service: &str, family: &str, endpoints: &Value) -> discovery::EndpointSlice {
    read(json!({
        "metadata": {
            "name": name, "namespace": "d", "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": [{"port": 8080}],
        "endpoints": endpoints
    }))
}

/// An object from its JSON.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
