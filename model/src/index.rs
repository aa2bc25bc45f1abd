//! Services, slices and nodes in; what each Service port needs on this node out.
//!
//! The index does work for what an event touches, never for the whole cluster. Nothing is said twice:
//! [`ServiceIndex::take_changes`] returns only ports that really differ from what it returned before.

mod claiming;
mod settling;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};

use crate::{
    Change, EndpointIndex, ExternalIpAllowList, ExternalIpPolicy, Flow, HealthChange, Node, ObjectKey,
    Refusal, Scheduler, Service, claim::Claims, health_check::HealthChecks, interest::Interests,
    node_table::NodeTable, said::SaidPort, service::EXTERNAL_IPS,
};

/// What the index must know of its node and of the admin's choices.
#[derive(Clone, Debug, Default)]
pub struct IndexConfig {
    /// The node the index is for.
    pub node_name: String,
    /// Which externalIPs are served; what is allowed may change later.
    pub external_ips: ExternalIpPolicy,
    /// The addresses on which node ports answer; `None` for the node's primary one of each family.
    pub node_port_addresses: Option<Vec<IpAddr>>,
    /// The schedulers that a Service may name; `None` where nothing goes by them.
    pub schedulers: Option<BTreeSet<Scheduler>>,
}

/// The state of all Services as one node sees it.
#[derive(Debug)]
pub struct ServiceIndex {
    config: IndexConfig,
    nodes: NodeTable,
    /// This node's.
    zone: Option<String>,
    services: BTreeMap<Arc<ObjectKey>, Box<Service>>,
    interests: Interests,
    endpoints: EndpointIndex,
    claims: Claims,
    dirty: BTreeSet<Arc<ObjectKey>>,
    said: BTreeMap<Arc<ObjectKey>, Box<[SaidPort]>>,
    health: HealthChecks,
    stale: BTreeSet<Flow>,
}

impl ServiceIndex {
    /// An empty index.
    #[must_use]
    pub fn new(config: IndexConfig) -> Self {
        Self {
            config,
            nodes: NodeTable::default(),
            zone: None,
            services: BTreeMap::new(),
            interests: Interests::default(),
            endpoints: EndpointIndex::with_addresses(),
            claims: Claims::default(),
            dirty: BTreeSet::new(),
            said: BTreeMap::new(),
            health: HealthChecks::default(),
            stale: BTreeSet::new(),
        }
    }

    /// Takes a new or changed Service.
    pub fn apply_service(&mut self, object: &core::Service) {
        let service = Service::from_object(object);
        let known = self.services.get_key_value(&service.key);
        if known.is_some_and(|(_, known)| **known == service) {
            return;
        }
        let key = known.map(|(key, _)| Arc::clone(key));
        let key = key.unwrap_or_else(|| Arc::new(service.key.clone()));
        self.replace_service(&key, Some(Box::new(service)));
    }

    /// Forgets a Service.
    pub fn delete_service(&mut self, key: &ObjectKey) {
        if let Some(key) = self.services.get_key_value(key).map(|(key, _)| Arc::clone(key)) {
            self.replace_service(&key, None);
        }
    }

    /// Takes the complete list: what is not in it is gone.
    pub fn reset_services(&mut self, objects: &[core::Service]) {
        self.retain_services(&objects.iter().map(|o| ObjectKey::of(&o.metadata)).collect());
        objects.iter().for_each(|object| self.apply_service(object));
    }

    /// Forgets all other Services.
    pub fn retain_services(&mut self, kept: &BTreeSet<ObjectKey>) {
        let gone: Vec<_> = self.services.keys().filter(|k| !kept.contains(k.as_ref())).cloned().collect();
        gone.iter().for_each(|key| self.delete_service(key));
    }

    /// Takes a new or changed slice.
    pub fn apply_slice(&mut self, object: &discovery::EndpointSlice) {
        let touched = self.endpoints.apply(object);
        self.endpoints_changed(touched);
    }

    /// Forgets a slice.
    pub fn delete_slice(&mut self, key: &ObjectKey) {
        let touched = self.endpoints.delete(key);
        self.endpoints_changed(touched);
    }

    /// Takes the complete list: what is not in it is gone.
    pub fn reset_slices(&mut self, objects: &[discovery::EndpointSlice]) {
        self.retain_slices(&objects.iter().map(|o| ObjectKey::of(&o.metadata)).collect());
        objects.iter().for_each(|object| self.apply_slice(object));
    }

    /// Forgets all other slices.
    pub fn retain_slices(&mut self, kept: &BTreeSet<ObjectKey>) {
        let gone: Vec<ObjectKey> = self.endpoints.keys().filter(|k| !kept.contains(k)).cloned().collect();
        gone.iter().for_each(|key| self.delete_slice(key));
    }

    /// Takes a new or changed Node.
    pub fn apply_node(&mut self, object: &core::Node) {
        let node = Node::from_object(object);
        self.replace_node(&node.name, Some(&node));
    }

