//! What is heard and what is programmed, for those who ask how the node agent does: its servers and its metrics.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use penstock_model::Family;
use penstock_runtime::Update;

use crate::{
    Event, KubeProxyMetrics, Piece, ProxyHealth, Sync,
    proxy_health::{Now, is_eligible},
};

/// When the control plane saw what led to a change of endpoints.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Changes of endpoints whose delay is to be measured once they are programmed. While the kernel refuses, those
/// beyond are not measured.
const TRIGGERS: usize = 10_000;

/// Hears everything; clones share what they know.
#[derive(Clone, Debug)]
pub struct Progress {
    node: Arc<str>,
    /// What was triggered before is not ours to measure.
    since: Timestamp,
    /// What other servers ask.
    pub health: ProxyHealth,
    /// In kube-proxy's names.
    pub metrics: KubeProxyMetrics,
    triggers: Arc<Mutex<Vec<(Family, Timestamp)>>>,
}

impl Progress {
    /// Of the node of this name, which has heard nothing before `since`.
    #[must_use]
    pub fn new(node: &str, since: Timestamp) -> Self {
        Self {
            node: node.into(),
            since,
            health: ProxyHealth::default(),
            metrics: KubeProxyMetrics::default(),
            triggers: Arc::default(),
        }
    }

    /// Something was heard, which is going to be programmed.
    pub fn heard(&self, event: &Event, now: Now) {
        match event {
            Event::Service(piece) => match **piece {
                Piece::Apply(_) | Piece::Delete(_) => self.metrics.service_changed(now.wall),
                // As kube-proxy, which counts objects.
                Piece::Complete(_) => {}
            },
            Event::Slice(piece) => self.heard_slice(piece, now),
            Event::Node(update) => self.heard_node(update),
            Event::ExternalIpPolicy(_) | Event::ServiceCidr(_) => {}
            // Nothing that was asked for.
            Event::Touched(_) => return,
        }
        self.health.queued(now);
    }

    fn heard_slice(&self, piece: &Piece<EndpointSlice>, now: Now) {
        if let Piece::Apply(_) | Piece::Delete(_) = piece {
            self.metrics.endpoints_changed(now.wall);
        }
        let Piece::Apply(slice) = piece else { return };
        if let Some(trigger) = trigger(slice).filter(|(_, at)| *at > self.since) {
            let mut triggers = self.triggers.lock().unwrap_or_else(PoisonError::into_inner);
            if triggers.len() < TRIGGERS {
                triggers.push(trigger);
            }
        }
    }

    fn heard_node(&self, update: &Update<k8s_openapi::api::core::v1::Node>) {
        let is_ours =
            |node: &k8s_openapi::api::core::v1::Node| node.metadata.name.as_deref() == Some(&*self.node);
        match update {
            Update::Reset(all) => {
                self.health.set_node_eligible(all.iter().find(|n| is_ours(n)).is_some_and(is_eligible));
            }
            Update::Apply(node) if is_ours(node) => self.health.set_node_eligible(is_eligible(node)),
            Update::Delete(node) if is_ours(node) => self.health.set_node_eligible(false),
            Update::Apply(_) | Update::Delete(_) => {}
        }
    }

    /// The kernel holds all that was heard, after a transaction or because nothing was left to do.
    pub fn settled(&self, now: Now) {
        self.health.updated(now);
        self.metrics.settled(now.wall);
        let triggers = std::mem::take(&mut *self.triggers.lock().unwrap_or_else(PoisonError::into_inner));
        for (family, at) in triggers {
            let took = now.wall.duration_since(at).max(SignedDuration::ZERO);
            self.metrics.programmed_after(family, took.unsigned_abs());
        }
    }

    /// A transaction was answered after this time: the kernel took it or did not.
    pub fn synced(&self, sync: Sync, took: std::time::Duration, taken: bool, now: Now) {
        self.metrics.synced(sync, took);
        if taken {
            self.settled(now);
        } else {
            self.health.failed(now);
            self.metrics.failed();
        }
    }
}

fn trigger(slice: &EndpointSlice) -> Option<(Family, Timestamp)> {
    let family = if slice.address_type == "IPv6" { Family::IPv6 } else { Family::IPv4 };
    let at = slice.metadata.annotations.as_ref()?.get(TRIGGER_TIME)?.parse().ok()?;
    Some((family, at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use prometheus_client::{encoding::text::encode, registry::Registry};
    use serde_json::{Value, json};

    fn text(progress: &Progress) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        progress.metrics.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        text
    }

    fn slice(family: &str, trigger: &str) -> Event {
        let slice = json!({
            "metadata": {"name": "s", "annotations": {TRIGGER_TIME: trigger}}, "addressType": family, "endpoints": []});
        Event::Slice(Box::new(Piece::Apply(serde_json::from_value(slice).unwrap())))
    }

    fn node(
        update: fn(k8s_openapi::api::core::v1::Node) -> Update<k8s_openapi::api::core::v1::Node>,
        name: &str,
        taints: &Value,
    ) -> Event {
        let node = json!({"metadata": {"name": name}, "spec": {"taints": taints}});
        Event::Node(Box::new(update(serde_json::from_value(node).unwrap())))
    }

    fn at(wall: &str) -> Now {
        Now { wall: wall.parse().unwrap(), ..Now::read() }
    }

    #[test]
    fn changes_of_endpoints_are_measured_from_their_trigger_to_the_kernels_answer() {
        let progress = Progress::new("n1", "2026-11-23T12:00:00Z".parse().unwrap());
        for (family, trigger) in [
            ("IPv4", "2026-11-23T12:00:10Z"),
            ("IPv6", "2026-11-23T12:00:10.25Z"),
            ("IPv6", "2026-11-23T11:59:59Z"),
            ("IPv4", "nonsense"),
        ] {
            progress.heard(&slice(family, trigger), at("2026-11-23T12:00:11Z"));
        }
        assert!(text(&progress).contains("kubeproxy_sync_proxy_rules_endpoint_changes_pending 4"));
        let took = Duration::from_millis(3);
        progress.synced(Sync::Full, took, false, at("2026-11-23T12:00:11Z"));
        assert!(!text(&progress).contains("network_programming_duration_seconds_sum{"));
        progress.synced(Sync::Partial, took, true, at("2026-11-23T12:00:12.5Z"));
        let text = text(&progress);
        for line in [
            "kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"} 2.5",
            "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 2",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 4",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1795435212.5",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv6\"} 1795435211.0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn only_this_node_decides_whether_it_is_eligible() {
        let progress = Progress::new("n1", Timestamp::UNIX_EPOCH);
        let leaving = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
        let eligible = |event: &Event| {
            progress.heard(event, Now::read());
            progress.health.read().1
        };
        assert!(!eligible(&node(|n| Update::Reset(vec![n]), "n2", &json!([]))), "this one is not known");
        assert!(eligible(&node(|n| Update::Reset(vec![n]), "n1", &json!([]))));
        assert!(eligible(&node(Update::Apply, "n2", &leaving)));
        assert!(!eligible(&node(Update::Apply, "n1", &leaving)));
        assert!(eligible(&node(Update::Apply, "n1", &json!([]))));
        assert!(!eligible(&node(Update::Delete, "n1", &json!([]))));
    }
}
