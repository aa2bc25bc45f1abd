//! All that an index knows, at one time: to be kept over a restart. Taking it copies no record.

use std::{net::IpAddr, sync::Arc};

use penstock_model::ObjectKey;
use serde::{Deserialize, Serialize};

use super::{RecordIndex, service::ServiceRecord, slice::SliceRecord};

/// What objects say of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    serial: u32,
    services: Vec<(Arc<ObjectKey>, Arc<ServiceRecord>)>,
    slices: Vec<(Arc<ObjectKey>, Arc<SliceRecord>)>,
    namespaces: Vec<String>,
    pods: Vec<(Arc<ObjectKey>, Arc<[IpAddr]>)>,
}

impl Snapshot {
    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.services.len() + self.slices.len() + self.namespaces.len() + self.pods.len()
    }
}

fn shared<K, V>((key, value): (&Arc<K>, &Arc<V>)) -> (Arc<K>, Arc<V>)
where
    V: ?Sized,
{
    (Arc::clone(key), Arc::clone(value))
}

impl RecordIndex {
    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            serial: self.serial,
            services: self.services.iter().map(shared).collect(),
            slices: self.slices.iter().map(shared).collect(),
            namespaces: self.namespaces.iter().cloned().collect(),
            pods: self.pods.all().map(shared).collect(),
        }
    }

    /// Takes what was known once, into an index that has seen nothing. Nothing counts as listed by that: what is gone
    /// since goes with the lists, and until then a name that is not known may exist.
    pub fn restore(&mut self, snapshot: Snapshot) {
        for (key, record) in snapshot.services {
            self.insert_service(key, record);
        }
        for (key, record) in snapshot.slices {
            self.insert_slice(key, Arc::unwrap_or_clone(record));
        }
        self.namespaces.extend(snapshot.namespaces);
        for (key, addresses) in snapshot.pods {
            self.pods.insert(key, addresses);
        }
        self.changed_at(snapshot.serial);
    }
}
