use penstock_announcer::bgp::{Password, Peer, Reason};

use crate::{
    bird::bird,
    frr::frr,
    lab::{Lab, NODE, NODE_AS, NODE6, ROUTER, ROUTER6, answers, peer, routes},
};

fn with(address: &str, password: Option<&str>) -> Peer {
    Peer { password: password.map(|text| Password(text.into())), ..peer(address) }
}

#[test]
fn the_same_password_on_both_sides_makes_a_session_and_another_one_none() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "password \"s3cret\";");
    let mut node = lab.node();
    node.set_peers(&[("bird", with(ROUTER, Some("s3cret")))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    answers("a route", || bird.ask("show route"), &["198.51.100.8/32"]);
    for (wrong, hint) in [(Some("other"), "another password"), (None, "wants a password")] {
        node.set_peers(&[("bird", with(ROUTER, wrong))]);
        let news = node.wait("bird", "a reason", |news| matches!(news.reason, Reason::NoAnswer { .. }));
        assert!(news.reason.to_string().contains(hint), "{}", news.reason);
        assert!(!format!("{news:?}").contains("s3cret"));
    }
    node.set_peers(&[("bird", with(ROUTER, Some("s3cret")))]);
    node.wait_until_up("bird");
}

#[test]
fn passwords_work_over_ipv6() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER6, NODE6, NODE_AS, "password \"s3cret\";");
    let mut node = lab.node();
    node.set_peers(&[("bird", with(ROUTER6, Some("s3cret")))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    answers("a route", || bird.ask("show route"), &["2001:db8:5::8/128"]);
}

#[test]
fn frr_takes_the_password_as_well() {
    let lab = Lab::new();
    let frr = frr(&lab, NODE, NODE_AS, &format!("neighbor {NODE} password s3cret"));
    let mut node = lab.node();
    node.set_peers(&[("frr", with(ROUTER, Some("s3cret")))]);
    node.set_routes(&routes());
    node.wait_until_told("frr", 4);
    answers("a route", || frr.ask("show bgp ipv4 unicast"), &["198.51.100.8/32"]);
}
