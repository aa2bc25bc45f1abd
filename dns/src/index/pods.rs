//! Names of Pods: an address with dashes, below a namespace.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1 as core;
use penstock_model::{ObjectKey, parse_ip};

use super::address_set::AddressSet;

/// Which names of Pods have an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodNames {
    /// None.
    #[default]
    Disabled,
    /// Every address, if the namespace exists: who relies on it trusts whoever asks.
    Insecure,
    /// Addresses of Pods of the namespace.
    Verified,
}

/// The Pods' addresses.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    all: HashMap<Arc<ObjectKey>, Arc<[IpAddr]>>,
    by_address: AddressSet,
}

impl Pods {
    pub(crate) fn apply(&mut self, object: &core::Pod) -> bool {
        let key = ObjectKey::of(&object.metadata);
        let addresses = addresses(object);
        if self.all.get(&key) == addresses.as_ref() {
            return false;
        }
        self.delete(&key);
        if let Some(addresses) = addresses {
            self.insert(Arc::new(key), addresses);
        }
        true
    }

    pub(crate) fn insert(&mut self, key: Arc<ObjectKey>, addresses: Arc<[IpAddr]>) {
        self.by_address.add(addresses.iter().copied(), &key);
        self.all.insert(key, addresses);
    }

    pub(crate) fn delete(&mut self, key: &ObjectKey) -> bool {
        let Some((key, addresses)) = self.all.remove_entry(key) else { return false };
        self.by_address.remove(addresses.iter().copied(), &key);
        true
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<ObjectKey>, &Arc<[IpAddr]>)> {
        self.all.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.all.keys().map(AsRef::as_ref)
    }

    /// How many Pods of the namespace have the address: several that share their node's.
    pub(crate) fn count(&self, namespace: &str, ip: IpAddr) -> usize {
        self.by_address.at(ip).filter(|key| key.namespace == namespace).count()
    }
}

/// `None` for a Pod that is about to go or has ended, whose address may already be another's.
fn addresses(object: &core::Pod) -> Option<Arc<[IpAddr]>> {
    const ENDED: [&str; 3] = ["Succeeded", "Failed", "Unknown"];
    let status = object.status.as_ref();
    let ended = status.and_then(|s| s.phase.as_deref()).is_some_and(|phase| ENDED.contains(&phase));
    let gone = ended || object.metadata.deletion_timestamp.is_some();
    let texts = status.and_then(|s| s.pod_ips.as_deref()).unwrap_or_default();
    (!gone).then(|| texts.iter().filter_map(|ip| parse_ip(&ip.ip)).collect())
}

/// The address that a Pod's name stands for: `10-0-0-1`, `2001-db8--1`.
pub(crate) fn address_of(label: &str) -> Option<IpAddr> {
    let is_v4 = label.matches('-').count() == 3 && !label.contains("--");
    let text = label.replace('-', if is_v4 { "." } else { ":" });
    text.parse().map(|ip: IpAddr| ip.to_canonical()).ok()
}
