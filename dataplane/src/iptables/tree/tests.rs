use std::net::Ipv4Addr;

use proptest::{collection::vec, prelude::*};

use super::*;

fn tree(family: Family) -> Tree {
    Tree::new(Table::Nat, "PENSTOCK-SERVICES", "-d", family)
}

/// Addresses that are close together and far apart, and ports of few blocks.
fn any_key() -> impl Strategy<Value = Key> {
    let ip = prop_oneof![0_u32..70, Just(1 << 8), Just(1 << 16), Just(1 << 25), 0_u32..0x2000];
    let what = prop_oneof![
        3 => (0_u16..300).prop_map(|port| What::Port(Protocol::Tcp, port)),
        1 => Just(What::Port(Protocol::Udp, 65_535)),
        1 => Just(What::Rest),
    ];
    (ip, what).prop_map(|(ip, what)| Key { ip: Ipv4Addr::from(0x0a60_0000 | ip).into(), what })
}

fn rules(key: Key) -> (Key, Rules) {
    (key, vec![format!("-g TO-{:?}", key.what)])
}

proptest! {
    #[test]
    fn any_way_to_a_set_of_keys_ends_in_the_same_chains(steps in vec((vec(any_key(), 0..60), vec(any::<u16>(), 0..40)), 1..8)) {
        let (mut tree, mut held): (_, Vec<Key>) = (tree(Family::IPv4), vec![]);
        let mut kernel = tree.chains();
        for (new, removals) in steps {
            let mut gone = vec![];
            for n in removals.into_iter().take(held.len()) {
                gone.push(held.swap_remove(usize::from(n) % held.len()));
            }
            held.extend(new.clone());
            let new: Vec<_> = new.into_iter().map(rules).collect();
            tree.update(&gone, &new).apply_to(&mut kernel);
        }
        let mut fresh = self::tree(Family::IPv4);
        fresh.update(&[], &held.into_iter().map(rules).collect::<Vec<_>>());
        prop_assert_eq!(&kernel, &fresh.chains());
        prop_assert_eq!(kernel, tree.chains());
    }

    #[test]
    fn every_key_is_reached_and_no_chain_is_long(keys in vec(any_key(), 0..200)) {
        let mut tree = tree(Family::IPv4);
        tree.update(&[], &keys.iter().copied().map(rules).collect::<Vec<_>>());
        let chains = tree.chains();
        for key in keys {
            let rule = format!("{} {}", key.matches("-d"), rules(key).1[0]);
            prop_assert_eq!(chains.values().flatten().filter(|one| **one == rule).count(), 1, "{}", rule);
        }
        for (name, rules) in &chains {
            prop_assert!(rules.len() <= 64 + 1, "{:?}", name);
        }
        let led_to = |name: &str| chains.values().flatten().filter(|rule| rule.ends_with(&format!(" {name}"))).count();
        for (_, name) in chains.keys().filter(|(_, name)| name != "PENSTOCK-SERVICES") {
            prop_assert_eq!(led_to(name), 1, "{}", name);
        }
    }
}

#[test]
fn a_change_among_many_writes_few_chains() {
    let mut tree = tree(Family::IPv4);
    let key = |n: u32| Key { ip: Ipv4Addr::from(0x0a60_0000 + n * 97 % (1 << 20)).into(), what: What::Rest };
    let all: Vec<_> = (0..10_000).map(|n| rules(key(n))).collect();
    tree.update(&[], &all);
    let depth = tree.around(&[key(5_000)], BUCKET).values().map(Vec::len).sum::<usize>();
    assert!(depth < 150, "a packet walks through {depth} rules at most");
    let patch = tree.update(&[], &[rules(key(10_001))]);
    assert!(patch.written.len() <= 3 && patch.deleted.is_empty(), "{patch:?}");
}

#[test]
fn ipv6_and_ports_have_their_branches() {
    let mut tree = tree(Family::IPv6);
    let ip: IpAddr = "2001:db8:113::11".parse().unwrap();
    let ports = (30_000..32_768).map(|port| rules(Key { ip, what: What::Port(Protocol::Tcp, port) }));
    let mut all: Vec<_> = ports.collect();
    all.push(rules(Key::all_of(ip)));
    tree.update(&[], &all);
    let chains = tree.chains();
    let address = chains.values().find(|rules| rules.iter().any(|rule| rule.contains(":30015"))).unwrap();
    assert!(address[0].starts_with("-p tcp -m tcp --dport 29952:30015 -j PENSTOCK-BRN-"), "{address:?}");
    assert!(address.last().unwrap().starts_with("-d 2001:db8:113::11 -g"), "{address:?}");
    assert!(
        chains[&(Table::Nat, "PENSTOCK-SERVICES".into())][0]
            .starts_with("-d 2001:db8:113::/64 -g PENSTOCK-BRN-")
    );
}
