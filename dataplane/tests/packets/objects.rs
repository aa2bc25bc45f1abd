//! The Services of the table of flows, and the lab with them programmed.

use penstock_model::{ObjectKey, ServiceIndex};
use penstock_node::{
    Backend, Conntrack, NetworkNamespace, StaleFlows,
    iptables::{Iptables, Programs},
    mode::{AnyBackend, RuleSet},
    nftables::{Nft, Nftables},
};
use serde_json::{Value, json};

use crate::lab::{Lab, index, service, slice, table_config};

/// A lab whose node is programmed with the index's Services.
#[derive(Debug)]
pub(crate) struct Programmed {
    /// The lab.
    pub(crate) lab: Lab,
    /// What is programmed.
    pub(crate) index: ServiceIndex,
    backend: AnyBackend,
    set: RuleSet,
    conntrack: Conntrack,
    runtime: tokio::runtime::Runtime,
}

impl Programmed {
    /// All Services of the flows, in nftables.
    pub(crate) fn new() -> Self {
        Self::of(RuleSet::Nftables)
    }

    /// All Services of the flows.
    pub(crate) fn of(set: RuleSet) -> Self {
        let lab = Lab::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let backend = backend(set, lab.node.name());
        let conntrack = Conntrack::new(NetworkNamespace::Named(lab.node.name().into()));
        let mut programmed = Self { lab, index: index(), backend, set, conntrack, runtime };
        all_services(&mut programmed.index);
        programmed.reload();
        programmed
    }

    /// Programs what differs since the last time.
    pub(crate) fn apply(&mut self) {
        let changes = self.index.take_changes();
        self.runtime.block_on(self.backend.apply(&changes)).unwrap();
    }

    /// Programs everything, as a fresh agent does.
    pub(crate) fn reload(&mut self) {
        let all = self.index.all();
        self.runtime.block_on(self.backend.reload(&all)).unwrap();
    }

    /// Removes everything.
    pub(crate) fn cleanup(&self) {
        let namespace = NetworkNamespace::Named(self.lab.node.name().into());
        self.runtime.block_on(self.set.remove(&namespace)).unwrap();
    }

    /// Gives "web" these endpoints (IPv4).
    pub(crate) fn set_web_endpoints(&mut self, addresses: &[&str]) {
        self.index.apply_slice(&slice("web", &web_target_ports(), addresses));
        self.apply();
    }

    /// Forgets stale flows and returns how many there were.
    pub(crate) fn forget(&mut self, stale: &[StaleFlows]) -> usize {
        self.runtime.block_on(self.conntrack.forget(stale)).unwrap()
    }

    /// Deletes a Service and its slices.
    pub(crate) fn delete(&mut self, name: &str) {
        self.index.delete_service(&ObjectKey::new("d", name));
        for family in ["ipv4", "ipv6"] {
            self.index.delete_slice(&ObjectKey::new("d", format!("{name}-{family}")));
        }
        self.apply();
    }
}

/// One that writes a rule set into a namespace.
pub(crate) fn backend(set: RuleSet, namespace: &str) -> AnyBackend {
    match set {
        RuleSet::Nftables => {
            let nft = Nft::in_namespace(namespace);
            AnyBackend::Nftables(Box::new(Nftables::new(nft, table_config())))
        }
        RuleSet::Iptables(variant) => {
            let programs = Programs::new(variant, NetworkNamespace::Named(namespace.to_owned()));
            AnyBackend::Iptables(variant, Iptables::new(programs, table_config()))
        }
        RuleSet::Ipvs => panic!("machines have no IPVS, as a rule: make flows MODE=ipvs tries it"),
    }
}

fn web_target_ports() -> Value {
    json!([
        {"name": "http", "port": 8080}, {"name": "https", "port": 8443},
        {"name": "dns", "port": 8053, "protocol": "UDP"}])
}

/// Everything that a Service can have, several ports, both families.
fn web(index: &mut ServiceIndex) {
    let spec = json!({
        "type": "LoadBalancer",
        "clusterIPs": ["10.96.0.10", "2001:db8:96::10"],
        "externalIPs": ["80.11.12.10", "80.11.12.99"],
        "ports": [
            {"name": "http", "port": 80, "nodePort": 30080},
            {"name": "https", "port": 443, "nodePort": 30443},
            {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053}]});
    index.apply_service(&service("web", "u1", &spec, &["203.0.113.200", "2001:db8:113::200"]));
    index.apply_slice(&slice("web", &web_target_ports(), &["10.244.0.2", "10.244.0.3"]));
    index.apply_slice(&slice("web", &web_target_ports(), &["2001:db8:244::2", "2001:db8:244::3"]));
}

/// One endpoint only, which is also the one that asks.
fn solo(index: &mut ServiceIndex) {
    let spec = json!({"clusterIPs": ["10.96.0.11", "2001:db8:96::11"], "ports": [{"port": 80}]});
    index.apply_service(&service("solo", "u2", &spec, &[]));
    let ports = json!([{"port": 8080}]);
    index.apply_slice(&slice("solo", &ports, &["10.244.0.2"]));
    index.apply_slice(&slice("solo", &ports, &["2001:db8:244::2"]));
}

/// No endpoints.
fn empty(index: &mut ServiceIndex) {
    let spec = json!({
        "type": "LoadBalancer", "clusterIPs": ["10.96.0.12", "2001:db8:96::12"],
        "ports": [
            {"name": "http", "port": 80, "nodePort": 30081},
            {"name": "dns", "port": 53, "protocol": "UDP"}]});
    index.apply_service(&service("empty", "u3", &spec, &["203.0.113.201", "2001:db8:113::201"]));
}

/// An endpoint in the node's own network, as the Service "kubernetes" has.
fn host(index: &mut ServiceIndex) {
    let spec = json!({"clusterIPs": ["10.96.0.13"], "ports": [{"port": 80}]});
    index.apply_service(&service("host", "u4", &spec, &[]));
    index.apply_slice(&slice("host", &json!([{"port": 9090}]), &["203.0.113.11"]));
}

/// A later Service (by its UID) that asks for an externalIP that "web" has: it keeps its ClusterIP and its
/// other port.
fn thief(index: &mut ServiceIndex) {
    let spec = json!({
        "clusterIPs": ["10.96.0.14"], "externalIPs": ["80.11.12.10"],
        "ports": [{"name": "http", "port": 80}, {"name": "alt", "port": 81}]});
    index.apply_service(&service("thief", "u5", &spec, &[]));
    let ports = json!([{"name": "http", "port": 8080}, {"name": "alt", "port": 8080}]);
    index.apply_slice(&slice("thief", &ports, &["10.244.0.3"]));
}

/// An endpoint that is another Service's address, where outside of the node somebody would answer.
fn detour(index: &mut ServiceIndex) {
    let spec = json!({"clusterIPs": ["10.96.0.15"], "ports": [{"port": 80}]});
    index.apply_service(&service("detour", "u6", &spec, &[]));
    index.apply_slice(&slice("detour", &json!([{"port": 80}]), &["10.96.0.10"]));
}

/// All of them.
pub(crate) fn all_services(index: &mut ServiceIndex) {
    web(index);
    solo(index);
    empty(index);
    host(index);
    thief(index);
    detour(index);
}
