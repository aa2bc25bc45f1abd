//! `sessionAffinity: ClientIP`.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use penstock_model::Protocol::{self, Tcp, Udp};
use penstock_node::{iptables::Variant, mode::RuleSet};
use serde_json::json;

use crate::{
    echo::{Outcome, ask},
    lab::{
        Sender::{self, Client, Node, P2},
        service, slice_on,
    },
    mode::has_legacy,
    objects::Programmed,
};

/// Enough for chance: one of two is missed once in 10^12 runs.
const ATTEMPTS: usize = 40;
const FRONTENDS: [(Sender, Protocol, &str); 7] = [
    (Client, Tcp, "203.0.113.202:80"),
    (Client, Udp, "203.0.113.202:53"),
    (Client, Tcp, "[2001:db8:113::202]:80"),
    (Client, Udp, "[2001:db8:113::202]:53"),
    (Client, Tcp, "203.0.113.11:30180"),
    (P2, Tcp, "10.96.1.2:80"),
    (Node, Tcp, "10.96.1.2:80"),
];
const BOTH: [(&str, &str); 2] = [("10.244.0.2", "n1"), ("10.244.0.3", "n1")];
const BOTH6: [(&str, &str); 2] = [("2001:db8:244::2", "n1"), ("2001:db8:244::3", "n1")];

struct Lab(Programmed);

impl Lab {
    fn new(seconds: u32, external_policy: &str) -> Self {
        Self::of(RuleSet::Nftables, seconds, external_policy)
    }

    fn of(set: RuleSet, seconds: u32, external_policy: &str) -> Self {
        let mut lab = Self(Programmed::of(set));
        lab.0.delete("empty");
        let spec = json!({
            "type": "LoadBalancer", "clusterIPs": ["10.96.1.2", "2001:db8:96::1:2"],
            "externalTrafficPolicy": external_policy,
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
            "ports": [
                {"name": "http", "port": 80, "nodePort": 30180},
                {"name": "dns", "port": 53, "protocol": "UDP"}]});
        let ips = ["203.0.113.202", "2001:db8:113::202"];
        lab.0.index.apply_service(&service("sticky", "sticky", &spec, &ips));
        lab.endpoints(&BOTH);
        lab.endpoints(&BOTH6);
        lab
    }

    fn endpoints(&mut self, endpoints: &[(&str, &str)]) {
        let ports = json!([{"name": "http", "port": 8080}, {"name": "dns", "port": 8053, "protocol": "UDP"}]);
        self.0.index.apply_slice(&slice_on("sticky", &ports, endpoints));
        self.0.apply();
    }

    fn ask(&self, from: Sender, protocol: Protocol, to: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match ask(self.0.lab.sender(from), protocol, to.parse().unwrap()) {
                Outcome::Answered(answer) => return answer.by,
                other => assert!(Instant::now() < deadline, "{from:?} {protocol} {to}: {other:?}"),
            }
        }
    }

    /// The only endpoint that the sender reaches.
    fn held(&self, (from, protocol, to): (Sender, Protocol, &str)) -> String {
        let reached: BTreeSet<_> = (0..ATTEMPTS).map(|_| self.ask(from, protocol, to)).collect();
        assert_eq!(reached.len(), 1, "{from:?} {protocol} {to}: {reached:?}");
        reached.into_iter().next().unwrap()
    }

    fn affinity(&self) -> String {
        self.0.lab.node.nft("list map inet penstock affinity4")
    }
}

#[test]
fn a_client_stays_with_its_endpoint_whichever_frontend_it_uses() {
    let lab = Lab::new(10_800, "Cluster");
    FRONTENDS.iter().for_each(|frontend| drop(lab.held(*frontend)));
    // The Service port counts, and the node's own address is another client.
    assert_eq!(lab.held(FRONTENDS[0]), lab.held(FRONTENDS[4]));
    assert!(lab.affinity().contains("203.0.113.1 . "), "{}", lab.affinity());
}

#[test]
fn other_services_and_clients_are_free_and_an_endpoint_that_is_gone_is_followed_by_another() {
    let mut lab = Lab::new(10_800, "Cluster");
    let held = FRONTENDS.map(|frontend| lab.held(frontend));
    let gone = |by: &str| match by {
        "p1" => [BOTH[1]],
        _ => [BOTH[0]],
    };
    lab.endpoints(&gone(&held[0]));
    let other = lab.held(FRONTENDS[0]);
    assert_ne!(other, held[0]);
    lab.endpoints(&BOTH);
    assert_eq!(lab.held(FRONTENDS[0]), other, "it stays with the new one");
    assert_eq!(lab.held(FRONTENDS[2]), held[2], "IPv6 has not changed");
}

