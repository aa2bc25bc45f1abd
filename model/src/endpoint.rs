//! Endpoints: what EndpointSlices say, merged per Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::discovery::v1 as discovery;

use crate::{
    ObjectKey, Protocol,
    slice::{Backend, Slice, Vocabulary},
};

/// One address and port behind a Service port, for as long as the index is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint<'a> {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What the slice says of it.
    pub(crate) backend: &'a Backend,
}

/// EndpointSlices in, the endpoints of a Service out.
#[derive(Debug, Default)]
pub struct EndpointIndex {
    slices: BTreeMap<Arc<ObjectKey>, Slice>,
    /// The keys of a Service's slices, in order.
    by_service: BTreeMap<Arc<ObjectKey>, Vec<Arc<ObjectKey>>>,
    /// The keys of the slices with hints for zones.
    zone_hinted: BTreeSet<Arc<ObjectKey>>,
    /// Addresses, each with the keys of the slices that have it; only where somebody asks for them.
    by_address: Option<BTreeSet<(IpAddr, Arc<ObjectKey>)>>,
    words: Vocabulary,
}

impl EndpointIndex {
    /// An index that also finds the Services with an address.
    pub(crate) fn with_addresses() -> Self {
        Self { by_address: Some(BTreeSet::new()), ..Self::default() }
    }

    /// Takes a new or changed slice; returns the Services whose endpoints may differ now.
    pub fn apply(&mut self, object: &discovery::EndpointSlice) -> Vec<Arc<ObjectKey>> {
        let key = ObjectKey::of(&object.metadata);
        let slice = Slice::from_object(object, &mut self.words);
        if self.slices.get(&key) == slice.as_ref() {
            return Vec::new();
        }
        let mut touched = self.delete(&key);
        if let Some(slice) = slice {
            let service = self.insert(Arc::new(key), slice);
            if !touched.contains(&service) {
                touched.push(service);
            }
        }
        touched
    }

    /// Forgets a slice; returns the Services whose endpoints may differ now.
    pub fn delete(&mut self, key: &ObjectKey) -> Vec<Arc<ObjectKey>> {
        let Some((key, slice)) = self.slices.remove_entry(key) else {
            return Vec::new();
        };
        if let Some(keys) = self.by_service.get_mut(&slice.service) {
            keys.retain(|known| *known != key);
            if keys.is_empty() {
                self.by_service.remove(&slice.service);
            }
        }
        self.zone_hinted.remove(&key);
        if let Some(by_address) = &mut self.by_address {
            for backend in &slice.backends {
                by_address.remove(&(backend.ip, Arc::clone(&key)));
            }
        }
        vec![slice.service]
    }

    /// Returns the slice's Service.
    fn insert(&mut self, key: Arc<ObjectKey>, mut slice: Slice) -> Arc<ObjectKey> {
        if let Some((known, _)) = self.by_service.get_key_value(&slice.service) {
            slice.service = Arc::clone(known);
        }
        let service = Arc::clone(&slice.service);
        let keys = self.by_service.entry(Arc::clone(&service)).or_insert_with(|| Vec::with_capacity(1));
        let place = keys.partition_point(|known| *known < key);
        keys.insert(place, Arc::clone(&key));
        if slice.has_zone_hints() {
            self.zone_hinted.insert(Arc::clone(&key));
        }
        if let Some(by_address) = &mut self.by_address {
            by_address.extend(slice.backends.iter().map(|b| (b.ip, Arc::clone(&key))));
        }
        self.slices.insert(key, slice);
        service
    }

