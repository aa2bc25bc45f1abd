//! The Services on one address. Any two of them agree: the same key, no port in common, and policy Cluster or the same
//! selector. A check costs O(ports · log Services), also on an address that thousands share.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use penstock_model::{ObjectKey, TrafficPolicy};

use super::terms::{Clash, ClashCause, Terms, UsedPort};

/// `spec.selector`.
pub(super) type Labels = BTreeMap<String, String>;

/// The Services on one address: at least one.
#[derive(Clone, Debug)]
pub(super) enum Occupants {
    /// One that shares with nobody.
    Sole(ObjectKey),
    /// One or more of the same key.
    Sharers(Box<Sharers>),
}

/// Services of one key on one address.
#[derive(Clone, Debug, Default)]
pub(super) struct Sharers {
    pub(super) key: String,
    terms: BTreeMap<ObjectKey, Terms>,
    ports: BTreeMap<UsedPort, ObjectKey>,
    by_selector: BTreeMap<Labels, BTreeSet<ObjectKey>>,
    /// Those of `by_selector` with policy Local.
    local: BTreeMap<Labels, BTreeSet<ObjectKey>>,
    port_sum: u64,
}

/// Which Services an address is open to, as far as their endpoints go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OpenTo {
    /// All with policy Cluster.
    Cluster,
    /// All with this selector.
    Selector(Labels),
}

impl OpenTo {
    /// Where an address has to be open for a Service of these terms to join.
    pub(super) fn wanted(terms: &Terms) -> Vec<Self> {
        let same = Self::Selector(terms.sharing.selector.clone());
        match terms.sharing.traffic_policy {
            TrafficPolicy::Cluster => vec![Self::Cluster, same],
            TrafficPolicy::Local => vec![same],
        }
    }
}

impl Occupants {
    /// The occupants after a Service came with these terms or changed to them. They do not clash with the others.
    pub(super) fn joined(before: Option<Self>, service: &ObjectKey, terms: Option<&Terms>) -> Self {
        let others = before.and_then(|occupants| occupants.left(service));
        let Some(terms) = terms else { return Self::Sole(service.clone()) };
        let mut sharers = match others {
            Some(Self::Sharers(sharers)) => sharers,
            _ => Box::new(Sharers { key: terms.sharing.key.clone(), ..Sharers::default() }),
        };
        sharers.add(service, terms);
        Self::Sharers(sharers)
    }

    /// The occupants after a Service left.
    pub(super) fn left(self, service: &ObjectKey) -> Option<Self> {
        match self {
            Self::Sole(holder) => (holder != *service).then_some(Self::Sole(holder)),
            Self::Sharers(mut sharers) => {
                sharers.remove(service);
                (!sharers.terms.is_empty()).then_some(Self::Sharers(sharers))
            }
        }
    }

    /// What keeps a Service of these terms from being here.
    pub(super) fn clash(&self, ip: IpAddr, service: &ObjectKey, terms: Option<&Terms>) -> Option<Clash> {
        let (holder, cause) = match (self, terms) {
            (Self::Sole(holder), _) => (Some(holder).filter(|h| *h != service)?, ClashCause::NotShared),
            (Self::Sharers(sharers), Some(terms)) => sharers.clash(service, terms)?,
            (Self::Sharers(sharers), None) => (sharers.other_than(service)?, ClashCause::NotShared),
        };
        Some(Clash { ip, holder: holder.clone(), cause })
    }
}

impl Sharers {
    /// For whom the address is open.
    pub(super) fn open_to(&self) -> Vec<OpenTo> {
        let cluster = self.local.is_empty().then_some(OpenTo::Cluster);
        let one = self.by_selector.keys().next().filter(|_| self.by_selector.len() == 1);
        cluster.into_iter().chain(one.cloned().map(OpenTo::Selector)).collect()
    }

    /// The same number for addresses with the same ports taken; differing ports hardly ever give the same.
    pub(super) fn port_sum(&self) -> u64 {
        self.port_sum
    }

    fn add(&mut self, service: &ObjectKey, terms: &Terms) {
        for port in &terms.ports {
            self.ports.insert(*port, service.clone());
            self.port_sum = self.port_sum.wrapping_add(hash(*port));
        }
        let selector = || terms.sharing.selector.clone();
        self.by_selector.entry(selector()).or_default().insert(service.clone());
        if terms.sharing.traffic_policy == TrafficPolicy::Local {
            self.local.entry(selector()).or_default().insert(service.clone());
        }
        self.terms.insert(service.clone(), terms.clone());
    }

    fn remove(&mut self, service: &ObjectKey) {
        let Some(terms) = self.terms.remove(service) else { return };
        for port in &terms.ports {
            self.ports.remove(port);
            self.port_sum = self.port_sum.wrapping_sub(hash(*port));
        }
        for groups in [&mut self.by_selector, &mut self.local] {
            let Some(group) = groups.get_mut(&terms.sharing.selector) else { continue };
            group.remove(service);
            if group.is_empty() {
                groups.remove(&terms.sharing.selector);
            }
        }
    }

    fn other_than(&self, service: &ObjectKey) -> Option<&ObjectKey> {
        self.terms.keys().find(|holder| *holder != service)
    }

    fn clash(&self, service: &ObjectKey, terms: &Terms) -> Option<(&ObjectKey, ClashCause)> {
        let other = self.other_than(service)?;
        if self.key != terms.sharing.key {
            return Some((other, ClashCause::Key(self.key.clone())));
        }
        let taken = |port: &UsedPort| Some((*port, self.ports.get(port).filter(|h| *h != service)?));
        if let Some((port, holder)) = terms.ports.iter().find_map(taken) {
            return Some((holder, ClashCause::Port(port)));
        }
        Some((self.of_other_endpoints(service, terms)?, ClashCause::Policy))
    }

    /// Somebody with another selector, where that matters. At most two groups are looked into: the Service's own, and
    /// the first of another selector.
    fn of_other_endpoints(&self, service: &ObjectKey, terms: &Terms) -> Option<&ObjectKey> {
        let groups = match terms.sharing.traffic_policy {
            TrafficPolicy::Cluster => &self.local,
            TrafficPolicy::Local => &self.by_selector,
        };
        let mut others = groups.iter().filter(|(selector, _)| **selector != terms.sharing.selector);
        others.find_map(|(_, group)| group.iter().find(|holder| *holder != service))
    }
}

fn hash(port: UsedPort) -> u64 {
    let mut hasher = DefaultHasher::new();
    port.hash(&mut hasher);
    hasher.finish()
}
