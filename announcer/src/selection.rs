//! What advertisements of every kind select by: pools, Services and nodes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use penstock_crds::{LabelSelectorError, LabelSelectors};
use penstock_model::Node;

use crate::pool::Pool;

/// Which addresses are announced, and from which nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pools: BTreeSet<String>,
    pool_selectors: LabelSelectors,
    services: LabelSelectors,
    nodes: LabelSelectors,
}

impl Selection {
    /// Reads the fields that every kind of advertisement has.
    ///
    /// # Errors
    /// A selector that cannot be read. The whole object is refused then: to guess which nodes were meant could
    /// announce from the wrong ones.
    pub fn read(
        pools: &[String],
        pool_selectors: &[LabelSelector],
        services: &[LabelSelector],
        nodes: &[LabelSelector],
    ) -> Result<Self, LabelSelectorError> {
        Ok(Self {
            pools: pools.iter().cloned().collect(),
            pool_selectors: LabelSelectors::read("spec.ipAddressPoolSelectors", pool_selectors)?,
            services: LabelSelectors::read("spec.serviceSelectors", services)?,
            nodes: LabelSelectors::read("spec.nodeSelectors", nodes)?,
        })
    }

    /// Whether the pool's addresses are announced: named, selected by label, or neither given.
    #[must_use]
    pub fn covers(&self, pool: &Pool) -> bool {
        let unrestricted = self.pools.is_empty() && self.pool_selectors.is_empty();
        unrestricted || self.pools.contains(&pool.name) || self.pool_selectors.any_matches(&pool.labels)
    }

    /// Whether a Service with these labels is announced: selected by any selector, or none given.
    #[must_use]
    pub fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.services.is_empty() || self.services.any_matches(labels)
    }

    /// Whether the node may announce: selected by any selector, or none given.
    #[must_use]
    pub fn selects(&self, node: &Node) -> bool {
        self.nodes.is_empty() || self.nodes.any_matches(&node.labels)
    }
}

#[cfg(test)]
mod tests {
    use penstock_crds::L2AdvertisementSpec;
    use serde_json::{Value, json};

    use super::*;

    fn selection(spec: &Value) -> Result<Selection, LabelSelectorError> {
        let spec: L2AdvertisementSpec = serde_json::from_value(spec.clone()).unwrap();
        Selection::read(
            &spec.ip_address_pools,
            &spec.ip_address_pool_selectors,
            &spec.service_selectors,
            &spec.node_selectors,
        )
    }

    fn pool(name: &str, tier: &str, addresses: &[&str]) -> Pool {
        let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
            "metadata": {"name": name, "labels": {"tier": tier}}, "spec": {"addresses": addresses}});
        Pool::from_object(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn pools_are_selected_by_name_or_label_or_all_of_them() {
        let by_label = json!([{"matchLabels": {"tier": "gold"}}]);
        let cases = [
            (json!({}), [true, true, true]),
            (json!({"ipAddressPools": ["a"]}), [true, false, false]),
            (json!({"ipAddressPoolSelectors": by_label}), [false, true, false]),
            (json!({"ipAddressPools": ["a"], "ipAddressPoolSelectors": by_label}), [true, true, false]),
            (json!({"ipAddressPoolSelectors": [{}]}), [true, true, true]),
        ];
        let pools = [pool("a", "tin", &[]), pool("b", "gold", &[]), pool("c", "tin", &[])];
        for (spec, expected) in cases {
            let selection = selection(&spec).unwrap();
            assert_eq!(pools.each_ref().map(|pool| selection.covers(pool)), expected, "{spec}");
        }
    }

    #[test]
    fn node_selectors_are_alternatives() {
        let rack = |value: &str| json!({"matchLabels": {"rack": value}});
        let node = Node {
            name: "n1".into(),
            labels: BTreeMap::from([("rack".into(), "r1".into())]),
            internal_ips: vec![],
            network_unavailable: false,
            leaving: false,
        };
        for (selectors, expected) in [
            (json!([]), true),
            (json!([rack("r1")]), true),
            (json!([rack("r2")]), false),
            (json!([rack("r2"), rack("r1")]), true),
        ] {
            let selection = selection(&json!({"nodeSelectors": selectors})).unwrap();
            assert_eq!(selection.selects(&node), expected, "{selectors}");
        }
    }

    #[test]
    fn an_unreadable_selector_refuses_the_whole() {
        let bad = json!([{"matchExpressions": [{"key": "a", "operator": "Near"}]}]);
        assert!(selection(&json!({"nodeSelectors": bad})).is_err());
    }

    #[test]
    fn service_selectors_are_alternatives() {
        let gold = json!([{"matchLabels": {"tier": "tin"}}, {"matchLabels": {"tier": "gold"}}]);
        let labels = |tier: &str| BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
        let selection = selection(&json!({"serviceSelectors": gold})).unwrap();
        assert!(selection.takes(&labels("gold")));
        assert!(!selection.takes(&labels("lead")));
        assert!(Selection::default().takes(&labels("lead")));
    }
}
