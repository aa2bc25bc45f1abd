//! Addresses of one or more pools, without selectors and without sharing.

use std::collections::BTreeMap;

use penstock_model::Family;
use penstock_providers::{
    Desired,
    pool::{AllocationError, Allocator, Clash, ClashCause, Pool, PoolUsage},
};

use crate::builders::{addresses, allocator, asks_for, assign, key, pool, v4, wants};

#[test]
fn the_lowest_free_address_of_the_first_pool() {
    let mut allocator = allocator(&[("b", &["10.0.1.0/30"]), ("a", &["10.0.0.8-10.0.0.9"])]);
    let given: Vec<_> =
        (0..4).map(|n| addresses(&assign(&mut allocator, format!("s{n}"), &v4()).unwrap())).collect();
    assert_eq!(given, [["10.0.0.8"], ["10.0.0.9"], ["10.0.1.0"], ["10.0.1.1"]]);
}

#[test]
fn exhaustion_names_the_pool_and_ends_with_a_release() {
    let mut allocator = allocator(&[("a", &["10.0.0.1/32"])]);
    assign(&mut allocator, "first", &v4()).unwrap();
    let error = assign(&mut allocator, "second", &v4()).unwrap_err();
    assert_eq!(error.to_string(), "no free IPv4 address in IPAddressPool a");
    assert!(allocator.release(&key("first")) && !allocator.release(&key("first")));
    assert_eq!(addresses(&assign(&mut allocator, "second", &v4()).unwrap()), ["10.0.0.1"]);
}

#[test]
fn a_holder_stays_when_a_better_pool_comes_and_moves_when_its_own_shrinks() {
    let mut allocator = allocator(&[("b", &["10.0.0.0/30"])]);
    assign(&mut allocator, "s", &v4()).unwrap();
    let (wide, other) = (pool(&["10.0.0.0/24"]), pool(&["10.1.0.0/24"]));
    allocator.set_pools(BTreeMap::from([("a".into(), other.clone()), ("b".into(), wide)]));
    assert_eq!(addresses(&assign(&mut allocator, "s", &v4()).unwrap()), ["10.0.0.0"]);
    allocator.set_pools(BTreeMap::from([("a".into(), other), ("b".into(), pool(&["10.0.0.1-10.0.0.9"]))]));
    assert_eq!(addresses(&assign(&mut allocator, "s", &v4()).unwrap()), ["10.1.0.0"]);
}

#[test]
fn deleting_a_pool_takes_nobodys_address_editing_it_does() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"]), ("b", &["10.1.0.0/30"])]);
    assign(&mut allocator, "s", &v4()).unwrap();
    allocator.set_pools(BTreeMap::from([("b".into(), pool(&["10.1.0.0/30"]))]));
    assert_eq!(addresses(&assign(&mut allocator, "s", &v4()).unwrap()), ["10.0.0.0"]);
    allocator.set_pools(BTreeMap::new());
    assert_eq!(addresses(&assign(&mut allocator, "s", &v4()).unwrap()), ["10.0.0.0"]);
    assert_eq!(assign(&mut allocator, "t", &v4()), Err(AllocationError::NoPool));
    // Back again, but without the address.
    allocator.set_pools(BTreeMap::from([("a".into(), pool(&["10.0.0.1-10.0.0.3"]))]));
    assert_eq!(addresses(&assign(&mut allocator, "s", &v4()).unwrap()), ["10.0.0.1"]);
}

#[test]
fn a_restart_remembers_which_pool_an_address_came_from() {
    let held = ["10.0.0.0".parse().unwrap()];
    let mut edited = allocator(&[("a", &["10.0.0.1/32"])]);
    edited.adopt(&key("s"), &held, Some("a"), None);
    assert_eq!(addresses(&assign(&mut edited, "s", &v4()).unwrap()), ["10.0.0.1"]);
    let mut deleted = allocator(&[("b", &["10.1.0.0/30"])]);
    deleted.adopt(&key("s"), &held, Some("a"), None);
    assert_eq!(addresses(&assign(&mut deleted, "s", &v4()).unwrap()), ["10.0.0.0"]);
}

