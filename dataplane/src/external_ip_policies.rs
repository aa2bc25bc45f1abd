//! The ExternalIPPolicies as the node agent knows them.

use std::collections::BTreeMap;

use penstock_crds::{ExternalIPPolicy, ExternalIPPolicySpec};
use penstock_model::ExternalIpAllowList;
use penstock_runtime::Update;

/// All policies, by name; those that cannot be read too.
#[derive(Debug, Default)]
pub(crate) struct ExternalIpPolicies(BTreeMap<String, ExternalIPPolicySpec>);

impl ExternalIpPolicies {
    /// Takes what the watch says. Returns what all policies together allow now.
    pub(crate) fn take(&mut self, update: Update<ExternalIPPolicy>) -> ExternalIpAllowList {
        match update {
            Update::Reset(all) => {
                let before = std::mem::take(&mut self.0);
                for policy in all {
                    let name = policy.metadata.name.unwrap_or_default();
                    self.put(before.get(&name), &name, policy.spec);
                }
            }
            Update::Apply(policy) => {
                let name = policy.metadata.name.unwrap_or_default();
                let before = self.0.remove(&name);
                self.put(before.as_ref(), &name, policy.spec);
            }
            Update::Delete(policy) => {
                self.0.remove(policy.metadata.name.as_deref().unwrap_or_default());
            }
        }
        self.0.values().filter_map(|spec| spec.grants().ok()).flatten().collect()
    }

    /// One that cannot be read allows nothing, which is said when it is new.
    fn put(&mut self, before: Option<&ExternalIPPolicySpec>, name: &str, spec: ExternalIPPolicySpec) {
        if before != Some(&spec)
            && let Err(error) = spec.grants()
        {
            tracing::warn!(
                policy = name,
                "ExternalIPPolicy allows nothing: {}",
                error.to_string().escape_debug()
            );
        }
        self.0.insert(name.to_owned(), spec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn policy(name: &str, namespace: &str, cidr: &str) -> ExternalIPPolicy {
        let spec = ExternalIPPolicySpec { namespaces: vec![namespace.into()], cidrs: vec![cidr.into()] };
        ExternalIPPolicy::new(name, spec)
    }

    fn allows(list: &ExternalIpAllowList, namespace: &str) -> bool {
        list.allows(namespace, IpAddr::from([80, 11, 12, 10]))
    }

    #[test]
    fn policies_add_up_and_one_that_cannot_be_read_harms_only_itself() {
        let mut policies = ExternalIpPolicies::default();
        let list = policies.take(Update::Reset(vec![
            policy("bad", "*", "80.11.12.10/8"),
            policy("a", "shop", "80.11.12.0/28"),
            policy("b", "blog", "80.11.12.0/24"),
        ]));
        assert!(allows(&list, "shop") && allows(&list, "blog") && !allows(&list, "other"));
        let list = policies.take(Update::Apply(policy("a", "other", "80.11.12.10/32")));
        assert!(!allows(&list, "shop") && allows(&list, "blog") && allows(&list, "other"));
        let list = policies.take(Update::Delete(policy("b", "blog", "80.11.12.0/24")));
        assert!(!allows(&list, "blog") && allows(&list, "other"));
        let list = policies.take(Update::Reset(vec![policy("c", "*", "80.11.12.10/32")]));
        assert!(allows(&list, "shop"));
        assert_eq!(policies.take(Update::Reset(vec![])), ExternalIpAllowList::default());
    }
}
