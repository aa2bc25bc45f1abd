//! All that a node knows, and what follows from it. Pure: time is an argument, orders are values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::coordination::v1::Lease;
use penstock_model::ObjectKey;
use penstock_runtime::Update;

use crate::{
    advertisement::InterfaceSelection,
    claim_log::ClaimLog,
    cluster::{Assignment, Cluster, Kind},
    election,
    fence::{Fence, Turn},
    input::{Arrived, Input, update},
    lease,
    link::Link,
    liveness::Liveness,
    mac::Mac,
    orders::Orders,
    peering::{self, Peering},
    succession::Predecessor,
};

/// Another station says that it has an address that this node owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// Who says so.
    pub by: Mac,
    /// Where it was heard.
    pub interface: String,
}

/// One node's view and judgement.
#[derive(Debug)]
pub struct Announcer {
    own_name: String,
    /// `--interface`: used where an advertisement names none.
    default_interfaces: Vec<String>,
    cluster: Cluster,
    peering: Peering,
    liveness: Liveness,
    fence: Fence,
    claim_log: ClaimLog,
    /// Foreign claims that are worth a word.
    conflicts: Vec<Conflict>,
    links: Vec<Link>,
    arrived: Arrived,
    /// When it is known of every node whether it lives, from when all lists have arrived.
    settled: Option<Instant>,
    assignments: BTreeMap<IpAddr, Assignment>,
    /// What was said of addresses that are a node's own.
    taken: BTreeMap<(IpAddr, ObjectKey), String>,
    /// Whether `assignments` must be computed anew.
    stale: bool,
    /// The living nodes that `orders` rest on; `None` when the orders must be computed anew.
    judged: Option<BTreeSet<String>>,
    orders: Arc<Orders>,
    /// How often `orders` were computed.
    revision: u64,
}

impl Announcer {
    /// Knows nothing and announces nothing. Without `interfaces`, those are used that hold the node's InternalIPs.
    #[must_use]
    pub fn new(own_name: &str, interfaces: Vec<String>, lease_duration: Duration) -> Self {
        Self {
            own_name: own_name.to_owned(),
            default_interfaces: interfaces,
            cluster: Cluster::new(own_name),
            peering: Peering::default(),
            liveness: Liveness::default(),
            fence: Fence::new(lease_duration),
            claim_log: ClaimLog::default(),
            conflicts: Vec::new(),
            links: Vec::new(),
            arrived: Arrived::default(),
            settled: None,
            assignments: BTreeMap::new(),
            taken: BTreeMap::new(),
            stale: true,
            judged: None,
            orders: Arc::default(),
            revision: 0,
        }
    }

    /// One that announces only what has rules on this node, as [`Input::Standing`] says.
    #[must_use]
    pub fn coupled(mut self) -> Self {
        self.arrived.couple();
        self.cluster.couple();
        self
    }

    /// Takes one piece of news.
    pub fn take(&mut self, input: Input, now: Instant) {
        self.arrived.note(&input);
        let (cluster, peering) = (&mut self.cluster, &mut self.peering);
        self.stale |= match input {
            Input::Leases(leases) => self.take_leases(*leases, now),
            Input::Links(links) => self.take_links(links),
            Input::RenewalSent { token, at } => {
                self.fence.sent(token, at);
                false
            }
            Input::Claim { address, by, interface } => self.take_claim(address, by, &interface, now),
            Input::Standing { word, .. } | Input::Predecessor(Predecessor::Yields(Some(word))) => {
                cluster.take_standing(word)
            }
            Input::Predecessor(Predecessor::Yields(None) | Predecessor::Gone) => false,
            Input::Password { secret, password } => self.peering.take_password(secret, password),
            Input::Services(u) => {
                update(cluster, *u, Kind::Services, Cluster::apply_service, Cluster::delete_service)
            }
            Input::Slices(u) => {
                update(cluster, *u, Kind::Slices, Cluster::apply_slice, Cluster::delete_slice)
            }
            Input::Nodes(u) => update(cluster, *u, Kind::Nodes, Cluster::apply_node, Cluster::delete_node),
            Input::Pools(u) => update(cluster, *u, Kind::Pools, Cluster::apply_pool, Cluster::delete_pool),
            Input::Advertisements(u) => update(
                cluster,
                *u,
                Kind::Advertisements,
                Cluster::apply_advertisement,
                Cluster::delete_advertisement,
            ),
            Input::RouteAdvertisements(u) => update(
                cluster,
                *u,
                Kind::RouteAdvertisements,
                Cluster::apply_route_advertisement,
                Cluster::delete_route_advertisement,
            ),
            Input::Communities(u) => {
                update(cluster, *u, Kind::Communities, Cluster::apply_community, Cluster::delete_community)
            }
            Input::Peers(u) => {
                update(peering, *u, peering::Kind::Peers, Peering::apply_peer, Peering::delete_peer)
            }
            Input::BfdProfiles(u) => {
                update(peering, *u, peering::Kind::Profiles, Peering::apply_profile, Peering::delete_profile)
            }
        };
        if self.settled.is_none() && self.arrived.all_lists() {
            self.settled = Some(self.liveness.last_expiry().unwrap_or(now));
        }
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
            self.conflicts.push(Conflict { address, by, interface: interface.to_owned() });
        }
        yielded
    }

    /// The foreign claims since the last call that are worth a word: of each station and address one a minute.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.conflicts)
    }

    /// Whether every list has arrived; nothing is announced before.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.arrived.is_complete()
    }

    /// Whether another announcer of this node has not left us the turn yet, while we could follow it. A Lease seen for the
    /// first time counts as just renewed: whoever follows at once would leave addresses to a node that died long ago.
    #[must_use]
    pub fn can_follow(&self, now: Instant) -> bool {
        self.arrived.stands_by() && self.settled.is_some_and(|settled| settled <= now)
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
    pub fn decide(&mut self, now: Instant) -> Arc<Orders> {
        self.turn(now);
        if !self.is_synced() {
            return Arc::clone(&self.orders);
        }
        let live: BTreeSet<String> = self.liveness.live(now).into_iter().map(str::to_owned).collect();
        if self.stale {
            self.assignments = self.cluster.assignments();
            self.report_taken();
        }
        if self.stale || self.judged.as_ref() != Some(&live) {
            self.orders = Arc::new(self.orders(&live));
            self.revision += 1;
            (self.stale, self.judged) = (false, Some(live));
        }
        Arc::clone(&self.orders)
    }

    fn orders(&self, live: &BTreeSet<String>) -> Orders {
        let node = self.cluster.own_node();
        let (sessions, refused) = node.map(|node| self.peering.sessions(node)).unwrap_or_default();
        let peers = sessions.keys().map(String::as_str).collect();
        Orders {
            owned: self.owned(live),
            claiming: self.fence.is_healthy(),
            routes: self.cluster.routes(&peers, live),
            sessions,
            problems: self.cluster.problems().into_iter().chain(refused).collect(),
        }
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
        let settled = self.settled.filter(|settled| now < *settled);
        [self.fence.lapses_at(), self.liveness.next_expiry(now), settled].into_iter().flatten().min()
    }

    /// What the cluster says.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Another number when orders, or the Services that they are for, may be others.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The Secrets that sessions need.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.peering.secrets()
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

#[cfg(test)]
mod tests;
