//! ExternalIPPolicies: which are in use, and what they allow together. Pure.

use std::collections::BTreeMap;

use penstock_crds::{ExternalIPPolicy, Reason};
use penstock_model::ExternalIpAllowList;

use crate::class::ClassVerdict;

/// Reads all policies; returns what they allow and what became of each. They add up, so that one says nothing of
/// another; one that cannot be read allows nothing.
#[must_use]
pub fn judge_external_ip_policies(
    objects: &[ExternalIPPolicy],
) -> (ExternalIpAllowList, BTreeMap<String, ClassVerdict>) {
    let (mut grants, mut verdicts) = (Vec::new(), BTreeMap::new());
    for object in objects {
        let read = object.spec.grants().map_err(|error| (Reason::Invalid, error.to_string()));
        let verdict = read.map(|read| grants.extend(read));
        verdicts.insert(object.metadata.name.clone().unwrap_or_default(), verdict);
    }
    (grants.into_iter().collect(), verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_crds::ExternalIPPolicySpec;
    use std::net::IpAddr;

    fn policy(name: &str, namespaces: &[&str], cidr: &str) -> ExternalIPPolicy {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        ExternalIPPolicy::new(name, ExternalIPPolicySpec { namespaces, cidrs: vec![cidr.into()] })
    }

    #[test]
    fn one_bad_policy_harms_only_itself() {
        let (allowed, verdicts) = judge_external_ip_policies(&[
            policy("bad", &["shop"], "80.11.13.10/24"),
            policy("good", &["shop"], "80.11.12.0/24"),
        ]);
        let allows = |ip: [u8; 4]| allowed.allows("shop", IpAddr::from(ip));
        assert!(allows([80, 11, 12, 10]) && !allows([80, 11, 13, 10]));
        assert_eq!(verdicts["good"], Ok(()));
        let (reason, message) = verdicts["bad"].as_ref().unwrap_err();
        assert_eq!(*reason, Reason::Invalid);
        assert!(message.starts_with("spec.cidrs: ") && message.contains("write 80.11.13.0/24"), "{message}");
    }
}
