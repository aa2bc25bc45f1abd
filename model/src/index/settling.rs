//! What a Service needs now, and what of it is news.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::ServiceIndex;
use crate::{
    Change, EndpointSet, Family, Flow, Frontend, HealthCheck, ObjectKey, Port, Protocol, Refusal, Service,
    ServicePort, SourceRanges,
    endpoint::Endpoint,
    flow,
    said::{self, SaidPort},
    topology::{self, Here},
};

impl ServiceIndex {
    /// Brings up to date what is said of the Service; returns the ports that differ.
    pub(super) fn settle(&mut self, key: &Arc<ObjectKey>) -> Vec<Change> {
        let service = self.services.get(key);
        let mut after = service.map(|s| self.ports_of(key, s)).unwrap_or_default();
        let health = service.and_then(|s| HealthCheck::of(s, || self.ready_here(key)));
        let before = self.said.remove(key).unwrap_or_default();
        let changes = said::differences(key, &before, &mut after);
        self.stale.extend(flow::stale(&before, &after));
        self.health.set(key, health);
        if !after.is_empty() {
            self.said.insert(Arc::clone(key), after);
        }
        changes
    }

    /// The ports that have an address, in order.
    fn ports_of(&self, key: &Arc<ObjectKey>, service: &Service) -> Box<[SaidPort]> {
        let mut frontends: BTreeMap<(u16, Protocol), Vec<Frontend>> = BTreeMap::new();
        for (address, claim) in self.claims_of(key, service) {
            if self.claims.owner(&address) == Some(&claim) {
                let frontend = Frontend { address, kind: claim.kind };
                frontends.entry((claim.port, claim.protocol)).or_default().push(frontend);
            }
        }
        // The first of those that are written twice, as no API server lets through.
        let ports: BTreeMap<_, _> = service.ports.iter().rev().map(|p| ((p.port, p.protocol), p)).collect();
        let source_ranges = self.source_ranges(service);
        let said = |(id, frontends)| {
            let port = *ports.get(&id)?;
            let claimed =
                ServicePort { frontends, source_ranges: source_ranges.clone(), ..Default::default() };
            Some(self.said_port(service, port, claimed))
        };
        frontends.into_iter().filter_map(said).collect()
    }

    /// Fills in what does not depend on the claims.
    fn said_port(&self, service: &Service, port: &Port, mut desired: ServicePort) -> SaidPort {
        let endpoints = self.endpoints_of(service, port);
        let chosen = topology::choose(&endpoints, self.here());
        (desired.cluster, desired.local) = (chosen.cluster, chosen.local);
        desired.internal_policy = service.internal_policy;
        desired.external_policy = service.external_policy;
        desired.affinity_seconds = service.affinity_seconds;
        desired.scheduler = service.scheduler;
        desired.frontends.shrink_to_fit();
        if !desired.prefers_local() {
            // Only what policy Cluster leads to is within reach.
            desired.local = desired.local.iter().filter(|e| desired.cluster.contains(e)).collect();
        }
        let serving =
            if port.protocol == Protocol::Udp { serving(&endpoints) } else { EndpointSet::default() };
        SaidPort { number: port.port, protocol: port.protocol, desired: Arc::new(desired), serving }
    }

    /// Without those that are the address of a Service: connection tracking translates once, so that they would
    /// leave the node untranslated or, where the address is bound on the node, reach the node's own ports
    /// (CVE-2021-25737).
    fn endpoints_of(&self, service: &Service, port: &Port) -> Vec<Endpoint<'_>> {
        let mut endpoints = self.endpoints.endpoints(&service.key, &port.name, port.protocol);
        endpoints.retain(|endpoint| !self.claims.is_vip(endpoint.address.ip()));
        endpoints
    }

    pub(super) fn skipped_endpoints(&self, service: &Service) -> Vec<Refusal> {
        let ports = service.ports.iter().filter(|_| service.is_forwarded());
        let all = ports.flat_map(|p| self.endpoints.endpoints(&service.key, &p.name, p.protocol));
        let skipped = all.map(|e| e.address).filter(|address| self.claims.is_vip(address.ip()));
        skipped.collect::<BTreeSet<_>>().into_iter().map(Refusal::Endpoint).collect()
    }

    fn ready_here(&self, service: &ObjectKey) -> BTreeSet<std::net::IpAddr> {
        let mut ready = self.endpoints.ready_on(service, &self.config.node_name);
        ready.retain(|ip| !self.claims.is_vip(*ip));
        ready
    }

    fn here(&self) -> Here<'_> {
        Here { node: &self.config.node_name, zone: self.zone.as_deref() }
    }

    fn source_ranges(&self, service: &Service) -> SourceRanges {
        let mut ranges = service.source_ranges.clone();
        for family in [Family::IPv4, Family::IPv6] {
            if let Some(ip) = self.nodes.primary_ip(&self.config.node_name, family) {
                ranges.admit_node(ip, &service.load_balancer_ips);
            }
        }
        ranges
    }

    /// Whether an entry of connection tracking leads a UDP flow nowhere: to a frontend that was said, by way of an
    /// endpoint that it does not have (any more). For a look at all entries when the agent starts; later
    /// [`ServiceIndex::take_stale_flows`] names them. As of the last [`ServiceIndex::take_changes`].
    #[must_use]
    pub fn is_stale(&self, flow: &Flow) -> bool {
        self.said_port_at(flow).is_some() && !self.may_go_on(flow)
    }

    pub(super) fn may_go_on(&self, flow: &Flow) -> bool {
        self.said_port_at(flow).is_some_and(|port| port.serving.contains(&flow.endpoint))
    }

    fn said_port_at(&self, flow: &Flow) -> Option<&SaidPort> {
        let owner = self.claims.owner(&flow.frontend).filter(|claim| claim.protocol == Protocol::Udp)?;
        let port = said::find(self.said.get(&owner.holder.service)?, (owner.port, owner.protocol))?;
        port.desired.frontends.iter().any(|f| f.address == flow.frontend).then_some(port)
    }
}

fn serving(endpoints: &[Endpoint<'_>]) -> EndpointSet {
    let serving = endpoints.iter().filter(|e| e.backend.ready || e.backend.serving);
    serving.map(|endpoint| endpoint.address).collect()
}
