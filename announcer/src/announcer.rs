//! All that a node knows, and what follows from it. Pure: time is an argument, orders are values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1 as core, discovery::v1 as discovery};
use penstock_crds::{IPAddressPool, L2Advertisement};
use penstock_model::ObjectKey;
use penstock_runtime::Update;

use crate::{
    advertisement::InterfaceSelection,
    claim_log::ClaimLog,
    cluster::{Assignment, Cluster, Kind},
    election,
    fence::{Fence, Turn},
    lease,
    link::Link,
    liveness::Liveness,
    mac::Mac,
};

/// What an announcer can be told.
#[derive(Clone, Debug)]
pub enum Input {
    /// News of Services.
    Services(Box<Update<core::Service>>),
    /// News of EndpointSlices.
    Slices(Box<Update<discovery::EndpointSlice>>),
    /// News of Nodes.
    Nodes(Box<Update<core::Node>>),
    /// News of pools.
    Pools(Box<Update<IPAddressPool>>),
    /// News of advertisements.
    Advertisements(Box<Update<L2Advertisement>>),
    /// News of the announcers' Leases.
    Leases(Box<Update<Lease>>),
    /// This node's links, all of them.
    Links(Vec<Link>),
    /// A renewal of our Lease with this token is about to be sent.
    RenewalSent {
        /// The token.
        token: i64,
        /// When.
        at: Instant,
    },
    /// Another station claims an address that we answer for.
    Claim {
        /// The address.
        address: IpAddr,
        /// Who.
        by: Mac,
        /// Where it was heard.
        interface: String,
    },
}

/// What is to be announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The addresses that this node owns and the interfaces to answer on.
    pub owned: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Whether addresses may be claimed, by gratuitous ARP and unsolicited advertisements.
    pub claiming: bool,
}

impl Orders {
    /// The addresses to answer for on one interface.
    #[must_use]
    pub fn on(&self, interface: &str) -> BTreeSet<IpAddr> {
        self.owned.iter().filter(|(_, names)| names.contains(interface)).map(|(ip, _)| *ip).collect()
    }

    /// The addresses that are in these orders and not in those before.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Vec<IpAddr> {
        self.owned.keys().filter(|ip| !before.owned.contains_key(ip)).copied().collect()
    }
}

/// Which kinds have arrived as complete lists.
#[derive(Debug, Default)]
struct Arrived {
    kinds: BTreeSet<&'static str>,
}

impl Arrived {
    const ALL: usize = 7;

    fn note(&mut self, input: &Input) {
        let (kind, whole) = match input {
            Input::Services(update) => ("services", is_whole(update)),
            Input::Slices(update) => ("slices", is_whole(update)),
            Input::Nodes(update) => ("nodes", is_whole(update)),
            Input::Pools(update) => ("pools", is_whole(update)),
            Input::Advertisements(update) => ("advertisements", is_whole(update)),
            Input::Leases(update) => ("leases", is_whole(update)),
            Input::Links(_) => ("links", true),
            Input::RenewalSent { .. } | Input::Claim { .. } => return,
        };
        if whole {
            self.kinds.insert(kind);
        }
    }
}

fn is_whole<K>(update: &Update<K>) -> bool {
    matches!(update, Update::Reset(_))
}

/// One node's view and judgement.
#[derive(Debug)]
pub struct Announcer {
    own_name: String,
    /// `--interface`: used where an advertisement names none.
    default_interfaces: Vec<String>,
    cluster: Cluster,
    liveness: Liveness,
    fence: Fence,
    claim_log: ClaimLog,
    links: Vec<Link>,
    arrived: Arrived,
    assignments: BTreeMap<IpAddr, Assignment>,
    /// What was said of addresses that are a node's own.
    taken: BTreeMap<(IpAddr, ObjectKey), String>,
    /// Whether `assignments` must be computed anew.
    stale: bool,
    /// The living nodes that `orders` rest on; `None` when the orders must be computed anew.
    judged: Option<BTreeSet<String>>,
    orders: Orders,
}

