//! IPAddressPool objects, read into what the allocator can use. A pool that cannot be used is refused with
//! one sentence; the others stay.

use std::collections::BTreeMap;

use penstock_crds::{AddressRange, IPAddressPool, Reason};

use super::pinning::Pinning;

/// A pool in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its addresses.
    pub ranges: Vec<AddressRange>,
    /// Given to Services that do not ask for it.
    pub auto_assign: bool,
    /// Without .0 and .255.
    pub avoid_buggy_ips: bool,
    /// Whom it serves; `None` for everybody.
    pub pinning: Option<Pinning>,
}

impl Pool {
    /// Pools of a lower rank are looked into first: pinned ones by priority, then the others.
    pub(super) fn rank(&self) -> (bool, u32) {
        (self.pinning.is_none(), self.pinning.as_ref().map_or(0, |pinning| pinning.priority))
    }
}

/// Why a pool is not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For the condition.
    pub reason: Reason,
    /// One sentence that says what to change.
    pub message: String,
}

/// What each pool, by name, came to.
pub type Verdicts = BTreeMap<String, Result<Pool, Refused>>;

/// Judges all pools together. Of two that overlap the older keeps its addresses.
#[must_use]
pub fn judge(objects: &[IPAddressPool]) -> Verdicts {
    let mut sorted: Vec<&IPAddressPool> = objects.iter().collect();
    sorted.sort_by_key(|p| (p.metadata.creation_timestamp.as_ref().map(|t| t.0), p.metadata.name.clone()));
    let mut verdicts = Verdicts::new();
    for object in sorted {
        let name = object.metadata.name.clone().unwrap_or_default();
        let verdict = read(object).and_then(|pool| disjoint(pool, &verdicts));
        verdicts.insert(name, verdict);
    }
    verdicts
}

fn read(object: &IPAddressPool) -> Result<Pool, Refused> {
    let ranges = object.spec.ranges();
    let ranges =
        ranges.map_err(|e| Refused { reason: Reason::Invalid, message: format!("spec.addresses: {e}") })?;
    let twice = ranges.iter().enumerate().find_map(|(i, a)| {
        ranges[..i].iter().find(|b| a.overlaps(b)).map(|b| format!("spec.addresses: {a} overlaps {b}"))
    });
    if let Some(message) = twice {
        return Err(Refused { reason: Reason::Overlaps, message });
    }
    let pinning = object.spec.service_allocation.as_ref().map(Pinning::read).transpose();
    let pinning = pinning.map_err(|e| Refused { reason: Reason::Invalid, message: e.to_string() })?;
    let (auto_assign, avoid_buggy_ips) = (object.spec.auto_assign, object.spec.avoid_buggy_ips);
    Ok(Pool { ranges, auto_assign, avoid_buggy_ips, pinning })
}

fn disjoint(pool: Pool, accepted: &Verdicts) -> Result<Pool, Refused> {
    let others = accepted.iter().filter_map(|(name, verdict)| Some((name, verdict.as_ref().ok()?)));
    for (name, other) in others {
        for range in &pool.ranges {
            if let Some(taken) = other.ranges.iter().find(|r| r.overlaps(range)) {
                let message = format!("spec.addresses: {range} overlaps {taken} of IPAddressPool {name}");
                return Err(Refused { reason: Reason::Overlaps, message });
            }
        }
    }
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pool(name: &str, created: &str, addresses: &[&str]) -> IPAddressPool {
        serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
            "metadata": {"name": name, "creationTimestamp": created}, "spec": {"addresses": addresses}
        }))
        .unwrap()
    }

    #[test]
    fn one_bad_pool_harms_only_itself() {
        let verdicts = judge(&[
            pool("bad", "2026-01-01T00:00:00Z", &["nonsense"]),
            pool("good", "2026-01-02T00:00:00Z", &["10.0.0.0/30"]),
        ]);
        assert!(verdicts["bad"].as_ref().unwrap_err().message.contains("nonsense"));
        assert!(verdicts["good"].is_ok());
    }

    #[test]
    fn a_selector_that_cannot_be_read_refuses_its_pool_only() {
        let mut bad = pool("bad", "2026-01-01T00:00:00Z", &["10.0.0.0/30"]);
        let allocation =
            json!({"serviceSelectors": [{"matchExpressions": [{"key": "a", "operator": "Near"}]}]});
        bad.spec.service_allocation = Some(serde_json::from_value(allocation).unwrap());
        let verdicts = judge(&[bad, pool("good", "2026-01-02T00:00:00Z", &["10.0.1.0/30"])]);
        let refused = verdicts["bad"].as_ref().unwrap_err();
        let sentence = "spec.serviceAllocation.serviceSelectors[0]: the operator \"Near\" is none of";
        assert!(refused.message.starts_with(sentence), "{}", refused.message);
        assert!(verdicts["good"].is_ok());
    }

    #[test]
    fn of_two_overlapping_pools_the_older_stays_whatever_their_names() {
        let verdicts = judge(&[
            pool("a", "2026-01-02T00:00:00Z", &["10.0.0.2-10.0.0.9"]),
            pool("b", "2026-01-01T00:00:00Z", &["10.0.0.0/30"]),
        ]);
        assert!(verdicts["b"].is_ok());
        let refused = verdicts["a"].as_ref().unwrap_err();
        assert_eq!(refused.reason, Reason::Overlaps);
        assert!(refused.message.ends_with("of IPAddressPool b"), "{}", refused.message);
    }

    #[test]
    fn a_pool_must_not_overlap_itself() {
        let verdicts = judge(&[pool("a", "2026-01-01T00:00:00Z", &["10.0.0.0/30", "10.0.0.3-10.0.0.9"])]);
        assert_eq!(verdicts["a"].as_ref().unwrap_err().reason, Reason::Overlaps);
    }
}
