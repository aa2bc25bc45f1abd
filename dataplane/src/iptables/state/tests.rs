use std::net::SocketAddr;

use penstock_model::{
    EndpointSet, Frontend, FrontendAddress, FrontendKind, ObjectKey, Protocol, SourceRanges, TrafficPolicy,
};
use proptest::{collection::vec, prelude::*};

use super::*;

fn config() -> TableConfig {
    TableConfig { cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()], ..TableConfig::default() }
}

fn endpoints() -> impl Strategy<Value = EndpointSet> {
    vec(0_u8..6, 0..4).prop_map(|hosts| {
        hosts.into_iter().map(|host| SocketAddr::from(([10, 244, 0, host], 8080))).collect::<Vec<_>>().into()
    })
}

/// Frontends of a port are its own, as the index sees to; the kinds and all else are any.
fn port(number: u8) -> impl Strategy<Value = ServicePort> {
    let policy = || prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)];
    let ranges = prop_oneof![Just(vec![]), Just(vec!["192.0.2.0/24".parse().unwrap()])];
    let affinity = prop_oneof![Just(None), Just(Some(60_u32))];
    (vec(any::<bool>(), 4), endpoints(), endpoints(), policy(), policy(), affinity, ranges).prop_map(
        move |(has, cluster, local, internal_policy, external_policy, affinity_seconds, ranges)| {
            let kinds = [
                ([10, 96, 0, number / 2], FrontendKind::ClusterIp),
                ([203, 0, 113, 11], FrontendKind::NodePort),
                ([203, 0, 114, number], FrontendKind::LoadBalancer),
                ([80, 11, 12, number], FrontendKind::ExternalIp),
            ];
            let frontends = kinds.into_iter().zip(has).filter(|(_, has)| *has).map(|((ip, kind), _)| {
                let port = 1000 + u16::from(number);
                Frontend { address: FrontendAddress { ip: ip.into(), protocol: Protocol::Tcp, port }, kind }
            });
            ServicePort {
                frontends: frontends.collect(),
                cluster,
                local,
                internal_policy,
                external_policy,
                affinity_seconds,
                scheduler: None,
                source_ranges: SourceRanges::new(&ranges, false),
            }
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    (0_u8..80).prop_flat_map(|number| {
        proptest::option::weighted(0.7, port(number)).prop_map(move |desired| {
            let service = Arc::new(ObjectKey::new("d", format!("s{number}")));
            Change {
                key: PortKey { service, port: 80, protocol: Protocol::Tcp },
                desired: desired.map(Arc::new),
            }
        })
    })
}

/// Rules that lead nowhere would be refused by the kernel, and chains that nobody needs would stay.
fn complete(chains: &Chains) -> Result<(), TestCaseError> {
    for ((table, name), rules) in chains {
        for rule in rules {
            let target = rule.rsplit(' ').next().unwrap_or_default();
            if target.starts_with("PENSTOCK-") {
                prop_assert!(chains.contains_key(&(*table, target.to_owned())), "{name}: {rule}");
            }
        }
        let kinds = ["PENSTOCK-SVC-", "PENSTOCK-LOC-", "PENSTOCK-EXT-", "PENSTOCK-FWL-", "PENSTOCK-BRN-"];
        if kinds.iter().any(|kind| name.starts_with(kind)) {
            let way = format!(" {name}");
            prop_assert!(
                chains.values().flatten().any(|rule| rule.ends_with(&way)),
                "nothing leads to {name}"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_way_to_the_same_services_ends_in_the_same_chains(batches in vec(vec(change(), 1..30), 1..6)) {
        let mut state = State::new(Family::IPv4, &config());
        let (mut kernel, mut last) = (state.chains(), BTreeMap::new());
        for batch in batches {
            state.apply(&batch).apply_to(&mut kernel);
            last.extend(batch.into_iter().map(|change| (change.key.clone(), change)));
        }
        let mut fresh = State::new(Family::IPv4, &config());
        fresh.apply(&last.into_values().collect::<Vec<_>>());
        prop_assert_eq!(&kernel, &fresh.chains());
        prop_assert_eq!(state.programmed(), fresh.programmed());
        complete(&kernel)?;
    }
}

#[test]
fn an_endpoint_writes_one_chain() {
    let mut state = State::new(Family::IPv4, &config());
    let change = |hosts: &[u8]| {
        let address = FrontendAddress { ip: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port: 80 };
        let frontends = vec![Frontend { address, kind: FrontendKind::ClusterIp }];
        let cluster = hosts.iter().map(|host| SocketAddr::from(([10, 244, 0, *host], 8080))).collect();
        let service = Arc::new(ObjectKey::new("d", "web"));
        let desired = Some(Arc::new(ServicePort { frontends, cluster, ..ServicePort::default() }));
        Change { key: PortKey { service, port: 80, protocol: Protocol::Tcp }, desired }
    };
    state.apply(&[change(&[1, 2])]);
    let patch = state.apply(&[change(&[1, 2, 3])]);
    let rules: Vec<&Vec<String>> = patch.written.values().collect();
    assert_eq!(
        rules,
        [&[
            "-p tcp -m statistic --mode random --probability 0.33333333333 -j DNAT --to-destination 10.244.0.1:8080",
            "-p tcp -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.244.0.2:8080",
            "-p tcp -j DNAT --to-destination 10.244.0.3:8080",
        ]]
    );
    assert!(patch.deleted.is_empty() && patch.len() == 3);
}

#[test]
fn other_service_ranges_write_one_chain() {
    let mut state = State::new(Family::IPv4, &config());
    let more = TableConfig { service_cidrs: vec!["10.96.0.0/16".parse().unwrap()], ..config() };
    let patch = state.set_config(&more);
    assert_eq!(patch.written.values().flatten().last().unwrap(), "-d 10.96.0.0/16 -j DROP");
    assert_eq!((patch.written.len(), patch.deleted.len()), (1, 0));
    assert!(state.set_config(&more).is_empty());
}
