//! Several Services on one address.

use penstock_model::{Family, TrafficPolicy};
use penstock_providers::{
    Desired, Frontend,
    pool::{Allocator, Terms},
};

use crate::builders::{addresses, allocator, asks_for, assign, key, shares, v4, wants};

const CLUSTER: TrafficPolicy = TrafficPolicy::Cluster;
const LOCAL: TrafficPolicy = TrafficPolicy::Local;

fn at(address: &str, desired: Desired) -> Desired {
    Desired { request: asks_for(&[address]).request, ..desired }
}

fn given(allocator: &mut Allocator, name: &str, desired: &Desired) -> String {
    addresses(&assign(allocator, name, desired).unwrap()).join(",")
}

#[test]
fn the_rules_of_sharing() {
    let udp = |mut desired: Desired| {
        desired.frontends[0].protocol = penstock_model::Protocol::Udp;
        desired
    };
    let first = shares("k", 80, CLUSTER, "a");
    let local = shares("k", 80, LOCAL, "a");
    for (holder, comer, refusal) in [
        (&first, shares("k", 443, CLUSTER, "b"), None),
        (&first, udp(shares("k", 80, CLUSTER, "b")), None),
        (&first, shares("k", 443, LOCAL, "a"), None),
        (&local, shares("k", 443, LOCAL, "a"), None),
        (&local, shares("k", 443, CLUSTER, "a"), None),
        (&first, shares("k", 80, CLUSTER, "b"), Some("has port 80/TCP of 10.0.0.1")),
        (
            &first,
            shares("other", 443, CLUSTER, "b"),
            Some(r#"allow-shared-ip "k": to share it, give this Service the same"#),
        ),
        (&first, v4(), Some("both Services need the same annotation")),
        (&v4(), shares("k", 443, CLUSTER, "b"), Some("both Services need the same annotation")),
        (&first, shares("k", 443, LOCAL, "b"), Some("spec.externalTrafficPolicy of both must be Cluster")),
        (&local, shares("k", 443, LOCAL, "b"), Some("or their spec.selector the same")),
        (&local, shares("k", 443, CLUSTER, "b"), Some("or their spec.selector the same")),
    ] {
        let mut allocator = allocator(&[("a", &["10.0.0.0/30"])]);
        assign(&mut allocator, "holder", &at("10.0.0.1", holder.clone())).unwrap();
        let outcome = assign(&mut allocator, "comer", &at("10.0.0.1", comer.clone()));
        match (outcome, refusal) {
            (Ok(assignment), None) => assert_eq!(addresses(&assignment), ["10.0.0.1"]),
            (Err(error), Some(refusal)) => {
                let sentence = error.to_string();
                assert!(
                    sentence.contains(refusal) && sentence.contains("Service default/holder "),
                    "{sentence}"
                );
            }
            (outcome, refusal) => panic!("{holder:?} {comer:?}: {outcome:?}, not {refusal:?}"),
        }
    }
}

#[test]
fn a_third_has_to_agree_with_every_holder() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"])]);
    assert_eq!(given(&mut allocator, "a", &shares("k", 80, CLUSTER, "a")), "10.0.0.0");
    assert_eq!(given(&mut allocator, "b", &shares("k", 81, CLUSTER, "b")), "10.0.0.0");
    let error = assign(&mut allocator, "c", &at("10.0.0.0", shares("k", 82, LOCAL, "a"))).unwrap_err();
    assert!(error.to_string().contains("Service default/b holds 10.0.0.0"), "{error}");
}

#[test]
fn an_address_of_the_key_comes_before_a_lower_free_one_and_a_better_pool() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"]), ("b", &["10.1.0.0/30"])]);
    assign(&mut allocator, "first", &at("10.1.0.2", shares("k", 80, CLUSTER, "a"))).unwrap();
    assert_eq!(given(&mut allocator, "joins", &shares("k", 443, CLUSTER, "b")), "10.1.0.2");
    assert_eq!(given(&mut allocator, "clashes", &shares("k", 80, CLUSTER, "c")), "10.0.0.0");
    assert_eq!(given(&mut allocator, "lowest", &shares("k", 81, CLUSTER, "d")), "10.0.0.0");
    assert_eq!(given(&mut allocator, "stranger", &shares("l", 82, CLUSTER, "a")), "10.0.0.1");
}

#[test]
fn a_shared_address_is_found_also_where_the_pool_is_exhausted() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/31"])]);
    assign(&mut allocator, "a", &shares("k", 80, CLUSTER, "a")).unwrap();
    assign(&mut allocator, "b", &shares("k", 80, CLUSTER, "b")).unwrap();
    // Only the second one has the same endpoints.
    assert_eq!(given(&mut allocator, "c", &shares("k", 443, LOCAL, "b")), "10.0.0.1");
    assert_eq!(given(&mut allocator, "d", &shares("k", 443, CLUSTER, "c")), "10.0.0.0");
}

#[test]
fn both_families_are_shared() {
    let dual = |port| Desired {
        families: wants(&[(Family::IPv4, true), (Family::IPv6, true)]).families,
        ..shares("k", port, CLUSTER, "a")
    };
    let mut allocator = allocator(&[("a", &["10.0.0.0/30", "2001:db8::/64"])]);
    assert_eq!(given(&mut allocator, "a", &dual(80)), "10.0.0.0,2001:db8::");
    assert_eq!(given(&mut allocator, "b", &dual(443)), "10.0.0.0,2001:db8::");
    let (_, usage) = &allocator.usage()[0];
    assert_eq!((usage.assigned_v4, usage.assigned_v6, usage.available_v4), (1, 1, 3));
}

