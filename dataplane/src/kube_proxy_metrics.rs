//! Metrics under the names of kube-proxy 1.36 (pkg/proxy/metrics/metrics.go), which dashboards and alerts read already.
//!
//! One transaction of ours programs both families: what kube-proxy counts for each is counted for both.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::http::StatusCode;
use jiff::Timestamp;
use penstock_model::Family;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family as Labelled,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The label of most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FamilyName(Family);

impl EncodeLabelValue for FamilyName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let name = match self.0 {
            Family::IPv4 => "IPv4",
            Family::IPv6 => "IPv6",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFamily {
    ip_family: FamilyName,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCode {
    code: u16,
}

const BOTH: [Family; 2] = [Family::IPv4, Family::IPv6];

type Timestamps = Labelled<OfFamily, Gauge<f64, AtomicU64>>;
type Durations = Labelled<OfFamily, Histogram, fn() -> Histogram>;

/// How much of what is to be programmed a transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// All.
    Full,
    /// What changed.
    Partial,
}

/// The metrics; clones share them.
#[derive(Clone, Debug)]
pub struct KubeProxyMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    duration: Durations,
    full_duration: Durations,
    partial_duration: Durations,
    last: Timestamps,
    last_queued: Timestamps,
    programming: Durations,
    endpoint_changes: Counter,
    endpoint_changes_pending: Gauge,
    service_changes: Counter,
    service_changes_pending: Gauge,
    failures: Labelled<OfFamily, Counter>,
    healthz: Labelled<OfCode, Counter>,
    livez: Labelled<OfCode, Counter>,
}

impl Default for KubeProxyMetrics {
    fn default() -> Self {
        let syncs = || Durations::new_with_constructor(sync_histogram);
        Self(Arc::new(Inner {
            duration: syncs(),
            full_duration: syncs(),
            partial_duration: syncs(),
            last: Timestamps::default(),
            last_queued: Timestamps::default(),
            programming: Durations::new_with_constructor(programming_histogram),
            endpoint_changes: Counter::default(),
            endpoint_changes_pending: Gauge::default(),
            service_changes: Counter::default(),
            service_changes_pending: Gauge::default(),
            failures: Labelled::default(),
            healthz: Labelled::default(),
            livez: Labelled::default(),
        }))
    }
}

/// 1 ms to 16 s, as upstream.
fn sync_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// Upstream's: quarters of a second, seconds up to a minute, and so on up to five minutes.
fn programming_histogram() -> Histogram {
    let seconds = (1..=59).chain((60..=115).step_by(5)).chain((120..=300).step_by(30));
    Histogram::new([0.25, 0.5].into_iter().chain(seconds.map(f64::from)))
}

impl KubeProxyMetrics {
    /// Shows them in a registry, which must have no prefix.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kubeproxy");
        let name = "sync_proxy_rules_duration_seconds";
        registry.register(name, "SyncProxyRules latency in seconds", self.0.duration.clone());
        let (name, help) =
            ("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs");
        registry.register(name, help, self.0.full_duration.clone());
        let (name, help) = (
            "sync_partial_proxy_rules_duration_seconds",
            "SyncProxyRules latency in seconds for partial resyncs",
        );
        registry.register(name, help, self.0.partial_duration.clone());
        let (name, help) =
            ("network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds");
        registry.register(name, help, self.0.programming.clone());
        self.register_timestamps(registry);
        self.register_changes(registry);
        self.register_counts(registry);
    }

    fn register_timestamps(&self, registry: &mut Registry) {
        let help = "The last time proxy rules were successfully synced";
        registry.register("sync_proxy_rules_last_timestamp_seconds", help, self.0.last.clone());
        let help = "The last time a sync of proxy rules was queued";
        registry.register("sync_proxy_rules_last_queued_timestamp_seconds", help, self.0.last_queued.clone());
    }

    fn register_changes(&self, registry: &mut Registry) {
        let mut add = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        let help = "Cumulative proxy rules Endpoint changes";
        add("sync_proxy_rules_endpoint_changes", help, &self.0.endpoint_changes);
        let help = "Cumulative proxy rules Service changes";
        add("sync_proxy_rules_service_changes", help, &self.0.service_changes);
        let mut add = |name, help, gauge: &Gauge| registry.register(name, help, gauge.clone());
        let help = "Pending proxy rules Endpoint changes";
        add("sync_proxy_rules_endpoint_changes_pending", help, &self.0.endpoint_changes_pending);
        let help = "Pending proxy rules Service changes";
        add("sync_proxy_rules_service_changes_pending", help, &self.0.service_changes_pending);
    }

    fn register_counts(&self, registry: &mut Registry) {
        let help = "Cumulative proxy nftables sync failures";
        registry.register("sync_proxy_rules_nftables_sync_failures", help, self.0.failures.clone());
        let help = "Cumulative proxy healthz HTTP status";
        registry.register("proxy_healthz", help, self.0.healthz.clone());
        registry.register("proxy_livez", "Cumulative proxy livez HTTP status", self.0.livez.clone());
    }

    /// A Service was heard of.
    pub(crate) fn service_changed(&self, now: Timestamp) {
        self.0.service_changes.inc();
        self.0.service_changes_pending.inc();
        stamp(&self.0.last_queued, now);
    }

    /// A slice was heard of.
    pub(crate) fn endpoints_changed(&self, now: Timestamp) {
        self.0.endpoint_changes.inc();
        self.0.endpoint_changes_pending.inc();
        stamp(&self.0.last_queued, now);
    }

    /// All that was heard is programmed.
    pub(crate) fn settled(&self, now: Timestamp) {
        self.0.endpoint_changes_pending.set(0);
        self.0.service_changes_pending.set(0);
        stamp(&self.0.last, now);
    }

    /// The kernel answered, for good or ill.
    pub(crate) fn synced(&self, sync: Sync, took: Duration) {
        let by_kind = match sync {
            Sync::Full => &self.0.full_duration,
            Sync::Partial => &self.0.partial_duration,
        };
        for durations in [&self.0.duration, by_kind] {
            BOTH.into_iter().for_each(|f| durations.get_or_create(&of(f)).observe(took.as_secs_f64()));
        }
    }

    /// The kernel refused.
    pub(crate) fn failed(&self) {
        for family in BOTH {
            self.0.failures.get_or_create(&of(family)).inc();
        }
    }

    /// So long after what triggered it a change of endpoints is programmed.
    pub(crate) fn programmed_after(&self, family: Family, took: Duration) {
        self.0.programming.get_or_create(&of(family)).observe(took.as_secs_f64());
    }

    pub(crate) fn healthz_answered(&self, status: StatusCode) {
        self.0.healthz.get_or_create(&OfCode { code: status.as_u16() }).inc();
    }

    pub(crate) fn livez_answered(&self, status: StatusCode) {
        self.0.livez.get_or_create(&OfCode { code: status.as_u16() }).inc();
    }
}

fn of(family: Family) -> OfFamily {
    OfFamily { ip_family: FamilyName(family) }
}

/// Seconds since 1970, as Prometheus has them.
fn stamp(timestamps: &Timestamps, now: Timestamp) {
    #[allow(clippy::cast_precision_loss, reason = "microseconds are kept for centuries")]
    let seconds = now.as_microsecond() as f64 / 1e6;
    for family in BOTH {
        timestamps.get_or_create(&of(family)).set(seconds);
    }
}
