//! Records of a cluster: Services, EndpointSlices, Namespaces and Pods go in, answers come out. Pure: no clock, no IO.
//!
//! A change costs what has changed, and a record is made when somebody asks for it: nothing is kept that an object
//! does not say.

mod address_set;
mod answer;
mod find;
mod pods;
mod request;
mod reverse;
mod service;
mod slice;
mod snapshot;
#[cfg(test)]
mod tests;
mod zone;
mod zone_records;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use hickory_proto::rr::Name;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::ObjectKey;

pub use answer::{Answer, Outcome};
pub use pods::PodNames;
pub use snapshot::Snapshot;
pub use zone::{Zones, ZonesError};

use address_set::AddressSet;
use pods::Pods;
use service::ServiceRecord;
use slice::SliceRecord;

/// What is the same for all answers.
#[derive(Clone, Debug)]
pub struct RecordConfig {
    /// The cluster's domains, and whether addresses have names.
    pub zones: Zones,
    /// How long an answer may be kept, in seconds.
    pub ttl: u32,
    /// Whether names such as `10-0-0-1.default.pod.cluster.local` have addresses.
    pub pod_names: PodNames,
    /// Addresses of this server, by which it finds the Service that it is behind: the domain's name server.
    pub own_addresses: Vec<IpAddr>,
}

/// The kinds of objects that records follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Services.
    Service,
    /// EndpointSlices.
    Slice,
    /// Namespaces.
    Namespace,
    /// Pods; only with [`PodNames::Verified`].
    Pod,
}

/// Objects in, answers out.
#[derive(Debug)]
pub struct RecordIndex {
    config: RecordConfig,
    services: HashMap<Arc<ObjectKey>, Arc<ServiceRecord>>,
    cluster_ips: AddressSet,
    slices: HashMap<Arc<ObjectKey>, Arc<SliceRecord>>,
    /// The keys of a Service's slices, in order.
    by_service: HashMap<Arc<ObjectKey>, BTreeSet<Arc<ObjectKey>>>,
    endpoint_ips: AddressSet,
    namespaces: HashSet<String>,
    pods: Pods,
    listed: HashSet<Kind>,
    serial: u32,
}

impl RecordIndex {
    /// An index that has seen nothing.
    #[must_use]
    pub fn new(config: RecordConfig) -> Self {
        Self {
            config,
            services: HashMap::new(),
            cluster_ips: AddressSet::default(),
            slices: HashMap::new(),
            by_service: HashMap::new(),
            endpoint_ips: AddressSet::default(),
            namespaces: HashSet::new(),
            pods: Pods::default(),
            listed: HashSet::new(),
            serial: 0,
        }
    }

    /// What is the same for all answers.
    #[must_use]
    pub fn config(&self) -> &RecordConfig {
        &self.config
    }

