//! Which Services have to be looked at again when something changes that is not their own.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use crate::{ObjectKey, Service};

/// Services by what they depend on. Those that no node forwards depend on nothing.
#[derive(Debug, Default)]
pub(crate) struct Interests {
    /// Addresses that a node may have too: externalIPs and load balancer IPs, with who asks for them.
    by_address: BTreeSet<(IpAddr, Arc<ObjectKey>)>,
    /// Services that need this node's own addresses: for node ports, or for the source of its connections.
    node_bound: BTreeSet<Arc<ObjectKey>>,
    /// Services with externalIPs.
    external: BTreeSet<Arc<ObjectKey>>,
}

impl Interests {
    pub(crate) fn add(&mut self, key: &Arc<ObjectKey>, service: &Service) {
        if !service.is_forwarded() {
            return;
        }
        self.by_address.extend(asked_for(service).map(|ip| (ip, Arc::clone(key))));
        if is_node_bound(service) {
            self.node_bound.insert(Arc::clone(key));
        }
        if !service.external_ips.is_empty() {
            self.external.insert(Arc::clone(key));
        }
    }

    pub(crate) fn remove(&mut self, key: &Arc<ObjectKey>, service: &Service) {
        for ip in asked_for(service) {
            self.by_address.remove(&(ip, Arc::clone(key)));
        }
        self.node_bound.remove(key);
        self.external.remove(key);
    }

    /// Who asks for the address.
    pub(crate) fn in_address(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<ObjectKey>> {
        let first = (ip, Arc::new(ObjectKey::new("", "")));
        self.by_address.range(first..).take_while(move |(at, _)| *at == ip).map(|(_, key)| key)
    }

    /// All addresses that somebody asks for.
    pub(crate) fn asked_for(&self) -> impl Iterator<Item = &(IpAddr, Arc<ObjectKey>)> {
        self.by_address.iter()
    }

    pub(crate) fn node_bound(&self) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.node_bound.iter()
    }

    pub(crate) fn with_external_ips(&self) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.external.iter()
    }
}

fn asked_for(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.external_ips.iter().chain(&service.load_balancer_ips).copied()
}

fn is_node_bound(service: &Service) -> bool {
    service.ports.iter().any(|port| port.node_port.is_some()) || !service.source_ranges.is_open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_that_is_gone_is_interested_in_nothing() {
        let object = json!({
            "metadata": {"name": "s", "namespace": "d"},
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.7", "externalIPs": ["80.11.12.10"],
                "ports": [{"port": 80, "nodePort": 30080}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.200"}]}}
        });
        let service = Service::from_object(&serde_json::from_value(object).unwrap());
        let key = Arc::new(service.key.clone());
        let mut interests = Interests::default();
        let found = |interests: &Interests| {
            let ips = ["80.11.12.10", "203.0.113.200", "203.0.113.11"].map(|ip| ip.parse().unwrap());
            let asking = ips.map(|ip| interests.in_address(ip).count());
            (asking, interests.node_bound().count(), interests.with_external_ips().count())
        };
        interests.add(&key, &service);
        assert_eq!(found(&interests), ([1, 1, 0], 1, 1));
        interests.remove(&key, &service);
        assert_eq!(found(&interests), ([0; 3], 0, 0));
    }
}
