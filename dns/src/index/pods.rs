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
        // On its way out it is what it was, as in CoreDNS: until it is gone it may still answer.
        if object.metadata.deletion_timestamp.is_some() && addresses.is_some() {
            return false;
        }
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

/// `None` for a Pod that has ended, whose address may already be another's.
fn addresses(object: &core::Pod) -> Option<Arc<[IpAddr]>> {
    const ENDED: [&str; 3] = ["Succeeded", "Failed", "Unknown"];
    let status = object.status.as_ref();
    let ended = status.and_then(|s| s.phase.as_deref()).is_some_and(|phase| ENDED.contains(&phase));
    let texts = status.and_then(|s| s.pod_ips.as_deref()).unwrap_or_default();
    (!ended).then(|| texts.iter().filter_map(|ip| parse_ip(&ip.ip)).collect())
}

/// The address that a Pod's name stands for: `10-0-0-1`, `2001-db8--1`.
pub(crate) fn address_of(label: &str) -> Option<IpAddr> {
    let is_v4 = label.matches('-').count() == 3 && !label.contains("--");
    let text = label.replace('-', if is_v4 { "." } else { ":" });
    text.parse().map(|ip: IpAddr| ip.to_canonical()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(phase: &str, ends: bool) -> core::Pod {
        let mut metadata = serde_json::json!({ "name": "a", "namespace": "shop" });
        if ends {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let status = serde_json::json!({ "phase": phase, "podIPs": [{ "ip": "10.0.0.1" }] });
        serde_json::from_value(serde_json::json!({ "metadata": metadata, "status": status })).unwrap()
    }

    #[test]
    fn a_pod_has_its_name_until_it_has_ended_or_is_gone() {
        let ip = "10.0.0.1".parse().unwrap();
        let mut pods = Pods::default();
        assert!(!pods.apply(&pod("Running", true)), "one that was never seen alive");
        assert!(pods.apply(&pod("Running", false)) && !pods.apply(&pod("Running", true)));
        assert_eq!(pods.count("shop", ip), 1);
        assert!(pods.apply(&pod("Succeeded", true)));
        assert_eq!(pods.count("shop", ip), 0);
    }
}