impl Announcer {
    /// Knows nothing and announces nothing. Without `interfaces`, those are used that hold the node's InternalIPs.
    #[must_use]
    pub fn new(own_name: &str, interfaces: Vec<String>, lease_duration: Duration) -> Self {
        Self {
            own_name: own_name.to_owned(),
            default_interfaces: interfaces,
            cluster: Cluster::new(own_name),
            liveness: Liveness::default(),
            fence: Fence::new(lease_duration),
            claim_log: ClaimLog::default(),
            links: Vec::new(),
            arrived: Arrived::default(),
            assignments: BTreeMap::new(),
            taken: BTreeMap::new(),
            stale: true,
            judged: None,
            orders: Orders::default(),
        }
    }

    /// Takes one piece of news.
    pub fn take(&mut self, input: Input, now: Instant) {
        self.arrived.note(&input);
        let cluster = &mut self.cluster;
        self.stale |= match input {
            Input::Services(u) => {
                update(cluster, *u, Kind::Services, Cluster::apply_service, Cluster::delete_service)
            }
            Input::Slices(u) => {
                update(cluster, *u, Kind::Slices, Cluster::apply_slice, Cluster::delete_slice)
            }
            Input::Nodes(u) => {
                update(cluster, *u, Kind::Nodes, Cluster::apply_node, |c, key| c.delete_node(&key.name))
            }
            Input::Pools(u) => update(cluster, *u, Kind::Pools, Cluster::apply_pool, Cluster::delete_pool),
            Input::Advertisements(u) => update(
                cluster,
                *u,
                Kind::Advertisements,
                Cluster::apply_advertisement,
                Cluster::delete_advertisement,
            ),
            Input::Leases(leases) => self.take_leases(*leases, now),
            Input::Links(links) => self.take_links(links),
            Input::RenewalSent { token, at } => {
                self.fence.sent(token, at);
                false
            }
            Input::Claim { address, by, interface } => self.take_claim(address, by, &interface, now),
        };
    }

    /// Only addresses of links that carry ARP conflict: kube-proxy in IPVS mode keeps Services' addresses on one
    /// that does not.
    fn take_links(&mut self, links: Vec<Link>) -> bool {
        let usable = links.iter().filter(|link| link.is_usable());
        self.cluster.set_own_addresses(usable.flat_map(|link| link.addresses.iter().copied()).collect());
        std::mem::replace(&mut self.links, links) != self.links
    }

    fn take_leases(&mut self, leases: Update<Lease>, now: Instant) -> bool {
        match leases {
            Update::Reset(all) => {
                let (own, others): (Vec<_>, Vec<_>) =
                    all.iter().filter_map(lease::heartbeat).partition(|h| h.node == self.own_name);
                self.fence.seen(own.first().and_then(|h| h.renewal));
                self.liveness.reset(&others, now);
            }
            Update::Apply(one) => match lease::heartbeat(&one) {
                Some(own) if own.node == self.own_name => self.fence.seen(own.renewal),
                Some(other) => self.liveness.observe(&other, now),
                None => {}
            },
            Update::Delete(one) => match lease::heartbeat(&one) {
                Some(own) if own.node == self.own_name => self.fence.seen(None),
                Some(other) => self.liveness.forget(&other.node),
                None => {}
            },
        }
        false
    }

    fn take_claim(&mut self, address: IpAddr, by: Mac, interface: &str, now: Instant) -> bool {
        if !self.orders.owned.contains_key(&address) || self.fence.has_yielded(address) {
            return false;
        }
        let yielded = self.fence.claimed(address);
        if yielded {
            tracing::info!(%address, %by, interface, "another station claims an address and we yield it");
        } else if self.claim_log.admits(address, by, now) {
            tracing::warn!(%address, %by, interface, "another station claims an address that we own");
        }
        yielded
    }

