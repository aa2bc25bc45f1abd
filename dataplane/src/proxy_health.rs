//! Whether the node agent does its work, by kube-proxy's rules (pkg/proxy/healthcheck/proxy_health.go): it is in order
//! unless something has waited too long for being programmed. That the API server is away makes nothing wait.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;

/// What was heard and could not be programmed for so long is too late: twice kube-proxy's sync period.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The Cluster Autoscaler's mark of a node that it is about to remove.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For what has passed.
    pub monotonic: Instant,
    /// For people.
    pub wall: Timestamp,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        Self { monotonic: Instant::now(), wall: Timestamp::now() }
    }
}

/// How far the kernel is behind what was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    last_updated: Option<Timestamp>,
    oldest_pending: Option<Instant>,
    /// Something was programmed, or should have been: before, whatever is heard is part of the first lists.
    started: bool,
}

impl Backlog {
    /// Something was heard that may have to be programmed.
    pub(crate) fn queued(&mut self, now: Now) {
        if self.started {
            self.oldest_pending.get_or_insert(now.monotonic);
        }
    }

    /// The kernel holds all that was heard.
    pub(crate) fn updated(&mut self, now: Now) {
        *self = Self { last_updated: Some(now.wall), oldest_pending: None, started: true };
    }

    /// The kernel did not take what was heard. Unlike kube-proxy we count from the first attempt, also where none has
    /// succeeded yet.
    pub(crate) fn failed(&mut self, now: Now) {
        self.started = true;
        self.oldest_pending.get_or_insert(now.monotonic);
    }

    /// Whether nothing has waited for too long.
    pub(crate) fn is_healthy(&self, now: Now) -> bool {
        let waited = self.oldest_pending.map(|since| now.monotonic.saturating_duration_since(since));
        waited.is_none_or(|waited| waited < PATIENCE)
    }

    /// When the kernel held all that was heard last; `None` if it never did.
    pub(crate) fn last_updated(&self) -> Option<Timestamp> {
        self.last_updated
    }
}

/// Whether new connections from outside are to come here: not to a node that is about to go.
#[must_use]
pub fn is_eligible(node: &core::Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    node.metadata.deletion_timestamp.is_none() && taints.iter().all(|taint| taint.key != TO_BE_DELETED)
}

/// What all servers of the node agent ask: shared between them and the task that programs.
#[derive(Clone, Debug, Default)]
pub struct ProxyHealth(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    backlog: Backlog,
    /// A node that is not known is not eligible, as to kube-proxy.
    node_eligible: bool,
}

impl ProxyHealth {
    /// Something was heard that may have to be programmed.
    pub fn queued(&self, now: Now) {
        self.lock().backlog.queued(now);
    }

    /// The kernel holds all that was heard, also where it had nothing to do for it.
    pub fn updated(&self, now: Now) {
        self.lock().backlog.updated(now);
    }

    /// The kernel did not take what was heard.
    pub fn failed(&self, now: Now) {
        self.lock().backlog.failed(now);
    }

    /// What is known of the node that this is: [`is_eligible`], and false once it is gone.
    pub fn set_node_eligible(&self, eligible: bool) {
        self.lock().node_eligible = eligible;
    }

    /// Whether nothing has waited for too long.
    #[must_use]
    pub fn is_healthy(&self, now: Now) -> bool {
        self.lock().backlog.is_healthy(now)
    }

    /// Backlog, and whether the node is eligible.
    pub(crate) fn read(&self) -> (Backlog, bool) {
        let state = *self.lock();
        (state.backlog, state.node_eligible)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn after(start: Now, seconds: u64) -> Now {
        let passed = Duration::from_secs(seconds);
        Now { monotonic: start.monotonic + passed, wall: start.wall + passed }
    }

    #[test]
    fn the_oldest_update_that_waits_decides() {
        let (mut backlog, start) = (Backlog::default(), Now::read());
        backlog.updated(start);
        backlog.queued(after(start, 10));
        backlog.queued(after(start, 65));
        assert!(backlog.is_healthy(after(start, 69)));
        assert!(!backlog.is_healthy(after(start, 70)), "the first has waited for a minute");
        backlog.updated(after(start, 80));
        assert!(backlog.is_healthy(after(start, 10_000)), "nothing waits");
        assert_eq!(backlog.last_updated(), Some(after(start, 80).wall));
    }

    #[test]
    fn waiting_for_the_first_lists_is_healthy_and_a_first_load_that_fails_is_not() {
        let (mut backlog, start) = (Backlog::default(), Now::read());
        backlog.queued(start);
        assert!(backlog.is_healthy(after(start, 10_000)), "the API server is away");
        backlog.failed(after(start, 10_000));
        backlog.failed(after(start, 10_030));
        assert!(backlog.is_healthy(after(start, 10_059)));
        assert!(!backlog.is_healthy(after(start, 10_060)));
        assert_eq!(backlog.last_updated(), None);
    }

    #[test]
    fn a_node_that_is_about_to_go_is_not_eligible() {
        let node = |metadata: Value, taints: Value| {
            let node = json!({"metadata": metadata, "spec": {"taints": taints}});
            is_eligible(&serde_json::from_value(node).unwrap())
        };
        let other = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
        assert!(node(json!({}), json!(null)) && node(json!({}), other));
        assert!(!node(json!({"deletionTimestamp": "2026-11-23T03:00:00Z"}), json!(null)));
        assert!(!node(json!({}), json!([{"key": TO_BE_DELETED, "effect": "NoSchedule"}])));
    }
}
