//! What packets see while objects change.

use penstock_model::Protocol::{Tcp, Udp};

use crate::{
    clients::Clients,
    echo::{Connection, Outcome, ask},
    flow::{Expect, Flow, check_all},
    lab::Sender::P1,
    objects::Programmed,
};

/// Enough for chance: one of three is missed once in 10^11 runs.
const ATTEMPTS: usize = 64;
const WEB: &str = "10.96.0.10:80";
const BOTH6: Expect = Expect::Answers(&[("p1", "2001:db8:244::1"), ("p2", "2001:db8:244::2")]);
const P2: (&str, &str) = ("p2", "10.244.0.2");

const fn from_p1(to: &'static str, expect: Expect) -> Flow {
    Flow { from: P1, protocol: Tcp, to, expect }
}

/// A connection from p1 that went to p2.
fn connection_to_p2(programmed: &Programmed) -> Connection {
    for _ in 0..ATTEMPTS {
        let mut connection = Connection::open(&programmed.lab.p1, WEB.parse().unwrap()).unwrap();
        if connection.ask().unwrap().by == "p2" {
            return connection;
        }
    }
    panic!("p2 was never chosen");
}

#[test]
fn a_removed_endpoint_gets_nothing_new_and_keeps_what_it_has() {
    let mut programmed = Programmed::new();
    let mut old = connection_to_p2(&programmed);
    programmed.set_web_endpoints(&["10.244.0.2"]);
    for _ in 0..40 {
        match ask(&programmed.lab.p1, Tcp, WEB.parse().unwrap()) {
            Outcome::Answered(answer) => assert_eq!(answer.by, "p1"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(old.ask().unwrap().by, "p2");
    programmed.set_web_endpoints(&["10.244.0.2", "10.244.0.3"]);
    check_all(&programmed.lab, &[from_p1(WEB, Expect::Answers(&[("p1", "10.244.0.1"), P2]))]);
}

#[test]
fn the_last_endpoint_gone_means_refused_and_back_means_served() {
    let mut programmed = Programmed::new();
    programmed.set_web_endpoints(&[]);
    check_all(&programmed.lab, &[from_p1(WEB, Expect::Refused)]);
    programmed.set_web_endpoints(&["10.244.0.3"]);
    check_all(&programmed.lab, &[from_p1(WEB, Expect::Answers(&[P2]))]);
}

#[test]
fn a_number_of_endpoints_that_nobody_had_gets_its_chains_later() {
    let mut programmed = Programmed::new();
    assert!(!programmed.lab.node.nft("list table inet penstock").contains("pick-65"));
    // Other addresses of p2.
    programmed.lab.node.ip("route add 10.244.0.64/26 dev p2");
    programmed.lab.p2.ip("route add local 10.244.0.64/26 dev lo");
    let others: Vec<String> = (64..128).map(|n| format!("10.244.0.{n}")).collect();
    let mut endpoints = vec!["10.244.0.3"];
    endpoints.extend(others.iter().map(String::as_str));
    programmed.set_web_endpoints(&endpoints);
    assert!(programmed.lab.node.nft("list table inet penstock").contains("pick-65"));
    check_all(&programmed.lab, &[from_p1(WEB, Expect::Answers(&[P2]))]);
    check_all(&programmed.lab, &[Flow { protocol: Udp, ..from_p1("[2001:db8:96::10]:53", BOTH6) }]);
}

#[test]
fn a_deleted_service_leaves_no_element_and_its_address_is_nobodys() {
    let mut programmed = Programmed::new();
    programmed.delete("web");
    check_all(&programmed.lab, &[from_p1(WEB, Expect::Dropped)]);
    for name in ["solo", "empty", "host", "thief", "detour"] {
        programmed.delete(name);
    }
    let rules = programmed.lab.node.nft("list table inet penstock");
    let content = rules.split("chain ").next().unwrap();
    let ranges = ["10.244.0.0/16", "2001:db8:244::/48", "10.96.0.0/16", "2001:db8:96::/112"];
    // And the numbers of the chains.
    assert_eq!(content.matches("elements").count(), ranges.len() + 1, "only the ranges:\n{content}");
    assert!(ranges.iter().all(|range| content.contains(range)), "{content}");
}

#[test]
fn the_heir_of_an_external_ip_gets_it_in_the_same_transaction() {
    let mut programmed = Programmed::new();
    programmed.delete("web");
    let heir = from_p1("80.11.12.10:80", Expect::Answers(&[("p2", "10.244.0.1")]));
    check_all(&programmed.lab, &[heir]);
}

#[test]
fn a_fresh_load_keeps_connections() {
    let mut programmed = Programmed::new();
    let mut old = connection_to_p2(&programmed);
    programmed.reload();
    assert_eq!(old.ask().unwrap().by, "p2");
}

#[test]
fn no_connection_falls_between_two_loads() {
    let mut programmed = Programmed::new();
    let clients = Clients::start(&[(&programmed.lab.p2, "10.96.0.10:443")]);
    for _ in 0..10 {
        programmed.reload();
    }
    clients.end();
}

#[test]
fn what_a_predecessor_left_of_another_kind_does_not_stand_in_the_way() {
    let mut programmed = Programmed::new();
    programmed.cleanup();
    programmed
        .lab
        .node
        .nft("add table inet penstock; add map inet penstock affinity4 { type mark : verdict; }");
    programmed.reload();
    check_all(&programmed.lab, &[from_p1("[2001:db8:96::10]:80", BOTH6)]);
}

#[test]
fn cleanup_removes_our_table_and_no_other() {
    let programmed = Programmed::new();
    programmed.lab.node.nft("add table inet foreign");
    programmed.cleanup();
    assert_eq!(programmed.lab.node.nft("list tables").trim(), "table inet foreign");
    // There is nothing to remove now, which is no error.
    programmed.cleanup();
}
