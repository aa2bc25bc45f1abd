//! The allocator's promises: no address twice, addresses stay, everything free is found again.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{collections::BTreeMap, net::IpAddr};

use penstock_model::{Family, ObjectKey};
use penstock_providers::{
    Desired, FamilyNeed, Request,
    pool::{AllocationError, Allocator, Assignment, Pool},
};
use proptest::prelude::*;

fn pool(addresses: &[&str]) -> Pool {
    let ranges = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Pool { ranges, auto_assign: true, avoid_buggy_ips: false }
}

fn allocator(pools: &[(&str, &[&str])]) -> Allocator {
    let mut allocator = Allocator::default();
    allocator
        .set_pools(pools.iter().map(|(name, addresses)| ((*name).to_owned(), pool(addresses))).collect());
    allocator
}

fn key(name: impl Into<String>) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn wants(families: &[(Family, bool)]) -> Desired {
    let families =
        families.iter().map(|(family, required)| FamilyNeed { family: *family, required: *required });
    Desired { families: families.collect(), ..Desired::default() }
}

fn v4() -> Desired {
    wants(&[(Family::IPv4, true)])
}

fn asks_for(addresses: &[&str]) -> Desired {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Desired { request: Request { addresses, ..Request::default() }, ..v4() }
}

fn assign(
    allocator: &mut Allocator,
    name: impl Into<String>,
    desired: &Desired,
) -> Result<Assignment, AllocationError> {
    let service = key(name);
    let assignment = allocator.choose(&service, desired)?;
    allocator.commit(&service, &assignment)?;
    Ok(assignment)
}

fn addresses(assignment: &Assignment) -> Vec<String> {
    assignment.addresses.iter().map(ToString::to_string).collect()
}

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
    edited.adopt(&key("s"), &held, Some("a"));
    assert_eq!(addresses(&assign(&mut edited, "s", &v4()).unwrap()), ["10.0.0.1"]);
    let mut deleted = allocator(&[("b", &["10.1.0.0/30"])]);
    deleted.adopt(&key("s"), &held, Some("a"));
    assert_eq!(addresses(&assign(&mut deleted, "s", &v4()).unwrap()), ["10.0.0.0"]);
}

#[test]
fn adopted_addresses_are_never_given_again() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/31"])]);
    assert!(allocator.adopt(&key("old"), &["10.0.0.0".parse().unwrap()], None).is_empty());
    let conflict = allocator.adopt(&key("twin"), &["10.0.0.0".parse().unwrap()], None);
    assert_eq!(conflict, ["10.0.0.0".parse::<IpAddr>().unwrap()]);
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
    assert_eq!(taken, "the Service asks for 10.0.0.2, which Service default/s holds");
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
    assert_eq!(error.to_string(), "no free IPv6 and IPv4 address in IPAddressPool a");
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
}

#[derive(Clone, Debug)]
enum Event {
    Want(u8, bool),
    Ask(u8, u8),
    Release(u8),
    Pools(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u8..12, any::<bool>()).prop_map(|(s, dual)| Event::Want(s, dual)),
        2 => (0u8..12, 0u8..10).prop_map(|(s, ip)| Event::Ask(s, ip)),
        2 => (0u8..12).prop_map(Event::Release),
        1 => (0u8..3).prop_map(Event::Pools),
    ]
}

fn pool_set(choice: u8) -> BTreeMap<String, Pool> {
    let sets: [&[(&str, &[&str])]; 3] = [
        &[("a", &["10.0.0.0-10.0.0.4"]), ("b", &["10.0.0.5-10.0.0.9", "2001:db8::/126"])],
        &[("b", &["10.0.0.2-10.0.0.7", "2001:db8::/127"])],
        &[],
    ];
    sets[usize::from(choice)].iter().map(|(name, list)| ((*name).to_owned(), pool(list))).collect()
}

proptest! {
    /// Whatever happens: no address has two holders, a repeated choice changes nothing, and after everybody
    /// has left, the first address is free again.
    #[test]
    fn no_address_twice_and_no_needless_move(events in prop::collection::vec(event(), 0..120)) {
        let mut allocator = Allocator::default();
        allocator.set_pools(pool_set(0));
        for event in events {
            match event {
                Event::Want(s, dual) => {
                    let desired = if dual { wants(&[(Family::IPv4, true), (Family::IPv6, true)]) } else { v4() };
                    if let Ok(first) = assign(&mut allocator, s.to_string(), &desired) {
                        prop_assert_eq!(assign(&mut allocator, s.to_string(), &desired), Ok(first));
                    }
                }
                Event::Ask(s, ip) => {
                    let _ = assign(&mut allocator, s.to_string(), &asks_for(&[&format!("10.0.0.{ip}")]));
                }
                Event::Release(s) => {
                    allocator.release(&key(s.to_string()));
                }
                Event::Pools(choice) => allocator.set_pools(pool_set(choice)),
            }
            let mut held: Vec<IpAddr> =
                (0..12).filter_map(|s| allocator.holding(&key(s.to_string()))).flat_map(|b| b.addresses.clone()).collect();
            let count = held.len();
            held.sort_unstable();
            held.dedup();
            prop_assert_eq!(held.len(), count);
        }
        allocator.set_pools(pool_set(0));
        (0..12).for_each(|s| { allocator.release(&key(s.to_string())); });
        let free: Vec<_> = allocator.free().map(|(pool, family, count)| (pool.to_owned(), family, count)).collect();
        let expected = [("a", Family::IPv4, 5), ("a", Family::IPv6, 0), ("b", Family::IPv4, 5), ("b", Family::IPv6, 4)];
        prop_assert_eq!(free, expected.map(|(pool, family, count)| (pool.to_owned(), family, count)));
    }
}