#[test]
fn who_changes_into_a_clash_moves_and_the_other_stays() {
    let (a, b) = (shares("k", 80, CLUSTER, "a"), shares("k", 443, CLUSTER, "b"));
    for changed in [
        shares("k", 80, CLUSTER, "b"),
        shares("other", 443, CLUSTER, "b"),
        shares("k", 443, LOCAL, "b"),
        Desired { sharing: None, ..b.clone() },
    ] {
        let mut allocator = allocator(&[("a", &["10.0.0.0/31"])]);
        assign(&mut allocator, "a", &a).unwrap();
        assign(&mut allocator, "b", &b).unwrap();
        assert!(!allocator.may_keep(&key("b"), Some(&changed)) && allocator.may_keep(&key("b"), Some(&b)));
        // Whoever is looked at first.
        assert_eq!(given(&mut allocator, "a", &a), "10.0.0.0");
        assert_eq!(given(&mut allocator, "b", &changed), "10.0.0.1");
        assert_eq!(given(&mut allocator, "a", &a), "10.0.0.0");
        // Until its status says so, it is still on the old address.
        assert!(assign(&mut allocator, "c", &at("10.0.0.0", b.clone())).is_err());
        assert!(allocator.reported(&key("b")));
        assert_eq!(given(&mut allocator, "c", &at("10.0.0.0", b.clone())), "10.0.0.0");
    }
}

#[test]
fn a_port_given_up_in_place_is_free_for_who_waited() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/32"])]);
    assign(&mut allocator, "a", &shares("k", 80, CLUSTER, "a")).unwrap();
    allocator.reported(&key("a"));
    assert!(assign(&mut allocator, "b", &shares("k", 80, CLUSTER, "b")).is_err());
    assert_eq!(given(&mut allocator, "a", &shares("k", 81, CLUSTER, "a")), "10.0.0.0");
    assert!(allocator.reported(&key("a")), "who waits has to be woken");
    assert!(!allocator.reported(&key("a")));
    assert_eq!(given(&mut allocator, "b", &shares("k", 80, CLUSTER, "b")), "10.0.0.0");
}

#[test]
fn an_address_is_free_when_the_last_sharer_has_left_it() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/31"])]);
    assign(&mut allocator, "a", &shares("k", 80, CLUSTER, "a")).unwrap();
    assign(&mut allocator, "b", &shares("k", 443, CLUSTER, "b")).unwrap();
    allocator.release(&key("a"));
    assert_eq!(given(&mut allocator, "c", &v4()), "10.0.0.1");
    // Moves, but its status still shows the address.
    allocator.release(&key("c"));
    assert_eq!(given(&mut allocator, "b", &at("10.0.0.1", v4())), "10.0.0.1");
    assert!(assign(&mut allocator, "c", &v4()).is_err());
    allocator.reported(&key("b"));
    assert_eq!(given(&mut allocator, "c", &v4()), "10.0.0.0");
}

#[test]
fn after_a_start_sharers_are_adopted_together_as_far_as_they_agree() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/30"])]);
    let ip = ["10.0.0.2".parse().unwrap()];
    let adopt = |allocator: &mut Allocator, name: &str, desired: &Desired| {
        allocator.adopt(&key(name), &ip, Some("a"), Terms::of(desired).as_ref()).len()
    };
    let (a, b) = (shares("k", 80, CLUSTER, "a"), shares("k", 443, CLUSTER, "b"));
    assert_eq!((adopt(&mut allocator, "a", &a), adopt(&mut allocator, "b", &b)), (0, 0));
    assert_eq!(adopt(&mut allocator, "twin", &shares("k", 80, CLUSTER, "c")), 1);
    assert_eq!(given(&mut allocator, "a", &a), "10.0.0.2");
    assert_eq!(given(&mut allocator, "b", &b), "10.0.0.2");
    assert_eq!(given(&mut allocator, "twin", &shares("k", 80, CLUSTER, "c")), "10.0.0.0");
}

/// Not a measurement: work that grows with the Services of a key would take minutes here.
#[test]
fn ten_thousand_services_of_one_key() {
    let mut allocator = allocator(&[("a", &["10.0.0.0/8"])]);
    for n in 0..10_000 {
        assign(&mut allocator, format!("same{n}"), &shares("k", 80, CLUSTER, &n.to_string())).unwrap();
        let own = shares("game", 10_000 + n, CLUSTER, &n.to_string());
        assign(&mut allocator, format!("own{n}"), &own).unwrap();
    }
    assert_eq!(allocator.usage()[0].1.assigned_v4, 10_001);
}

#[test]
fn ports_are_read_from_every_frontend() {
    let two = Desired {
        frontends: [80, 443]
            .map(|port| Frontend { port, ..shares("k", 80, CLUSTER, "a").frontends[0].clone() })
            .to_vec(),
        ..shares("k", 80, CLUSTER, "a")
    };
    let mut allocator = allocator(&[("a", &["10.0.0.0/31"])]);
    assign(&mut allocator, "two", &two).unwrap();
    assert_eq!(given(&mut allocator, "b", &shares("k", 443, CLUSTER, "b")), "10.0.0.1");
    assert_eq!(given(&mut allocator, "c", &shares("k", 444, CLUSTER, "c")), "10.0.0.0");
}
