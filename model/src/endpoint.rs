//! Endpoints: what EndpointSlices say, merged per Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::discovery::v1 as discovery;

use crate::{Family, ObjectKey, Protocol, address::is_endpoint_address, parse_ip};

/// The label that joins a slice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Slices of headless Services carry it; no proxy forwards them.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// One address and port behind a Service port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// The node it runs on, by `nodeName`: what is local never follows from the address.
    pub node: Option<String>,
    /// `conditions.ready`; unset means ready.
    pub ready: bool,
    /// `conditions.serving`; unset means serving.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
}

impl Endpoint {
    fn family(&self) -> Family {
        Family::of(self.address.ip())
    }
}

#[derive(Clone, Debug)]
struct Slice {
    service: ObjectKey,
    /// Name, protocol and number; a slice's ports hold for all its endpoints.
    ports: Vec<(String, Protocol, u16)>,
    backends: Vec<Backend>,
}

/// One entry of a slice's `endpoints`.
#[derive(Clone, Debug)]
struct Backend {
    ip: IpAddr,
    node: Option<String>,
    ready: bool,
    serving: bool,
    terminating: bool,
}

/// EndpointSlices in, the endpoints of a Service out.
#[derive(Debug, Default)]
pub struct EndpointIndex {
    slices: BTreeMap<ObjectKey, Slice>,
    by_service: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl EndpointIndex {
    /// Takes a new or changed slice; returns the Services whose endpoints may differ now.
    pub fn apply(&mut self, object: &discovery::EndpointSlice) -> Vec<ObjectKey> {
        let key = ObjectKey::of(&object.metadata);
        let mut touched = self.delete(&key);
        if let Some(slice) = Slice::from_object(object) {
            self.by_service.entry(slice.service.clone()).or_default().insert(key.clone());
            if !touched.contains(&slice.service) {
                touched.push(slice.service.clone());
            }
            self.slices.insert(key, slice);
        }
        touched
    }

    /// Forgets a slice; returns the Services whose endpoints may differ now.
    pub fn delete(&mut self, key: &ObjectKey) -> Vec<ObjectKey> {
        let Some(slice) = self.slices.remove(key) else {
            return Vec::new();
        };
        if let Some(keys) = self.by_service.get_mut(&slice.service) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_service.remove(&slice.service);
            }
        }
        vec![slice.service]
    }

    /// The keys of all slices known.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.slices.keys()
    }

    /// The endpoints of one port of a Service, in the order of their addresses. Where an address
    /// stands in two slices, the one that is not terminating counts.
    #[must_use]
    pub fn endpoints(&self, service: &ObjectKey, port: &str, protocol: Protocol) -> Vec<Endpoint> {
        let mut merged: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
        for slice in self.slices_of(service) {
            for endpoint in slice.endpoints(port, protocol) {
                match merged.get(&endpoint.address) {
                    Some(known) if !known.terminating || endpoint.terminating => {}
                    _ => {
                        merged.insert(endpoint.address, endpoint);
                    }
                }
            }
        }
        merged.into_values().collect()
    }

    /// The nodes with a ready endpoint of the Service, whatever its port, and whether there is a ready
    /// endpoint at all (one may have no node, as behind a Service without selector).
    #[must_use]
    pub fn ready_nodes(&self, service: &ObjectKey) -> (BTreeSet<&str>, bool) {
        let mut ready = self.slices_of(service).flat_map(|s| &s.backends).filter(|b| b.ready).peekable();
        let any = ready.peek().is_some();
        (ready.filter_map(|b| b.node.as_deref()).collect(), any)
    }

    fn slices_of(&self, service: &ObjectKey) -> impl Iterator<Item = &Slice> {
        self.by_service.get(service).into_iter().flatten().filter_map(|key| self.slices.get(key))
    }
}

impl Slice {
    /// `None` for slices that no proxy forwards: without a Service, of a headless one, or of names.
    fn from_object(object: &discovery::EndpointSlice) -> Option<Self> {
        let labels = object.metadata.labels.as_ref()?;
        if labels.contains_key(HEADLESS_LABEL) || object.address_type == "FQDN" {
            return None;
        }
        let service = ObjectKey::new(object.metadata.namespace.clone()?, labels.get(SERVICE_NAME_LABEL)?);
        let ports = object.ports.as_deref().unwrap_or_default().iter().filter_map(slice_port).collect();
        let wants_v4 = object.address_type == "IPv4";
        let endpoints = object.endpoints.iter().flatten();
        let backends =
            endpoints.filter_map(Backend::from_object).filter(|b| b.ip.is_ipv4() == wants_v4).collect();
        Some(Self { service, ports, backends })
    }

