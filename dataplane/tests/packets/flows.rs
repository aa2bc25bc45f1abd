//! The table of flows.

use penstock_model::Protocol::{Tcp, Udp};
use penstock_node::{iptables::Variant, mode::RuleSet};

use crate::{
    flow::{Answers, Flow, answers, check_all, dropped, refused},
    lab::Sender::{Client, Node, P1},
    mode::has_legacy,
    objects::Programmed,
};

/// Sources kept; p1 reaching itself sees the node (hairpin).
const KEPT4: Answers = &[("p1", "10.244.0.1"), ("p2", "10.244.0.2")];
const KEPT6: Answers = &[("p1", "2001:db8:244::1"), ("p2", "2001:db8:244::2")];
/// Masqueraded: the node's address on the way to the Pod.
const MASQUERADED4: Answers = &[("p1", "10.244.0.1"), ("p2", "10.244.0.1")];
const MASQUERADED6: Answers = &[("p1", "2001:db8:244::1"), ("p2", "2001:db8:244::1")];

/// ClusterIPs.
const CLUSTER_IP: &[Flow] = &[
    answers(P1, Tcp, "10.96.0.10:80", KEPT4),
    answers(P1, Tcp, "10.96.0.10:443", KEPT4),
    answers(P1, Udp, "10.96.0.10:53", KEPT4),
    answers(P1, Tcp, "[2001:db8:96::10]:80", KEPT6),
    answers(P1, Tcp, "[2001:db8:96::10]:443", KEPT6),
    answers(P1, Udp, "[2001:db8:96::10]:53", KEPT6),
    answers(Node, Tcp, "10.96.0.10:80", MASQUERADED4),
    answers(Node, Udp, "10.96.0.10:53", MASQUERADED4),
    answers(Node, Tcp, "[2001:db8:96::10]:80", MASQUERADED6),
    answers(Node, Udp, "[2001:db8:96::10]:53", MASQUERADED6),
    answers(P1, Tcp, "10.96.0.11:80", &[("p1", "10.244.0.1")]),
    answers(P1, Tcp, "[2001:db8:96::11]:80", &[("p1", "2001:db8:244::1")]),
    answers(P1, Tcp, "10.96.0.13:80", &[("node", "10.244.0.2")]),
];

/// Node ports, load balancer and external IPs.
const EXTERNAL: &[Flow] = &[
    answers(Client, Tcp, "203.0.113.11:30080", MASQUERADED4),
    answers(Client, Tcp, "203.0.113.11:30443", MASQUERADED4),
    answers(Client, Udp, "203.0.113.11:30053", MASQUERADED4),
    answers(Client, Tcp, "[2001:db8:113::11]:30080", MASQUERADED6),
    answers(Client, Udp, "[2001:db8:113::11]:30053", MASQUERADED6),
    answers(P1, Tcp, "203.0.113.11:30080", MASQUERADED4),
    answers(Node, Tcp, "203.0.113.11:30080", MASQUERADED4),
    answers(Client, Tcp, "203.0.113.200:80", MASQUERADED4),
    answers(Client, Tcp, "203.0.113.200:443", MASQUERADED4),
    answers(Client, Udp, "203.0.113.200:53", MASQUERADED4),
    answers(Client, Tcp, "[2001:db8:113::200]:80", MASQUERADED6),
    answers(Client, Udp, "[2001:db8:113::200]:53", MASQUERADED6),
    answers(P1, Tcp, "203.0.113.200:80", MASQUERADED4),
    answers(P1, Tcp, "[2001:db8:113::200]:80", MASQUERADED6),
    answers(Node, Tcp, "203.0.113.200:80", MASQUERADED4),
    answers(Client, Tcp, "80.11.12.10:80", MASQUERADED4),
    answers(Client, Udp, "80.11.12.10:53", MASQUERADED4),
    answers(P1, Tcp, "80.11.12.10:443", MASQUERADED4),
];

/// Frontends without endpoints.
const NO_ENDPOINTS: &[Flow] = &[
    refused(P1, Tcp, "10.96.0.12:80"),
    refused(P1, Udp, "10.96.0.12:53"),
    refused(P1, Tcp, "[2001:db8:96::12]:80"),
    refused(P1, Udp, "[2001:db8:96::12]:53"),
    refused(Node, Tcp, "10.96.0.12:80"),
    refused(Node, Udp, "10.96.0.12:53"),
    refused(Node, Tcp, "[2001:db8:96::12]:80"),
    refused(Client, Tcp, "203.0.113.201:80"),
    refused(Client, Udp, "203.0.113.201:53"),
    refused(Client, Tcp, "[2001:db8:113::201]:80"),
    refused(Client, Tcp, "203.0.113.11:30081"),
    // Its only endpoint is the ClusterIP of "web" (CVE-2021-25737).
    refused(P1, Tcp, "10.96.0.15:80"),
];

/// What Services ask for and do not get.
const NOT_TAKEN: &[Flow] = &[
    // Outside the allow-list: the address keeps its real owner.
    answers(P1, Tcp, "80.11.12.99:80", &[("outside", "10.244.0.2")]),
    // Of another Service; the rest of the one that asked works.
    answers(Client, Tcp, "80.11.12.10:80", MASQUERADED4),
    answers(Client, Tcp, "80.11.12.10:81", &[("p2", "10.244.0.1")]),
    answers(P1, Tcp, "10.96.0.14:80", &[("p2", "10.244.0.2")]),
];

/// ClusterIPs that have no such port, and addresses of the Service ranges that no Service has. "outside" would answer.
const NOT_OWNED: &[Flow] = &[
    refused(P1, Tcp, "10.96.0.11:443"),
    refused(P1, Udp, "10.96.0.11:80"),
    refused(P1, Tcp, "[2001:db8:96::11]:443"),
    refused(P1, Udp, "[2001:db8:96::11]:80"),
    refused(Node, Tcp, "10.96.0.11:443"),
    refused(Node, Udp, "10.96.0.11:80"),
    refused(Node, Tcp, "[2001:db8:96::11]:443"),
    dropped(P1, Tcp, "10.96.0.99:80"),
    dropped(P1, Udp, "10.96.0.99:80"),
    dropped(P1, Tcp, "[2001:db8:96::99]:80"),
    dropped(Node, Tcp, "10.96.0.99:80"),
    dropped(Node, Udp, "[2001:db8:96::99]:80"),
];

fn forwards_every_flow(set: RuleSet) {
    let programmed = Programmed::of(set);
    check_all(&programmed.lab, &[CLUSTER_IP, EXTERNAL, NO_ENDPOINTS, NOT_TAKEN, NOT_OWNED].concat());
}

#[test]
fn nftables_forwards_every_flow() {
    forwards_every_flow(RuleSet::Nftables);
}

#[test]
fn iptables_forwards_every_flow() {
    forwards_every_flow(RuleSet::Iptables(Variant::Nft));
}

/// Does nothing where the kernel has no legacy iptables, as most have none any longer.
#[test]
fn legacy_iptables_forwards_every_flow() {
    if has_legacy() {
        forwards_every_flow(RuleSet::Iptables(Variant::Legacy));
    }
}
