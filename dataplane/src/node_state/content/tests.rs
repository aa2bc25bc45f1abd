use std::net::{IpAddr, SocketAddr};

use penstock_model::{Frontend, FrontendAddress, FrontendKind, Scheduler, SourceRanges, TrafficPolicy};
use penstock_runtime::{decode_state, encode_state};
use proptest::prelude::*;

use super::*;

fn protocols() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

fn policies() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

fn frontends() -> impl Strategy<Value = Frontend> {
    use FrontendKind::{ClusterIp, ExternalIp, LoadBalancer, NodePort};
    let kinds = prop_oneof![Just(ClusterIp), Just(NodePort), Just(LoadBalancer), Just(ExternalIp)];
    (any::<IpAddr>(), protocols(), any::<u16>(), kinds).prop_map(|(ip, protocol, port, kind)| Frontend {
        address: FrontendAddress { ip, protocol, port },
        kind,
    })
}

/// IPv6 without flow and scope, which endpoints do not have.
fn endpoints() -> impl Strategy<Value = Vec<SocketAddr>> {
    let address = (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    prop::collection::vec(address, 0..5)
}

fn source_ranges() -> impl Strategy<Value = SourceRanges> {
    let net =
        (any::<IpAddr>(), 0..=32_u8).prop_map(|(ip, bits)| ipnet::IpNet::new(ip, bits).unwrap().trunc());
    (prop::collection::vec(net, 0..4), any::<bool>())
        .prop_map(|(nets, incomplete)| SourceRanges::new(&nets, incomplete))
}

fn ports() -> impl Strategy<Value = ServicePort> {
    let schedulers = prop::option::of(prop::sample::select(Scheduler::ALL.to_vec()));
    let policies = (policies(), policies(), prop::option::of(any::<u32>()), schedulers);
    let sets = (prop::collection::vec(frontends(), 0..4), endpoints(), endpoints());
    (sets, policies, source_ranges()).prop_map(|(sets, policies, source_ranges)| ServicePort {
        frontends: sets.0,
        cluster: sets.1.into(),
        local: sets.2.into(),
        internal_policy: policies.0,
        external_policy: policies.1,
        affinity_seconds: policies.2,
        scheduler: policies.3,
        source_ranges,
    })
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = ("[a-c]", "\\PC{0,3}", 0..3_u16, protocols()).prop_map(|(namespace, name, port, protocol)| {
        PortKey { service: Arc::new(ObjectKey::new(namespace, name)), port, protocol }
    });
    let change = (key, prop::option::weighted(0.8, ports()))
        .prop_map(|(key, desired)| Change { key, desired: desired.map(Arc::new) });
    prop::collection::vec(change, 0..12)
}

fn state(changes: Vec<Change>) -> NodeState {
    let mut state = NodeState::default();
    state.apply(changes);
    state
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

proptest! {
    #[test]
    fn what_was_written_is_read(changes in changes()) {
        let state = state(changes);
        let octets = encode_state(FORMAT, &state.content("n1", now())).unwrap();
        let content: Content = decode_state(FORMAT, &octets).unwrap();
        prop_assert_eq!(content.into_state("n1"), Ok((state, now())));
    }
}

/// One port with everything.
fn example() -> NodeState {
    let address = |ip: &str| FrontendAddress { ip: ip.parse().unwrap(), protocol: Protocol::Udp, port: 53 };
    let frontend = |ip, kind| Frontend { address: address(ip), kind };
    let endpoints = |texts: &[&str]| texts.iter().map(|text| text.parse::<SocketAddr>().unwrap()).collect();
    let desired = ServicePort {
        frontends: vec![
            frontend("10.96.0.10", FrontendKind::ClusterIp),
            frontend("2001:db8::9", FrontendKind::LoadBalancer),
        ],
        cluster: endpoints(&["10.244.0.2:8053", "[2001:db8::2]:8053"]),
        local: endpoints(&["10.244.0.2:8053"]),
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        affinity_seconds: Some(10800),
        scheduler: Some(Scheduler::Sh),
        source_ranges: SourceRanges::new(&["192.0.2.0/24".parse().unwrap()], false),
    };
    let key = PortKey { service: Arc::new(ObjectKey::new("d", "web")), port: 53, protocol: Protocol::Udp };
    state(vec![Change { key, desired: Some(Arc::new(desired)) }])
}

/// If this fails, what is kept of a port has changed: count up the number in [`FORMAT`], and write the new one here.
#[test]
fn the_format_is_that_of_its_version() {
    let octets = postcard::to_stdvec(&example().content("n1", now())).unwrap();
    let content: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let expected = [
        "026e31",
        "80aba1b00d",
        "010164037765623501",
        "02000a60000a0135000120010db80000000000000000000000090135",
        "0202000af40002f53e0120010db8000000000000000000000002f53e01000af40002f53e",
        "0001",
        "01b054",
        "0106",
        "010100c00002001800",
    ];
    assert_eq!((FORMAT, content), ("penstock-node state 2", expected.concat()));
}