    fn endpoints(&self, name: &str, protocol: Protocol) -> impl Iterator<Item = Endpoint> {
        let ports = self.ports.iter().filter(move |(n, p, _)| n == name && *p == protocol);
        ports.flat_map(|(_, _, number)| {
            self.backends.iter().map(|backend| Endpoint {
                address: SocketAddr::new(backend.ip, *number),
                node: backend.node.clone(),
                ready: backend.ready,
                serving: backend.serving,
                terminating: backend.terminating,
            })
        })
    }
}

impl Backend {
    /// Upstream's contract: an endpoint's addresses are interchangeable and consumers use the first.
    fn from_object(endpoint: &discovery::Endpoint) -> Option<Self> {
        let ip = endpoint.addresses.first().and_then(|text| parse_ip(text))?;
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
        is_endpoint_address(ip).then(|| Self {
            ip,
            node: endpoint.node_name.clone(),
            ready,
            serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
            terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        })
    }
}

fn slice_port(port: &discovery::EndpointPort) -> Option<(String, Protocol, u16)> {
    let number = port.port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0)?;
    let protocol = port.protocol.as_deref().unwrap_or("TCP").parse().ok()?;
    Some((port.name.clone().unwrap_or_default(), protocol, number))
}

/// The endpoints that new connections may go to: the ready ones; where a family has none, those of it that
/// still serve while they terminate (KEP-1669). The families are apart because connections are.
pub(crate) fn usable(all: Vec<Endpoint>) -> Vec<Endpoint> {
    let ready: BTreeSet<Family> = all.iter().filter(|e| e.ready).map(Endpoint::family).collect();
    let falls_back = |e: &Endpoint| e.serving && e.terminating && !ready.contains(&e.family());
    all.into_iter().filter(|e| e.ready || falls_back(e)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn slice(name: &str, endpoints: &Value) -> discovery::EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "d", "labels": {SERVICE_NAME_LABEL: "s"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": endpoints
        }))
        .unwrap()
    }

    fn key() -> ObjectKey {
        ObjectKey::new("d", "s")
    }

    fn addresses(index: &EndpointIndex) -> Vec<String> {
        let endpoints = index.endpoints(&key(), "http", Protocol::Tcp);
        endpoints
            .iter()
            .map(|e| format!("{}{}", e.address, if e.terminating { " terminating" } else { "" }))
            .collect()
    }

    #[test]
    fn slices_of_one_service_are_merged_and_the_living_entry_wins() {
        let mut index = EndpointIndex::default();
        let old = json!([{"addresses": ["10.244.0.5"], "conditions": {"ready": false, "terminating": true}}]);
        let new = json!([{"addresses": ["10.244.0.5"]}, {"addresses": ["10.244.0.4"]}]);
        assert_eq!(index.apply(&slice("a", &old)), vec![key()]);
        index.apply(&slice("b", &new));
        assert_eq!(addresses(&index), ["10.244.0.4:8080", "10.244.0.5:8080"]);
        index.delete(&ObjectKey::new("d", "b"));
        assert_eq!(addresses(&index), ["10.244.0.5:8080 terminating"]);
        index.delete(&ObjectKey::new("d", "a"));
        assert!(addresses(&index).is_empty());
    }

    #[test]
    fn hostile_and_foreign_family_addresses_are_left_out() {
        let mut index = EndpointIndex::default();
        let hostile =
            ["127.0.0.1", "169.254.169.254", "::1", "2001:db8::1", "224.0.0.1", "nonsense", "10.244.0.4"];
        let entries: Vec<Value> = hostile.iter().map(|ip| json!({"addresses": [ip]})).collect();
        index.apply(&slice("a", &json!(entries)));
        assert_eq!(addresses(&index), ["10.244.0.4:8080"]);
    }

    #[test]
    fn a_slice_that_moves_to_another_service_touches_both() {
        let mut index = EndpointIndex::default();
        let mut object = slice("a", &json!([{"addresses": ["10.244.0.4"]}]));
        index.apply(&object);
        object.metadata.labels.as_mut().unwrap().insert(SERVICE_NAME_LABEL.into(), "t".into());
        assert_eq!(index.apply(&object), vec![key(), ObjectKey::new("d", "t")]);
        assert!(addresses(&index).is_empty());
    }

    #[test]
    fn terminating_endpoints_serve_only_when_none_is_ready() {
        let endpoint = |ready, last| Endpoint {
            address: SocketAddr::from(([10, 244, 0, last], 80)),
            node: None,
            ready,
            serving: true,
            terminating: !ready,
        };
        assert_eq!(usable(vec![endpoint(false, 1), endpoint(true, 2)]), vec![endpoint(true, 2)]);
        assert_eq!(usable(vec![endpoint(false, 1)]), vec![endpoint(false, 1)]);
    }
}