#[test]
fn affinity_outlives_changes_of_other_endpoints_and_a_reload() {
    let mut lab = Lab::new(10_800, "Cluster");
    let held = FRONTENDS.map(|frontend| lab.held(frontend));
    // Before and behind those at hand, so that indexes move.
    let nobody = ["10.244.0.1", "10.244.0.200", "10.244.0.201"].map(|ip| (ip, "n2"));
    lab.endpoints(&[&nobody[..], &BOTH].concat());
    assert_eq!(FRONTENDS.map(|frontend| lab.held(frontend)), held);
    lab.endpoints(&[&BOTH[..], &nobody[1..]].concat());
    assert_eq!(FRONTENDS.map(|frontend| lab.held(frontend)), held);
    let remembered = lab.affinity();
    assert!(remembered.contains("expires"), "{remembered}");
    for _ in 0..2 {
        lab.0.reload();
        assert_eq!(FRONTENDS.map(|frontend| lab.held(frontend)), held);
    }
    lab.0.delete("sticky");
    lab.0.reload();
    assert!(lab.affinity().contains("203.0.113.1 . "), "it ends by its time-out alone");
}

/// Does nothing with a variant that the kernel does not have.
#[test]
fn in_iptables_too_a_client_stays_with_its_endpoint() {
    for variant in [Variant::Nft, Variant::Legacy] {
        if variant == Variant::Legacy && !has_legacy() {
            continue;
        }
        let mut lab = Lab::of(RuleSet::Iptables(variant), 10_800, "Cluster");
        let held = FRONTENDS.map(|frontend| lab.held(frontend));
        assert_eq!(held[0], held[4], "whichever frontend it uses");
        let nobody = ["10.244.0.1", "10.244.0.200"].map(|ip| (ip, "n2"));
        lab.endpoints(&[&nobody[..], &BOTH].concat());
        assert_eq!(FRONTENDS.map(|frontend| lab.held(frontend)), held, "over changes of others");
        lab.endpoints(&BOTH);
        lab.0.reload();
        assert_eq!(FRONTENDS.map(|frontend| lab.held(frontend)), held, "over a reload");
        lab.endpoints(&[if held[0] == "p1" { BOTH[1] } else { BOTH[0] }]);
        let other = lab.held(FRONTENDS[0]);
        assert_ne!(other, held[0], "not over its endpoint's end");
        lab.endpoints(&BOTH);
        assert_eq!(lab.held(FRONTENDS[0]), other, "it stays with the new one");
    }
}

#[test]
fn affinity_ends_with_its_time_and_each_connection_prolongs_it() {
    let lab = Lab::new(3, "Cluster");
    let first = lab.ask(Client, Tcp, FRONTENDS[0].2);
    let began = Instant::now();
    // Prolonged: more than the time-out after the first connection it is still there.
    while began.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        let by = lab.ask(Client, Tcp, FRONTENDS[0].2);
        assert_eq!(by, first);
        // On a machine that stood still for so long nothing would be shown.
        if asked.elapsed() > Duration::from_secs(2) {
            return;
        }
    }
    // Once it has been silent for the time-out, it is free again: sooner or later it gets the other one.
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        assert!(Instant::now() < deadline, "it is never free");
        while lab.affinity().contains("203.0.113.1 . ") {
            assert!(Instant::now() < deadline, "it is never forgotten");
            sleep(Duration::from_millis(100));
        }
        if lab.ask(Client, Tcp, FRONTENDS[0].2) != first {
            return;
        }
    }
}

#[test]
fn with_policy_local_those_outside_stay_with_an_endpoint_of_this_node() {
    let mut lab = Lab::new(10_800, "Local");
    lab.endpoints(&[("10.244.0.2", "n1"), ("10.244.0.3", "n2")]);
    assert_eq!(lab.held(FRONTENDS[0]), "p1");
    let inside = (P2, Tcp, FRONTENDS[0].2);
    let held = lab.held(inside);
    lab.endpoints(&[("10.244.0.2", "n2"), ("10.244.0.3", "n1")]);
    assert_eq!(lab.held(FRONTENDS[0]), "p2", "the one that it had is not here any longer");
    assert_eq!(lab.held(inside), held, "pods go to all of the cluster");
}
