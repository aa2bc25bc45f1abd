//! Which way connections go: a table of scenes.

// A test may panic; literals read better by value.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use anstream::adapter::strip_str;
use penstock_cli::{
    explain::Weight,
    trace::{Landscape, Question, Stage, Target, TargetError, Trace, Verdict, trace},
    trace_report::trace_text,
};
use penstock_model::Protocol;
use serde_json::{Value, json};

const LB: &str = "203.0.113.200:80";

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn merged(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

/// Service shop/web with every kind of address; `spec` is merged over it.
fn web(spec: Value) -> Value {
    let base = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
        "externalIPs": ["198.51.100.9"], "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    json!({"metadata": {"namespace": "shop", "name": "web", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": merged(base, spec),
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.200", "ipMode": "VIP"}]}}})
}

fn slice(endpoints: Value) -> Value {
    json!({"metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints})
}

fn node(name: &str, ip: &str, pods: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"podCIDRs": [pods]},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}]}})
}

fn announcement(node: &str, addresses: Value) -> Value {
    json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "NodeAnnouncement", "metadata": {"name": node},
        "spec": {}, "status": {"addresses": addresses}})
}

/// Two nodes; n1 announces; the only ready endpoint is on n1, another one on n2 is not ready.
fn scene(spec: Value) -> Landscape {
    let policy = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "ExternalIPPolicy", "metadata": {"name": "p"},
        "spec": {"namespaces": ["shop"], "cidrs": ["198.51.100.0/24"]}});
    Landscape {
        services: vec![object(web(spec))],
        slices: vec![object(slice(json!([
            {"addresses": ["10.244.1.5"], "nodeName": "n1"},
            {"addresses": ["10.244.2.5"], "nodeName": "n2", "conditions": {"ready": false}}])))],
        nodes: vec![
            object(node("n1", "192.0.2.11", "10.244.1.0/24")),
            object(node("n2", "192.0.2.12", "10.244.2.0/24")),
        ],
        policies: vec![object(policy)],
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        announcements: Some(vec![object(announcement(
            "n1",
            json!([{"address": "203.0.113.200", "services": ["shop/web"], "interfaces": ["eth0"]}]),
        ))]),
        ..Landscape::default()
    }
}

fn question(target: &str, from: Option<&str>) -> Question {
    Question {
        target: target.parse().unwrap(),
        protocol: Protocol::Tcp,
        from: from.map(|ip| ip.parse().unwrap()),
        node: None,
        namespace: "shop".into(),
    }
}

fn follow(land: &Landscape, target: &str, from: Option<&str>) -> Trace {
    trace(&question(target, from), land).unwrap()
}

fn text(trace: &Trace) -> String {
    strip_str(&trace_text(trace)).to_string()
}

#[test]
fn all_is_fine_by_way_of_the_node_that_announces() {
    let expected = "\
203.0.113.200:80/TCP
  fine    service   Service shop/web has it as the address of its load balancer, port 80/TCP
  fine    way       203.0.113.200 is announced by n1 on segment eth0
  fine    node      n1: DNAT to one of the cluster's 1: policy Cluster; its source becomes the node's
  note    node      n2: DNAT to one of the cluster's 1: policy Cluster; its source becomes the node's (it does not come by here)
  fine    endpoint  it ends at 10.244.1.5:8080
It arrives.

ENDPOINT          NODE   STATE       CHOSEN ON
10.244.1.5:8080   n1     ready       n1
10.244.2.5:8080   n2     not ready   -

What a node really has, say on it: nft list table inet penstock (mode nftables), iptables-save (mode iptables),
ipvsadm -Ln (mode ipvs)
";
    assert_eq!(text(&follow(&scene(json!({})), LB, None)), expected);
}

