//! Rules of another Service proxy, which see packets before ours do or beside them: what becomes of a connection is not
//! for us to say then. They stay, since they may be wanted; but whoever moves from kube-proxy should know.

use std::io;

use penstock_model::Family;

use crate::{KernelChains, legacy_iptables};

/// kube-proxy's first chain where it uses iptables.
const SERVICES: &str = "KUBE-SERVICES";

/// What was found, each named as an admin would look for it; empty is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignRules(Vec<String>);

impl ForeignRules {
    /// Looks, in the network namespace of this thread. What an old iptables does not say is logged.
    #[must_use]
    pub fn find(chains: &KernelChains) -> Self {
        let legacy = [Family::IPv4, Family::IPv6].map(|family| {
            let found = legacy_iptables::has_nat_chain(family, SERVICES);
            found.unwrap_or_else(|error: io::Error| {
                tracing::debug!(?family, %error, "it is not known what iptables-legacy holds");
                false
            })
        });
        Self::of(chains, legacy)
    }

    /// From the chains of nftables, and whether an old iptables has kube-proxy's, for IPv4 and IPv6.
    #[must_use]
    pub fn of(chains: &KernelChains, legacy: [bool; 2]) -> Self {
        let tables =
            ["ip", "ip6", "inet"].into_iter().filter(|family| chains.has_table(family, "kube-proxy"));
        let tables = tables.map(|family| format!("table {family} kube-proxy"));
        let nft = ["ip", "ip6"].into_iter().filter(|family| chains.has_chain(family, "nat", SERVICES));
        let nft = nft.map(|family| format!("chain {SERVICES} in table {family} nat"));
        let programs = ["iptables-legacy", "ip6tables-legacy"].into_iter().zip(legacy);
        let legacy = programs.filter(|(_, found)| *found);
        let legacy = legacy.map(|(program, _)| format!("chain {SERVICES} of {program}"));
        Self(tables.chain(nft).chain(legacy).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// What to do about them, in one sentence; `None` if there are none.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        Some(format!(
            "rules of another Service proxy on this node decide about connections beside ours ({}): end kube-proxy here \
             and run `kube-proxy --cleanup`, or reboot the node without it",
            self.0.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_proxys_rules_are_found_in_each_of_its_modes() {
        let chains = [
            ["ip", "kube-proxy", "services"],
            ["ip6", "nat", "KUBE-SERVICES"],
            ["ip", "nat", "CNI-HOSTPORT-DNAT"],
            ["inet", "penstock", "services"],
        ];
        let chains = chains.into_iter().collect();
        let found = ForeignRules::of(&chains, [true, false]);
        let names = [
            "table ip kube-proxy",
            "chain KUBE-SERVICES in table ip6 nat",
            "chain KUBE-SERVICES of iptables-legacy",
        ];
        assert_eq!(found.names().collect::<Vec<_>>(), names);
        assert!(found.sentence().unwrap().contains(&format!("({}): end kube-proxy", names.join(", "))));
    }

    #[test]
    fn our_own_rules_and_those_of_others_are_none() {
        let chains = [
            ["inet", "penstock", "services"],
            ["ip", "nat", "POSTROUTING"],
            ["ip", "nat", "PENSTOCK-SERVICES"],
        ];
        let chains = chains.into_iter().collect();
        assert_eq!(ForeignRules::of(&chains, [false; 2]).sentence(), None);
    }
}