    /// Forgets a Node.
    pub fn delete_node(&mut self, name: &str) {
        self.replace_node(name, None);
    }

    /// Takes the complete list: what is not in it is gone.
    pub fn reset_nodes(&mut self, objects: &[core::Node]) {
        let kept: BTreeSet<&str> = objects.iter().filter_map(|o| o.metadata.name.as_deref()).collect();
        let gone: Vec<String> =
            self.nodes.names().filter(|name| !kept.contains(name)).map(str::to_owned).collect();
        gone.iter().for_each(|name| self.delete_node(name));
        objects.iter().for_each(|object| self.apply_node(object));
    }

    /// Takes what each namespace may use as externalIPs from now on. Returns the Services of whose externalIPs one
    /// is judged otherwise than before: only they are worked on.
    pub fn allow_external_ips(&mut self, allowed: ExternalIpAllowList) -> Vec<ObjectKey> {
        let before = &self.config.external_ips.allowed;
        let differs = |s: &Service| {
            let allows = |list: &ExternalIpAllowList, ip: &IpAddr| list.allows(&s.key.namespace, *ip);
            s.external_ips.iter().any(|ip| allows(before, ip) != allows(&allowed, ip))
        };
        let asking = self.interests.with_external_ips();
        let touched = asking.filter(|key| self.services.get(*key).is_some_and(|s| differs(s)));
        let touched: BTreeSet<Arc<ObjectKey>> = touched.cloned().collect();
        self.reclaim(&touched, |index| index.config.external_ips.allowed = allowed);
        touched.iter().map(|key| ObjectKey::clone(key)).collect()
    }

    /// Takes the Service ranges that the API server has, which are reserved besides those of the configuration. Returns the
    /// Services of whose externalIPs or load balancer IPs one is judged otherwise than before: only they are worked on.
    pub fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) -> Vec<ObjectKey> {
        let before = &self.config.external_ips.service_cidrs;
        let lies_in = |nets: &[IpNet], ip: &IpAddr| nets.iter().any(|net| net.contains(ip));
        let asking = self.interests.asked_for();
        let touched = asking.filter(|(ip, _)| lies_in(before, ip) != lies_in(&cidrs, ip));
        let touched: BTreeSet<Arc<ObjectKey>> = touched.map(|(_, key)| Arc::clone(key)).collect();
        self.reclaim(&touched, |index| index.config.external_ips.service_cidrs = cidrs);
        touched.iter().map(|key| ObjectKey::clone(key)).collect()
    }

    /// The ports that differ since the last call, in the order of their keys.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().flat_map(|key| self.settle(key)).collect()
    }

    /// Everything as if nothing had been said before, for a backend that starts over. What was pending
    /// is part of it.
    pub fn all(&mut self) -> Vec<Change> {
        drop(self.take_changes());
        let said = self.said.iter();
        said.flat_map(|(service, ports)| ports.iter().map(|port| port.as_new(service))).collect()
    }

    /// The health checks that differ since the last call, as of the last [`ServiceIndex::take_changes`].
    pub fn take_health_changes(&mut self) -> Vec<HealthChange> {
        self.health.take_changes()
    }

    /// The UDP flows whose entries in the kernel have to go, as of the last [`ServiceIndex::take_changes`]. They
    /// have to be taken once those changes are programmed: a packet before would only make the same entry again.
    pub fn take_stale_flows(&mut self) -> Vec<Flow> {
        let stale = std::mem::take(&mut self.stale);
        // What changed hands may have the same endpoint behind it again.
        stale.into_iter().filter(|flow| !self.may_go_on(flow)).collect()
    }

    /// What the Service asks for and does not get here, each in one sentence.
    #[must_use]
    pub fn refusals(&self, key: &ObjectKey) -> Vec<Refusal> {
        let Some((key, service)) = self.services.get_key_value(key) else {
            return Vec::new();
        };
        let refused = self.config.external_ips.refusals(service, |ip| self.nodes.is_node(ip));
        let unreadable = service.unreadable.iter().filter(|u| u.field != EXTERNAL_IPS).cloned();
        let unreadable = unreadable.map(Refusal::Unreadable);
        let hostile = service.requested_load_balancer_ips().filter_map(|ip| {
            self.check_load_balancer_ip(ip).err().map(|reason| Refusal::LoadBalancerIp { ip, reason })
        });
        let lost = self.lost_claims(key, service);
        let lacking = service.scheduler.filter(|wanted| self.lacks(*wanted)).map(Refusal::Scheduler);
        let of_addresses = refused.chain(unreadable).chain(hostile).chain(lost);
        of_addresses.chain(lacking).chain(self.skipped_endpoints(service)).collect()
    }

    fn lacks(&self, scheduler: Scheduler) -> bool {
        self.config.schedulers.as_ref().is_some_and(|there| !there.contains(&scheduler))
    }
}
