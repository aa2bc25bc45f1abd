//! What matters of a Node.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1 as core;

use crate::parse_ip;

/// Upstream's label (`service.kubernetes.io`, k8s.io/cloud-provider) that takes a node out of
/// external load balancing.
const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The cluster autoscaler's taint on a node that it is about to delete.
const DELETION_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// Where the node is.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// A node: its addresses and whether it may receive external traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `InternalIP`s in the object's order.
    pub internal_ips: Vec<IpAddr>,
    /// Condition `NetworkUnavailable` is `True`.
    pub network_unavailable: bool,
    /// Whether it is about to go: cordoned, which is how a drain begins, or to be deleted by the autoscaler.
    pub leaving: bool,
}

impl Node {
    /// Reads a Node object. Addresses that cannot be read are left out.
    #[must_use]
    pub fn from_object(node: &core::Node) -> Self {
        let status = node.status.as_ref();
        let addresses = status.and_then(|s| s.addresses.as_deref()).unwrap_or_default();
        let spec = node.spec.as_ref();
        let taints = spec.and_then(|s| s.taints.as_deref()).unwrap_or_default();
        let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            internal_ips: addresses
                .iter()
                .filter(|a| a.type_ == "InternalIP")
                .filter_map(|a| parse_ip(&a.address))
                .collect(),
            network_unavailable: conditions
                .iter()
                .any(|c| c.type_ == "NetworkUnavailable" && c.status == "True"),
            leaving: spec.is_some_and(|s| s.unschedulable == Some(true))
                || taints.iter().any(|taint| taint.key == DELETION_TAINT),
        }
    }

    /// Its zone, if it is said.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.labels.get(ZONE_LABEL).map(String::as_str).filter(|zone| !zone.is_empty())
    }

    /// Whether the exclude label takes it out: any value but a parseable false does, as upstream reads it
    /// (`""` and garbage exclude).
    #[must_use]
    pub fn excluded_from_load_balancers(&self) -> bool {
        const FALSE: [&str; 6] = ["0", "f", "F", "false", "FALSE", "False"];
        self.labels.get(EXCLUDE_LABEL).is_some_and(|value| !FALSE.contains(&value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(value: Option<&str>) -> Node {
        let labels = value.map(|v| (EXCLUDE_LABEL.to_owned(), v.to_owned())).into_iter().collect();
        Node { name: "n".into(), labels, internal_ips: vec![], network_unavailable: false, leaving: false }
    }

    #[test]
    fn only_a_parseable_false_keeps_an_excluded_node() {
        assert!(!labelled(None).excluded_from_load_balancers());
        assert!(!labelled(Some("false")).excluded_from_load_balancers());
        for value in ["", "true", "garbage"] {
            assert!(labelled(Some(value)).excluded_from_load_balancers(), "{value:?}");
        }
    }

    #[test]
    fn a_node_leaves_when_it_is_cordoned_or_to_be_deleted() {
        let leaves = |spec: serde_json::Value| {
            let node: core::Node =
                serde_json::from_value(serde_json::json!({"metadata": {"name": "n1"}, "spec": spec}))
                    .unwrap();
            Node::from_object(&node).leaving
        };
        let taint = |key: &str| serde_json::json!({"taints": [{"key": key, "effect": "NoSchedule"}]});
        assert!(!leaves(serde_json::json!({})));
        assert!(!leaves(taint("example.com/gpu")));
        assert!(leaves(serde_json::json!({"unschedulable": true})));
        assert!(leaves(taint("ToBeDeletedByClusterAutoscaler")));
    }

    #[test]
    fn addresses_keep_their_order_and_an_empty_zone_is_none() {
        let node: core::Node = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "n1", "labels": {ZONE_LABEL: "a"}},
            "status": {"addresses": [
                {"type": "Hostname", "address": "n1"},
                {"type": "InternalIP", "address": "203.0.113.12"},
                {"type": "InternalIP", "address": "2001:db8:113::11"},
                {"type": "InternalIP", "address": "203.0.113.11"}]}
        }))
        .unwrap();
        let mut node = Node::from_object(&node);
        let texts: Vec<String> = node.internal_ips.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["203.0.113.12", "2001:db8:113::11", "203.0.113.11"]);
        assert_eq!(node.zone(), Some("a"));
        node.labels.insert(ZONE_LABEL.into(), String::new());
        assert_eq!(node.zone(), None);
    }
}
