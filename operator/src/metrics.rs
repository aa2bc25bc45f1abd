//! What the operator measures of itself.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use penstock_model::{Family, ObjectKey};
use penstock_providers::{AnyProvider, pool::PoolUsage};
use penstock_runtime::Telemetry;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family as Labelled,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

/// A reconciliation's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// A call of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    provider: &'static str,
    call: &'static str,
    outcome: &'static str,
}

/// A call of a provider's API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiCall {
    provider: &'static str,
    call: &'static str,
}

/// One family of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolFamily {
    pool: String,
    family: String,
}

/// Why a Service waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: String,
}

/// 1 ms to 32 s, doubling.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// The operator's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reconciles: Labelled<Outcome, Counter>,
    durations: Labelled<Outcome, Histogram>,
    calls: Labelled<Call, Histogram>,
    api_calls: Labelled<ApiCall, Counter>,
    /// What providers had counted when they were last asked, by whose calls they are.
    counted: Arc<Mutex<HashMap<(String, &'static str), u64>>>,
    writes: Counter,
    waiting: Gauge,
    free: Labelled<PoolFamily, Gauge>,
    last_failure: Labelled<Why, Gauge>,
    depth: Gauge,
    /// Services that were triggered and whose reconciliation has not begun.
    queue: Arc<Mutex<HashSet<ObjectKey>>>,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn register(telemetry: &Telemetry) -> Self {
        let metrics = Self {
            reconciles: Labelled::default(),
            durations: Labelled::new_with_constructor(durations),
            calls: Labelled::new_with_constructor(durations),
            api_calls: Labelled::default(),
            counted: Arc::default(),
            writes: Counter::default(),
            waiting: Gauge::default(),
            free: Labelled::default(),
            last_failure: Labelled::default(),
            depth: Gauge::default(),
            queue: Arc::default(),
        };
        telemetry.register(|registry| {
            let operator = registry.sub_registry_with_prefix("operator");
            operator.register("reconciles", "Reconciliations by outcome", metrics.reconciles.clone());
            let help = "Time of a reconciliation by outcome";
            operator.register("reconcile_duration_seconds", help, metrics.durations.clone());
            operator.register("status_writes", "Patches of a Service's status", metrics.writes.clone());
            operator.register("waiting_services", "Services without an address", metrics.waiting.clone());
            operator.register("queue_depth", "Services to be looked at", metrics.depth.clone());
            let help = "When a Service last waited or failed for this reason, in seconds since the epoch";
            operator.register("last_failure_timestamp_seconds", help, metrics.last_failure.clone());
            let provider = registry.sub_registry_with_prefix("provider");
            let help = "Time of a provider's calls by outcome";
            provider.register("call_duration_seconds", help, metrics.calls.clone());
            let help = "Calls of the APIs that providers use, by their names there";
            provider.register("api_calls", help, metrics.api_calls.clone());
            let pool = registry.sub_registry_with_prefix("pool");
            pool.register("addresses_free", "Free addresses of a pool", metrics.free.clone());
        });
        metrics
    }

    pub(crate) fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.durations.get_or_create(&Outcome { outcome }).observe(took.as_secs_f64());
    }

    pub(crate) fn called(
        &self,
        provider: &'static str,
        call: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.calls.get_or_create(&Call { provider, call, outcome }).observe(took.as_secs_f64());
    }

    /// Takes over what a provider has counted; `whose` are those who share its calls.
    pub(crate) fn called_api(&self, whose: &str, provider: &dyn AnyProvider) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for (call, count) in provider.calls() {
            let before = counted.insert((whose.to_owned(), call), count).unwrap_or_default();
            // One that was made anew begins at zero.
            let new = count.checked_sub(before).unwrap_or(count);
            let labels = ApiCall { provider: provider.capabilities().provider, call };
            self.api_calls.get_or_create(&labels).inc_by(new);
        }
    }

    /// A Service waits for this reason, or could not be looked at because of it.
    pub(crate) fn failed(&self, reason: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let why = Why { reason: reason.to_owned() };
        self.last_failure.get_or_create(&why).set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// A Service is to be looked at.
    pub(crate) fn queued(&self, key: ObjectKey) {
        let mut queue = self.queue();
        queue.insert(key);
        self.depth.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
    }

    /// It is being looked at, or gone.
    pub(crate) fn dequeued(&self, key: &ObjectKey) {
        let mut queue = self.queue();
        queue.remove(key);
        self.depth.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
    }

    fn queue(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) fn set_free(&self, pools: &BTreeMap<String, PoolUsage>) {
        for (pool, usage) in pools {
            for (family, free) in [(Family::IPv4, usage.available_v4), (Family::IPv6, usage.available_v6)] {
                let labels = PoolFamily { pool: pool.clone(), family: format!("{family:?}") };
                self.free.get_or_create(&labels).set(free);
            }
        }
    }
}
