//! Pools that serve some namespaces and Services only, and in which order.

use std::collections::BTreeMap;

use penstock_crds::ServiceAllocation;
use penstock_providers::{
    Desired, Request, Selection,
    pool::{Allocator, Pinning, Pool, Rejection},
};
use serde_json::{Value, json};

use crate::builders::{addresses, asks_for, assign, key, pool, v4};

fn pinned(addresses: &[&str], allocation: Value) -> Pool {
    let allocation: ServiceAllocation = serde_json::from_value(allocation).unwrap();
    Pool { pinning: Some(Pinning::read(&allocation).unwrap()), ..pool(addresses) }
}

fn pools(pools: Vec<(&str, Pool)>) -> Allocator {
    let mut allocator = Allocator::default();
    allocator.set_pools(pools.into_iter().map(|(name, pool)| (name.to_owned(), pool)).collect());
    allocator
}

/// In namespace `team`, which is labelled `tier: gold`; the Service `app: web`.
fn selected() -> Desired {
    let labels = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let selection = Selection {
        namespace: "team".into(),
        namespace_labels: labels("tier", "gold"),
        labels: labels("app", "web"),
    };
    Desired { selection, ..v4() }
}

fn from_pool(desired: Desired, name: &str) -> Desired {
    Desired { request: Request { pool: Some(name.into()), ..Request::default() }, ..desired }
}

#[test]
fn namespaces_are_alternatives_and_service_selectors_come_on_top() {
    let gold = json!([{"matchLabels": {"tier": "gold"}}]);
    let nobody = json!([{"matchLabels": {"tier": "none"}}]);
    let web = json!([{"matchLabels": {"app": "db"}}, {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}]);
    let namespace = Err(Rejection::Namespace("team".into()));
    for (allocation, expected) in [
        (json!({}), Ok(())),
        (json!({"namespaces": ["team", "x"]}), Ok(())),
        (json!({"namespaces": ["x"]}), namespace.clone()),
        (json!({"namespaceSelectors": gold}), Ok(())),
        (json!({"namespaceSelectors": nobody}), namespace.clone()),
        (json!({"namespaces": ["x"], "namespaceSelectors": gold}), Ok(())),
        (json!({"namespaces": ["team"], "namespaceSelectors": nobody}), Ok(())),
        (json!({"serviceSelectors": web}), Ok(())),
        (json!({"namespaces": ["team"], "serviceSelectors": gold}), Err(Rejection::ServiceLabels)),
        (json!({"namespaces": ["x"], "serviceSelectors": web}), namespace.clone()),
    ] {
        let given: ServiceAllocation = serde_json::from_value(allocation.clone()).unwrap();
        let pinning = Pinning::read(&given).unwrap();
        assert_eq!(pinning.admits(&selected().selection), expected, "{allocation}");
    }
}

#[test]
fn pinned_pools_come_first_by_priority_and_zero_is_the_last() {
    let here = |priority: u32| json!({"priority": priority, "namespaces": ["team"]});
    let mut allocator = pools(vec![
        ("a-open", pool(&["10.0.0.0/32"])),
        ("b-last", pinned(&["10.0.1.0/32"], here(0))),
        ("c-second", pinned(&["10.0.2.0/32"], here(20))),
        ("d-first", pinned(&["10.0.3.0/32"], here(10))),
        ("e-second", pinned(&["10.0.4.0/32"], here(20))),
        ("f-foreign", pinned(&["10.0.5.0/32"], json!({"priority": 1, "namespaces": ["x"]}))),
    ]);
    let given: Vec<_> =
        (0..5).map(|n| addresses(&assign(&mut allocator, format!("s{n}"), &selected()).unwrap())).collect();
    assert_eq!(given, [["10.0.3.0"], ["10.0.2.0"], ["10.0.4.0"], ["10.0.1.0"], ["10.0.0.0"]]);
    assert!(assign(&mut allocator, "s5", &selected()).is_err());
}

#[test]
fn nobody_gets_in_by_request_whom_the_selectors_keep_out() {
    let nowhere = json!({"namespaceSelectors": [{"matchLabels": {"tier": "none"}}]});
    let mut allocator = pools(vec![("a", pinned(&["10.0.0.0/30"], nowhere)), ("b", pool(&["10.0.1.0/30"]))]);
    let by_address = Desired { request: asks_for(&["10.0.0.1"]).request, ..selected() };
    for desired in [from_pool(selected(), "a"), by_address] {
        let error = assign(&mut allocator, "s", &desired).unwrap_err().to_string();
        let sentence = "the Service asks for IPAddressPool a or an address of it, but its spec.serviceAllocation admits \
                        neither the name nor the labels of namespace team";
        assert_eq!(error, sentence);
    }
    assert_eq!(addresses(&assign(&mut allocator, "s", &selected()).unwrap()), ["10.0.1.0"]);
}

