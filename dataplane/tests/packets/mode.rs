//! From one mode to another on a live node, and what iptables leaves and takes away.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use penstock_model::Protocol::Tcp;
use penstock_node::{
    Agent, Backend, Event, KernelChains, Metrics, NetworkNamespace,
    iptables::{self, Canary, Programs, Variant},
    mode::{HandOver, RuleSet},
    nftables::Touched,
};
use penstock_runtime::Readiness;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::lists,
    clients::Clients,
    flow::{Expect, Flow, check_all},
    lab::{
        Sender::{Client, P1},
        index,
    },
    namespace::Namespace,
    objects::{Programmed, backend},
};

const NFT: RuleSet = RuleSet::Iptables(Variant::Nft);
const LEGACY: RuleSet = RuleSet::Iptables(Variant::Legacy);

/// Whether the kernel has the legacy variant.
pub(crate) fn has_legacy() -> bool {
    let node = Namespace::new("legacy");
    let words = ["netns", "exec", node.name(), "iptables-legacy", "-t", "nat", "-S"];
    Command::new("ip").args(words).output().unwrap().status.success()
}

/// Runs a program of iptables and returns what it prints.
fn run(node: &Namespace, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new("ip").args(["netns", "exec", node.name()]).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn standing(node: &Namespace) -> Vec<RuleSet> {
    node.enter(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        RuleSet::standing(&runtime.block_on(KernelChains::read()).unwrap())
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// From the rules that stand to those of each set in turn, and nothing but its own stands after each.
fn change_modes(first: RuleSet, others: &[RuleSet]) {
    let mut programmed = Programmed::of(first);
    let all = programmed.index.all();
    let node = &programmed.lab.node;
    let clients = Clients::start(&[
        (&programmed.lab.p2, "10.96.0.10:443"),
        (&programmed.lab.client, "203.0.113.11:30443"),
    ]);
    for set in others {
        let left = standing(node);
        let namespace = NetworkNamespace::Named(node.name().to_owned());
        let mut next = HandOver::new(backend(*set, node.name()), left, namespace);
        runtime().block_on(next.reload(&all)).unwrap();
        assert_eq!(standing(node), [*set]);
    }
    clients.end();
}

#[test]
fn no_connection_fails_while_the_mode_changes() {
    change_modes(RuleSet::Nftables, &[NFT, RuleSet::Nftables, NFT, RuleSet::Nftables]);
}

#[test]
fn no_connection_fails_while_the_variant_changes() {
    if has_legacy() {
        change_modes(NFT, &[LEGACY, RuleSet::Nftables, LEGACY, NFT]);
    }
}

#[test]
fn no_connection_falls_between_two_loads_of_iptables() {
    let mut programmed = Programmed::of(NFT);
    let clients = Clients::start(&[(&programmed.lab.p2, "10.96.0.10:443")]);
    for _ in 0..5 {
        programmed.reload();
    }
    clients.end();
}

#[test]
fn changes_of_iptables_are_seen_by_packets_and_leave_what_a_fresh_load_would() {
    let mut programmed = Programmed::of(NFT);
    let from = |from, to, expect| Flow { from, protocol: Tcp, to, expect };
    programmed.set_web_endpoints(&["10.244.0.3"]);
    let p2 = Expect::Answers(&[("p2", "10.244.0.2")]);
    check_all(&programmed.lab, &[from(P1, "10.96.0.10:80", p2)]);
    programmed.set_web_endpoints(&[]);
    check_all(
        &programmed.lab,
        &[from(P1, "10.96.0.10:80", Expect::Refused), from(Client, "203.0.113.11:30080", Expect::Refused)],
    );
    programmed.set_web_endpoints(&["10.244.0.3"]);
    programmed.delete("solo");
    check_all(&programmed.lab, &[from(P1, "10.96.0.10:80", p2), from(P1, "10.96.0.11:80", Expect::Dropped)]);
    let saved = |programmed: &Programmed| {
        let tables = ["iptables-nft-save", "ip6tables-nft-save"].map(|save| run(&programmed.lab.node, save));
        let mut lines: Vec<String> = tables
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| line.contains("PENSTOCK"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let changed = saved(&programmed);
    programmed.reload();
    assert_eq!(changed, saved(&programmed));
}

#[test]
fn cleanup_of_iptables_leaves_what_others_have() {
    for (set, program) in [(NFT, "iptables-nft"), (LEGACY, "iptables-legacy")] {
        if set == LEGACY && !has_legacy() {
            continue;
        }
        let mut programmed = Programmed::of(set);
        let node = &programmed.lab.node;
        for line in
            ["-t nat -N FOREIGN", "-t nat -A PREROUTING -j FOREIGN", "-A FORWARD -s 192.0.2.1 -j DROP"]
        {
            run(node, &format!("{program} {line}"));
        }
        // Rules that come before ours do not stay there over a load.
        run(node, &format!("{program} -t nat -I PREROUTING 1 -j RETURN"));
        programmed.reload();
        let node = &programmed.lab.node;
        let rules = run(node, &format!("{program} -t nat -S PREROUTING"));
        assert_eq!(rules.lines().nth(1), Some("-A PREROUTING -j PENSTOCK-SERVICES"));
        programmed.cleanup();
        let left = run(node, &format!("{program}-save"));
        assert!(!left.contains("PENSTOCK"), "{left}");
        let foreign =
            ["-A PREROUTING -j FOREIGN", "-A PREROUTING -j RETURN", "-A FORWARD -s 192.0.2.1/32 -j DROP"];
        assert!(foreign.iter().all(|rule| left.contains(rule)), "{left}");
        assert_eq!(standing(node), []);
        // There is nothing to remove now, which is no error.
        programmed.cleanup();
    }
}

#[test]
fn a_flush_by_others_is_noticed() {
    for variant in [Variant::Nft, Variant::Legacy] {
        if variant == Variant::Legacy && !has_legacy() {
            continue;
        }
        let programmed = Programmed::of(RuleSet::Iptables(variant));
        let node = &programmed.lab.node;
        let namespace = NetworkNamespace::Named(node.name().to_owned());
        let canary = Canary::new(Programs::new(variant, namespace));
        let look = || runtime().block_on(canary.look()).unwrap();
        assert_eq!(look(), None);
        run(node, &format!("ip6tables-{} -F FORWARD", variant.name()));
        assert!(look().unwrap().contains("`FORWARD -j PENSTOCK-FORWARD` of the table filter (IPv6)"));
    }
}

/// The agent, told by the canary.
#[test]
fn what_a_flush_takes_away_comes_back() {
    let node = Namespace::new("node");
    let namespace = NetworkNamespace::Named(node.name().to_owned());
    let canary = Canary::new(Programs::new(Variant::Nft, namespace)).every(Duration::from_millis(50));
    let (until, readiness) = (CancellationToken::new(), Readiness::default());
    let agent = Agent::new(index(), backend(NFT, node.name()), Metrics::default(), readiness.clone());
    let lists = stream::iter(lists());
    let finds = canary.clone().finds().map(|what| Event::Touched(Touched::Missing { what }));
    let runtime = Runtime::new().unwrap();
    runtime.spawn(agent.run(stream::select(lists.chain(stream::pending()), finds), until.clone()));
    runtime.block_on(async {
        until_true("the first load", || async { readiness.is_ready() }).await;
        assert_eq!(canary.look().await.unwrap(), None);
        run(&node, "iptables-nft -t nat -F");
        assert!(canary.look().await.unwrap().is_some());
        until_true("all rules", || async { canary.look().await.unwrap().is_none() }).await;
        assert!(run(&node, "iptables-nft -t nat -S").contains("10.96.0.10/32"));
    });
    until.cancel();
}

async fn until_true<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn probing_leaves_nothing_and_says_what_is_missing() {
    let node = Namespace::new("node");
    let namespace = NetworkNamespace::Named(node.name().to_owned());
    let programs = Programs::new(Variant::Nft, namespace);
    runtime().block_on(iptables::probe(&programs)).unwrap();
    assert!(!run(&node, "iptables-nft-save").contains("PENSTOCK"));
    let nowhere = Programs::new(Variant::Nft, NetworkNamespace::Named("penstock-packets-none".into()));
    assert!(runtime().block_on(iptables::probe(&nowhere)).is_err());
}
