//! Traffic policies and source ranges: who is sent where, and what an endpoint sees.

use penstock_model::{
    Protocol::{Tcp, Udp},
    ServiceIndex,
};
use serde_json::{Value, json};

use crate::{
    echo::{Outcome, ask},
    flow::{Answers, Flow, answers, check_all, dropped, refused},
    lab::{
        Sender::{Client, Node, P1, P2},
        service, slice_on,
    },
    objects::Programmed,
};

/// p1 is on this node, p2 is said to be on another one.
const LOCAL_P1: [(&str, &str); 2] = [("10.244.0.2", "n1"), ("10.244.0.3", "n2")];
const LOCAL_P1_V6: [(&str, &str); 2] = [("2001:db8:244::2", "n1"), ("2001:db8:244::3", "n2")];
const LOCAL_P2: [(&str, &str); 2] = [("10.244.0.2", "n2"), ("10.244.0.3", "n1")];
const LOCAL_P2_V6: [(&str, &str); 2] = [("2001:db8:244::2", "n2"), ("2001:db8:244::3", "n1")];
const REMOTE: [(&str, &str); 1] = [("10.244.0.3", "n2")];
const REMOTE_V6: [(&str, &str); 1] = [("2001:db8:244::3", "n2")];

/// From p1 with its source kept; itself sees the node (hairpin).
const KEPT4: Answers = &[("p1", "10.244.0.1"), ("p2", "10.244.0.2")];
const KEPT6: Answers = &[("p1", "2001:db8:244::1"), ("p2", "2001:db8:244::2")];
/// The source is the node's address towards the Pod, not the one towards the client.
const MASQUERADED4: Answers = &[("p1", "10.244.0.1"), ("p2", "10.244.0.1")];
const MASQUERADED6: Answers = &[("p1", "2001:db8:244::1"), ("p2", "2001:db8:244::1")];