    /// Whether all objects have been seen once: before, a name that is not known may exist.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let wanted = [Kind::Service, Kind::Slice, Kind::Namespace];
        let pods = (self.config.pod_names == PodNames::Verified).then_some(Kind::Pod);
        wanted.iter().chain(&pods).all(|kind| self.listed.contains(kind))
    }

    /// Says that records changed at this time, in seconds since the epoch: the serial of the domains. Never goes back.
    pub fn changed_at(&mut self, seconds: u32) {
        self.serial = self.serial.max(seconds);
    }

    /// Takes a new or changed Service; returns whether a record may differ now.
    pub fn apply_service(&mut self, object: &core::Service) -> bool {
        let key = ObjectKey::of(&object.metadata);
        let record = ServiceRecord::from_object(object);
        if self.services.get(&key).is_some_and(|known| **known == record) {
            return false;
        }
        self.delete_service(&key);
        self.insert_service(Arc::new(key), Arc::new(record));
        true
    }

    fn insert_service(&mut self, key: Arc<ObjectKey>, record: Arc<ServiceRecord>) {
        self.cluster_ips.add(record.cluster_ips(), &key);
        self.services.insert(key, record);
    }

    /// Forgets a Service; returns whether it was known.
    pub fn delete_service(&mut self, key: &ObjectKey) -> bool {
        let Some((key, record)) = self.services.remove_entry(key) else { return false };
        self.cluster_ips.remove(record.cluster_ips(), &key);
        true
    }

    /// Takes a new or changed slice; returns whether a record may differ now.
    pub fn apply_slice(&mut self, object: &discovery::EndpointSlice) -> bool {
        let key = ObjectKey::of(&object.metadata);
        let record = SliceRecord::from_object(object);
        if self.slices.get(&key).map(AsRef::as_ref) == record.as_ref() {
            return false;
        }
        self.delete_slice(&key);
        if let Some(record) = record {
            self.insert_slice(Arc::new(key), record);
        }
        true
    }

    fn insert_slice(&mut self, key: Arc<ObjectKey>, mut record: SliceRecord) {
        if let Some((known, _)) = self.by_service.get_key_value(&record.service) {
            record.service = Arc::clone(known);
        }
        self.by_service.entry(Arc::clone(&record.service)).or_default().insert(Arc::clone(&key));
        self.endpoint_ips.add(record.addresses(), &key);
        self.slices.insert(key, Arc::new(record));
    }

    /// Forgets a slice; returns whether it was known.
    pub fn delete_slice(&mut self, key: &ObjectKey) -> bool {
        let Some((key, record)) = self.slices.remove_entry(key) else { return false };
        self.endpoint_ips.remove(record.addresses(), &key);
        if let Some(keys) = self.by_service.get_mut(&record.service) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_service.remove(&record.service);
            }
        }
        true
    }

    /// Takes a new Namespace; returns whether it was unknown.
    pub fn apply_namespace(&mut self, object: &core::Namespace) -> bool {
        self.namespaces.insert(object.metadata.name.clone().unwrap_or_default())
    }

    /// Forgets a Namespace; returns whether it was known.
    pub fn delete_namespace(&mut self, name: &str) -> bool {
        self.namespaces.remove(name)
    }

    /// Takes a new or changed Pod; returns whether a record may differ now.
    pub fn apply_pod(&mut self, object: &core::Pod) -> bool {
        self.pods.apply(object)
    }

    /// Forgets a Pod; returns whether it was known.
    pub fn delete_pod(&mut self, key: &ObjectKey) -> bool {
        self.pods.delete(key)
    }

    /// Takes the complete list of a kind: other objects are gone. Namespaces have no namespace of their own. Returns
    /// whether one was known.
    pub fn retain(&mut self, kind: Kind, kept: &BTreeSet<ObjectKey>) -> bool {
        self.listed.insert(kind);
        let gone = |keys: Vec<ObjectKey>| keys.into_iter().filter(|key| !kept.contains(key));
        match kind {
            Kind::Service => {
                let known = self.services.keys().map(|key| ObjectKey::clone(key)).collect();
                gone(known).fold(false, |any, key| self.delete_service(&key) | any)
            }
            Kind::Slice => {
                let known = self.slices.keys().map(|key| ObjectKey::clone(key)).collect();
                gone(known).fold(false, |any, key| self.delete_slice(&key) | any)
            }
            Kind::Namespace => {
                let known = self.namespaces.iter().map(|name| ObjectKey::new("", name)).collect();
                gone(known).fold(false, |any, key| self.delete_namespace(&key.name) | any)
            }
            Kind::Pod => {
                let known = self.pods.keys().cloned().collect();
                gone(known).fold(false, |any, key| self.delete_pod(&key) | any)
            }
        }
    }

    fn slices_of(&self, service: &ObjectKey) -> impl Iterator<Item = &SliceRecord> {
        self.by_service
            .get(service)
            .into_iter()
            .flatten()
            .filter_map(|key| self.slices.get(key))
            .map(AsRef::as_ref)
    }

    /// The domain that names of addresses lie in.
    fn primary_domain(&self) -> &Name {
        self.config.zones.primary()
    }
}
