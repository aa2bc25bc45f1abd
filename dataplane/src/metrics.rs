//! What the node agent counts, under `penstock_dataplane_`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::{Applied, ForeignRules, Programmed, Progress, Sync, nftables::Touched, proxy_health::Now};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    #[allow(non_camel_case_types, reason = "it is the label's value")]
    applied,
    #[allow(non_camel_case_types, reason = "it is the label's value")]
    failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transactions {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Foreign {
    rules: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Certainty {
    #[allow(non_camel_case_types, reason = "it is the label's value")]
    seen,
    #[allow(non_camel_case_types, reason = "it is the label's value")]
    possible,
}

/// Without the program's name, which anybody chooses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TouchedBy {
    certainty: Certainty,
}

/// The node agent's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    transactions: Family<Transactions, Counter>,
    duration: Histogram,
    operations: Counter,
    frontends: Gauge,
    endpoints: Gauge,
    last_failure: Gauge,
    foreign_rules: Family<Foreign, Gauge>,
    touched: Family<TouchedBy, Counter>,
    progress: Progress,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Progress::new("", Now::read().wall))
    }
}

impl Metrics {
    /// Metrics that tell what becomes of changes to `progress` too, which shows it in kube-proxy's names.
    #[must_use]
    pub fn new(progress: Progress) -> Self {
        Self {
            transactions: Family::default(),
            // 1 ms to 33 s.
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            operations: Counter::default(),
            frontends: Gauge::default(),
            endpoints: Gauge::default(),
            last_failure: Gauge::default(),
            foreign_rules: Family::default(),
            touched: Family::default(),
            progress,
        }
    }

    /// Shows them in a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("dataplane");
        registry.register("transactions", "Changes handed to the kernel", self.transactions.clone());
        let help = "From a batch of changes to the kernel's answer";
        registry.register("transaction_duration_seconds", help, self.duration.clone());
        let help = "Single additions and removals in the kernel";
        registry.register("operations", help, self.operations.clone());
        registry.register("frontends", "Frontends programmed", self.frontends.clone());
        let help = "Endpoints programmed, once for every frontend that leads to them";
        registry.register("endpoints", help, self.endpoints.clone());
        let help = "When a transaction failed last; 0 if none has";
        registry.register("last_failure_timestamp_seconds", help, self.last_failure.clone());
        let help = "1 for rules of another Service proxy that were found on the node at the start";
        registry.register("foreign_rules", help, self.foreign_rules.clone());
        let help = "Changes of our rules by other programs, and doubts whether there was one; each is followed by a load";
        registry.register("foreign_changes", help, self.touched.clone());
    }

    /// Shows what was found.
    pub fn found(&self, foreign: &ForeignRules) {
        for rules in foreign.names() {
            self.foreign_rules.get_or_create(&Foreign { rules: rules.to_owned() }).set(1);
        }
    }

    /// Others changed the rules, or may have.
    pub(crate) fn touched(&self, by: &Touched) {
        let certainty = match by {
            Touched::By { .. } | Touched::Missing { .. } => Certainty::seen,
            Touched::Unknown => Certainty::possible,
        };
        self.touched.get_or_create(&TouchedBy { certainty }).inc();
    }

    /// There was nothing to do for what was heard.
    pub(crate) fn unchanged(&self) {
        self.progress.settled(Now::read());
    }

    pub(crate) fn applied(&self, sync: Sync, applied: &Applied, took: Duration) {
        self.progress.synced(sync, took, true, Now::read());
        self.transactions.get_or_create(&Transactions { outcome: Outcome::applied }).inc();
        self.duration.observe(took.as_secs_f64());
        self.operations.inc_by(applied.operations as u64);
        let Programmed { frontends, endpoints } = applied.programmed;
        self.frontends.set(i64::try_from(frontends).unwrap_or(i64::MAX));
        self.endpoints.set(i64::try_from(endpoints).unwrap_or(i64::MAX));
    }

    pub(crate) fn failed(&self, sync: Sync, took: Duration) {
        self.progress.synced(sync, took, false, Now::read());
        self.transactions.get_or_create(&Transactions { outcome: Outcome::failed }).inc();
        self.duration.observe(took.as_secs_f64());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_failure.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}
