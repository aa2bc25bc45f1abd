//! What stands in the kernel on our behalf, and what has to be done when something else is wanted. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use penstock_model::{Change, PortKey, ServicePort};

use super::{
    codec::{Connections, Destination, Request, ServerAddress, ServerFlags, VirtualServer},
    desired::{Settings, View, Wanted, needs_mark},
    mark::Marks,
    rule::Rule,
};
use crate::Programmed;

/// How long an endpoint that is gone may keep its connections; as upstream.
pub(super) const DRAINING: Duration = Duration::from_secs(15 * 60);

/// What is to be done, in this order: rules, addresses that are new, requests, addresses that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Elements to remove.
    pub removals: Vec<Rule>,
    /// Elements to add.
    pub additions: Vec<Rule>,
    /// What IPVS is told, removals of servers first.
    pub requests: Vec<Request>,
    /// Addresses that our device is to have.
    pub bind: Vec<IpAddr>,
    /// Addresses that it is to lose.
    pub unbind: Vec<IpAddr>,
}

impl Plan {
    /// How many single additions and removals it is.
    #[must_use]
    pub fn len(&self) -> usize {
        let rules = self.removals.len() + self.additions.len();
        rules + self.requests.len() + self.bind.len() + self.unbind.len()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the kernel has of one virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The server.
    pub server: VirtualServer,
    /// Its destinations.
    pub destinations: BTreeMap<SocketAddr, Destination>,
}

/// A virtual server of ours.
#[derive(Clone, Debug)]
struct Standing {
    server: VirtualServer,
    drains: bool,
    serving: BTreeSet<SocketAddr>,
    /// Since when.
    draining: BTreeMap<SocketAddr, Instant>,
}

/// A Service port that is programmed.
#[derive(Clone, Debug)]
struct Port {
    desired: Arc<ServicePort>,
    number: Option<u32>,
}

/// All that is ours.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    settings: Settings,
    ports: HashMap<PortKey, Port>,
    marks: Marks,
    servers: BTreeMap<ServerAddress, Standing>,
    /// How many ports have an element that several may have.
    shared: HashMap<Rule, usize>,
    programmed: Programmed,
}

/// What becomes of a server's address within a batch.
#[derive(Debug)]
enum Fate {
    /// No frontend is there any longer.
    Gone,
    /// A frontend without endpoints: established connections may drain.
    Idle,
    Serves(Wanted),
}

impl Ledger {
    /// With nothing programmed.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What stands.
    #[must_use]
    pub fn programmed(&self) -> Programmed {
        self.programmed
    }

    /// Takes changes in their order and says what is to be done.
    pub fn apply(&mut self, changes: &[Change], now: Instant) -> Plan {
        let (mut plan, mut fates, mut counted) = (Plan::default(), BTreeMap::new(), BTreeMap::new());
        for change in changes {
            let (old, new) = self.exchange(change);
            self.diff_rules(&old, &new, &mut plan, &mut counted);
            collect_fates(old, new, &mut fates);
        }
        self.settle_shared(&counted, &mut plan);
        for (address, fate) in fates {
            self.settle(address, fate, now, &mut plan.requests);
        }
        // A server that goes may have the address of one that comes.
        plan.requests.sort_by_key(|request| !matches!(request, Request::DeleteServer(_)));
        plan
    }

    /// What the port had and what it has now.
    fn exchange(&mut self, change: &Change) -> (View, View) {
        let before = self.ports.remove(&change.key);
        let view = |port: &Port| View::of(&port.desired, port.number, &self.settings);
        let old = before.as_ref().map(view).unwrap_or_default();
        let wants = change.desired.as_ref().is_some_and(|desired| needs_mark(desired));
        let number = match (before.and_then(|port| port.number), wants) {
            (None, true) => self.marks.take(&change.key),
            (Some(number), false) => {
                self.marks.release(number);
                None
            }
            (number, _) => number,
        };
        let Some(desired) = change.desired.clone() else { return (old, View::default()) };
        let port = Port { desired, number };
        let new = View::of(&port.desired, port.number, &self.settings);
        self.ports.insert(change.key.clone(), port);
        (old, new)
    }

    fn diff_rules(&mut self, old: &View, new: &View, plan: &mut Plan, before: &mut BTreeMap<Rule, bool>) {
        for rule in old.rules.difference(&new.rules) {
            if rule.is_shared() {
                before.entry(*rule).or_insert(true);
                let left = self.shared.get(rule).map_or(0, |count| count - 1);
                match left {
                    0 => drop(self.shared.remove(rule)),
                    _ => drop(self.shared.insert(*rule, left)),
                }
            } else {
                plan.removals.push(*rule);
            }
        }
        for rule in new.rules.difference(&old.rules) {
            if rule.is_shared() {
                before.entry(*rule).or_insert(self.shared.contains_key(rule));
                *self.shared.entry(*rule).or_default() += 1;
            } else {
                plan.additions.push(*rule);
            }
        }
        self.count(old, new);
    }