#[test]
fn without_auto_assign_a_pool_serves_those_who_ask() {
    let shut = |pool: Pool| Pool { auto_assign: false, ..pool };
    let mut allocator = pools(vec![
        ("open", shut(pool(&["10.0.0.0/30"]))),
        ("pinned", shut(pinned(&["10.0.1.0/30"], json!({"namespaces": ["team"]})))),
    ]);
    let error = assign(&mut allocator, "s", &selected()).unwrap_err().to_string();
    let why = "its spec.autoAssign is false and the Service does not ask for it";
    assert_eq!(error, format!("no IPAddressPool serves this Service: pinned: {why}; open: {why}"));
    let given = assign(&mut allocator, "s", &from_pool(selected(), "pinned")).unwrap();
    assert_eq!(addresses(&given), ["10.0.1.0"]);
    // Who no longer asks has not lost the right to it.
    assert_eq!(addresses(&assign(&mut allocator, "s", &selected()).unwrap()), ["10.0.1.0"]);
    let asked = Desired { request: asks_for(&["10.0.0.2"]).request, ..selected() };
    assert_eq!(addresses(&assign(&mut allocator, "t", &asked).unwrap()), ["10.0.0.2"]);
}

#[test]
fn a_holder_moves_only_when_its_pool_no_longer_serves_it() {
    let team = |priority: u32| json!({"priority": priority, "namespaces": ["team"]});
    let set = |a: Pool, b: Pool| BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
    let mut allocator = Allocator::default();
    allocator.set_pools(set(pinned(&["10.0.0.0/30"], team(1)), pinned(&["10.0.1.0/30"], team(2))));
    assert_eq!(addresses(&assign(&mut allocator, "s", &selected()).unwrap()), ["10.0.0.0"]);
    for (a, stays) in [
        (pinned(&["10.0.0.0/30"], team(3)), true),
        (pinned(&["10.0.0.0/30"], json!({"serviceSelectors": [{"matchLabels": {"app": "web"}}]})), true),
        (Pool { auto_assign: false, ..pool(&["10.0.0.0/24"]) }, true),
        (pinned(&["10.0.0.0/30"], json!({"namespaces": ["x"]})), false),
    ] {
        allocator.set_pools(set(a, pinned(&["10.0.1.0/30"], team(2))));
        let expected = if stays { "10.0.0.0" } else { "10.0.1.0" };
        assert_eq!(allocator.may_keep(&key("s"), Some(&selected())), stays);
        assert_eq!(allocator.choose(&key("s"), &selected()).unwrap().addresses[0].to_string(), expected);
    }
}

#[test]
fn a_holder_moves_when_its_labels_no_longer_match() {
    let web = json!({"serviceSelectors": [{"matchLabels": {"app": "web"}}]});
    let mut allocator = pools(vec![("a", pinned(&["10.0.0.0/30"], web)), ("b", pool(&["10.0.1.0/30"]))]);
    assert_eq!(addresses(&assign(&mut allocator, "s", &selected()).unwrap()), ["10.0.0.0"]);
    let mut relabelled = selected();
    relabelled.selection.labels.clear();
    assert_eq!(addresses(&assign(&mut allocator, "s", &relabelled).unwrap()), ["10.0.1.0"]);
}

#[test]
fn every_pool_says_what_it_has_for_a_service() {
    let mut allocator = pools(vec![
        ("class", pool(&["10.0.0.0/32"])),
        ("family", pool(&["2001:db8::/64"])),
        ("foreign", pinned(&["10.0.2.0/32"], json!({"namespaces": ["x"]}))),
        ("free", pool(&["10.0.3.0/32"])),
        ("full", pool(&["10.0.4.0/32"])),
        ("shut", Pool { auto_assign: false, ..pool(&["10.0.5.0/32"]) }),
    ]);
    assign(&mut allocator, "other", &from_pool(selected(), "full")).unwrap();
    let names = ["family", "foreign", "free", "full", "shut"];
    let class_pools = names.map(String::from).to_vec();
    let desired = Desired { request: Request { class_pools, ..Request::default() }, ..selected() };
    let texts: Vec<String> = allocator
        .consider(&key("s"), &desired)
        .into_iter()
        .map(|(pool, verdict)| match verdict {
            Ok(addresses) => format!("{pool} gives {addresses:?}"),
            Err(why) => format!("{pool}: {why}"),
        })
        .collect();
    assert_eq!(
        texts,
        [
            "foreign: its spec.serviceAllocation admits neither the name nor the labels of namespace team",
            "class: spec.pool.ipAddressPools of the Service's LoadBalancerClass does not name it",
            "family: its spec.addresses have no IPv4 addresses",
            "free gives [10.0.3.0]",
            "full: it has no free IPv4 address",
            "shut: its spec.autoAssign is false and the Service does not ask for it",
        ]
    );
}
