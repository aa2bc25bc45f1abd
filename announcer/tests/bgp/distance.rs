//! How far away a router may be.

use std::time::Duration;

use penstock_announcer::bgp::{Distance, Peer, Reason};
use penstock_e2e::{namespace::Namespace, router::Bird};

use crate::{
    bird::bird,
    lab::{Lab, NODE, NODE_AS, NODE6, Node, ROUTER, ROUTER_AS, ROUTER6, peer, routes},
};

/// A hold time that tests can wait for.
const SHORT: Duration = Duration::from_secs(3);

fn within(hops: u8, address: &str) -> Peer {
    Peer { distance: Distance::Within(hops.try_into().unwrap()), ..peer(address) }
}

#[test]
fn packets_prove_that_a_router_is_a_neighbour() {
    for (own, other) in [(ROUTER, NODE), (ROUTER6, NODE6)] {
        let lab = Lab::new();
        let bird = bird(&lab, own, other, NODE_AS, "ttl security on;");
        let mut node = lab.node();
        node.set_peers(&[("bird", within(1, own))]);
        node.set_routes(&routes());
        node.wait_until_told("bird", 4);
        // Bird answers, but hears nothing that does not come with 255.
        node.set_peers(&[("bird", Peer { hold_time: SHORT, ..peer(own) })]);
        let news = node.wait("bird", "silence", |news| matches!(news.reason, Reason::Sent(_)));
        assert!(news.reason.to_string().contains("Hold Timer Expired"), "{}", news.reason);
        assert!(!bird.ask("show protocols node").unwrap().contains("Established"));
    }
}

#[test]
fn a_router_that_does_not_prove_it_is_not_heard() {
    let lab = Lab::new();
    let _bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", Peer { hold_time: SHORT, ..within(1, ROUTER) })]);
    // Bird accepts connections with 255, and sends with 1 then.
    let news = node.wait("bird", "silence", |news| matches!(news.reason, Reason::Sent(_)));
    assert!(news.reason.to_string().contains("Hold Timer Expired"), "{}", news.reason);
    assert_eq!(news.sessions, 0);
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.wait_until_up("bird");
}

/// A node, a forwarder, and a bird at 198.51.100.1 behind it.
fn far(more: &str) -> ((Namespace, Namespace, Namespace), Bird) {
    let [node, middle, router] = [(); 3].map(|()| Namespace::new().unwrap());
    node.cable("eth0", &middle, "eth0").unwrap();
    middle.cable("eth1", &router, "eth0").unwrap();
    for (namespace, address, interface) in [
        (&node, "192.0.2.2/24", "eth0"),
        (&middle, "192.0.2.1/24", "eth0"),
        (&middle, "198.51.100.254/24", "eth1"),
        (&router, "198.51.100.1/24", "eth0"),
    ] {
        namespace.ip(&format!("addr add {address} dev {interface}")).unwrap();
    }
    node.ip("route add default via 192.0.2.1").unwrap();
    router.ip("route add default via 198.51.100.254").unwrap();
    middle.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap().unwrap();
    let configuration = format!(
        "router id 198.51.100.1;
         protocol device {{}}
         protocol bgp node {{
           local 198.51.100.1 as {ROUTER_AS}; neighbor 192.0.2.2 as {NODE_AS};
           connect delay time 1; ipv4 {{ import all; export none; }};
           {more}
         }}"
    );
    let bird = Bird::start(&router.path(), &configuration).unwrap();
    ((node, middle, router), bird)
}

#[test]
fn a_router_of_another_as_is_a_neighbour_unless_said_otherwise() {
    let (namespaces, _bird) = far("multihop 2;");
    let mut node = Node::new(&namespaces.0);
    node.set_peers(&[("bird", peer("198.51.100.1"))]);
    let failed = |reason: &Reason| matches!(reason, Reason::Connect(_) | Reason::NoAnswer { .. });
    node.wait("bird", "no way there", |news| failed(&news.reason));
    node.set_peers(&[("bird", Peer { distance: Distance::Anywhere, ..peer("198.51.100.1") })]);
    node.set_routes(&crate::lab::plain(&["203.0.113.1/32"]));
    node.wait_until_told("bird", 1);
}

#[test]
fn packets_prove_how_many_hops_away_a_router_is() {
    let (namespaces, _bird) = far("multihop 2; ttl security on;");
    let mut node = Node::new(&namespaces.0);
    node.set_peers(&[("bird", within(2, "198.51.100.1"))]);
    node.wait_until_up("bird");
    node.set_peers(&[("bird", within(1, "198.51.100.1"))]);
    node.wait("bird", "silence", |news| matches!(news.reason, Reason::NoAnswer { .. }));
}
