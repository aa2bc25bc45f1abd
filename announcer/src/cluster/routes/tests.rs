use serde_json::{Value, json};

use super::{
    super::tests::{cluster, cordoned, node, read, service, slice},
    *,
};
use penstock_crds::{BGPAdvertisement, Community};
use penstock_model::ObjectKey;

fn advertisement(name: &str, spec: &Value) -> BGPAdvertisement {
    read(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "BGPAdvertisement",
        "metadata": {"name": name, "namespace": "p"}, "spec": spec}))
}

/// What peers `one` and `two` are told: prefix, then local preference, MED and communities as far as given.
fn told(cluster: &Cluster) -> [Vec<String>; 2] {
    let live = BTreeSet::from(["n2".to_owned()]);
    let mut routes = cluster.routes(&BTreeSet::from(["one", "two"]), &live);
    ["one", "two"].map(|peer| routes.remove(peer).unwrap().into_iter().map(shown).collect())
}

fn shown((prefix, attributes): (ipnet::IpNet, Attributes)) -> String {
    let numbers =
        [attributes.local_pref, attributes.med].into_iter().flatten().map(|number| number.to_string());
    let communities = attributes.communities.iter().map(ToString::to_string);
    numbers.chain(communities).fold(prefix.to_string(), |text, part| format!("{text} {part}"))
}

const NONE: [Vec<String>; 2] = [vec![], vec![]];

fn both(routes: &[&str]) -> [Vec<String>; 2] {
    let routes: Vec<String> = routes.iter().map(|text| (*text).to_owned()).collect();
    [routes.clone(), routes]
}

/// A cluster whose address 203.0.113.200 is announced to all peers.
fn routed() -> Cluster {
    let mut cluster = cluster();
    cluster.apply_route_advertisement(&advertisement("all", &json!({})));
    cluster
}

#[test]
fn what_this_node_tells() {
    type Change = fn(&mut Cluster) -> bool;
    let cases: Vec<(&str, Change, [Vec<String>; 2])> = vec![
        ("as it is", |_| true, both(&["203.0.113.200/32"])),
        ("no advertisement", |c| c.delete_route_advertisement(&ObjectKey::new("p", "all")), NONE),
        ("no ready endpoint", |c| c.apply_slice(&slice("s", &[("n1", false)])), NONE),
        (
            "Local, here",
            |c| c.apply_service(&service("s", "Local", &["203.0.113.200"])),
            both(&["203.0.113.200/32"]),
        ),
        (
            "Local, elsewhere",
            |c| {
                c.apply_slice(&slice("s", &[("n2", true)]));
                c.apply_service(&service("s", "Local", &["203.0.113.200"]))
            },
            NONE,
        ),
        ("network unavailable", |c| c.apply_node(&node("n1", &json!({}), true)), NONE),
        (
            "another node selected",
            |c| {
                c.apply_route_advertisement(&advertisement(
                    "all",
                    &json!({"nodeSelectors": [{"matchLabels": {"rack": "r2"}}]}),
                ))
            },
            NONE,
        ),
        (
            "one peer only",
            |c| c.apply_route_advertisement(&advertisement("all", &json!({"peers": ["two"]}))),
            [vec![], vec!["203.0.113.200/32".to_owned()]],
        ),
        (
            "aggregated",
            |c| c.apply_route_advertisement(&advertisement("all", &json!({"aggregationLength": 28}))),
            both(&["203.0.113.192/28"]),
        ),
        (
            "two advertisements of one prefix",
            |c| {
                let spec = json!({"localPref": 200, "med": 7, "communities": ["65000:1", "no-export"]});
                c.apply_route_advertisement(&advertisement("all", &spec));
                let spec =
                    json!({"localPref": 100, "med": 5, "communities": ["large:1:2:3"], "peers": ["one"]});
                c.apply_route_advertisement(&advertisement("more", &spec))
            },
            [
                vec!["203.0.113.200/32 200 5 65000:1 65535:65281 large:1:2:3".to_owned()],
                vec!["203.0.113.200/32 200 7 65000:1 65535:65281".to_owned()],
            ],
        ),
        (
            "a community without meaning",
            |c| c.apply_route_advertisement(&advertisement("all", &json!({"communities": ["gold"]}))),
            NONE,
        ),
        ("a drain begins here", |c| c.apply_node(&cordoned("n1")), NONE),
        ("a drain begins there", |c| c.apply_node(&cordoned("n2")), both(&["203.0.113.200/32"])),
    ];
    for (what, change, expected) in cases {
        let mut cluster = routed();
        assert!(change(&mut cluster), "{what}: a change that matters");
        assert_eq!(told(&cluster), expected, "{what}");
    }
}

#[test]
fn a_drain_withdraws_nothing_while_nobody_else_lives() {
    let mut cluster = routed();
    cluster.apply_node(&cordoned("n1"));
    let routes = cluster.routes(&BTreeSet::from(["one"]), &BTreeSet::new());
    assert_eq!(routes["one"].len(), 1);
}

#[test]
fn an_aggregate_is_told_while_one_address_in_it_is() {
    let mut cluster = routed();
    cluster.apply_route_advertisement(&advertisement("all", &json!({"aggregationLength": 28})));
    cluster.apply_service(&service("t", "Cluster", &["203.0.113.201"]));
    cluster.apply_slice(&slice("t", &[("n2", true)]));
    assert_eq!(told(&cluster), both(&["203.0.113.192/28"]));
    cluster.delete_service(&ObjectKey::new("d", "s"));
    assert_eq!(told(&cluster), both(&["203.0.113.192/28"]));
    cluster.delete_service(&ObjectKey::new("d", "t"));
    assert_eq!(told(&cluster), NONE);
}

#[test]
fn each_problem_names_its_object() {
    let mut cluster = routed();
    assert!(cluster.problems().is_empty());
    cluster.apply_route_advertisement(&advertisement("gilt", &json!({"communities": ["gold"]})));
    cluster.apply_route_advertisement(&advertisement("long", &json!({"aggregationLength": 40})));
    let problems: Vec<String> = cluster.problems().into_iter().collect();
    assert_eq!(problems.len(), 2);
    assert!(
        problems[0]
            .starts_with("BGPAdvertisement gilt: nothing is announced for it: spec.communities: \"gold\"")
    );
    assert!(
        problems[1]
            .starts_with("BGPAdvertisement long: nothing is announced for it: spec.aggregationLength: 40")
    );
    let community: Community = read(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "Community",
        "metadata": {"name": "c", "namespace": "p"}, "spec": {"communities": [{"name": "gold", "value": "65000:7"}]}}));
    assert!(cluster.apply_community(&community));
    assert_eq!(cluster.problems().len(), 1);
    assert_eq!(told(&cluster)[0], ["203.0.113.200/32 65000:7"]);
}