#[test]
fn adopted_addresses_are_never_given_again() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/31"])]);
    let ip = "10.0.0.0".parse().unwrap();
    assert!(allocator.adopt(&key("old"), &[ip], None, None).is_empty());
    let clashes = allocator.adopt(&key("twin"), &[ip], None, None);
    assert_eq!(clashes, [Clash { ip, holder: key("old"), cause: ClashCause::NotShared }]);
    assert_eq!(addresses(&assign(&mut allocator, "new", &v4()).unwrap()), ["10.0.0.1"]);
    assert_eq!(addresses(&assign(&mut allocator, "old", &v4()).unwrap()), ["10.0.0.0"]);
}

#[test]
fn a_request_is_met_exactly_or_refused_with_its_reason() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"])]);
    assert_eq!(addresses(&assign(&mut allocator, "s", &asks_for(&["10.0.0.2"])).unwrap()), ["10.0.0.2"]);
    let sentence = |allocator: &mut Allocator, desired: &Desired| {
        assign(allocator, "t", desired).unwrap_err().to_string()
    };
    let taken = sentence(&mut allocator, &asks_for(&["10.0.0.2"]));
    assert_eq!(
        taken,
        "the Service cannot have the address that it asks for: Service default/s holds 10.0.0.2: to share it, both \
         Services need the same annotation penstock.dev/allow-shared-ip"
    );
    let outside = sentence(&mut allocator, &asks_for(&["10.9.9.9"]));
    assert_eq!(outside, "the Service asks for 10.9.9.9, which is in no IPAddressPool that it may use");
    let foreign = sentence(&mut allocator, &asks_for(&["2001:db8::1"]));
    assert!(foreign.contains("no ClusterIP of that family"), "{foreign}");
}

#[test]
fn a_new_request_moves_the_holder() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"])]);
    assign(&mut allocator, "s", &v4()).unwrap();
    assert_eq!(addresses(&assign(&mut allocator, "s", &asks_for(&["10.0.0.3"])).unwrap()), ["10.0.0.3"]);
    // Until its status says so, the old address is nobody else's.
    assert_eq!(addresses(&assign(&mut allocator, "t", &v4()).unwrap()), ["10.0.0.1"]);
    assert!(allocator.reported(&key("s")) && !allocator.reported(&key("s")));
    assert_eq!(addresses(&assign(&mut allocator, "u", &v4()).unwrap()), ["10.0.0.0"]);
}

#[test]
fn required_dual_stack_gets_both_or_nothing_preferred_what_there_is() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"]), ("b", &["10.0.1.0/30", "2001:db8::/64"])]);
    let required = wants(&[(Family::IPv6, true), (Family::IPv4, true)]);
    let preferred = wants(&[(Family::IPv4, false), (Family::IPv6, false)]);
    assert_eq!(addresses(&assign(&mut allocator, "r", &required).unwrap()), ["2001:db8::", "10.0.1.0"]);
    assert_eq!(addresses(&assign(&mut allocator, "p", &preferred).unwrap()), ["10.0.1.1", "2001:db8::1"]);
    allocator.set_pools(BTreeMap::from([("a".into(), pool(&["10.0.0.0/30"]))]));
    assert_eq!(addresses(&assign(&mut allocator, "p2", &preferred).unwrap()), ["10.0.0.0"]);
    let error = assign(&mut allocator, "r2", &required).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free IPv6 and IPv4 address in IPAddressPool a: there are no IPv6 addresses in spec.addresses"
    );
}

#[test]
fn an_address_stays_when_its_neighbour_of_the_other_family_has_to_move() {
    let dual = wants(&[(Family::IPv4, true), (Family::IPv6, true)]);
    let mut allocator = allocator(&[("a", &["10.0.0.0/32", "2001:db8::/128"])]);
    assign(&mut allocator, "s", &dual).unwrap();
    allocator.set_pools(BTreeMap::from([("a".into(), pool(&["10.0.0.1/32", "2001:db8::/128"]))]));
    assert_eq!(addresses(&assign(&mut allocator, "s", &dual).unwrap()), ["10.0.0.1", "2001:db8::"]);
}

