//! Graceful restart: routers that keep our routes while we are away (RFC 4724).

use std::time::{Duration, Instant};

use anyhow::Result;
use penstock_announcer::bgp::{Peer, Stop};

use crate::{
    bird::bird,
    frr::frr,
    lab::{LIMIT, Lab, NODE, NODE_AS, ROUTER, answers, asked, peer, plain, routes},
};

fn restarting(seconds: u64) -> Peer {
    Peer { graceful_restart: Some(Duration::from_secs(seconds)), ..peer(ROUTER) }
}

/// Looks at a router's routes until `done`; they must not be gone at any look.
fn stays(table: impl Fn() -> Result<String>, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        let table = table().unwrap();
        assert!(table.contains("198.51.100.8/32"), "the routes are gone: {table}");
        assert!(Instant::now() < deadline, "it never ended");
    }
}

#[test]
fn bird_keeps_the_routes_of_a_speaker_that_was_killed_until_it_is_back() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "graceful restart on;");
    let table = || bird.ask("show route");
    let mut node = lab.node();
    node.set_peers(&[("bird", restarting(120))]);
    node.set_routes(&routes());
    let session = node.wait_until_up("bird").session.unwrap();
    assert_eq!(session.kept_on_restart.len(), 2);
    node.wait_until_told("bird", 4);
    answers("the routes", table, &["198.51.100.8/32", "2001:db8:5::8/128"]);
    node.kill();
    asked("that bird noticed", || bird.ask("show protocols node"), |shown| !shown.contains("Established"));
    answers("kept routes", table, &["198.51.100.8/32", "2001:db8:5::8/128"]);

    let mut node = lab.node();
    node.set_peers(&[("bird", restarting(120))]);
    stays(table, || node.news("bird").is_up());
    // The session is up, but it is not known yet what is to be announced: the routes stay.
    stays(table, {
        let mut looks = 0..20;
        move || looks.next().is_none()
    });
    node.set_routes(&plain(&["198.51.100.8/32", "198.51.100.9/32"]));
    stays(table, || node.news("bird").told.len() == 2);
    // What is no longer announced goes with the end of the table.
    asked("the end of stale routes", table, |shown| {
        shown.contains("198.51.100.9/32") && !shown.contains("2001:db8:5::8/128")
    });
}

#[test]
fn bird_forgets_the_routes_of_a_speaker_that_does_not_come_back() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "graceful restart on;");
    let mut node = lab.node();
    node.set_peers(&[("bird", restarting(2))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    answers("the routes", || bird.ask("show route"), &["198.51.100.8/32", "2001:db8:5::8/128"]);
    node.stop(Stop::Restart);
    asked("that bird noticed", || bird.ask("show protocols node"), |shown| !shown.contains("Established"));
    asked("the end of the restart time", || bird.ask("show route"), |shown| !shown.contains("198.51.100"));
}

#[test]
fn a_speaker_that_ends_for_good_takes_its_routes_along() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "graceful restart on;");
    let mut node = lab.node();
    node.set_peers(&[("bird", restarting(3600))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    answers("the routes", || bird.ask("show route"), &["198.51.100.8/32"]);
    node.stop(Stop::Withdraw);
    asked("the end of the routes", || bird.ask("show route"), |shown| !shown.contains("198.51.100"));
}

#[test]
fn a_router_that_was_not_asked_to_keep_anything_is_told_of_a_restart() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "graceful restart on;");
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    node.stop(Stop::Restart);
    answers("the reason in bird", || bird.ask("show protocols node"), &["Received: Administrative shutdown"]);
}

#[test]
fn frr_keeps_the_routes_of_a_speaker_that_was_killed_until_it_is_back() {
    let lab = Lab::new();
    let frr = frr(&lab, NODE, NODE_AS, "bgp graceful-restart");
    let table = || frr.ask("show bgp ipv4 unicast");
    let mut node = lab.node();
    node.set_peers(&[("frr", restarting(120))]);
    node.set_routes(&routes());
    node.wait_until_told("frr", 4);
    answers("the routes", table, &["198.51.100.8/32"]);
    node.kill();
    // It marks what is stale with an S.
    asked("that frr noticed", table, |shown| shown.lines().any(|line| line.starts_with('S')));
    answers("kept routes", table, &["198.51.100.8/32"]);
    let mut node = lab.node();
    node.set_peers(&[("frr", restarting(120))]);
    stays(table, || node.news("frr").is_up());
    node.set_routes(&plain(&["198.51.100.8/32", "198.51.100.9/32"]));
    stays(table, || node.news("frr").told.len() == 2);
    asked("the end of stale routes", table, |shown| {
        shown.contains("198.51.100.9/32") && !shown.contains("198.51.100.0/29")
    });
}
