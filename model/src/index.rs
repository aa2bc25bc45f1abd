//! Services, slices and this node in; what each Service port needs on this node out.
//!
//! The index does work for what an event touches, never for the whole cluster. Nothing is said twice:
//! [`ServiceIndex::take_changes`] returns only ports whose frontends or endpoints really differ from what
//! it returned before.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};

use crate::{
    EndpointIndex, ExternalIpAllowList, ExternalIpPolicy, ExternalIpRefusal, Family, Frontend,
    FrontendAddress, FrontendKind, Node, ObjectKey, Port, PortKey, Service, Unreadable,
    claim::{Claim, Claims},
    endpoint::usable,
    service::EXTERNAL_IPS,
};

/// What the index must know of its node and of the admin's choices.
#[derive(Clone, Debug, Default)]
pub struct IndexConfig {
    /// The node the index is for.
    pub node_name: String,
    /// Which externalIPs are served; what is allowed may change later.
    pub external_ips: ExternalIpPolicy,
}

/// What a node must do for one Service port.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ServicePort {
    /// Where it answers, in order.
    pub frontends: Vec<Frontend>,
    /// Where connections go, in the order of addresses, both families.
    pub endpoints: Vec<SocketAddr>,
    /// Those of `endpoints` that run on this node: a connection from such an endpoint to itself needs its
    /// source rewritten (hairpin).
    pub local: BTreeSet<IpAddr>,
}

/// One Service port that differs from what was said of it before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The port.
    pub key: PortKey,
    /// What it needs now; `None` when it is gone.
    pub desired: Option<ServicePort>,
}

/// An address that a Service asks for and does not get on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An address field holds no address.
    #[error(transparent)]
    Unreadable(Unreadable),
    /// The admin's rules forbid it.
    #[error("externalIP {ip} {reason}")]
    ExternalIp {
        /// The address.
        ip: IpAddr,
        /// The rule.
        reason: ExternalIpRefusal,
    },
    /// A load balancer IP that would take the cluster's own traffic.
    #[error("load balancer IP {ip} {reason}")]
    LoadBalancerIp {
        /// The address.
        ip: IpAddr,
        /// The rule.
        reason: ExternalIpRefusal,
    },
    /// Another Service has it.
    #[error("{address} belongs to Service {owner}")]
    Taken {
        /// The address, protocol and port.
        address: FrontendAddress,
        /// Who has it.
        owner: ObjectKey,
    },
}

/// The state of all Services as one node sees it.
#[derive(Debug)]
pub struct ServiceIndex {
    config: IndexConfig,
    nodes: BTreeMap<String, Node>,
    services: BTreeMap<ObjectKey, Service>,
    endpoints: EndpointIndex,
    claims: Claims,
    claimed: BTreeMap<ObjectKey, Vec<(FrontendAddress, Claim)>>,
    dirty: BTreeSet<ObjectKey>,
    said: BTreeMap<ObjectKey, BTreeMap<PortKey, ServicePort>>,
}

impl ServiceIndex {
    /// An empty index.
    #[must_use]
    pub fn new(config: IndexConfig) -> Self {
        Self {
            config,
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: EndpointIndex::default(),
            claims: Claims::default(),
            claimed: BTreeMap::new(),
            dirty: BTreeSet::new(),
            said: BTreeMap::new(),
        }
    }

    /// Takes a new or changed Service.
    pub fn apply_service(&mut self, object: &core::Service) {
        let service = Service::from_object(object);
        if self.services.get(&service.key) != Some(&service) {
            let key = service.key.clone();
            self.services.insert(key.clone(), service);
            self.reclaim(&key);
        }
    }

    /// Forgets a Service.
    pub fn delete_service(&mut self, key: &ObjectKey) {
        if self.services.remove(key).is_some() {
            self.reclaim(key);
        }
    }

    /// Takes the complete list: what is not in it is gone.
    pub fn reset_services(&mut self, objects: &[core::Service]) {
        let kept: BTreeSet<ObjectKey> = objects.iter().map(|o| ObjectKey::of(&o.metadata)).collect();
        let gone: Vec<ObjectKey> = self.services.keys().filter(|k| !kept.contains(k)).cloned().collect();
        gone.iter().for_each(|key| self.delete_service(key));
        objects.iter().for_each(|object| self.apply_service(object));
    }

    /// Takes a new or changed slice.
    pub fn apply_slice(&mut self, object: &discovery::EndpointSlice) {
        let touched = self.endpoints.apply(object);
        self.dirty.extend(touched);
    }

    /// Forgets a slice.
    pub fn delete_slice(&mut self, key: &ObjectKey) {
        let touched = self.endpoints.delete(key);
        self.dirty.extend(touched);
    }

    /// Takes the complete list: what is not in it is gone.
    pub fn reset_slices(&mut self, objects: &[discovery::EndpointSlice]) {
        let kept: BTreeSet<ObjectKey> = objects.iter().map(|o| ObjectKey::of(&o.metadata)).collect();
        let gone: Vec<ObjectKey> = self.endpoints.keys().filter(|k| !kept.contains(k)).cloned().collect();
        gone.iter().for_each(|key| self.delete_slice(key));
        objects.iter().for_each(|object| self.apply_slice(object));
    }

