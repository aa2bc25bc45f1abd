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
