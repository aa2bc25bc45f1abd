use penstock_announcer::bgp::{Reason, Stop};
use penstock_e2e::router::Frr;

use crate::lab::{Lab, NODE, NODE_AS, NODE6, ROUTER_AS, ROUTER6, answers, asked, inner, peer, plain, routes};

/// An frr that takes all of a node's routes.
pub(crate) fn frr(lab: &Lab, node: &str, node_as: u32, more: &str) -> Frr {
    let configuration = format!(
        "router bgp {ROUTER_AS}
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {node} remote-as {node_as}
 neighbor {node} timers connect 1
 {more}
 address-family ipv4 unicast
  neighbor {node} activate
  network 203.0.113.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor {node} activate
  network 2001:db8:77::/48
 exit-address-family
"
    );
    Frr::start(&lab.router.path(), &configuration).unwrap()
}

#[test]
fn frr_learns_of_both_families_over_ipv4() {
    let lab = Lab::new();
    let frr = frr(&lab, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("frr", peer("192.0.2.1"))]);
    node.set_routes(&routes());
    node.wait_until_told("frr", 4);
    let said = ["4200000001", "metric 33", "Community: 64512:100 64512:200", "Large Community: 64512:3:4"];
    let v4 = answers("an IPv4 prefix", || frr.ask("show bgp ipv4 unicast 198.51.100.0/29"), &said);
    assert!(v4.contains("192.0.2.2 from 192.0.2.2"), "{v4}");
    let v6 = answers("an IPv6 prefix", || frr.ask("show bgp ipv6 unicast 2001:db8:5::/64"), &said);
    assert!(v6.contains("2001:db8::2 from 192.0.2.2"), "{v6}");

    // It tells of routes of its own all the while.
    for round in 0..10 {
        node.set_routes(&plain(&[&format!("198.51.100.{round}/32")]));
    }
    asked(
        "the last route alone",
        || frr.ask("show bgp ipv4 unicast"),
        |answer| answer.contains("198.51.100.9/32") && !answer.contains("198.51.100.0/29"),
    );
    let shown = frr.ask("show bgp neighbors 192.0.2.2 json").unwrap();
    assert!(shown.contains("\"connectionsEstablished\":1,"), "{shown}");
    assert!(shown.contains("\"connectionsDropped\":0,"), "{shown}");

    node.stop(Stop::Withdraw);
    answers(
        "the reason in frr",
        || frr.ask("show bgp neighbors 192.0.2.2"),
        &["Last reset", "Notification received (Cease/Administrative Shutdown)"],
    );
    asked("the end of the routes", || frr.ask("show bgp ipv4 unicast"), |answer| !answer.contains("198.51"));
}

#[test]
fn frr_learns_of_both_families_over_ipv6_and_within_the_as() {
    let lab = Lab::new();
    let frr = frr(&lab, NODE6, ROUTER_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("frr", inner(ROUTER6))]);
    node.set_routes(&routes());
    node.wait_until_told("frr", 4);
    let said = ["Local", "metric 33, localpref 217", "internal"];
    let v4 = answers("an IPv4 prefix", || frr.ask("show bgp ipv4 unicast 198.51.100.0/29"), &said);
    assert!(
        v4.contains("192.0.2.2 (inaccessible")
            || v4.contains("192.0.2.2 (metric")
            || v4.contains("192.0.2.2 from"),
        "{v4}"
    );
    answers("an IPv6 prefix", || frr.ask("show bgp ipv6 unicast 2001:db8:5::/64"), &said);
}

#[test]
fn frr_is_told_all_again_when_it_asks() {
    let lab = Lab::new();
    let frr = frr(&lab, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("frr", peer("192.0.2.1"))]);
    node.set_routes(&routes());
    node.wait_until_told("frr", 4);
    let received = || {
        let shown = frr.ask("show bgp neighbors 192.0.2.2 json")?;
        let count = shown.split("\"updatesRecv\":").nth(1).and_then(|rest| rest.split(',').next());
        anyhow::Ok(count.unwrap_or_default().to_owned())
    };
    // Two messages of IPv4, two of IPv6, and the end of each table.
    asked("the first table", received, |count| count == "6");
    frr.ask("clear bgp ipv6 unicast * in").unwrap();
    asked("the table of IPv6 again", received, |count| count == "8");
    assert_eq!(node.news("frr").sessions, 1);
}

#[test]
fn a_router_that_does_not_know_the_node_is_named() {
    let lab = Lab::new();
    let _frr = frr(&lab, "192.0.2.99", NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("frr", peer("192.0.2.1"))]);
    let news = node.wait("frr", "a reason", |news| news.reason != Reason::NotTried);
    assert!(news.reason.to_string().contains("as a neighbour"), "{}", news.reason);
}