    /// Takes a new or changed Node.
    pub fn apply_node(&mut self, object: &core::Node) {
        let node = Node::from_object(object);
        let (name, after) = (node.name.clone(), node.internal_ips.clone());
        let before = self.nodes.insert(name.clone(), node).map(|n| n.internal_ips).unwrap_or_default();
        self.node_addresses_changed(&name, &before, &after);
    }

    /// Forgets a Node.
    pub fn delete_node(&mut self, name: &str) {
        let before = self.nodes.remove(name).map(|n| n.internal_ips).unwrap_or_default();
        self.node_addresses_changed(name, &before, &[]);
    }

    /// Takes the complete list: what is not in it is gone.
    pub fn reset_nodes(&mut self, objects: &[core::Node]) {
        let kept: BTreeSet<&str> = objects.iter().filter_map(|o| o.metadata.name.as_deref()).collect();
        let gone: Vec<String> = self.nodes.keys().filter(|n| !kept.contains(n.as_str())).cloned().collect();
        gone.iter().for_each(|name| self.delete_node(name));
        objects.iter().for_each(|object| self.apply_node(object));
    }

    /// Takes what each namespace may use as externalIPs from now on. Returns the Services of whose externalIPs one
    /// is judged otherwise than before: only they are worked on.
    pub fn allow_external_ips(&mut self, allowed: ExternalIpAllowList) -> Vec<ObjectKey> {
        let before = std::mem::replace(&mut self.config.external_ips.allowed, allowed);
        let after = &self.config.external_ips.allowed;
        let differs = |s: &&Service| {
            let allows = |list: &ExternalIpAllowList, ip: &IpAddr| list.allows(&s.key.namespace, *ip);
            s.external_ips.iter().any(|ip| allows(&before, ip) != allows(after, ip))
        };
        let touched: Vec<ObjectKey> = self.services.values().filter(differs).map(|s| s.key.clone()).collect();
        touched.iter().for_each(|key| self.reclaim(key));
        touched
    }

