//! What an announcer counts.

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{announcement::SessionState, bgp::State, speaker::Frame};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPeer {
    peer: String,
}

/// The metrics `penstock_announcer_*`. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Addresses that this node answers for.
    pub owned_addresses: Gauge,
    /// Whether our Lease is healthy.
    pub lease_healthy: Gauge,
    /// Addresses taken over.
    pub takeovers: Counter<u64, AtomicU64>,
    /// Addresses given up.
    pub give_ups: Counter<u64, AtomicU64>,
    /// ARP requests answered.
    pub arp_requests_answered: Counter<u64, AtomicU64>,
    /// Neighbor Solicitations answered.
    pub ndp_solicitations_answered: Counter<u64, AtomicU64>,
    /// Frames by which another station claimed an address of ours.
    pub foreign_claims: Counter<u64, AtomicU64>,
    lease_renewals: Family<Outcome, Counter<u64, AtomicU64>>,
    bgp_session_up: Family<OfPeer, Gauge>,
    bgp_prefixes_advertised: Family<OfPeer, Gauge>,
    bfd_session_up: Family<OfPeer, Gauge>,
    bfd_packets_discarded: Gauge,
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("announcer");
        let owned = self.owned_addresses.clone();
        registry.register("owned_addresses", "Addresses that this node answers for", owned);
        let healthy = self.lease_healthy.clone();
        registry.register("lease_healthy", "1 while this node's Lease is renewed in time", healthy);
        registry.register("takeovers", "Addresses taken over", self.takeovers.clone());
        registry.register("give_ups", "Addresses given up", self.give_ups.clone());
        let answered = self.arp_requests_answered.clone();
        registry.register("arp_requests_answered", "ARP requests answered", answered);
        let answered = self.ndp_solicitations_answered.clone();
        registry.register("ndp_solicitations_answered", "Neighbor Solicitations answered", answered);
        let claims = self.foreign_claims.clone();
        registry.register("foreign_claims", "Frames of others that claimed an address owned here", claims);
        let renewals = self.lease_renewals.clone();
        registry.register("lease_renewals", "Renewals of this node's Lease by outcome", renewals);
        let up = self.bgp_session_up.clone();
        registry.register("bgp_session_up", "1 while the session with the router is established", up);
        let prefixes = self.bgp_prefixes_advertised.clone();
        registry.register("bgp_prefixes_advertised", "Prefixes that the router has been told", prefixes);
        let up = self.bfd_session_up.clone();
        registry.register("bfd_session_up", "1 while BFD sees the router", up);
        let discarded = self.bfd_packets_discarded.clone();
        registry.register(
            "bfd_packets_discarded",
            "BFD packets that were of no session, or malformed",
            discarded,
        );
    }

    /// How sessions with routers are.
    pub(crate) fn report_sessions(&self, sessions: &BTreeMap<String, SessionState>, discarded: u64) {
        let families = [&self.bgp_session_up, &self.bgp_prefixes_advertised, &self.bfd_session_up];
        families.into_iter().for_each(Family::clear);
        for (name, session) in sessions {
            let of = OfPeer { peer: name.clone() };
            let told = i64::try_from(session.told.len()).unwrap_or(i64::MAX);
            self.bgp_session_up.get_or_create(&of).set(i64::from(session.state == State::Established));
            self.bgp_prefixes_advertised.get_or_create(&of).set(told);
            if let Some(bfd) = &session.bfd {
                self.bfd_session_up.get_or_create(&of).set(i64::from(bfd == "Up"));
            }
        }
        self.bfd_packets_discarded.set(i64::try_from(discarded).unwrap_or(i64::MAX));
    }

    /// Counts an answer that was sent.
    pub(crate) fn count_answer(&self, answer: &Frame) {
        match answer {
            Frame::Arp(_) => self.arp_requests_answered.inc(),
            Frame::Ndp(_) => self.ndp_solicitations_answered.inc(),
        };
    }

    /// Counts an attempt to renew the Lease.
    pub(crate) fn count_renewal(&self, written: bool) {
        let outcome = if written { "ok" } else { "error" };
        self.lease_renewals.get_or_create(&Outcome { outcome }).inc();
    }
}
