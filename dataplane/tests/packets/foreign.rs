//! Rules of another proxy on the node.

use std::process::Command;

use penstock_node::{ForeignRules, KernelChains};
use tokio::runtime::Builder;

use crate::namespace::Namespace;

fn found(node: &Namespace) -> Vec<String> {
    node.enter(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let chains = runtime.block_on(KernelChains::read()).unwrap();
        ForeignRules::find(&chains).names().map(str::to_owned).collect()
    })
}

/// As kube-proxy in mode iptables makes its chain. Whether there is such a program, and a kernel for it.
fn add_chain(node: &Namespace, program: &str) -> bool {
    let words = ["netns", "exec", node.name(), program, "-t", "nat", "-N", "KUBE-SERVICES"];
    Command::new("ip").args(words).output().unwrap().status.success()
}

#[test]
fn rules_of_kube_proxy_are_found_wherever_they_stand() {
    let node = Namespace::new("node");
    assert!(found(&node).is_empty());
    node.nft("add table inet penstock; add chain inet penstock services");
    node.nft("add table ip nat; add chain ip nat POSTROUTING");
    assert!(found(&node).is_empty());
    node.nft("add table ip6 kube-proxy; add chain ip6 kube-proxy services");
    node.nft("add chain ip nat KUBE-SERVICES");
    assert_eq!(found(&node), ["table ip6 kube-proxy", "chain KUBE-SERVICES in table ip nat"]);
}

/// Does nothing where the kernel has no legacy iptables, as most have none any longer.
#[test]
fn chains_of_an_old_iptables_are_found_too() {
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        let node = Namespace::new("node");
        if add_chain(&node, program) {
            assert_eq!(found(&node), [format!("chain KUBE-SERVICES of {program}")]);
        }
    }
}
