//! What the cluster says: Services, their endpoints, nodes, pools and advertisements in; for each address the
//! nodes that may announce it out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_crds::{ALLOCATED_FROM, BGPAdvertisement, Community, IPAddressPool, L2Advertisement};
use penstock_model::{EndpointIndex, Node, ObjectKey, Service, ServiceType, Standing, TrafficPolicy};

use crate::{
    advertisement::{Advertisement, InterfaceSelection},
    input::Index,
    pool::Pool,
    route_advertisement::{CommunityNames, RouteAdvertisement},
    selection::Selection,
};

/// What the objects allow for one address; whether a node is alive is not among it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The nodes that may announce it.
    pub nodes: BTreeSet<String>,
    /// The interfaces that this node would use.
    pub interfaces: InterfaceSelection,
    /// The Services that have the address; more than one where it is shared.
    pub services: BTreeSet<ObjectKey>,
}

/// A Service that has an address.
#[derive(Clone, Debug)]
struct Announced {
    service: Service,
    /// Its labels; advertisements select by them.
    labels: BTreeMap<String, String>,
    /// The pool that its addresses came from.
    origin: Option<String>,
}

/// The index. Every change says whether it may matter: heartbeats of nodes, for one, do not.
#[derive(Debug)]
pub struct Cluster {
    own_name: String,
    own_addresses: BTreeSet<IpAddr>,
    /// The addresses that have rules on this node, where it matters.
    standing: Option<BTreeSet<IpAddr>>,
    services: BTreeMap<ObjectKey, Announced>,
    endpoints: EndpointIndex,
    nodes: BTreeMap<String, Node>,
    pools: BTreeMap<ObjectKey, Pool>,
    /// Those that cannot be read stand with the reason.
    advertisements: BTreeMap<ObjectKey, Result<Advertisement, String>>,
    route_advertisements: BTreeMap<ObjectKey, Result<RouteAdvertisement, String>>,
    community_names: CommunityNames,
}

impl Cluster {
    /// An empty index for the node of this name.
    #[must_use]
    pub fn new(own_name: impl Into<String>) -> Self {
        Self {
            own_name: own_name.into(),
            own_addresses: BTreeSet::new(),
            standing: None,
            services: BTreeMap::new(),
            endpoints: EndpointIndex::default(),
            nodes: BTreeMap::new(),
            pools: BTreeMap::new(),
            advertisements: BTreeMap::new(),
            route_advertisements: BTreeMap::new(),
            community_names: CommunityNames::default(),
        }
    }