#[test]
fn a_family_that_the_pool_gains_is_added_to_who_would_like_it() {
    let preferred = wants(&[(Family::IPv6, false), (Family::IPv4, false)]);
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"])]);
    assert_eq!(addresses(&assign(&mut allocator, "s", &preferred).unwrap()), ["10.0.0.0"]);
    allocator.set_pools(BTreeMap::from([("a".into(), pool(&["10.0.0.0/30", "2001:db8::/64"]))]));
    assert_eq!(addresses(&assign(&mut allocator, "s", &preferred).unwrap()), ["2001:db8::", "10.0.0.0"]);
}

#[test]
fn buggy_addresses_are_left_out_where_the_pool_says_so() {
    let mut allocator = Allocator::default();
    let careful = Pool { avoid_buggy_ips: true, ..pool(&["10.0.0.254-10.0.1.1"]) };
    allocator.set_pools(BTreeMap::from([("a".into(), careful)]));
    let given: Vec<_> =
        (0..2).map(|n| addresses(&assign(&mut allocator, format!("s{n}"), &v4()).unwrap())).collect();
    assert_eq!(given, [["10.0.0.254"], ["10.0.1.1"]]);
    assert!(assign(&mut allocator, "third", &v4()).is_err());
    let error = assign(&mut allocator, "fourth", &asks_for(&["10.0.1.0"])).unwrap_err().to_string();
    assert!(
        error.ends_with("10.0.1.0, which IPAddressPool a leaves out: its spec.avoidBuggyIPs is true"),
        "{error}"
    );
    let usage = PoolUsage { assigned_v4: 2, ..PoolUsage::default() };
    assert_eq!(allocator.usage(), [("a".to_owned(), usage)]);
}

#[test]
fn a_pool_of_single_addresses_of_which_most_are_left_out() {
    let entries: Vec<String> =
        (0..=255).map(|n| format!("10.0.{n}.{}/32", if n == 200 { 7 } else { 0 })).collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    let mut allocator = Allocator::default();
    allocator.set_pools(BTreeMap::from([("a".into(), Pool { avoid_buggy_ips: true, ..pool(&entries) })]));
    assert_eq!(addresses(&assign(&mut allocator, "s", &v4()).unwrap()), ["10.0.200.7"]);
}

#[test]
fn usage_counts_what_is_held_or_still_shown() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30", "2001:db8::/64"])]);
    let dual = wants(&[(Family::IPv4, true), (Family::IPv6, true)]);
    assign(&mut allocator, "s", &dual).unwrap();
    let usage = |assigned_v4, assigned_v6| PoolUsage {
        assigned_v4,
        assigned_v6,
        available_v4: 4 - assigned_v4,
        available_v6: i64::MAX,
    };
    assert_eq!(allocator.usage(), [("a".to_owned(), usage(1, 1))]);
    assign(&mut allocator, "s", &asks_for(&["10.0.0.3"])).unwrap();
    assert_eq!(allocator.usage(), [("a".to_owned(), usage(2, 1))]);
    allocator.reported(&key("s"));
    assert_eq!(allocator.usage(), [("a".to_owned(), usage(1, 0))]);
}

/// Not a measurement: linear work per allocation would take minutes here.
#[test]
fn ten_thousand_addresses_of_the_largest_pools() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/8", "2001:db8::/64"])]);
    let dual = wants(&[(Family::IPv4, true), (Family::IPv6, true)]);
    for n in 0..10_000 {
        assign(&mut allocator, format!("s{n}"), &dual).unwrap();
    }
    let (_, usage) = &allocator.usage()[0];
    assert_eq!((usage.assigned_v4, usage.assigned_v6), (10_000, 10_000));
    assert_eq!(allocator.holding(&key("s9999")).unwrap().addresses[0].to_string(), "10.0.39.15");
    (0..10_000).for_each(|n| assert!(allocator.release(&key(format!("s{n}")))));
    assert_eq!(allocator.usage()[0].1.available_v4, 1 << 24);
}
