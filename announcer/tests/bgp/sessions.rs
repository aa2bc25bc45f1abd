//! Several peers, and what becomes of each.

use std::time::Duration;

use penstock_announcer::bgp::{Peer, Reason, RemoteAsn, Withheld};
use penstock_e2e::router::Bird;

use crate::{
    bird::bird,
    lab::{Lab, NODE, NODE_AS, ROUTER, ROUTER_AS, answers, asked, peer, plain, routes},
};

/// Second addresses of the router and of the node: bird tells its neighbours by theirs alone.
const SECOND: &str = "192.0.2.3";
const SECOND_NODE: &str = "192.0.2.4";

fn second() -> Peer {
    Peer { source: Some(SECOND_NODE.parse().unwrap()), ..peer(SECOND) }
}

fn two(lab: &Lab) -> Bird {
    lab.router.ip(&format!("addr add {SECOND}/24 dev eth0")).unwrap();
    lab.node.ip(&format!("addr add {SECOND_NODE}/24 dev eth0")).unwrap();
    let session = |name: &str, own: &str, node: &str| {
        format!(
            "protocol bgp {name} {{
               local {own} as {ROUTER_AS}; neighbor {node} as {NODE_AS}; connect delay time 1;
               ipv4 {{ import all; export none; }};
             }}\n"
        )
    };
    let configuration = format!(
        "router id 192.0.2.1;\nprotocol device {{}}\n{}{}",
        session("one", ROUTER, NODE),
        session("two", SECOND, SECOND_NODE)
    );
    Bird::start(&lab.router.path(), &configuration).unwrap()
}

#[test]
fn a_change_of_one_peer_leaves_the_others_alone() {
    let lab = Lab::new();
    let bird = two(&lab);
    let mut node = lab.node();
    node.set_peers(&[("first", peer(ROUTER)), ("second", second())]);
    node.set_routes(&plain(&["198.51.100.1/32"]));
    node.wait_until_told("first", 1);
    node.wait_until_told("second", 1);
    let changed = Peer { hold_time: Duration::from_secs(30), ..second() };
    node.set_peers(&[("first", peer(ROUTER)), ("second", changed)]);
    node.wait("second", "the other hold time", |news| {
        news.session.as_ref().is_some_and(|session| session.hold_time == Duration::from_secs(30))
    });
    // A new peer has all routes, too.
    node.wait_until_told("second", 1);
    assert_eq!(node.news("second").sessions, 2);
    assert_eq!(node.news("first").sessions, 1);
    node.set_peers(&[("first", peer(ROUTER))]);
    answers("the reason in bird", || bird.ask("show protocols two"), &["Received: Peer de-configured"]);
    let shown = bird.ask("show protocols one").unwrap();
    assert!(shown.contains("Established"), "{shown}");
    assert_eq!(node.news("first").sessions, 1);
}

#[test]
fn a_peer_that_cannot_be_harms_no_other() {
    let lab = Lab::new();
    let bird = two(&lab);
    let mut node = lab.node();
    let wrong = Peer { hold_time: Duration::from_secs(2), ..second() };
    node.set_peers(&[("first", peer(ROUTER)), ("second", wrong.clone())]);
    node.wait_until_up("first");
    let reason = node.news("second").reason.to_string();
    assert_eq!(reason, "not tried: a hold time of 2s is not possible; use 0 s, or 3 s to 65535 s");
    node.set_peers(&[("first", peer(ROUTER)), ("second", second())]);
    node.wait_until_up("second");
    node.set_peers(&[("first", peer(ROUTER)), ("second", wrong)]);
    answers("the end in bird", || bird.ask("show protocols two"), &["Received: Other configuration change"]);
    assert_eq!(node.news("second").reason.to_string(), reason);
    assert_eq!(node.news("first").sessions, 1);
}

#[test]
fn a_router_that_bfd_no_longer_sees_is_told_so_and_tried_again() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    node.peer_down("bird");
    let news = node.wait("bird", "the end", |news| matches!(news.reason, Reason::Sent(_)));
    assert_eq!(news.reason.to_string(), "ended from here: Cease, BFD Down");
    // Bird 2.0.12 has no name for it.
    answers("the end in bird", || bird.ask("show protocols all node"), &["Last error:", "Received: "]);
    node.wait("bird", "the next session", |news| news.sessions == 2);
    node.wait_until_told("bird", 4);
    asked("the routes again", || bird.ask("show route"), |answer| answer.contains("198.51.100.8/32"));
}

#[test]
fn a_router_that_may_be_in_any_other_as_is_found_and_its_as_told() {
    let lab = Lab::new();
    let _bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", Peer { remote_asn: RemoteAsn::External, ..peer(ROUTER) })]);
    assert_eq!(node.wait_until_up("bird").session.unwrap().asn, ROUTER_AS);
    node.set_peers(&[("bird", Peer { remote_asn: RemoteAsn::Internal, ..peer(ROUTER) })]);
    node.wait("bird", "our refusal", |news| matches!(news.reason, Reason::Sent(_)));
}

#[test]
fn prefixes_without_a_next_hop_are_withheld_and_told_of() {
    let lab = Lab::new();
    let _bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", Peer { next_hops: Default::default(), ..peer(ROUTER) })]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 2);
    let withheld = node.news("bird").withheld;
    assert_eq!(withheld.values().collect::<Vec<_>>(), [&Withheld::NextHop, &Withheld::NextHop]);
}

#[test]
fn a_router_that_is_not_there_yet_is_tried_until_it_is() {
    let lab = Lab::new();
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.set_routes(&routes());
    let news = node.wait("bird", "a refusal", |news| matches!(news.reason, Reason::Connect(_)));
    assert!(news.reason.to_string().contains("refused"), "{}", news.reason);
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    node.wait_until_told("bird", 4);
    drop(bird);
    node.wait("bird", "its end", |news| !news.is_up() && news.told.is_empty());
}