    /// Sets the addresses of this node's links.
    pub fn set_own_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        self.own_addresses = addresses;
    }

    /// From now on this node announces only addresses that have rules on it.
    pub fn couple(&mut self) {
        self.standing.get_or_insert_default();
    }

    /// Takes what the dataplane says of rules.
    pub fn take_standing(&mut self, word: Standing) -> bool {
        self.standing.as_mut().is_some_and(|standing| word.carry_out(standing))
    }

    /// What the dataplane said of rules, where it is heard.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.standing.clone().map(Standing::All)
    }

    /// Takes a new or changed Service.
    pub fn apply_service(&mut self, object: &core::Service) -> bool {
        let service = Service::from_object(object);
        let announced =
            service.service_type == ServiceType::LoadBalancer && !service.load_balancer_ips.is_empty();
        if !announced {
            return self.delete_service(&service.key);
        }
        let origin = object.metadata.annotations.as_ref().and_then(|a| a.get(ALLOCATED_FROM)).cloned();
        let labels = object.metadata.labels.clone().unwrap_or_default();
        let matters = |announced: &Announced| {
            let Announced { service, labels, origin } = announced;
            (service.load_balancer_ips.clone(), service.external_policy, labels.clone(), origin.clone())
        };
        let announced = Announced { service, labels, origin };
        let now = matters(&announced);
        let before = self.services.insert(announced.service.key.clone(), announced);
        before.as_ref().map(matters) != Some(now)
    }

    /// Forgets a Service.
    pub fn delete_service(&mut self, key: &ObjectKey) -> bool {
        self.services.remove(key).is_some()
    }

    /// Takes a new or changed slice.
    pub fn apply_slice(&mut self, object: &discovery::EndpointSlice) -> bool {
        let touched = self.endpoints.apply(object);
        touched.iter().any(|service| self.services.contains_key(service.as_ref()))
    }

    /// Forgets a slice.
    pub fn delete_slice(&mut self, key: &ObjectKey) -> bool {
        let touched = self.endpoints.delete(key);
        touched.iter().any(|service| self.services.contains_key(service.as_ref()))
    }

    /// Takes a new or changed Node.
    pub fn apply_node(&mut self, object: &core::Node) -> bool {
        let node = Node::from_object(object);
        self.nodes.insert(node.name.clone(), node.clone()) != Some(node)
    }

    /// Forgets a Node.
    pub fn delete_node(&mut self, key: &ObjectKey) -> bool {
        self.nodes.remove(&key.name).is_some()
    }

    /// Takes a new or changed pool.
    pub fn apply_pool(&mut self, object: &IPAddressPool) -> bool {
        let pool = Pool::from_object(object);
        self.pools.insert(ObjectKey::of(&object.metadata), pool.clone()) != Some(pool)
    }

    /// Forgets a pool.
    pub fn delete_pool(&mut self, key: &ObjectKey) -> bool {
        self.pools.remove(key).is_some()
    }

    /// Takes a new or changed advertisement. One that cannot be read harms only itself.
    pub fn apply_advertisement(&mut self, object: &L2Advertisement) -> bool {
        let key = ObjectKey::of(&object.metadata);
        let read = Advertisement::from_object(object).map_err(|error| error.to_string());
        self.advertisements.insert(key, read);
        true
    }

    /// Forgets an advertisement.
    pub fn delete_advertisement(&mut self, key: &ObjectKey) -> bool {
        self.advertisements.remove(key).is_some()
    }

    /// Takes a new or changed advertisement of BGP. One that cannot be read harms only itself.
    pub fn apply_route_advertisement(&mut self, object: &BGPAdvertisement) -> bool {
        let key = ObjectKey::of(&object.metadata);
        let read = RouteAdvertisement::from_object(object).map_err(|error| error.to_string());
        self.route_advertisements.insert(key, read);
        true
    }

    /// Forgets an advertisement of BGP.
    pub fn delete_route_advertisement(&mut self, key: &ObjectKey) -> bool {
        self.route_advertisements.remove(key).is_some()
    }

    /// Takes new or changed names of communities.
    pub fn apply_community(&mut self, object: &Community) -> bool {
        self.community_names.apply(object)
    }

    /// Forgets names of communities.
    pub fn delete_community(&mut self, key: &ObjectKey) -> bool {
        self.community_names.delete(key)
    }

    /// This node, once it is known.
    #[must_use]
    pub fn own_node(&self) -> Option<&Node> {
        self.nodes.get(&self.own_name)
    }

    /// A Service that has an address.
    #[must_use]
    pub fn service(&self, key: &ObjectKey) -> Option<&Service> {
        self.services.get(key).map(|announced| &announced.service)
    }

    /// Every address of a Service.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, &ObjectKey)> {
        let all = self.services.values().map(|announced| &announced.service);
        all.flat_map(|service| service.load_balancer_ips.iter().map(|address| (*address, &service.key)))
    }

    /// For each address of a Service: who may announce it. Addresses in no advertised pool are not in it,
    /// those that no node may announce are.
    #[must_use]
    pub fn assignments(&self) -> BTreeMap<IpAddr, Assignment> {
        let mut all: BTreeMap<IpAddr, Assignment> = BTreeMap::new();
        for announced in self.services.values() {
            let service = &announced.service;
            for address in &service.load_balancer_ips {
                let advertisements = self.advertisements_of(announced, *address);
                if !advertisements.is_empty() && self.holder(*address).is_none() {
                    self.allow(service, *address, &advertisements, all.entry(*address).or_default());
                }
            }
        }
        all
    }

    /// The addresses that [`Cluster::assignments`] leaves out since a node has them, with the Service and who has
    /// them: to answer for them would take the node off its segment.
    #[must_use]
    pub fn taken(&self) -> BTreeMap<(IpAddr, ObjectKey), String> {
        let all =
            self.services.values().flat_map(|a| a.service.load_balancer_ips.iter().map(move |ip| (a, *ip)));
        let announced = all.filter(|(of, address)| !self.advertisements_of(of, *address).is_empty());
        let taken = announced
            .filter_map(|(of, address)| Some(((address, of.service.key.clone()), self.holder(address)?)));
        taken.collect()
    }

    /// Whose own address it is, if it is a node's.
    fn holder(&self, address: IpAddr) -> Option<String> {
        let node = self.nodes.values().find(|node| node.internal_ips.contains(&address));
        let node = node.map(|node| format!("InternalIP of node {}", node.name));
        node.or_else(|| self.own_addresses.contains(&address).then(|| "an interface of this node".to_owned()))
    }

    fn advertisements_of(&self, announced: &Announced, address: IpAddr) -> Vec<&Advertisement> {
        self.covering(&self.advertisements, announced, address)
    }

    /// The advertisements of a kind that announce a Service's address.
    fn covering<'a, A: AsRef<Selection>>(
        &self,
        all: &'a BTreeMap<ObjectKey, Result<A, String>>,
        announced: &Announced,
        address: IpAddr,
    ) -> Vec<&'a A> {
        let containing: Vec<_> = self.pools.iter().filter(|(_, pool)| pool.contains(address)).collect();
        let covers = |key: &ObjectKey, selection: &Selection| {
            let beside = containing.iter().filter(|(pool, _)| pool.namespace == key.namespace);
            beside.map(|(_, pool)| pool).any(|pool| selection.covers(pool))
                || containing.is_empty() && self.covers_origin(announced, key, selection)
        };
        let takes = |key: &ObjectKey, selection: &Selection| {
            selection.takes(&announced.labels) && covers(key, selection)
        };
        let readable = all.iter().filter_map(|(key, read)| Some((key, read.as_ref().ok()?)));
        readable.filter(|(key, a)| takes(key, (*a).as_ref())).map(|(_, a)| a).collect()
    }

    /// Where no pool in use has an address, the one that it came from counts, also after it was refused or
    /// deleted: that takes nobody's address (see the operator), so it must not withdraw one either. Of a deleted
    /// pool only the name is left.
    fn covers_origin(&self, announced: &Announced, key: &ObjectKey, selection: &Selection) -> bool {
        let Some(name) = &announced.origin else { return false };
        match self.pools.get(&ObjectKey::new(&key.namespace, name)) {
            Some(pool) => selection.covers(pool),
            None => selection.covers(&Pool::deleted(name.clone())),
        }
    }

    /// Adds what one Service allows; of a shared address every Service's nodes may announce it.
    fn allow(
        &self,
        service: &Service,
        address: IpAddr,
        advertisements: &[&Advertisement],
        to: &mut Assignment,
    ) {
        to.services.insert(service.key.clone());
        for node in self.serving(service, address) {
            for advertisement in advertisements.iter().filter(|a| (**a).as_ref().selects(node)) {
                to.nodes.insert(node.name.clone());
                if node.name == self.own_name {
                    to.interfaces.extend(&advertisement.interfaces);
                }
            }
        }
    }

    /// The nodes from which traffic from outside reaches an endpoint of the Service.
    fn serving<'a>(&'a self, service: &Service, address: IpAddr) -> impl Iterator<Item = &'a Node> {
        let stands_here = self.stands_here(service, address);
        let (ready_nodes, any_ready) = self.endpoints.ready_nodes(&service.key);
        let local = service.external_policy == TrafficPolicy::Local;
        self.nodes.values().filter(move |node| {
            any_ready
                && is_usable(node)
                && (!local || ready_nodes.contains(node.name.as_str()))
                && (stands_here || node.name != self.own_name)
        })
    }

    /// Whether this node forwards for the address. What another proxy does with its Services nobody tells us.
    fn stands_here(&self, service: &Service, address: IpAddr) -> bool {
        let standing = self.standing.as_ref().filter(|_| !service.of_another_proxy);
        standing.is_none_or(|standing| standing.contains(&address))
    }

    /// Of the nodes that may announce an address now, those that should: not the ones that are about to go, as long as
    /// another is there.
    #[must_use]
    pub fn preferred<'a>(&self, candidates: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let leaving = |name: &str| self.nodes.get(name).is_some_and(|node| node.leaving);
        let staying: BTreeSet<&str> = candidates.iter().filter(|name| !leaving(name)).copied().collect();
        if staying.is_empty() { candidates.clone() } else { staying }
    }
}

impl Index for Cluster {
    type Kind = Kind;

    fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        match kind {
            Kind::Services => self.services.keys().cloned().collect(),
            Kind::Slices => self.endpoints.keys().cloned().collect(),
            Kind::Nodes => self.nodes.keys().map(|name| ObjectKey::new("", name)).collect(),
            Kind::Pools => self.pools.keys().cloned().collect(),
            Kind::Advertisements => self.advertisements.keys().cloned().collect(),
            Kind::RouteAdvertisements => self.route_advertisements.keys().cloned().collect(),
            Kind::Communities => self.community_names.keys(),
        }
    }
}

/// The kinds of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Services.
    Services,
    /// EndpointSlices.
    Slices,
    /// Nodes.
    Nodes,
    /// IPAddressPools.
    Pools,
    /// L2Advertisements.
    Advertisements,
    /// BGPAdvertisements.
    RouteAdvertisements,
    /// Communities.
    Communities,
}

fn is_usable(node: &Node) -> bool {
    !node.network_unavailable && !node.excluded_from_load_balancers()
}

mod routes;
#[cfg(test)]
mod tests;