    /// Whether every list has arrived; nothing is announced before.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.arrived.kinds.len() == Arrived::ALL
    }

    /// Whether our Lease is healthy, as of the last decision.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.fence.is_healthy()
    }

    /// This process is about to stop: owned addresses are kept until another node claims them.
    pub fn begin_stop(&mut self) {
        self.fence.close();
    }

    /// What is to be announced as of now.
    pub fn decide(&mut self, now: Instant) -> &Orders {
        self.turn(now);
        if !self.is_synced() {
            return &self.orders;
        }
        let live: BTreeSet<String> = self.liveness.live(now).into_iter().map(str::to_owned).collect();
        if self.stale {
            self.assignments = self.cluster.assignments();
            self.report_taken();
        }
        if self.stale || self.judged.as_ref() != Some(&live) {
            self.orders = Orders { owned: self.owned(&live), claiming: self.fence.is_healthy() };
            (self.stale, self.judged) = (false, Some(live));
        }
        &self.orders
    }

    /// Says once what is left out and why.
    fn report_taken(&mut self) {
        let taken = self.cluster.taken();
        for ((address, service), holder) in taken.iter().filter(|(key, _)| !self.taken.contains_key(*key)) {
            tracing::warn!(%address, %service, holder, "not announced: the address is a node's own; take it out of the pools");
        }
        self.taken = taken;
    }

    fn turn(&mut self, now: Instant) {
        let Some(turn) = self.fence.turn(now) else { return };
        self.judged = None;
        match turn {
            Turn::Lapsed => {
                tracing::info!("our Lease is not renewed: keeping what we own, taking nothing new");
            }
            Turn::Recovered { excuse } => {
                tracing::info!("our Lease is renewed: taking part in the election");
                if let Some((since, until)) = excuse {
                    self.liveness.excuse(since, until);
                }
            }
        }
    }

    fn owned(&self, live: &BTreeSet<String>) -> BTreeMap<IpAddr, BTreeSet<String>> {
        let ours = self.assignments.iter().filter(|(address, assignment)| {
            if self.fence.is_healthy() {
                self.elected(**address, assignment, live)
            } else {
                self.keeps(**address, assignment)
            }
        });
        ours.map(|(address, assignment)| (*address, self.interfaces(&assignment.interfaces))).collect()
    }

    fn elected(&self, address: IpAddr, assignment: &Assignment, live: &BTreeSet<String>) -> bool {
        let candidates =
            assignment.nodes.iter().filter(|node| live.contains(*node) || **node == self.own_name);
        let preferred = self.cluster.preferred(&candidates.map(String::as_str).collect());
        election::owner(address, preferred) == Some(&self.own_name)
    }

    fn keeps(&self, address: IpAddr, assignment: &Assignment) -> bool {
        self.orders.owned.contains_key(&address)
            && assignment.nodes.contains(&self.own_name)
            && !self.fence.has_yielded(address)
    }

    /// The interfaces of a selection that exist and can carry ARP and NDP now.
    fn interfaces(&self, selection: &InterfaceSelection) -> BTreeSet<String> {
        let usable = self.links.iter().filter(|link| link.is_usable());
        let selected = usable.filter(|link| {
            selection.named.contains(&link.name) || (selection.default && self.is_default(link))
        });
        selected.map(|link| link.name.clone()).collect()
    }

    fn is_default(&self, link: &Link) -> bool {
        if !self.default_interfaces.is_empty() {
            return self.default_interfaces.contains(&link.name);
        }
        let internal_ips = self.cluster.own_node().map(|node| node.internal_ips.as_slice());
        internal_ips.unwrap_or_default().iter().any(|ip| link.addresses.contains(ip))
    }

    /// When [`Announcer::decide`] may say something else although nothing new was heard.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        [self.fence.lapses_at(), self.liveness.next_expiry(now)].into_iter().flatten().min()
    }

    /// What the cluster says.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// This node's links.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The Services that have an address.
    pub fn services_of(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        self.assignments.get(&address).into_iter().flat_map(|assignment| &assignment.services)
    }
}

/// Passes an update on to the index; returns whether anything may differ.
fn update<K: kube::Resource>(
    cluster: &mut Cluster,
    update: Update<K>,
    kind: Kind,
    apply: fn(&mut Cluster, &K) -> bool,
    delete: fn(&mut Cluster, &ObjectKey) -> bool,
) -> bool {
    match update {
        Update::Apply(object) => apply(cluster, &object),
        Update::Delete(object) => delete(cluster, &ObjectKey::of(object.meta())),
        Update::Reset(objects) => {
            let kept: BTreeSet<_> = objects.iter().map(|object| ObjectKey::of(object.meta())).collect();
            let gone: Vec<_> = cluster.keys(kind).into_iter().filter(|key| !kept.contains(key)).collect();
            let deleted = gone.iter().fold(false, |changed, key| delete(cluster, key) | changed);
            objects.iter().fold(deleted, |changed, object| apply(cluster, object) | changed)
        }
    }
}

#[cfg(test)]
mod tests;
