//! Which addresses a Service claims, and what follows when that changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::ServiceIndex;
use crate::{
    ExternalIpRefusal, Family, Frontend, FrontendAddress, FrontendKind, Node, ObjectKey, Port, Refusal,
    Service,
    claim::{Claim, Concern, Holder},
};

/// What a Service claims, in the order of addresses, none twice.
pub(super) type ClaimList = Vec<(FrontendAddress, Claim)>;

/// Namespace and name of the Service by which Pods reach the API servers, and of the slice that these write.
const API_SERVERS: (&str, &str) = ("default", "kubernetes");

impl ServiceIndex {
    pub(super) fn replace_service(&mut self, key: &Arc<ObjectKey>, new: Option<Box<Service>>) {
        let old = self.services.remove(key);
        let claims = |service: &Option<Box<Service>>| {
            service.as_ref().map(|service| self.claims_of(key, service)).unwrap_or_default()
        };
        let (before, after) = (claims(&old), claims(&new));
        if let Some(old) = old {
            self.interests.remove(key, &old);
        }
        if let Some(new) = new {
            self.interests.add(key, &new);
            self.services.insert(Arc::clone(key), new);
        }
        self.replace_claims(key, &before, after);
    }

    /// Looks only at what depends on the node: Services that ask for an address that is now a node's or no longer
    /// one, and if it is this node, those that need its addresses or have hints for zones.
    pub(super) fn replace_node(&mut self, name: &str, new: Option<&Node>) {
        let after = new.map(|node| node.internal_ips.as_slice());
        let own = name == self.config.node_name;
        let before = self.nodes.addresses(name);
        let (old, now) = (before, after.unwrap_or_default());
        let mut touched = BTreeSet::new();
        if old != now {
            let moved = old.iter().chain(now).filter(|ip| old.contains(ip) != now.contains(ip));
            touched.extend(moved.flat_map(|ip| self.interests.in_address(*ip)).cloned());
            touched.extend(self.interests.node_bound().filter(|_| own).cloned());
        }
        self.reclaim(&touched, |index| index.nodes.set(name, after));
        if own {
            self.set_zone(new.and_then(Node::zone));
        }
    }

    fn set_zone(&mut self, zone: Option<&str>) {
        if self.zone.as_deref() != zone {
            self.zone = zone.map(str::to_owned);
            self.dirty.extend(self.endpoints.zone_hinted());
        }
    }

    /// API servers say in the slice of a Service of their own where they listen. Other slices of it are not believed: who may
    /// write one could take addresses away from others by it.
    pub(super) fn endpoints_changed(&mut self, touched: Vec<Arc<ObjectKey>>) {
        let (namespace, name) = API_SERVERS;
        if touched.iter().any(|key| (&*key.namespace, &*key.name) == API_SERVERS) {
            let now = self.endpoints.addresses_in(&ObjectKey::new(namespace, name));
            let moved = now.symmetric_difference(&self.config.external_ips.api_servers);
            let asking = moved.flat_map(|ip| self.interests.in_address(*ip)).cloned().collect();
            self.reclaim(&asking, |index| index.config.external_ips.api_servers = now);
        }
        self.dirty.extend(touched);
    }

    /// Makes a change that concerns what these Services claim.
    pub(super) fn reclaim(&mut self, touched: &BTreeSet<Arc<ObjectKey>>, change: impl FnOnce(&mut Self)) {
        let claims = |index: &Self| -> Vec<ClaimList> {
            let claims = |key| index.services.get(key).map(|s| index.claims_of(key, s)).unwrap_or_default();
            touched.iter().map(claims).collect()
        };
        let before = claims(self);
        change(self);
        let after = claims(self);
        for ((key, before), after) in touched.iter().zip(before).zip(after) {
            self.replace_claims(key, &before, after);
        }
    }

    /// Whoever gains or loses by it is dirty too.
    fn replace_claims(&mut self, key: &Arc<ObjectKey>, before: &ClaimList, after: ClaimList) {
        for (address, claim) in before.iter().filter(|claim| !has(&after, claim)) {
            let concern = self.claims.remove(address, claim);
            self.concern(address.ip, concern);
        }
        for (address, claim) in after.into_iter().filter(|claim| !has(before, claim)) {
            let concern = self.claims.add(address, claim);
            self.concern(address.ip, concern);
        }
        self.dirty.insert(Arc::clone(key));
    }

    fn concern(&mut self, ip: IpAddr, concern: Concern) {
        self.dirty.extend(concern.other);
        if concern.vip {
            self.dirty.extend(self.endpoints.services_at(ip));
        }
    }

    pub(super) fn claims_of(&self, key: &Arc<ObjectKey>, service: &Service) -> ClaimList {
        if !service.is_forwarded() {
            return Vec::new();
        }
        let (created, uid) = (service.created, service.uid.as_str().into());
        let holder = Arc::new(Holder { created, uid, service: Arc::clone(key) });
        let mut claims = BTreeMap::new();
        for port in &service.ports {
            for Frontend { address, kind } in self.frontends_of(service, port) {
                let holder = Arc::clone(&holder);
                let claim = Claim { kind, holder, port: port.port, protocol: port.protocol };
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

    /// A node port answers on the node's primary address of each family that the Service has, unless others are configured.
    fn node_port_ips(&self, service: &Service) -> Vec<IpAddr> {
        let families: BTreeSet<Family> = service.cluster_ips.iter().map(|ip| Family::of(*ip)).collect();
        let primary = |family| self.nodes.primary_ip(&self.config.node_name, family);
        match &self.config.node_port_addresses {
            None => families.into_iter().filter_map(primary).collect(),
            Some(ips) => ips.iter().copied().filter(|ip| families.contains(&Family::of(*ip))).collect(),
        }
    }

    fn may_be_external(&self, service: &Service, ip: IpAddr) -> bool {
        self.config.external_ips.check(&service.key.namespace, ip, |ip| self.nodes.is_node(ip)).is_ok()
    }

    pub(super) fn check_load_balancer_ip(&self, ip: IpAddr) -> Result<(), ExternalIpRefusal> {
        self.config.external_ips.check_load_balancer_ip(ip, |ip| self.nodes.is_node(ip))
    }

    pub(super) fn lost_claims(
        &self,
        key: &Arc<ObjectKey>,
        service: &Service,
    ) -> impl Iterator<Item = Refusal> {
        self.claims_of(key, service).into_iter().filter_map(|(address, claim)| {
            let owner = self.claims.owner(&address).filter(|owner| **owner != claim)?;
            Some(Refusal::Taken { address, owner: ObjectKey::clone(&owner.holder.service) })
        })
    }
}

fn has(claims: &ClaimList, claim: &(FrontendAddress, Claim)) -> bool {
    claims.binary_search_by_key(&claim.0, |(address, _)| *address).is_ok_and(|at| claims[at].1 == claim.1)
}
