//! What this node says that it announces: orders and sessions in, the status of its NodeAnnouncement out. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use penstock_crds::{AnnouncedAddress, NodeAnnouncementStatus, PeerSession};
use penstock_model::ObjectKey;

use crate::{Orders, bgp::State};

/// More would not fit into an object together with the rest (etcd takes 1.5 MiB).
const MOST: usize = 5_000;

/// How a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The state of RFC 4271, section 8.2.2.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why it is not established, or ended last.
    pub reason: Option<String>,
    /// The prefixes that the router has been told.
    pub told: Arc<BTreeSet<IpNet>>,
    /// What BFD says, where it is asked.
    pub bfd: Option<String>,
}

/// The status. `services` are all addresses with their Services, in any order.
#[must_use]
pub fn status<'a>(
    orders: &Orders,
    sessions: &BTreeMap<String, SessionState>,
    services: impl IntoIterator<Item = (IpAddr, &'a ObjectKey)>,
) -> NodeAnnouncementStatus {
    let addresses = addresses(orders, sessions, services);
    let up = sessions.values().filter(|session| session.state == State::Established).count();
    NodeAnnouncementStatus {
        address_count: count(addresses.len()),
        addresses: addresses.into_values().take(MOST).collect(),
        sessions: if orders.sessions.is_empty() {
            String::new()
        } else {
            format!("{up}/{}", orders.sessions.len())
        },
        peers: sessions.iter().map(|(name, session)| peer(name, session)).collect(),
        problems: orders.problems.iter().cloned().collect(),
    }
}

fn addresses<'a>(
    orders: &Orders,
    sessions: &BTreeMap<String, SessionState>,
    services: impl IntoIterator<Item = (IpAddr, &'a ObjectKey)>,
) -> BTreeMap<IpAddr, AnnouncedAddress> {
    let told: Vec<(&str, Told)> =
        sessions.iter().map(|(name, session)| (name.as_str(), Told::new(&session.told))).collect();
    let mut all: BTreeMap<IpAddr, AnnouncedAddress> = BTreeMap::new();
    for (address, service) in services {
        let entry = all.entry(address).or_insert_with(|| AnnouncedAddress {
            address: address.to_string(),
            services: Vec::new(),
            interfaces: orders.owned.get(&address).into_iter().flatten().cloned().collect(),
            peers: told
                .iter()
                .filter(|(_, told)| told.holds(address))
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        });
        entry.services.push(service.to_string());
    }
    all.retain(|address, entry| orders.owned.contains_key(address) || !entry.peers.is_empty());
    all
}

/// Prefixes and the lengths that occur among them: there are few of these.
struct Told<'a> {
    prefixes: &'a BTreeSet<IpNet>,
    lengths: BTreeSet<u8>,
}

impl<'a> Told<'a> {
    fn new(prefixes: &'a BTreeSet<IpNet>) -> Self {
        Self { prefixes, lengths: prefixes.iter().map(IpNet::prefix_len).collect() }
    }

    fn holds(&self, address: IpAddr) -> bool {
        let prefixes = self.lengths.iter().filter_map(|length| IpNet::new(address, *length).ok());
        prefixes.into_iter().any(|prefix| self.prefixes.contains(&prefix.trunc()))
    }
}

fn peer(name: &str, session: &SessionState) -> PeerSession {
    PeerSession {
        peer: name.to_owned(),
        state: format!("{:?}", session.state),
        since: Time(session.since),
        prefixes: count(session.told.len()),
        reason: session.reason.clone(),
        bfd: session.bfd.clone(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(state: State, told: &[&str]) -> SessionState {
        SessionState {
            state,
            since: Timestamp::UNIX_EPOCH,
            reason: None,
            told: Arc::new(told.iter().map(|text| text.parse().unwrap()).collect()),
            bfd: None,
        }
    }

    #[test]
    fn an_address_stands_with_its_services_interfaces_and_routers() {
        let (one, two) = (ObjectKey::new("d", "one"), ObjectKey::new("d", "two"));
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let orders = Orders {
            owned: [(ip("203.0.113.1"), BTreeSet::from(["eth0".to_owned()]))].into(),
            problems: ["BGPPeer x: no session".to_owned()].into(),
            ..Orders::default()
        };
        let sessions = BTreeMap::from([
            ("leaf1".to_owned(), session(State::Established, &["203.0.113.0/28", "2001:db8::7/128"])),
            ("leaf2".to_owned(), session(State::Connect, &[])),
        ]);
        let services = [
            (ip("203.0.113.1"), &one),
            (ip("203.0.113.1"), &two),
            (ip("2001:db8::7"), &two),
            (ip("198.51.100.1"), &two),
        ];
        let status = status(&orders, &sessions, services);
        let shown: Vec<String> = status
            .addresses
            .iter()
            .map(|a| format!("{} {:?} {:?} {:?}", a.address, a.services, a.interfaces, a.peers))
            .collect();
        assert_eq!(
            shown,
            [r#"203.0.113.1 ["d/one", "d/two"] ["eth0"] ["leaf1"]"#, r#"2001:db8::7 ["d/two"] [] ["leaf1"]"#]
        );
        assert_eq!((status.address_count, status.peers[0].prefixes), (2, 2));
        assert_eq!(status.problems, ["BGPPeer x: no session"]);
    }

    #[test]
    fn an_object_holds_only_so_many_addresses_and_counts_the_rest() {
        let service = ObjectKey::new("d", "s");
        let all: Vec<IpAddr> =
            (0..6_000_u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).into()).collect();
        let orders = Orders {
            owned: all.iter().map(|address| (*address, BTreeSet::new())).collect(),
            ..Orders::default()
        };
        let status = status(&orders, &BTreeMap::new(), all.iter().map(|address| (*address, &service)));
        assert_eq!((status.address_count, status.addresses.len()), (6_000, 5_000));
    }
}