    fn settle_shared(&self, before: &BTreeMap<Rule, bool>, plan: &mut Plan) {
        for (rule, was) in before {
            let (rules, addresses) = match (was, self.shared.contains_key(rule)) {
                (true, false) => (&mut plan.removals, &mut plan.unbind),
                (false, true) => (&mut plan.additions, &mut plan.bind),
                _ => continue,
            };
            rules.push(*rule);
            if let Rule::Vip(ip) = rule {
                addresses.push(*ip);
            }
        }
    }

    fn count(&mut self, old: &View, new: &View) {
        let frontends = |view: &View| {
            let served = view.servers.keys().filter(|address| matches!(address, ServerAddress::Frontend(_)));
            (served.count() + view.idle.len()) as u64
        };
        let endpoints = |view: &View| view.servers.values().map(|w| w.destinations.len() as u64).sum::<u64>();
        self.programmed.frontends = self.programmed.frontends + frontends(new) - frontends(old);
        self.programmed.endpoints = self.programmed.endpoints + endpoints(new) - endpoints(old);
    }

    fn settle(&mut self, address: ServerAddress, fate: Fate, now: Instant, requests: &mut Vec<Request>) {
        let standing = self.servers.remove(&address);
        let left = match (standing, fate) {
            (None, Fate::Gone | Fate::Idle) => None,
            (Some(_), Fate::Gone) => {
                requests.push(Request::DeleteServer(address));
                None
            }
            (Some(standing), Fate::Idle) => idle(standing, now, requests),
            (None, Fate::Serves(wanted)) => Some(start(wanted, requests)),
            (Some(standing), Fate::Serves(wanted)) => Some(follow(standing, wanted, now, requests)),
        };
        if let Some(standing) = left {
            self.servers.insert(address, standing);
        }
    }

    /// All addresses of Services that our device has to have.
    pub fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.shared.keys().filter_map(|rule| match rule {
            Rule::Vip(ip) => Some(*ip),
            _ => None,
        })
    }

    /// Whether an address is to be on our device.
    #[must_use]
    pub fn has_vip(&self, ip: IpAddr) -> bool {
        self.shared.contains_key(&Rule::Vip(ip))
    }

    /// Which addresses the node has otherwise. Counts with the next load.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What has to be asked for to come from what the kernel has to what it is to have. `is_ours` tells whether a server that
    /// is not wanted may be removed. Destinations that are not wanted may drain.
    pub fn repair(
        &mut self,
        observed: &BTreeMap<ServerAddress, Observed>,
        is_ours: impl Fn(&ServerAddress) -> bool,
        now: Instant,
    ) -> Vec<Request> {
        let mut requests = Vec::new();
        let foreign =
            observed.keys().filter(|address| !self.servers.contains_key(address) && is_ours(address));
        requests.extend(foreign.map(|address| Request::DeleteServer(*address)));
        for (address, standing) in &mut self.servers {
            match observed.get(address) {
                Some(observed) => mend(standing, observed, now, &mut requests),
                None => make(standing, &mut requests),
            }
        }
        requests
    }

    /// Servers with destinations that drain.
    #[must_use]
    pub fn draining(&self) -> Vec<ServerAddress> {
        let draining = self.servers.iter().filter(|(_, standing)| !standing.draining.is_empty());
        draining.map(|(address, _)| *address).collect()
    }

    /// Takes what the destinations of all servers have, and says which of those that drain go.
    pub fn drain(
        &mut self,
        connections: &BTreeMap<ServerAddress, BTreeMap<SocketAddr, Connections>>,
        now: Instant,
    ) -> Vec<Request> {
        let none = BTreeMap::new();
        let servers = self.draining().into_iter();
        servers
            .flat_map(|address| self.drained(address, connections.get(&address).unwrap_or(&none), now))
            .collect()
    }

    /// Takes what a server's destinations have, and removes those that are idle or had their time. One that is not named
    /// is gone already.
    fn drained(
        &mut self,
        address: ServerAddress,
        connections: &BTreeMap<SocketAddr, Connections>,
        now: Instant,
    ) -> Vec<Request> {
        let mut requests = Vec::new();
        let Some(standing) = self.servers.get_mut(&address) else { return requests };
        standing.draining.retain(|endpoint, since| {
            let Some(left) = connections.get(endpoint) else { return false };
            let stays = !left.none() && now.saturating_duration_since(*since) < DRAINING;
            if !stays {
                requests.push(Request::DeleteDestination(address, Destination::draining(*endpoint)));
            }
            stays
        });
        if standing.draining.is_empty() && standing.serving.is_empty() {
            self.servers.remove(&address);
            return vec![Request::DeleteServer(address)];
        }
        requests
    }

    /// Whether the kernel has what it is to have, as far as `observed` can tell: `/proc/net/ip_vs` does not say time-outs in
    /// seconds, nor flags of schedulers.
    #[must_use]
    pub fn agrees(
        &self,
        observed: &BTreeMap<ServerAddress, Observed>,
        is_ours: impl Fn(&ServerAddress) -> bool,
    ) -> bool {
        let wanted = self.servers.iter().all(|(address, standing)| {
            observed.get(address).is_some_and(|observed| is_as_wanted(standing, observed))
        });
        wanted && observed.keys().all(|address| self.servers.contains_key(address) || !is_ours(address))
    }
}

