use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn node() -> Node {
    Node {
        name: "n1".into(),
        labels: BTreeMap::from([("rack".into(), "r1".into())]),
        internal_ips: vec!["2001:db8::11".parse().unwrap(), "203.0.113.11".parse().unwrap()],
        network_unavailable: false,
        leaving: false,
    }
}

fn peer(changes: &Value) -> BGPPeer {
    let mut spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "203.0.113.1"});
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(key);
        }
    }
    let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "BGPPeer",
        "metadata": {"name": "tor", "namespace": "p"}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn profile(spec: &Value) -> BFDProfile {
    let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "BFDProfile",
        "metadata": {"name": "fast", "namespace": "p"}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn sessions(changes: &Value) -> (BTreeMap<String, Session>, BTreeSet<String>) {
    let mut peering = Peering::default();
    assert!(peering.apply_peer(&peer(changes)));
    peering.sessions(&node())
}

fn session(changes: &Value) -> Peer {
    let (mut sessions, problems) = sessions(changes);
    assert!(problems.is_empty(), "{problems:?}");
    sessions.remove("tor").unwrap().peer
}

#[test]
fn what_is_left_out_is_as_in_the_rfc_and_from_the_node() {
    let expected = Peer {
        address: "203.0.113.1".parse().unwrap(),
        port: 179,
        local_asn: 64512,
        remote_asn: RemoteAsn::Exactly(64513),
        router_id: "203.0.113.11".parse().unwrap(),
        source: None,
        hold_time: Duration::from_secs(90),
        keepalive: None,
        connect_retry: Duration::from_secs(10),
        password: None,
        distance: Distance::Usual,
        graceful_restart: None,
        next_hops: NextHops {
            v4: Some("203.0.113.11".parse().unwrap()),
            v6: Some("2001:db8::11".parse().unwrap()),
        },
    };
    assert_eq!(session(&json!({})), expected);
}

#[test]
fn every_field_counts() {
    let session = session(&json!({"peerASN": null, "dynamicASN": "external", "peerPort": 1790,
        "sourceAddress": "203.0.113.99", "holdTime": "1m30s", "keepaliveTime": "5s", "connectTime": "2s",
        "routerID": "192.0.2.1", "enableGracefulRestart": true, "ebgpMultiHop": true}));
    assert_eq!(session.remote_asn, RemoteAsn::External);
    assert_eq!(session.port, 1790);
    assert_eq!(session.source, Some("203.0.113.99".parse().unwrap()));
    assert_eq!(session.hold_time, Duration::from_secs(90));
    assert_eq!(session.keepalive, Some(Duration::from_secs(5)));
    assert_eq!(session.connect_retry, Duration::from_secs(2));
    assert_eq!(session.router_id, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(session.graceful_restart, Some(Duration::from_secs(120)));
    assert_eq!(session.distance, Distance::Anywhere);
}

#[test]
fn only_selected_nodes_open_a_session() {
    let rack = |rack: &str| json!({"nodeSelectors": [{"matchLabels": {"rack": rack}}]});
    assert_eq!(sessions(&rack("r1")).0.len(), 1);
    assert_eq!(sessions(&rack("r2")), (BTreeMap::new(), BTreeSet::new()));
}

#[test]
fn each_mistake_says_what_to_change() {
    for (changes, sentence) in [
        (
            json!({"peerAddress": "tor"}),
            "spec.peerAddress: \"tor\" is not an IP address of the family wanted",
        ),
        (
            json!({"routerID": "0.0.0.0"}),
            "spec.routerID: \"0.0.0.0\" is not an IP address of the family wanted",
        ),
        (json!({"dynamicASN": "internal"}), "spec: give either peerASN or dynamicASN"),
        (json!({"holdTime": "2s"}), "spec.holdTime: must be 0s or at least 3s"),
        (json!({"keepaliveTime": "500ms"}), "spec.keepaliveTime: 500ms is not from 1 to 21845 seconds"),
        (json!({"connectTime": "-5s"}), "spec.connectTime: -5s is not from 1 to 65535 seconds"),
        (
            json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}]}),
            "spec.nodeSelectors[0]: the operator Exists takes no values",
        ),
        (
            json!({"passwordSecret": {"name": "md5"}}),
            "spec.passwordSecret: waiting for the Secret \"md5\"; the chart's announcer.passwordSecrets must name it",
        ),
    ] {
        let (sessions, problems) = sessions(&changes);
        assert!(sessions.is_empty(), "{changes}");
        let expected = format!("BGPPeer tor: no session: {sentence}");
        assert_eq!(problems.into_iter().collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn a_password_comes_from_its_secret_and_stays_when_that_goes() {
    let mut peering = Peering::default();
    peering.apply_peer(&peer(&json!({"passwordSecret": {"name": "md5"}})));
    assert_eq!(peering.secrets(), BTreeSet::from(["md5"]));
    assert!(peering.take_password("md5".into(), Err("the Secret has no key \"password\"".into())));
    let (_, problems) = peering.sessions(&node());
    assert!(problems.first().unwrap().ends_with("the Secret has no key \"password\""));
    let password = Password(b"secret".to_vec());
    assert!(peering.take_password("md5".into(), Ok(password.clone())));
    assert!(!peering.take_password("md5".into(), Err("there is no such Secret".into())), "nothing changes");
    let (sessions, problems) = peering.sessions(&node());
    assert_eq!((sessions["tor"].peer.password.clone(), problems.len()), (Some(password), 0));
    assert!(!format!("{peering:?}").contains("115, 101"), "a password is never shown");
}

#[test]
fn a_profile_that_cannot_be_used_leaves_the_session() {
    let mut peering = Peering::default();
    peering.apply_peer(&peer(&json!({"bfdProfile": "fast"})));
    let judge = |peering: &Peering| {
        let (sessions, problems) = peering.sessions(&node());
        (
            sessions["tor"].bfd.map(|bfd| bfd.transmit_interval.as_millis()),
            problems.into_iter().collect::<Vec<_>>(),
        )
    };
    let problem =
        |reason: &str| format!("BGPPeer tor: a session without BFD: spec.bfdProfile: \"fast\": {reason}");
    assert_eq!(judge(&peering), (None, vec![problem("there is no such BFDProfile in this namespace")]));
    peering.apply_profile(&profile(&json!({"echoMode": true})));
    let (bfd, problems) = judge(&peering);
    assert_eq!(bfd, None);
    assert!(problems[0].starts_with(&problem("echoMode is not supported")), "{problems:?}");
    assert!(peering.apply_profile(&profile(&json!({"transmitInterval": 50}))));
    assert!(!peering.apply_profile(&profile(&json!({"transmitInterval": 50}))), "the same again");
    assert_eq!(judge(&peering), (Some(50), vec![]));
    assert!(peering.delete_profile(&ObjectKey::new("p", "fast")));
}

#[test]
fn a_node_without_ipv4_has_an_identifier_of_its_own() {
    let mut peering = Peering::default();
    peering.apply_peer(&peer(&json!({})));
    let id = |name: &str| {
        let node = Node { name: name.into(), internal_ips: vec![], ..node() };
        peering.sessions(&node).0["tor"].peer.router_id
    };
    assert_ne!(id("n1"), id("n2"));
    assert_eq!(id("n1"), id("n1"));
}