/// The scene, the target and the client; the verdict; where the first problem is, if there is one, and a sentence.
type Case = (Landscape, &'static str, Option<&'static str>, Verdict, Option<Stage>, &'static str);

fn with(spec: Value, change: impl FnOnce(&mut Landscape)) -> Landscape {
    let mut land = scene(spec);
    change(&mut land);
    land
}

fn cases() -> Vec<Case> {
    let local = || json!({"externalTrafficPolicy": "Local"});
    let ranges = || json!({"loadBalancerSourceRanges": ["192.0.2.64/26"]});
    let outside = Some("198.51.100.77");
    let (arrives, stops, depends) = (Verdict::Arrives, Verdict::Stops, Verdict::DependsOnNode);
    let (service, way, rule) = (Some(Stage::Service), Some(Stage::Balancer), Some(Stage::Node));
    let on_n2 = |land: &mut Landscape| {
        let addresses = json!([{"address": "203.0.113.200", "peers": ["tor"]}]);
        land.announcements = Some(vec![object(announcement("n2", addresses))]);
    };
    vec![
        (
            with(json!({}), |l| l.slices.clear()),
            LB,
            None,
            stops,
            rule,
            "REJECT: the Service has no endpoint that is ready",
        ),
        (scene(json!({})), "203.0.113.200:443", None, stops, service, "but not port 443/TCP: it has 80/TCP"),
        (
            scene(ranges()),
            LB,
            outside,
            stops,
            rule,
            "DROP: the Service's source ranges do not admit the client",
        ),
        (scene(ranges()), LB, Some("192.0.2.99"), arrives, None, "192.0.2.99 is outside the cluster"),
        (scene(ranges()), LB, None, arrives, None, "only from 192.0.2.64/26 (--from says whether)"),
        (
            scene(local()),
            LB,
            None,
            arrives,
            None,
            "DNAT to one of this node's 1: policy Local; its source stays",
        ),
        (with(local(), on_n2), LB, None, stops, rule, "DROP: policy Local, and no endpoint is on this node"),
        (
            with(json!({}), |l| l.announcements = Some(vec![])),
            LB,
            None,
            stops,
            way,
            "no node announces 203.0.113.200",
        ),
        (
            with(json!({}), |l| l.announcements = None),
            LB,
            None,
            arrives,
            None,
            "who announces the address is not known",
        ),
        (
            with(json!({}), |l| l.away = ["n1".to_owned()].into()),
            LB,
            None,
            arrives,
            None,
            "n1 on segment eth0, but its announcer is away",
        ),
        // A Pod's own node short-circuits policy Local, wherever the address is announced.
        (
            with(local(), on_n2),
            LB,
            Some("10.244.2.7"),
            arrives,
            None,
            "the rule of the client's own node forwards it: n2",
        ),
        (scene(json!({})), "10.96.0.9:80", None, arrives, None, "as its ClusterIP, port 80/TCP"),
        (
            scene(json!({})),
            "10.96.0.9:80",
            outside,
            stops,
            way,
            "a ClusterIP means nothing outside the cluster",
        ),
        (
            scene(json!({"internalTrafficPolicy": "Local"})),
            "10.96.0.9:80",
            None,
            depends,
            rule,
            "DROP: policy Local",
        ),
        (
            scene(json!({})),
            "192.0.2.12:30080",
            outside,
            arrives,
            None,
            "192.0.2.12 is the address of node n2",
        ),
        (scene(json!({})), "192.0.2.12:30081", outside, stops, service, "no Service has node port 30081/TCP"),
        (
            scene(json!({})),
            "198.51.100.9:80",
            outside,
            arrives,
            None,
            "the network has to route an externalIP to a node",
        ),
        (
            with(json!({}), |l| l.policies.clear()),
            "198.51.100.9:80",
            outside,
            stops,
            service,
            "asks for it and does not get it: externalIP 198.51.100.9 is outside what namespace shop may use",
        ),
        (
            scene(json!({})),
            "203.0.113.9:80",
            None,
            stops,
            service,
            "no Service has 203.0.113.9, and no node nor endpoint",
        ),
        (scene(json!({})), "10.244.1.5:8080", None, stops, service, "it is an endpoint of Service shop/web"),
        (scene(json!({})), "shop/web:80", None, arrives, None, "Service shop/web is at 203.0.113.200"),
        (
            scene(
                json!({"type": "ExternalName", "externalName": "a.example", "clusterIP": "", "clusterIPs": [],
                "externalIPs": []}),
            ),
            "web:80",
            None,
            stops,
            service,
            "the DNS answers with a.example",
        ),
        (
            with(
                json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "externalIPs": []}),
                |l| {
                    l.services[0].status = None;
                },
            ),
            "web:80",
            None,
            stops,
            service,
            "is headless: the DNS answers with its endpoints' addresses",
        ),
        (
            with(json!({}), |l| {
                l.services[0].metadata.labels =
                    Some([("service.kubernetes.io/service-proxy-name".into(), "x".into())].into());
            }),
            LB,
            None,
            stops,
            service,
            "its label hands it to another proxy",
        ),
        (
            scene(json!({"clusterIP": "None", "clusterIPs": ["None"]})),
            "198.51.100.9:80",
            None,
            stops,
            service,
            "names it, but has no ClusterIP",
        ),
        (
            with(json!({}), |l| {
                let balancer = l.services[0].status.as_mut().unwrap().load_balancer.as_mut().unwrap();
                balancer.ingress.as_mut().unwrap()[0].ip_mode = Some("Proxy".into());
            }),
            LB,
            None,
            stops,
            service,
            "which ends connections itself (ipMode Proxy)",
        ),
    ]
}