fn ports(node_port: u16) -> Value {
    json!([
        {"name": "http", "port": 80, "nodePort": node_port},
        {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": node_port}])
}

/// A Service with ClusterIPs, node port and load balancer IPs that end in `last`, and endpoints of both families.
fn balanced(
    index: &mut ServiceIndex,
    last: u8,
    terms: &Value,
    v4: &[(&str, &str)],
    v6: &[(&str, &str)],
) -> String {
    let (name, node_port) = (format!("policy-{last}"), 30_100 + u16::from(last));
    let mut spec = json!({
        "type": "LoadBalancer", "ports": ports(node_port),
        "clusterIPs": [format!("10.96.1.{last}"), format!("2001:db8:96::1:{last}")]});
    let terms = terms.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(terms);
    let ips = [format!("203.0.113.20{last}"), format!("2001:db8:113::20{last}")];
    index.apply_service(&service(&name, &name, &spec, &[&ips[0], &ips[1]]));
    let targets = json!([
        {"name": "http", "port": 8080}, {"name": "dns", "port": 8053, "protocol": "UDP"}]);
    index.apply_slice(&slice_on(&name, &targets, v4));
    if !v6.is_empty() {
        index.apply_slice(&slice_on(&name, &targets, v6));
    }
    name
}

fn programmed(add: impl FnOnce(&mut ServiceIndex)) -> Programmed {
    let mut programmed = Programmed::new();
    programmed.delete("empty");
    add(&mut programmed.index);
    programmed.apply();
    programmed
}

/// External policy Local with an endpoint here: 2. Without: 3.
const EXTERNAL_LOCAL: &[Flow] = &[
    answers(Client, Tcp, "203.0.113.202:80", &[("p1", "203.0.113.1")]),
    answers(Client, Udp, "203.0.113.202:53", &[("p1", "203.0.113.1")]),
    answers(Client, Tcp, "[2001:db8:113::202]:80", &[("p1", "2001:db8:113::1")]),
    answers(Client, Udp, "[2001:db8:113::202]:53", &[("p1", "2001:db8:113::1")]),
    answers(Client, Tcp, "203.0.113.11:30102", &[("p1", "203.0.113.1")]),
    answers(Client, Udp, "203.0.113.11:30102", &[("p1", "203.0.113.1")]),
    answers(Client, Tcp, "[2001:db8:113::11]:30102", &[("p1", "2001:db8:113::1")]),
    answers(P1, Tcp, "203.0.113.202:80", KEPT4),
    answers(P1, Udp, "203.0.113.202:53", KEPT4),
    answers(P1, Tcp, "[2001:db8:113::202]:80", KEPT6),
    answers(P1, Tcp, "203.0.113.11:30102", KEPT4),
    answers(Node, Tcp, "203.0.113.202:80", MASQUERADED4),
    answers(Node, Udp, "203.0.113.202:53", MASQUERADED4),
    answers(Node, Tcp, "[2001:db8:113::202]:80", MASQUERADED6),
    answers(Node, Tcp, "203.0.113.11:30102", MASQUERADED4),
    answers(P1, Tcp, "10.96.1.2:80", KEPT4),
    dropped(Client, Tcp, "203.0.113.203:80"),
    dropped(Client, Udp, "203.0.113.203:53"),
    dropped(Client, Tcp, "[2001:db8:113::203]:80"),
    dropped(Client, Tcp, "203.0.113.11:30103"),
    answers(P1, Tcp, "203.0.113.203:80", &[("p2", "10.244.0.2")]),
    answers(P1, Tcp, "[2001:db8:113::203]:80", &[("p2", "2001:db8:244::2")]),
    answers(Node, Tcp, "203.0.113.203:80", &[("p2", "10.244.0.1")]),
    answers(Node, Udp, "[2001:db8:113::203]:53", &[("p2", "2001:db8:244::1")]),
];

#[test]
fn external_policy_local_keeps_sources_of_those_outside_and_is_not_for_pods_and_the_node() {
    let programmed = programmed(|index| {
        let local = json!({"externalTrafficPolicy": "Local"});
        balanced(index, 2, &local, &LOCAL_P1, &LOCAL_P1_V6);
        balanced(index, 3, &local, &REMOTE, &REMOTE_V6);
    });
    check_all(&programmed.lab, EXTERNAL_LOCAL);
}

/// Internal policy Local with an endpoint here: 2. Without: 3.
const INTERNAL_LOCAL: &[Flow] = &[
    answers(P1, Tcp, "10.96.1.2:80", &[("p2", "10.244.0.2")]),
    answers(P1, Udp, "10.96.1.2:53", &[("p2", "10.244.0.2")]),
    answers(P1, Tcp, "[2001:db8:96::1:2]:80", &[("p2", "2001:db8:244::2")]),
    answers(P2, Tcp, "10.96.1.2:80", &[("p2", "10.244.0.1")]),
    answers(Node, Tcp, "10.96.1.2:80", &[("p2", "10.244.0.1")]),
    answers(Client, Tcp, "203.0.113.202:80", MASQUERADED4),
    dropped(P1, Tcp, "10.96.1.3:80"),
    dropped(P1, Udp, "10.96.1.3:53"),
    dropped(P1, Tcp, "[2001:db8:96::1:3]:80"),
    dropped(Node, Tcp, "10.96.1.3:80"),
    answers(Client, Tcp, "203.0.113.203:80", &[("p2", "10.244.0.1")]),
];

#[test]
fn internal_policy_local_stays_on_the_node_and_concerns_the_cluster_ip_alone() {
    let programmed = programmed(|index| {
        let local = json!({"internalTrafficPolicy": "Local"});
        balanced(index, 2, &local, &LOCAL_P2, &LOCAL_P2_V6);
        balanced(index, 3, &local, &REMOTE, &REMOTE_V6);
    });
    check_all(&programmed.lab, INTERNAL_LOCAL);
}

#[test]
fn the_last_local_endpoint_gone_is_a_drop_and_the_last_one_at_all_a_refusal() {
    let local = json!({"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"});
    let mut programmed = programmed(|index| drop(balanced(index, 2, &local, &LOCAL_P1, &[])));
    let (to, inside) = ("203.0.113.202:80", "10.96.1.2:80");
    let served = answers(Client, Tcp, to, &[("p1", "203.0.113.1")]);
    check_all(&programmed.lab, &[served, answers(P2, Tcp, inside, &[("p1", "10.244.0.3")])]);
    balanced(&mut programmed.index, 2, &local, &REMOTE, &[]);
    programmed.apply();
    check_all(&programmed.lab, &[dropped(Client, Tcp, to), dropped(P1, Tcp, inside)]);
    balanced(&mut programmed.index, 2, &local, &[], &[]);
    programmed.apply();
    check_all(&programmed.lab, &[refused(Client, Tcp, to), refused(P1, Tcp, inside)]);
    balanced(&mut programmed.index, 2, &local, &LOCAL_P1, &[]);
    programmed.apply();
    check_all(&programmed.lab, &[served]);
}

/// Only the client: 2. Only p1, policy Local: 3. Only the client and no endpoints: 4. Only IPv6 ranges: 5.
const RANGES: &[Flow] = &[
    answers(Client, Tcp, "203.0.113.202:80", MASQUERADED4),
    answers(Client, Udp, "203.0.113.202:53", MASQUERADED4),
    answers(Client, Tcp, "[2001:db8:113::202]:80", MASQUERADED6),
    dropped(P1, Tcp, "203.0.113.202:80"),
    dropped(P1, Udp, "203.0.113.202:53"),
    dropped(P1, Tcp, "[2001:db8:113::202]:80"),
    dropped(Node, Tcp, "203.0.113.202:80"),
    dropped(Node, Tcp, "[2001:db8:113::202]:80"),
    // Of the load balancer IPs alone.
    answers(P1, Tcp, "203.0.113.11:30102", MASQUERADED4),
    answers(P1, Tcp, "10.96.1.2:80", KEPT4),
    dropped(Client, Tcp, "203.0.113.203:80"),
    answers(P1, Tcp, "203.0.113.203:80", KEPT4),
    dropped(P2, Tcp, "203.0.113.203:80"),
    refused(Client, Tcp, "203.0.113.204:80"),
    dropped(P1, Tcp, "203.0.113.204:80"),
    dropped(Node, Udp, "203.0.113.204:53"),
    answers(P1, Tcp, "203.0.113.205:80", MASQUERADED4),
    dropped(P1, Tcp, "[2001:db8:113::205]:80"),
];

#[test]
fn source_ranges_come_before_everything_else() {
    let ranges = |nets: &[&str]| json!({"loadBalancerSourceRanges": nets});
    let client = ranges(&[" 203.0.113.0/30 ", "198.51.100.0/24", "2001:db8:113::/125"]);
    let mut programmed = programmed(|index| {
        balanced(index, 2, &client, &LOCAL_P1, &LOCAL_P1_V6);
        let mut p1 = ranges(&["10.244.0.2/32"]);
        p1["externalTrafficPolicy"] = "Local".into();
        balanced(index, 3, &p1, &LOCAL_P1, &[]);
        balanced(index, 4, &client, &[], &[]);
        balanced(index, 5, &ranges(&["2001:db8:113::/125"]), &LOCAL_P1, &LOCAL_P1_V6);
    });
    check_all(&programmed.lab, RANGES);
    balanced(&mut programmed.index, 2, &ranges(&["10.244.0.0/16"]), &LOCAL_P1, &LOCAL_P1_V6);
    programmed.apply();
    let turned = [
        dropped(Client, Tcp, "203.0.113.202:80"),
        answers(P1, Tcp, "203.0.113.202:80", MASQUERADED4),
        answers(P1, Tcp, "[2001:db8:113::202]:80", MASQUERADED6),
    ];
    check_all(&programmed.lab, &turned);
    balanced(&mut programmed.index, 2, &ranges(&["0.0.0.0/0"]), &LOCAL_P1, &LOCAL_P1_V6);
    programmed.apply();
    check_all(&programmed.lab, &[answers(Client, Tcp, "203.0.113.202:80", MASQUERADED4)]);
}

#[test]
fn what_chooses_the_endpoint_does_not_choose_a_queue_too_and_marks_of_others_stay() {
    let programmed = programmed(|index| {
        balanced(index, 2, &json!({"externalTrafficPolicy": "Local"}), &LOCAL_P1, &LOCAL_P1_V6);
        balanced(index, 3, &json!({"sessionAffinity": "ClientIP"}), &LOCAL_P1, &LOCAL_P1_V6);
    });
    let node = &programmed.lab.node;
    let foreign = "add table inet foreign
        add chain inet foreign before { type filter hook prerouting priority mangle; }
        add chain inet foreign local { type route hook output priority mangle; }
        add chain inet foreign after { type filter hook postrouting priority 300; }
        add rule inet foreign before meta mark set 0x00ff0001
        add rule inet foreign local meta mark set 0x00ff0001
        add rule inet foreign after ct status & dnat == dnat meta mark != 0x00ff0001 counter comment lost
        add rule inet foreign after meta priority & 8000:0 == 8000:0 counter comment left
        add rule inet foreign after ct status & dnat == dnat counter comment seen";
    foreign.lines().for_each(|line| drop(node.nft(line.trim())));
    let mut flows = EXTERNAL_LOCAL[..16].to_vec();
    flows.extend([
        answers(P2, Tcp, "10.96.0.10:80", &[("p1", "10.244.0.3"), ("p2", "10.244.0.1")]),
        answers(Node, Tcp, "[2001:db8:96::10]:80", MASQUERADED6),
    ]);
    check_all(&programmed.lab, &flows);
    for to in ["10.96.1.3:80", "[2001:db8:96::1:3]:80", "203.0.113.203:80", "[2001:db8:113::203]:80"] {
        for from in [P1, P2, Node] {
            let outcome = ask(programmed.lab.sender(from), Tcp, to.parse().unwrap());
            assert!(matches!(outcome, Outcome::Answered(_)), "{from:?} {to}: {outcome:?}");
        }
    }
    let counted = node.nft("list chain inet foreign after");
    let line = |comment: &str| counted.lines().find(|line| line.contains(comment)).unwrap().to_owned();
    for comment in ["lost", "left"] {
        assert!(line(comment).contains("counter packets 0 "), "{counted}");
    }
    assert!(!line("seen").contains("counter packets 0 "), "nothing came by:\n{counted}");
}
