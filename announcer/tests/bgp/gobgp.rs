use penstock_announcer::bgp::Stop;
use penstock_e2e::router::Gobgp;

use crate::lab::{Lab, NODE, NODE_AS, ROUTER_AS, answers, asked, peer, plain, routes};

/// A gobgpd that waits for the node.
fn gobgp(lab: &Lab) -> Gobgp {
    let configuration = format!(
        r#"[global.config]
as = {ROUTER_AS}
router-id = "192.0.2.1"
[[neighbors]]
[neighbors.config]
neighbor-address = "{NODE}"
peer-as = {NODE_AS}
[neighbors.transport.config]
passive-mode = true
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-unicast"
"#
    );
    Gobgp::start(&lab.router.path(), &configuration).unwrap()
}

#[test]
fn gobgp_learns_of_both_families() {
    let lab = Lab::new();
    let gobgp = gobgp(&lab);
    let mut node = lab.node();
    node.set_peers(&[("gobgp", peer("192.0.2.1"))]);
    node.set_routes(&routes());
    node.wait_until_told("gobgp", 4);
    let said = ["4200000001", "{Med: 33}", "{Communities: 64512:100, 64512:200}", "64512:3:4"];
    let v4 = answers(
        "an IPv4 prefix",
        || gobgp.ask("global rib -a ipv4"),
        &[&said[..], &["198.51.100.0/29"]].concat(),
    );
    assert!(v4.contains("192.0.2.2") && v4.contains("198.51.100.8/32"), "{v4}");
    let v6 = answers(
        "an IPv6 prefix",
        || gobgp.ask("global rib -a ipv6"),
        &[&said[..], &["2001:db8:5::/64"]].concat(),
    );
    assert!(v6.contains("2001:db8::2") && v6.contains("2001:db8:5::8/128"), "{v6}");

    gobgp.ask("global rib add 203.0.113.0/24 nexthop 192.0.2.1").unwrap();
    node.set_routes(&plain(&["198.51.100.77/32"]));
    asked(
        "the last route alone",
        || gobgp.ask("global rib -a ipv4"),
        |answer| answer.contains("198.51.100.77/32") && !answer.contains("198.51.100.0/29"),
    );
    gobgp.ask(&format!("neighbor {NODE} softresetin")).unwrap();
    let news = node.news("gobgp");
    assert!(news.is_up() && news.sessions == 1, "{news:?}");
    node.stop(Stop::Withdraw);
    asked(
        "the end of the routes",
        || gobgp.ask("global rib -a ipv4"),
        |answer| !answer.contains("198.51.100"),
    );
}