fn collect_fates(old: View, new: View, fates: &mut BTreeMap<ServerAddress, Fate>) {
    // Whoever has the address now decides, wherever in the batch that is said.
    for address in old.servers.into_keys().chain(old.idle) {
        fates.entry(address).or_insert(Fate::Gone);
    }
    for address in new.idle {
        fates.insert(address, Fate::Idle);
    }
    for (address, wanted) in new.servers {
        fates.insert(address, Fate::Serves(wanted));
    }
}

fn start(wanted: Wanted, requests: &mut Vec<Request>) -> Standing {
    let Wanted { server, drains, destinations } = wanted;
    let standing = Standing { server, drains, serving: destinations, draining: BTreeMap::new() };
    make(&standing, requests);
    standing
}

/// From nothing.
fn make(standing: &Standing, requests: &mut Vec<Request>) {
    let address = standing.server.address;
    requests.push(Request::NewServer(standing.server));
    let serving = standing.serving.iter().map(|to| Destination::serving(*to));
    requests.extend(serving.map(|to| Request::NewDestination(address, to)));
}

fn idle(mut standing: Standing, now: Instant, requests: &mut Vec<Request>) -> Option<Standing> {
    let address = standing.server.address;
    if !standing.drains {
        requests.push(Request::DeleteServer(address));
        return None;
    }
    for endpoint in std::mem::take(&mut standing.serving) {
        retire(&mut standing, endpoint, now, requests);
    }
    Some(standing)
}

fn follow(mut standing: Standing, wanted: Wanted, now: Instant, requests: &mut Vec<Request>) -> Standing {
    let address = standing.server.address;
    if standing.server != wanted.server {
        requests.push(Request::SetServer(wanted.server));
        standing.server = wanted.server;
    }
    standing.drains = wanted.drains;
    let gone: Vec<SocketAddr> = standing.serving.difference(&wanted.destinations).copied().collect();
    for endpoint in gone {
        standing.serving.remove(&endpoint);
        retire(&mut standing, endpoint, now, requests);
    }
    for endpoint in wanted.destinations {
        if standing.serving.insert(endpoint) {
            let to = Destination::serving(endpoint);
            requests.push(match standing.draining.remove(&endpoint) {
                Some(_) => Request::SetDestination(address, to),
                None => Request::NewDestination(address, to),
            });
        }
    }
    standing
}

fn retire(standing: &mut Standing, endpoint: SocketAddr, now: Instant, requests: &mut Vec<Request>) {
    let (address, to) = (standing.server.address, Destination::draining(endpoint));
    if standing.drains {
        standing.draining.insert(endpoint, now);
        requests.push(Request::SetDestination(address, to));
    } else {
        requests.push(Request::DeleteDestination(address, to));
    }
}

/// From what is there to what is to be.
fn mend(standing: &mut Standing, observed: &Observed, now: Instant, requests: &mut Vec<Request>) {
    let address = standing.server.address;
    if observed.server != standing.server {
        requests.push(Request::SetServer(standing.server));
    }
    standing.draining.retain(|endpoint, _| observed.destinations.contains_key(endpoint));
    for endpoint in &standing.serving {
        let wanted = Destination::serving(*endpoint);
        match observed.destinations.get(endpoint) {
            Some(there) if *there == wanted => {}
            Some(_) => requests.push(Request::SetDestination(address, wanted)),
            None => requests.push(Request::NewDestination(address, wanted)),
        }
    }
    for (endpoint, there) in &observed.destinations {
        if standing.serving.contains(endpoint) {
            continue;
        }
        if !standing.draining.contains_key(endpoint) || there.weight != 0 {
            retire(standing, *endpoint, now, requests);
        }
    }
}

fn is_as_wanted(standing: &Standing, observed: &Observed) -> bool {
    let visible = |server: VirtualServer| VirtualServer {
        flags: ServerFlags(server.flags.0 & ServerFlags::PERSISTENT.0),
        timeout: 0,
        ..server
    };
    let serving = standing.serving.iter().map(|endpoint| Destination::serving(*endpoint));
    let draining = standing.draining.keys().map(|endpoint| Destination::draining(*endpoint));
    let all: BTreeMap<SocketAddr, Destination> = serving.chain(draining).map(|to| (to.address, to)).collect();
    visible(standing.server) == visible(observed.server) && all == observed.destinations
}

#[cfg(test)]
mod tests;