    /// The keys of all slices known.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.slices.keys().map(AsRef::as_ref)
    }

    /// The endpoints of one port of a Service, in the order of their addresses. Where an address
    /// stands in two slices, the one that is not terminating counts.
    pub(crate) fn endpoints(&self, service: &ObjectKey, port: &str, protocol: Protocol) -> Vec<Endpoint<'_>> {
        let slices = self.slices_of(service);
        let mut all: Vec<_> = slices.flat_map(|slice| slice.endpoints(port, protocol)).collect();
        // Stable: among equals the first slice's counts.
        all.sort_by_key(|endpoint| (endpoint.address, endpoint.backend.terminating));
        all.dedup_by_key(|endpoint| endpoint.address);
        all
    }

    /// Where the ready endpoints of one port of a Service listen, in order: for balancers that send to them directly.
    #[must_use]
    pub fn ready(&self, service: &ObjectKey, port: &str, protocol: Protocol) -> Vec<SocketAddr> {
        let all = self.endpoints(service, port, protocol);
        all.iter().filter(|endpoint| endpoint.backend.ready).map(|endpoint| endpoint.address).collect()
    }

    /// The addresses in a slice, whatever their state.
    pub(crate) fn addresses_in(&self, slice: &ObjectKey) -> BTreeSet<IpAddr> {
        self.slices.get(slice).into_iter().flat_map(|slice| &slice.backends).map(|b| b.ip).collect()
    }

    /// The addresses of the Service's ready endpoints on the node, whatever their port.
    pub(crate) fn ready_on(&self, service: &ObjectKey, node: &str) -> BTreeSet<IpAddr> {
        let backends = self.slices_of(service).flat_map(|s| &s.backends);
        backends.filter(|b| b.ready && b.is_on(node)).map(|b| b.ip).collect()
    }

    /// The nodes with a ready endpoint of the Service, whatever its port, and whether there is a ready
    /// endpoint at all (one may have no node, as behind a Service without selector).
    #[must_use]
    pub fn ready_nodes(&self, service: &ObjectKey) -> (BTreeSet<&str>, bool) {
        let mut ready = self.slices_of(service).flat_map(|s| &s.backends).filter(|b| b.ready).peekable();
        let any = ready.peek().is_some();
        (ready.filter_map(|b| b.node.as_deref()).collect(), any)
    }

    /// The Services with an endpoint of this address, whatever its state.
    pub(crate) fn services_at(&self, ip: IpAddr) -> BTreeSet<Arc<ObjectKey>> {
        let Some(by_address) = &self.by_address else { return BTreeSet::new() };
        let first = (ip, Arc::new(ObjectKey::new("", "")));
        let slices = by_address.range(first..).take_while(|(at, _)| *at == ip);
        self.services_with(slices.map(|(_, slice)| slice))
    }

    /// The Services with endpoints that are meant for certain zones.
    pub(crate) fn zone_hinted(&self) -> BTreeSet<Arc<ObjectKey>> {
        self.services_with(self.zone_hinted.iter())
    }

    fn services_with<'a>(
        &self,
        slices: impl Iterator<Item = &'a Arc<ObjectKey>>,
    ) -> BTreeSet<Arc<ObjectKey>> {
        slices.filter_map(|key| self.slices.get(key)).map(|slice| Arc::clone(&slice.service)).collect()
    }

    fn slices_of(&self, service: &ObjectKey) -> impl Iterator<Item = &Slice> {
        self.by_service.get(service).into_iter().flatten().filter_map(|key| self.slices.get(key))
    }
}

impl Slice {
    fn endpoints(&self, name: &str, protocol: Protocol) -> impl Iterator<Item = Endpoint<'_>> {
        let ports = self.ports.iter().filter(move |port| *port.name == *name && port.protocol == protocol);
        ports.flat_map(|port| {
            let number = port.number;
            self.backends
                .iter()
                .map(move |backend| Endpoint { address: SocketAddr::new(backend.ip, number), backend })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::SERVICE_NAME_LABEL;
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
            .map(|e| format!("{}{}", e.address, if e.backend.terminating { " terminating" } else { "" }))
            .collect()
    }

    #[test]
    fn slices_of_one_service_are_merged_and_the_living_entry_wins() {
        let mut index = EndpointIndex::default();
        let old = json!([{"addresses": ["10.244.0.5"], "conditions": {"ready": false, "terminating": true}}]);
        let new = json!([{"addresses": ["10.244.0.5"]}, {"addresses": ["10.244.0.4"]}]);
        assert_eq!(index.apply(&slice("a", &old)), [Arc::new(key())]);
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
        assert_eq!(index.apply(&object), [key(), ObjectKey::new("d", "t")].map(Arc::new));
        assert!(addresses(&index).is_empty());
    }

    #[test]
    fn a_slice_that_says_nothing_new_touches_nobody() {
        let mut index = EndpointIndex::default();
        let object = slice("a", &json!([{"addresses": ["10.244.0.4"], "nodeName": "n1"}]));
        assert_eq!(index.apply(&object), [Arc::new(key())]);
        assert!(index.apply(&object).is_empty());
        assert!(index.delete(&ObjectKey::new("d", "b")).is_empty());
    }

    #[test]
    fn the_services_with_hints_for_zones_are_found_while_they_have_some() {
        let mut index = EndpointIndex::default();
        let hints = |hints: Value| slice("a", &json!([{"addresses": ["10.244.0.4"], "hints": hints}]));
        index.apply(&hints(json!({"forZones": [{"name": "z"}]})));
        assert_eq!(Vec::from_iter(index.zone_hinted()), [Arc::new(key())]);
        index.apply(&hints(json!({"forNodes": [{"name": "n"}]})));
        assert!(index.zone_hinted().is_empty() && index.zone_hinted.is_empty());
    }

    #[test]
    fn the_services_with_an_address_are_found_by_it() {
        let mut index = EndpointIndex::with_addresses();
        let at = |index: &EndpointIndex, ip: &str| index.services_at(ip.parse().unwrap()).len();
        let object = slice("a", &json!([{"addresses": ["10.244.0.4"]}, {"addresses": ["10.244.0.5"]}]));
        index.apply(&object);
        index.apply(&slice("b", &json!([{"addresses": ["10.244.0.5"]}])));
        assert_eq!(["10.244.0.3", "10.244.0.4", "10.244.0.5"].map(|ip| at(&index, ip)), [0, 1, 1]);
        index.apply(&slice("a", &json!([{"addresses": ["10.244.0.3"]}])));
        assert_eq!(["10.244.0.3", "10.244.0.4", "10.244.0.5"].map(|ip| at(&index, ip)), [1, 0, 1]);
        index.delete(&ObjectKey::new("d", "a"));
        index.delete(&ObjectKey::new("d", "b"));
        assert_eq!(["10.244.0.3", "10.244.0.4", "10.244.0.5"].map(|ip| at(&index, ip)), [0, 0, 0]);
    }
}
