//! Pools and what announces them, read once from their objects.

use std::{collections::BTreeMap, collections::BTreeSet, net::IpAddr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use penstock_crds::{
    AddressRange, ConditionKind, IPAddressPool, L2Advertisement, LabelSelectorError, LabelSelectors,
};
use penstock_model::Node;

/// An IPAddressPool, as far as announcing goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The name; advertisements select by it.
    pub name: String,
    /// The labels; advertisements select by them.
    pub labels: BTreeMap<String, String>,
    /// The ranges that can be read.
    pub ranges: Vec<AddressRange>,
    /// The operator refused it: `Accepted` is `False`. A pool without the condition is not refused: right after
    /// its creation, or while the operator is away, its addresses must not wait for a judgement.
    pub refused: bool,
}

impl Pool {
    /// Reads a pool. Entries that cannot be read are left out: the operator hands out nothing from them and
    /// shows them in the pool's condition.
    #[must_use]
    pub fn from_object(object: &IPAddressPool) -> Self {
        Self {
            name: object.metadata.name.clone().unwrap_or_default(),
            labels: object.metadata.labels.clone().unwrap_or_default(),
            ranges: object.spec.addresses.iter().filter_map(|entry| entry.parse().ok()).collect(),
            refused: object.status.as_ref().is_some_and(|status| is_refused(&status.conditions)),
        }
    }

    /// A pool of which only the name is left.
    #[must_use]
    pub fn deleted(name: String) -> Self {
        Self { name, labels: BTreeMap::new(), ranges: Vec::new(), refused: false }
    }

    /// Whether the address is in the pool. In one that was refused no address is: it may overlap another, whose
    /// addresses it must not steer.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        !self.refused && self.ranges.iter().any(|range| range.contains(address))
    }
}

fn is_refused(conditions: &[Condition]) -> bool {
    let accepted = ConditionKind::Accepted.to_string();
    conditions.iter().any(|condition| condition.type_ == accepted && condition.status == "False")
}

/// The interfaces that a node answers on for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSelection {
    /// Those that hold one of the node's InternalIPs, or those of `--interface`.
    pub default: bool,
    /// These, by name.
    pub named: BTreeSet<String>,
}

impl InterfaceSelection {
    /// Adds what another advertisement selects.
    pub fn extend(&mut self, other: &Self) {
        self.default |= other.default;
        self.named.extend(other.named.iter().cloned());
    }
}

/// An L2Advertisement: which pools, from which nodes, on which interfaces.
#[derive(Clone, Debug)]
pub struct Advertisement {
    pools: BTreeSet<String>,
    pool_selectors: LabelSelectors,
    nodes: LabelSelectors,
    /// The interfaces it announces on.
    pub interfaces: InterfaceSelection,
}

impl Advertisement {
    /// Reads an advertisement.
    ///
    /// # Errors
    /// A selector that cannot be read. The whole object is refused then: to guess which nodes were meant could
    /// announce from the wrong ones.
    pub fn from_object(object: &L2Advertisement) -> Result<Self, LabelSelectorError> {
        let spec = &object.spec;
        Ok(Self {
            pools: spec.ip_address_pools.iter().cloned().collect(),
            pool_selectors: LabelSelectors::read(
                "spec.ipAddressPoolSelectors",
                &spec.ip_address_pool_selectors,
            )?,
            nodes: LabelSelectors::read("spec.nodeSelectors", &spec.node_selectors)?,
            interfaces: InterfaceSelection {
                default: spec.interfaces.is_empty(),
                named: spec.interfaces.iter().cloned().collect(),
            },
        })
    }

    /// Whether it announces the pool's addresses: named, selected by label, or neither given.
    #[must_use]
    pub fn covers(&self, pool: &Pool) -> bool {
        let unrestricted = self.pools.is_empty() && self.pool_selectors.is_empty();
        unrestricted || self.pools.contains(&pool.name) || self.pool_selectors.any_matches(&pool.labels)
    }

    /// Whether the node may announce: selected by any selector, or none given.
    #[must_use]
    pub fn selects(&self, node: &Node) -> bool {
        self.nodes.is_empty() || self.nodes.any_matches(&node.labels)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn advertisement(spec: &Value) -> Result<Advertisement, LabelSelectorError> {
        let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "L2Advertisement",
            "metadata": {"name": "a"}, "spec": spec});
        Advertisement::from_object(&serde_json::from_value(object).unwrap())
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
            let advertisement = advertisement(&spec).unwrap();
            assert_eq!(pools.each_ref().map(|pool| advertisement.covers(pool)), expected, "{spec}");
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
        };
        for (selectors, expected) in [
            (json!([]), true),
            (json!([rack("r1")]), true),
            (json!([rack("r2")]), false),
            (json!([rack("r2"), rack("r1")]), true),
        ] {
            let advertisement = advertisement(&json!({"nodeSelectors": selectors})).unwrap();
            assert_eq!(advertisement.selects(&node), expected, "{selectors}");
        }
    }

    #[test]
    fn an_unreadable_selector_refuses_the_advertisement() {
        let bad = json!([{"matchExpressions": [{"key": "a", "operator": "Near"}]}]);
        assert!(advertisement(&json!({"nodeSelectors": bad})).is_err());
    }

    #[test]
    fn an_unreadable_range_takes_nothing_from_the_others() {
        let pool = pool("a", "tin", &["nonsense", "203.0.113.200-203.0.113.239"]);
        assert!(pool.contains("203.0.113.239".parse().unwrap()));
        assert!(!pool.contains("203.0.113.240".parse().unwrap()));
    }
}
