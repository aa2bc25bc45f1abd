//! What the operator measures of itself.

use penstock_model::Family;
use penstock_runtime::Telemetry;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family as Labelled, gauge::Gauge},
};

/// A reconciliation's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// One family of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolFamily {
    pool: String,
    family: String,
}

/// The operator's metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    reconciles: Labelled<Outcome, Counter>,
    writes: Counter,
    waiting: Gauge,
    free: Labelled<PoolFamily, Gauge>,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn register(telemetry: &Telemetry) -> Self {
        let metrics = Self::default();
        telemetry.register(|registry| {
            let operator = registry.sub_registry_with_prefix("operator");
            operator.register("reconciles", "Reconciliations by outcome", metrics.reconciles.clone());
            operator.register("status_writes", "Patches of a Service's status", metrics.writes.clone());
            operator.register("waiting_services", "Services without an address", metrics.waiting.clone());
            let pool = registry.sub_registry_with_prefix("pool");
            pool.register("addresses_free", "Free addresses of a pool", metrics.free.clone());
        });
        metrics
    }

    pub(crate) fn reconciled(&self, outcome: &'static str) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn wrote(&self) {
        self.writes.inc();
    }

    pub(crate) fn set_waiting(&self, count: usize) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// After a change of pools: one that is gone has no figure.
    pub(crate) fn forget_pools(&self) {
        self.free.clear();
    }

    /// Sets the figures of all pools.
    pub(crate) fn set_free(&self, pools: Vec<(String, Family, u128)>) {
        for (pool, family, count) in pools {
            let labels = PoolFamily { pool, family: format!("{family:?}") };
            self.free.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
