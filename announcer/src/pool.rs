//! Pools, as far as announcing goes.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use penstock_crds::{AddressRange, ConditionKind, IPAddressPool};

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unreadable_range_takes_nothing_from_the_others() {
        let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
            "metadata": {"name": "a"}, "spec": {"addresses": ["nonsense", "203.0.113.200-203.0.113.239"]}});
        let pool = Pool::from_object(&serde_json::from_value(object).unwrap());
        assert!(pool.contains("203.0.113.239".parse().unwrap()));
        assert!(!pool.contains("203.0.113.240".parse().unwrap()));
    }
}