#[test]
fn every_scene_has_its_verdict_and_says_where_it_ends() {
    for (land, target, from, verdict, problem, sentence) in cases() {
        let trace = follow(&land, target, from);
        let found = trace.hops.iter().find(|hop| hop.weight == Weight::Problem);
        assert_eq!(
            (trace.verdict, found.map(|hop| hop.stage)),
            (verdict, problem),
            "{sentence}: {}",
            text(&trace)
        );
        assert!(text(&trace).contains(sentence), "{sentence}: {}", text(&trace));
    }
}

#[test]
fn a_balancer_outside_the_cluster_says_how_it_is() {
    let record = |status: Value| {
        object(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancer",
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"serviceUid": "u", "className": "cloud",
                "class": {"provider": "webhook", "webhook": {"url": "https://lb.example"}}},
            "status": status}))
    };
    let condition = |status: &str| {
        json!({"conditions": [{"type": "Programmed", "status": status, "reason": "Pending", "message": "soon",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    };
    for (status, weight, sentence) in [
        (condition("True"), Weight::Fine, "the balancer of class cloud, outside the cluster, is programmed"),
        (condition("False"), Weight::Note, "is not as the Service wants it: Pending: soon"),
        (json!({}), Weight::Problem, "is not built yet"),
    ] {
        let land = with(json!({}), |land| land.records = vec![record(status)]);
        let trace = follow(&land, LB, None);
        let way = trace.hops.iter().find(|hop| hop.stage == Stage::Balancer).unwrap();
        assert!(way.weight == weight && way.sentence.contains(sentence), "{way:?}");
    }
}

/// Connections stay within their family: what the Service has of the other one is no way out.
#[test]
fn endpoints_of_the_other_family_do_not_count() {
    let mut v6 = slice(json!([{"addresses": ["2001:db8::5"], "nodeName": "n1"}]));
    v6["addressType"] = json!("IPv6");
    v6["metadata"]["name"] = json!("web-2");
    let trace = follow(&with(json!({}), |land| land.slices.push(object(v6))), LB, None);
    assert!(trace.endpoints.len() == 2 && !text(&trace).contains("2001:db8::5"), "{}", text(&trace));
}

#[test]
fn one_node_only_and_one_that_is_not_there() {
    let land = scene(json!({}));
    let ask =
        |node: &str| trace(&Question { node: Some(node.into()), ..question("10.96.0.9:80", None) }, &land);
    let nodes: Vec<_> = ask("n2").unwrap().hops.into_iter().filter_map(|hop| hop.node).collect();
    assert_eq!(nodes, ["n2"]);
    assert_eq!(ask("n3").unwrap_err().to_string(), "node n3 does not exist");
}

#[test]
fn a_target_is_read_strictly_and_what_is_wrong_is_said() {
    for good in ["203.0.113.200:80", "[2001:db8::7]:443", "web:1", "shop/web:65535"] {
        assert_eq!(good.parse::<Target>().unwrap().to_string(), good);
    }
    for (bad, error) in [
        ("203.0.113.200", "has no port"),
        ("203.0.113.200:0", "is not a number from 1 to 65535"),
        ("web:http", "is not a number from 1 to 65535"),
        ("2001:db8::7:443", "IPv6 in brackets"),
        ("010.0.0.1:80", "is neither an IP address"),
        ("[10.0.0.1]:80", "is neither an IP address"),
        ("Web:80", "nor the name of a Service"),
        ("/web:80", "nor the name of a Service"),
    ] {
        let said = bad.parse::<Target>().unwrap_err().to_string();
        assert!(said.contains(error), "{bad}: {said}");
    }
    let missing = trace(&question("nobody:80", None), &scene(json!({}))).unwrap_err();
    assert!(
        matches!(missing, TargetError::NoSuchService(_))
            && missing.to_string() == "Service shop/nobody does not exist"
    );
}