    /// The ports that differ since the last call, in the order of their keys.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().flat_map(|key| self.changes_of(key)).collect()
    }

    /// Everything as if nothing had been said before, for a backend that starts over. What was pending
    /// is part of it.
    pub fn all(&mut self) -> Vec<Change> {
        self.said.clear();
        self.dirty = self.services.keys().cloned().collect();
        self.take_changes()
    }

    /// What the Service asks for and does not get here, each in one sentence.
    #[must_use]
    pub fn refusals(&self, key: &ObjectKey) -> Vec<Refusal> {
        let Some(service) = self.services.get(key) else {
            return Vec::new();
        };
        let refused = self.config.external_ips.refusals(service, |ip| self.is_node(ip));
        let unreadable = service.unreadable.iter().filter(|u| u.field != EXTERNAL_IPS).cloned();
        let unreadable = unreadable.map(Refusal::Unreadable);
        let hostile = service.requested_load_balancer_ips().filter_map(|ip| {
            self.check_load_balancer_ip(ip).err().map(|reason| Refusal::LoadBalancerIp { ip, reason })
        });
        refused.chain(unreadable).chain(hostile).chain(self.lost_claims(key)).collect()
    }

    fn lost_claims(&self, key: &ObjectKey) -> impl Iterator<Item = Refusal> {
        let claims = self.claimed.get(key).into_iter().flatten();
        claims.filter_map(|(address, claim)| {
            let owner = self.claims.owner(address).filter(|owner| *owner != claim)?;
            Some(Refusal::Taken { address: *address, owner: owner.port.service.clone() })
        })
    }

    fn may_be_external(&self, service: &Service, ip: IpAddr) -> bool {
        self.config.external_ips.check(&service.key.namespace, ip, |ip| self.is_node(ip)).is_ok()
    }

    fn check_load_balancer_ip(&self, ip: IpAddr) -> Result<(), ExternalIpRefusal> {
        self.config.external_ips.check_load_balancer_ip(ip, |ip| self.is_node(ip))
    }

    fn is_node(&self, ip: IpAddr) -> bool {
        self.nodes.values().any(|node| node.internal_ips.contains(&ip))
    }

    /// Only what depends on a node's addresses: node ports of this node, and Services that ask for an
    /// address that is now a node's or no longer one.
    fn node_addresses_changed(&mut self, name: &str, before: &[IpAddr], after: &[IpAddr]) {
        if before == after {
            return;
        }
        let own = name == self.config.node_name;
        let moved = |ip: &IpAddr| before.contains(ip) != after.contains(ip);
        let affected = self.services.values().filter(|s| {
            (own && s.ports.iter().any(|p| p.node_port.is_some()))
                || s.external_ips.iter().chain(&s.load_balancer_ips).any(moved)
        });
        let keys: Vec<ObjectKey> = affected.map(|s| s.key.clone()).collect();
        keys.iter().for_each(|key| self.reclaim(key));
    }

    /// Replaces the Service's claims by those it makes now; whoever gains or loses by it is dirty too.
    fn reclaim(&mut self, key: &ObjectKey) {
        let wanted = self.services.get(key).map(|s| self.claims_of(s)).unwrap_or_default();
        let before = self.claimed.remove(key).unwrap_or_default();
        for (address, claim) in before.iter().filter(|c| !wanted.contains(c)) {
            let heir = self.claims.remove(address, claim);
            self.dirty.extend(heir.map(|port| port.service));
        }
        for (address, claim) in wanted.iter().filter(|c| !before.contains(c)) {
            let loser = self.claims.add(*address, claim.clone());
            self.dirty.extend(loser.map(|port| port.service));
        }
        if !wanted.is_empty() {
            self.claimed.insert(key.clone(), wanted);
        }
        self.dirty.insert(key.clone());
    }

    fn claims_of(&self, service: &Service) -> Vec<(FrontendAddress, Claim)> {
        if !service.is_forwarded() {
            return Vec::new();
        }
        let mut claims = BTreeMap::new();
        for port in &service.ports {
            let key = PortKey { service: service.key.clone(), port: port.port, protocol: port.protocol };
            for Frontend { address, kind } in self.frontends_of(service, port) {
                let claim =
                    Claim { kind, created: service.created, uid: service.uid.clone(), port: key.clone() };
                claims.entry(address).or_insert(claim);
            }
        }
        claims.into_iter().collect()
    }

    fn frontends_of(&self, service: &Service, port: &Port) -> Vec<Frontend> {
        let at = |kind, ip, number| Frontend {
            address: FrontendAddress { ip, protocol: port.protocol, port: number },
            kind,
        };
        let cluster = service.cluster_ips.iter().map(|ip| at(FrontendKind::ClusterIp, *ip, port.port));
        let node = port.node_port.into_iter().flat_map(|number| {
            self.node_port_ips(service).into_iter().map(move |ip| at(FrontendKind::NodePort, ip, number))
        });
        let balancer = service.requested_load_balancer_ips();
        let balancer = balancer.filter(|ip| self.check_load_balancer_ip(*ip).is_ok());
        let balancer = balancer.map(|ip| at(FrontendKind::LoadBalancer, ip, port.port));
        let allowed = service.external_ips.iter().filter(|ip| self.may_be_external(service, **ip));
        let external = allowed.map(|ip| at(FrontendKind::ExternalIp, *ip, port.port));
        cluster.chain(node).chain(balancer).chain(external).collect()
    }

    /// A node port answers on the node's primary address of each family that the Service has.
    fn node_port_ips(&self, service: &Service) -> Vec<IpAddr> {
        let Some(node) = self.nodes.get(&self.config.node_name) else {
            return Vec::new();
        };
        let families: BTreeSet<Family> = service.cluster_ips.iter().map(|ip| Family::of(*ip)).collect();
        families.into_iter().filter_map(|family| node.primary_ip(family)).collect()
    }

    fn changes_of(&mut self, key: &ObjectKey) -> Vec<Change> {
        let wanted = self.services.get(key).map(|s| self.ports_of(s)).unwrap_or_default();
        let before = self.said.remove(key).unwrap_or_default();
        let gone = before
            .keys()
            .filter(|k| !wanted.contains_key(k))
            .map(|k| Change { key: k.clone(), desired: None });
        let new = wanted.iter().filter(|(k, port)| before.get(k) != Some(port));
        let new = new.map(|(k, port)| Change { key: k.clone(), desired: Some(port.clone()) });
        let changes = gone.chain(new).collect();
        if !wanted.is_empty() {
            self.said.insert(key.clone(), wanted);
        }
        changes
    }

    fn ports_of(&self, service: &Service) -> BTreeMap<PortKey, ServicePort> {
        let mut ports: BTreeMap<PortKey, ServicePort> = BTreeMap::new();
        for (address, claim) in self.claimed.get(&service.key).into_iter().flatten() {
            if self.claims.owner(address) == Some(claim) {
                let frontend = Frontend { address: *address, kind: claim.kind };
                ports.entry(claim.port.clone()).or_default().frontends.push(frontend);
            }
        }
        for port in &service.ports {
            let key = PortKey { service: service.key.clone(), port: port.port, protocol: port.protocol };
            if let Some(desired) = ports.get_mut(&key) {
                self.fill_endpoints(desired, &service.key, port);
            }
        }
        ports
    }

    fn fill_endpoints(&self, desired: &mut ServicePort, service: &ObjectKey, port: &Port) {
        for endpoint in usable(self.endpoints.endpoints(service, &port.name, port.protocol)) {
            if endpoint.node.as_deref() == Some(&self.config.node_name) {
                desired.local.insert(endpoint.address.ip());
            }
            desired.endpoints.push(endpoint.address);
        }
    }
}
