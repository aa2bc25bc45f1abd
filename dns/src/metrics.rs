//! What a DNS server counts. Where CoreDNS has a metric of the same meaning, it has CoreDNS' name and labels here.

use std::{net::IpAddr, sync::atomic::AtomicU64, time::Duration};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use crate::wire::Transport;

type Count = Counter<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    zone: &'static str,
    proto: &'static str,
    family: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResponse {
    zone: &'static str,
    rcode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Why something was not answered.
#[derive(Clone, Copy, Debug)]
pub enum Shed {
    /// Too many questions wait for other resolvers.
    Upstream,
    /// The socket takes no more answers.
    Send,
    /// Too many connections.
    Connections,
    /// Too many connections of one client.
    Client,
}

/// The metrics. Clones count into the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<OfRequest, Count>,
    responses: Family<OfResponse, Count>,
    durations: Histogram,
    shed: Family<Reason, Count>,
}

impl Default for Metrics {
    fn default() -> Self {
        // CoreDNS' own buckets: 0.25 ms to 8 s.
        let buckets = (0..16).map(|n| 0.000_25 * f64::from(1 << n));
        let durations = Histogram::new(buckets);
        Self { requests: Family::default(), responses: Family::default(), durations, shed: Family::default() }
    }
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let coredns = registry.sub_registry_with_prefix("coredns_dns");
        coredns.register("requests", "Questions, by protocol, family and type", self.requests.clone());
        coredns.register("responses", "Answers, by code", self.responses.clone());
        let took = self.durations.clone();
        coredns.register("request_duration_seconds", "From a question to its answer, in seconds", took);
        let own = registry.sub_registry_with_prefix("penstock_dns");
        own.register(
            "shed",
            "What was not answered because there was too much, by reason",
            self.shed.clone(),
        );
    }

    /// Counts a question.
    pub fn asked(&self, transport: Transport, client: IpAddr, record_type: RecordType) {
        let labels = OfRequest {
            zone: ".",
            proto: if transport == Transport::Udp { "udp" } else { "tcp" },
            family: if client.to_canonical().is_ipv4() { "1" } else { "2" },
            r#type: named(record_type),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts an answer, and how long it took.
    pub fn answered(&self, code: ResponseCode, took: Duration) {
        self.responses.get_or_create(&OfResponse { zone: ".", rcode: code_text(code) }).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts what was not answered.
    pub fn shed(&self, reason: Shed) {
        let reason = match reason {
            Shed::Upstream => "upstream",
            Shed::Send => "send",
            Shed::Connections => "connections",
            Shed::Client => "client",
        };
        self.shed.get_or_create(&Reason { reason }).inc();
    }
}

/// The types that CoreDNS names; a client cannot make more of them.
fn named(record_type: RecordType) -> &'static str {
    match record_type {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::MX => "MX",
        RecordType::SOA => "SOA",
        RecordType::CNAME => "CNAME",
        RecordType::PTR => "PTR",
        RecordType::TXT => "TXT",
        RecordType::NS => "NS",
        RecordType::SRV => "SRV",
        RecordType::DS => "DS",
        RecordType::DNSKEY => "DNSKEY",
        RecordType::RRSIG => "RRSIG",
        RecordType::NSEC => "NSEC",
        RecordType::NSEC3 => "NSEC3",
        RecordType::HTTPS => "HTTPS",
        RecordType::IXFR => "IXFR",
        RecordType::AXFR => "AXFR",
        RecordType::ANY => "ANY",
        _ => "other",
    }
}

fn code_text(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}
