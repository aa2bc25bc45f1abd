use penstock_announcer::bgp::{Peer, Reason, RemoteAsn, Stop};
use penstock_e2e::router::Bird;

use crate::lab::{
    Lab, NODE, NODE_AS, NODE6, ROUTER, ROUTER_AS, ROUTER6, answers, asked, inner, peer, plain, routes,
};

/// A bird that takes all and tells nothing, with more lines in its session with the node.
pub(crate) fn bird(lab: &Lab, own: &str, node: &str, node_as: u32, more: &str) -> Bird {
    let configuration = format!(
        "router id 192.0.2.1;
         protocol device {{}}
         protocol bgp node {{
           local {own} as {ROUTER_AS};
           neighbor {node} as {node_as};
           connect delay time 1; connect retry time 1; error wait time 1, 2;
           ipv4 {{ import all; export none; }};
           ipv6 {{ import all; export none; }};
           {more}
         }}"
    );
    Bird::start(&lab.router.path(), &configuration).unwrap()
}

#[test]
fn bird_learns_of_both_families_over_ipv4() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.set_routes(&routes());
    let news = node.wait_until_up("bird");
    assert_eq!(news.session.unwrap().asn, ROUTER_AS);
    node.wait_until_told("bird", 4);
    let ask = |prefix: &str| bird.ask(&format!("show route all for {prefix}"));
    let said = [
        "BGP.as_path: 4200000001",
        "BGP.med: 33",
        "BGP.community: (64512,100) (64512,200)",
        "BGP.large_community: (64512, 3, 4)",
    ];
    let v4 = answers("an IPv4 prefix", || ask("198.51.100.0/29"), &said);
    assert!(v4.contains("BGP.next_hop: 192.0.2.2"), "{v4}");
    assert!(!v4.contains("BGP.local_pref: 217"), "not to another AS: {v4}");
    let v6 = answers("an IPv6 prefix", || ask("2001:db8:5::/64"), &said);
    assert!(v6.contains("BGP.next_hop: 2001:db8::2"), "{v6}");
    let bare = answers("a prefix of which nothing is said", || ask("198.51.100.8/32"), &["BGP.as_path"]);
    assert!(!bare.contains("BGP.med") && !bare.contains("BGP.community"), "{bare}");

    node.stop(Stop::Withdraw);
    answers("the reason in bird", || bird.ask("show protocols node"), &["Received: Administrative shutdown"]);
    asked("the end of the routes", || bird.ask("show route"), |answer| !answer.contains("198.51.100"));
}

#[test]
fn bird_learns_of_both_families_over_ipv6_and_within_the_as() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER6, NODE6, ROUTER_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", inner(ROUTER6))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    let ask = |prefix: &str| bird.ask(&format!("show route all for {prefix}"));
    let said = ["BGP.as_path: \n", "BGP.local_pref: 217", "BGP.med: 33"];
    let v4 = answers("an IPv4 prefix", || ask("198.51.100.0/29"), &said);
    assert!(v4.contains("BGP.next_hop: 192.0.2.2"), "{v4}");
    let v6 = answers("an IPv6 prefix", || ask("2001:db8:5::/64"), &said);
    assert!(v6.contains("BGP.next_hop: 2001:db8::2"), "{v6}");
    answers("the usual preference", || ask("198.51.100.8/32"), &["BGP.local_pref: 100"]);
}

#[test]
fn a_change_of_routes_leaves_the_session_up() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    for round in 0..20 {
        node.set_routes(&plain(&[&format!("198.51.100.{round}/32"), &format!("2001:db8:5::{round}/128")]));
        node.set_peers(&[("bird", peer(ROUTER))]);
    }
    let seen = |answer: &str| answer.contains("198.51.100.19/32") && answer.contains("2001:db8:5::19/128");
    let table = asked("the last routes", || bird.ask("show route"), seen);
    assert_eq!(table.matches("unicast [node").count(), 2, "{table}");
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    assert_eq!(node.news("bird").sessions, 1);
    let shown = bird.ask("show protocols all node").unwrap();
    assert!(shown.contains("Established") && !shown.contains("Last error"), "{shown}");
}

#[test]
fn routes_that_bird_tells_are_not_taken_and_do_no_harm() {
    let lab = Lab::new();
    let configuration = format!(
        "router id 192.0.2.1;
         protocol device {{}}
         protocol static {{ ipv4; route 203.0.113.0/24 blackhole; route 192.0.2.2/32 blackhole; }}
         protocol static {{ ipv6; route 2001:db8:77::/48 blackhole; }}
         protocol bgp node {{
           local {ROUTER} as {ROUTER_AS}; neighbor {NODE} as {NODE_AS};
           connect delay time 1;
           ipv4 {{ import all; export all; }}; ipv6 {{ import all; export all; next hop self; }};
         }}"
    );
    let bird = Bird::start(&lab.router.path(), &configuration).unwrap();
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    answers(
        "bird's routes on their way",
        || bird.ask("show protocols all node"),
        &["2 imported, 2 exported"],
    );
    // What comes after the routes shows that they were read: a change there and back.
    bird.ask("reload out node").unwrap();
    node.set_routes(&plain(&["198.51.100.77/32"]));
    answers("a later route", || bird.ask("show route"), &["198.51.100.77/32"]);
    let news = node.news("bird");
    assert!(news.is_up() && news.sessions == 1, "{news:?}");
    let routes =
        lab.node.inside(|| std::process::Command::new("ip").args(["route"]).output()).unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&routes.stdout).contains("203.0.113"));
}

#[test]
fn bird_is_told_all_again_when_it_asks() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    let updates = || {
        let shown = bird.ask("show protocols all node").unwrap();
        let lines = shown.lines().filter(|line| line.contains("Import updates:"));
        lines.map(|line| line.split_whitespace().nth(2).unwrap().parse::<u32>().unwrap()).sum::<u32>()
    };
    asked("the first table", || Ok(updates().to_string()), |count| count == "4");
    bird.ask("reload in node").unwrap();
    asked("the table again", || Ok(updates().to_string()), |count| count == "8");
    assert_eq!(node.news("bird").sessions, 1);
}

#[test]
fn another_as_than_expected_is_named_on_both_sides() {
    let lab = Lab::new();
    let _bird = bird(&lab, ROUTER, NODE, 65000, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    let news = node.wait("bird", "bird's refusal", |news| matches!(news.reason, Reason::Received(_)));
    assert!(news.reason.to_string().contains("Bad Peer AS; compare the AS numbers"), "{}", news.reason);
    let wrong = Peer { local_asn: 65000, remote_asn: RemoteAsn::Exactly(64999), ..peer(ROUTER) };
    node.set_peers(&[("bird", wrong)]);
    let news = node.wait("bird", "our refusal", |news| matches!(news.reason, Reason::Sent(_)));
    assert!(news.reason.to_string().starts_with("ended from here: OPEN Message Error, Bad Peer AS"));
}

#[test]
fn a_router_with_short_as_numbers_has_a_session() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, 64512, "enable as4 off;");
    let mut node = lab.node();
    // With a long one bird would have to expect AS_TRANS, but compares with the capability that it does not use.
    node.set_peers(&[("bird", Peer { local_asn: 64512, ..peer(ROUTER) })]);
    node.set_routes(&routes());
    node.wait_until_told("bird", 4);
    assert!(!node.news("bird").session.unwrap().four_octet_as);
    answers("a route", || bird.ask("show route all for 198.51.100.8/32"), &["BGP.as_path: 64512"]);
}
