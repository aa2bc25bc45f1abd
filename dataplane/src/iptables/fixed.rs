//! The chains that always stand, and the jumps that lead to them. Pure.

use ipnet::IpNet;
use penstock_model::Family;

use super::{
    chains::{Chain, Chains, Table},
    name::{FORWARD, HAIRPINS, LEFTOVERS, MARK, MARK_OFF_CLUSTER, MASQUERADE, POSTROUTING, REFUSALS, REJECT},
};
use crate::nftables::TableConfig;

/// From which chain of iptables' own, and with which rule, ours are reached. Each comes first in its chain.
pub(super) const JUMPS: [(Table, &str, &str); 6] = [
    (Table::Nat, "PREROUTING", "-j PENSTOCK-SERVICES"),
    (Table::Nat, "OUTPUT", "-j PENSTOCK-SERVICES"),
    (Table::Nat, "POSTROUTING", "-j PENSTOCK-POSTROUTING"),
    (Table::Filter, "INPUT", "-m conntrack --ctstate NEW -j PENSTOCK-LEFTOVERS"),
    (Table::Filter, "FORWARD", "-j PENSTOCK-FORWARD"),
    (Table::Filter, "OUTPUT", "-m conntrack --ctstate NEW -j PENSTOCK-LEFTOVERS"),
];

/// The ranges of a family.
pub(super) fn of_family(nets: &[IpNet], family: Family) -> Vec<IpNet> {
    IpNet::aggregate(&nets.to_vec()).into_iter().filter(|net| Family::of(net.addr()) == family).collect()
}

/// The chains that do not depend on Services, without the roots of the trees.
pub(super) fn chains(config: &TableConfig, family: Family) -> Chains {
    let mark = 1_u32 << config.masquerade_bit;
    let nat = [
        (MARK, vec![format!("-j MARK --set-xmark {mark:#x}/{mark:#x}")]),
        (MARK_OFF_CLUSTER, mark_off_cluster(&of_family(&config.cluster_cidrs, family))),
        (POSTROUTING, postrouting(mark)),
        (MASQUERADE, masquerade(mark)),
    ];
    let service_cidrs = of_family(&config.service_cidrs, family);
    let filter = [(REJECT, reject(family)), (FORWARD, forward(mark)), (LEFTOVERS, leftovers(&service_cidrs))];
    let named =
        |table| move |(name, rules): (&str, Vec<String>)| -> (Chain, _) { ((table, name.to_owned()), rules) };
    nat.into_iter().map(named(Table::Nat)).chain(filter.into_iter().map(named(Table::Filter))).collect()
}

/// The bit that kube-proxy uses too: network plugins know it and leave it alone.
fn mark_off_cluster(cluster_cidrs: &[IpNet]) -> Vec<String> {
    let pods = cluster_cidrs.iter().map(|net| format!("-s {net} -j RETURN"));
    pods.chain([format!("-j {MARK}")]).collect()
}

fn postrouting(mark: u32) -> Vec<String> {
    vec![
        format!("-m mark --mark {mark:#x}/{mark:#x} -g {MASQUERADE}"),
        format!("-m conntrack --ctstate DNAT -j {HAIRPINS}"),
    ]
}

fn masquerade(mark: u32) -> Vec<String> {
    vec![format!("-j MARK --set-xmark 0x0/{mark:#x}"), "-j MASQUERADE --random-fully".into()]
}

fn reject(family: Family) -> Vec<String> {
    let unreachable = match family {
        Family::IPv4 => "icmp-port-unreachable",
        Family::IPv6 => "icmp6-port-unreachable",
    };
    vec!["-p tcp -j REJECT --reject-with tcp-reset".into(), format!("-j REJECT --reject-with {unreachable}")]
}

/// What is invalid is not translated (kubernetes issue 74839): a late answer of an endpoint would reach the client from an
/// address that it does not know, and the client would reset the connection. What is ours passes a FORWARD whose policy is
/// to drop, as with kube-proxy.
fn forward(mark: u32) -> Vec<String> {
    vec![
        "-m conntrack --ctstate INVALID -j DROP".into(),
        format!("-m conntrack --ctstate NEW -j {LEFTOVERS}"),
        format!("-m mark --mark {mark:#x}/{mark:#x} -j ACCEPT"),
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".into(),
    ]
}

/// What still has such an address has not been translated: a frontend without endpoints for this client, no port of the
/// Service, or no Service.
fn leftovers(service_cidrs: &[IpNet]) -> Vec<String> {
    let begin = ["-m conntrack --ctstate DNAT -j RETURN".to_owned(), format!("-j {REFUSALS}")];
    begin.into_iter().chain(service_cidrs.iter().map(|net| format!("-d {net} -j DROP"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iptables::name::SERVICES;

    #[test]
    fn jumps_lead_to_chains_that_always_stand() {
        let chains = chains(&TableConfig::default(), Family::IPv4);
        for (table, _, rule) in JUMPS {
            let (_, name) = rule.rsplit_once(' ').unwrap();
            assert!(name == SERVICES || chains.contains_key(&(table, name.to_owned())), "{rule}");
        }
    }
}
