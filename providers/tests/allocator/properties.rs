//! Whatever happens, in whatever order.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use penstock_model::{Family, TrafficPolicy};
use penstock_providers::{
    Desired,
    pool::{Allocator, Pool, Terms},
};
use proptest::prelude::*;

use crate::builders::{asks_for, assign, key, pool, shares, v4, wants};

const SERVICES: u8 = 10;

#[derive(Clone, Debug)]
enum Event {
    Want(u8, Box<Desired>),
    Release(u8),
    Reported(u8),
    Pools(u8),
}

fn wish() -> impl Strategy<Value = Desired> {
    let families = prop_oneof![
        Just(v4()),
        Just(wants(&[(Family::IPv4, true), (Family::IPv6, true)])),
        Just(wants(&[(Family::IPv6, false), (Family::IPv4, false)])),
    ];
    let policy = prop_oneof![3 => Just(TrafficPolicy::Cluster), 1 => Just(TrafficPolicy::Local)];
    let sharing = (prop_oneof![Just("k"), Just("l")], 80u16..83, policy, prop_oneof![Just("a"), Just("b")]);
    let request = prop_oneof![3 => Just(None), 1 => (0u8..10).prop_map(Some)];
    (families, prop::option::of(sharing), request).prop_map(|(plain, sharing, request)| {
        let mut desired = sharing.map_or_else(v4, |(key, port, policy, app)| shares(key, port, policy, app));
        desired.families = plain.families;
        if let Some(last) = request {
            desired.request = asks_for(&[&format!("10.0.0.{last}")]).request;
        }
        desired
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..SERVICES, wish()).prop_map(|(s, desired)| Event::Want(s, Box::new(desired))),
        2 => (0..SERVICES).prop_map(Event::Release),
        2 => (0..SERVICES).prop_map(Event::Reported),
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

fn name(service: u8) -> String {
    format!("s{service}")
}

/// Who is on an address, and on what terms.
type Seat = (u8, IpAddr, Option<Terms>);

/// The rules, written down a second time: two Services, one address.
fn agree(a: Option<&Terms>, b: Option<&Terms>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return false };
    let cluster = |terms: &Terms| terms.sharing.traffic_policy == TrafficPolicy::Cluster;
    a.sharing.key == b.sharing.key
        && a.ports.is_disjoint(&b.ports)
        && ((cluster(a) && cluster(b)) || a.sharing.selector == b.sharing.selector)
}

fn held(allocator: &Allocator) -> Vec<Seat> {
    let of = |s: u8| {
        let addresses =
            allocator.holding(&key(name(s))).map(|built| built.addresses.clone()).unwrap_or_default();
        let terms = allocator.terms(&key(name(s))).cloned();
        addresses.into_iter().map(move |ip| (s, ip, terms.clone()))
    };
    (0..SERVICES).flat_map(of).collect()
}

fn no_clash(seats: &[Seat]) -> bool {
    let pairs = seats.iter().enumerate().flat_map(|(i, a)| seats[..i].iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| a.1 == b.1).all(|(a, b)| agree(a.2.as_ref(), b.2.as_ref()))
}

/// What a Service that holds nothing gets, found by looking at every address of every pool in use.
fn reference(pools: &BTreeMap<String, Pool>, seats: &[Seat], desired: &Desired) -> Option<Vec<IpAddr>> {
    let terms = Terms::of(desired);
    let others = |ip: IpAddr| seats.iter().filter(move |(_, seat, _)| *seat == ip);
    let fits = |ip: IpAddr| others(ip).all(|(_, _, theirs)| agree(terms.as_ref(), theirs.as_ref()));
    let v4 = (0..16u8).map(|n| IpAddr::from([10, 0, 0, n]));
    let v6 = (0..8u16).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
    let all: Vec<IpAddr> = v4.chain(v6).collect();
    let asked = &desired.request.addresses;
    let offer = |pool: &Pool, strict: bool| -> Option<(Vec<IpAddr>, bool)> {
        let (mut addresses, mut joins) = (Vec::new(), false);
        for need in &desired.families {
            let mut of_family = all
                .iter()
                .copied()
                .filter(|ip| Family::of(*ip) == need.family && pool.ranges.iter().any(|r| r.contains(*ip)));
            let request = asked.iter().copied().find(|ip| Family::of(*ip) == need.family);
            let joined = of_family.clone().find(|ip| others(*ip).next().is_some() && fits(*ip));
            let free = of_family.find(|ip| others(*ip).next().is_none());
            match request.map(|ip| pool.ranges.iter().any(|r| r.contains(ip)) && fits(ip)) {
                Some(true) => addresses.extend(request),
                Some(false) => return None,
                None if joined.is_some() => {
                    addresses.extend(joined);
                    joins = true;
                }
                None if free.is_some() => addresses.extend(free),
                None if need.required || strict => return None,
                None => {}
            }
        }
        (!addresses.is_empty()).then_some((addresses, joins))
    };
    let orders = [(true, true), (true, false), (false, true), (false, false)];
    orders.iter().filter(|(strict, _)| asked.is_empty() || !strict).find_map(|(strict, joining)| {
        let offers = pools.values().filter_map(|pool| offer(pool, *strict));
        offers.into_iter().find(|(_, joins)| *joins || !joining || !asked.is_empty()).map(|(ips, _)| ips)
    })
}

proptest! {
    /// No two Services that do not agree are on one address, a repeated choice changes nothing, and after everybody
    /// has left, everything is as at the start.
    #[test]
    fn no_clash_no_needless_move_no_leak(events in prop::collection::vec(event(), 0..120)) {
        let mut allocator = Allocator::default();
        allocator.set_pools(pool_set(0));
        let untouched = allocator.usage();
        for event in events {
            match event {
                Event::Want(s, desired) => {
                    if let Ok(first) = assign(&mut allocator, name(s), &desired) {
                        prop_assert!(allocator.may_keep(&key(name(s)), Some(&desired)));
                        prop_assert_eq!(assign(&mut allocator, name(s), &desired), Ok(first));
                    }
                }
                Event::Release(s) => { allocator.release(&key(name(s))); }
                Event::Reported(s) => { allocator.reported(&key(name(s))); }
                Event::Pools(choice) => allocator.set_pools(pool_set(choice)),
            }
            prop_assert!(no_clash(&held(&allocator)), "{:?}", held(&allocator));
        }
        allocator.set_pools(pool_set(0));
        (0..SERVICES).for_each(|s| { allocator.release(&key(name(s))); });
        prop_assert_eq!(allocator.usage(), untouched);
    }

    /// Against a search through every address: the same address, or none; and what is counted is what is held.
    #[test]
    fn it_finds_what_a_full_search_finds(events in prop::collection::vec(event(), 0..80)) {
        let mut allocator = Allocator::default();
        let mut pools = pool_set(0);
        allocator.set_pools(pools.clone());
        for event in events {
            match event {
                Event::Want(s, desired) => {
                    allocator.release(&key(name(s)));
                    let expected = reference(&pools, &held(&allocator), &desired);
                    let found = assign(&mut allocator, name(s), &desired).ok().map(|a| a.addresses);
                    prop_assert_eq!(found, expected);
                }
                Event::Release(s) | Event::Reported(s) => { allocator.release(&key(name(s))); }
                Event::Pools(choice) => {
                    pools = pool_set(choice);
                    allocator.set_pools(pools.clone());
                }
            }
            let seats: BTreeSet<IpAddr> = held(&allocator).into_iter().map(|(_, ip, _)| ip).collect();
            for (pool, usage) in allocator.usage() {
                let inside = seats.iter().filter(|ip| pools[&pool].ranges.iter().any(|r| r.contains(**ip)));
                prop_assert_eq!(usage.assigned_v4 + usage.assigned_v6, i64::try_from(inside.count()).unwrap());
            }
        }
    }

    /// A wish that changes moves its own Service only.
    #[test]
    fn nobody_moves_for_another(events in prop::collection::vec(event(), 0..60), s in 0..SERVICES, changed in wish()) {
        let mut allocator = Allocator::default();
        allocator.set_pools(pool_set(0));
        let mut wishes = BTreeMap::new();
        for event in events {
            if let Event::Want(s, desired) = event && assign(&mut allocator, name(s), &desired).is_ok() {
                wishes.insert(s, *desired);
            }
        }
        let before = held(&allocator);
        let _ = assign(&mut allocator, name(s), &changed);
        for (other, desired) in wishes.iter().filter(|(other, _)| **other != s) {
            let kept: Vec<IpAddr> =
                before.iter().filter(|(service, ..)| service == other).map(|(_, ip, _)| *ip).collect();
            let chosen = allocator.choose(&key(name(*other)), desired).unwrap().addresses;
            prop_assert!(kept.iter().all(|ip| chosen.contains(ip)), "{kept:?} {chosen:?}");
        }
    }

    /// After a restart everybody has what the statuses said, in whatever order they are adopted.
    #[test]
    fn adoption_does_not_depend_on_the_order(
        events in prop::collection::vec(event(), 0..60),
        order in Just((0..SERVICES).collect::<Vec<u8>>()).prop_shuffle(),
    ) {
        let mut before = Allocator::default();
        before.set_pools(pool_set(0));
        for event in events {
            if let Event::Want(s, desired) = event {
                let _ = assign(&mut before, name(s), &desired);
                before.reported(&key(name(s)));
            }
        }
        let mut after = Allocator::default();
        after.set_pools(pool_set(0));
        for s in order {
            let service = key(name(s));
            let Some(built) = before.holding(&service) else { continue };
            let clashes = after.adopt(&service, &built.addresses, built.pool.as_deref(), before.terms(&service));
            prop_assert_eq!(clashes, []);
        }
        prop_assert_eq!(held(&after), held(&before));
        prop_assert_eq!(after.usage(), before.usage());
    }
}
