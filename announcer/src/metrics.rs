//! What an announcer counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::speaker::Frame;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
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
