use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;

fn service(namespace: &str, name: &str, spec: &Value) -> core::Service {
    let object = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn kubernetes() -> core::Service {
    let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]);
    service("default", "kubernetes", &json!({"clusterIP": "10.96.0.1", "ports": ports}))
}

fn lines(environment: &ServiceEnvironment) -> Vec<String> {
    environment.variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn told(services: &[core::Service], namespace: &str) -> Vec<String> {
    lines(&service_environment(services, namespace, true))
}

/// The example of Kubernetes' own documentation, with a second port of another protocol.
#[test]
fn every_variable_of_a_service_with_two_ports() {
    let ports =
        json!([{"name": "client-tcp", "port": 6379}, {"name": "gossip", "port": 6380, "protocol": "UDP"}]);
    let redis = service("shop", "redis-primary", &json!({"clusterIP": "10.0.0.11", "ports": ports}));
    let expected = [
        "REDIS_PRIMARY_PORT=tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP=tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.0.0.11",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT=6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp",
        "REDIS_PRIMARY_PORT_6380_UDP=udp://10.0.0.11:6380",
        "REDIS_PRIMARY_PORT_6380_UDP_ADDR=10.0.0.11",
        "REDIS_PRIMARY_PORT_6380_UDP_PORT=6380",
        "REDIS_PRIMARY_PORT_6380_UDP_PROTO=udp",
        "REDIS_PRIMARY_SERVICE_HOST=10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT=6379",
        "REDIS_PRIMARY_SERVICE_PORT_CLIENT_TCP=6379",
        "REDIS_PRIMARY_SERVICE_PORT_GOSSIP=6380",
    ];
    assert_eq!(told(&[redis], "shop"), expected);
}

#[test]
fn an_ipv6_address_stands_in_brackets_in_urls_alone() {
    let spec = json!({"clusterIP": "2001:db8:96::7", "clusterIPs": ["2001:db8:96::7", "10.96.0.7"],
        "ports": [{"port": 132, "protocol": "SCTP"}]});
    let expected = [
        "S6_PORT=sctp://[2001:db8:96::7]:132",
        "S6_PORT_132_SCTP=sctp://[2001:db8:96::7]:132",
        "S6_PORT_132_SCTP_ADDR=2001:db8:96::7",
        "S6_PORT_132_SCTP_PORT=132",
        "S6_PORT_132_SCTP_PROTO=sctp",
        "S6_SERVICE_HOST=2001:db8:96::7",
        "S6_SERVICE_PORT=132",
    ];
    assert_eq!(told(&[service("d", "s6", &spec)], "d"), expected);
}

#[test]
fn services_without_an_address_are_left_out() {
    let ports = json!([{"port": 80}]);
    for spec in [
        json!({"clusterIP": "None", "ports": ports}),
        json!({"clusterIP": "", "ports": ports}),
        json!({"ports": ports}),
        json!({"type": "ExternalName", "externalName": "a.example"}),
    ] {
        assert!(told(&[service("d", "s", &spec)], "d").is_empty(), "{spec}");
    }
}

#[test]
fn a_pod_is_told_of_its_own_namespace_and_of_the_api_servers() {
    let spec = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    let services = [kubernetes(), service("shop", "web", &spec), service("default", "other", &spec)];
    let hosts = |namespace: &str, links: bool| {
        let all = lines(&service_environment(&services, namespace, links));
        all.into_iter().filter(|line| line.contains("_SERVICE_HOST=")).collect::<Vec<_>>()
    };
    let (kubernetes, web, other) =
        ("KUBERNETES_SERVICE_HOST=10.96.0.1", "WEB_SERVICE_HOST=10.96.0.7", "OTHER_SERVICE_HOST=10.96.0.7");
    assert_eq!(hosts("shop", true), [kubernetes, web]);
    assert_eq!(hosts("default", true), [kubernetes, other]);
    assert_eq!(hosts("empty", true), [kubernetes]);
    assert_eq!(hosts("shop", false), [kubernetes]);
}

#[test]
fn a_service_kubernetes_of_the_namespace_takes_the_place_of_the_api_servers() {
    let own = service("shop", "kubernetes", &json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}));
    for services in [[kubernetes(), own.clone()], [own.clone(), kubernetes()]] {
        let environment = service_environment(&services, "shop", true);
        assert_eq!(environment.variables["KUBERNETES_SERVICE_HOST"], "10.96.0.7");
        assert!(!environment.variables.contains_key("KUBERNETES_SERVICE_PORT_HTTPS"));
        assert!(environment.contested.is_empty());
        assert_eq!(
            service_environment(&services, "shop", false).variables["KUBERNETES_SERVICE_HOST"],
            "10.96.0.1"
        );
    }
}

/// `A_SERVICE_PORT` is the port of `a` and the URL of `a-service`.
#[test]
fn a_name_that_two_services_claim_is_named() {
    let spec = |ip: &str| json!({"clusterIP": ip, "ports": [{"port": 80}]});
    let services = [service("d", "a-service", &spec("10.96.0.8")), service("d", "a", &spec("10.96.0.7"))];
    let environment = service_environment(&services, "d", true);
    assert_eq!(Vec::from_iter(&environment.contested), ["A_SERVICE_PORT"]);
    assert_eq!(environment.variables["A_SERVICE_PORT"], "tcp://10.96.0.8:80");
}

fn any_service() -> impl Strategy<Value = core::Service> {
    let names = select(vec!["a", "a-b", "a-service", "kubernetes", "web"]);
    let ips = select(vec!["None", "", "10.96.0.7", "10.96.0.8", "2001:db8::7"]);
    let port = (1..4_i32, select(vec!["TCP", "UDP", "SCTP"]), select(vec!["", "http", "a-b"]));
    let ports = proptest::collection::vec(port, 0..4);
    (select(vec!["default", "shop"]), names, ips, ports).prop_map(|(namespace, name, ip, ports)| {
        // As an API server lets them through: a name belongs to one port.
        let by_name: BTreeMap<&str, _> =
            ports.into_iter().map(|(port, protocol, name)| (name, (port, protocol))).collect();
        let port = |(name, (port, protocol))| json!({"port": port, "protocol": protocol, "name": name});
        let ports: Vec<Value> = by_name.into_iter().map(port).collect();
        service(namespace, name, &json!({"clusterIP": ip, "ports": ports}))
    })
}

/// An API server has one object of a name.
fn any_services() -> impl Strategy<Value = Vec<core::Service>> {
    proptest::collection::vec(any_service(), 0..8).prop_map(|services| {
        let keyed = services.into_iter().map(|s| (ObjectKey::of(&s.metadata), s));
        keyed.collect::<BTreeMap<_, _>>().into_values().collect()
    })
}

proptest! {
    #[test]
    fn the_order_of_objects_does_not_matter(services in any_services().prop_shuffle(), links: bool) {
        let mut sorted = services.clone();
        sorted.sort_by_key(|s| ObjectKey::of(&s.metadata));
        prop_assert_eq!(
            service_environment(&services, "shop", links),
            service_environment(&sorted, "shop", links)
        );
    }

    #[test]
    fn every_service_with_an_address_can_be_found_and_no_other(services in any_services()) {
        let environment = service_environment(&services, "shop", true);
        let told = told_of(&services, "shop", true);
        for (name, service) in &told {
            let host = format!("{}_SERVICE_HOST", variable_name(name));
            prop_assert_eq!(Some(environment.variables[&host].as_str()), cluster_ip(service));
        }
        let hosts = environment.variables.keys().filter(|name| name.ends_with("_SERVICE_HOST")).count();
        prop_assert_eq!(hosts, told.len());
    }

    #[test]
    fn names_are_such_as_shells_know_and_values_need_no_second_line(services in any_services()) {
        for (name, value) in service_environment(&services, "shop", true).variables {
            prop_assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{}", name);
            prop_assert!(!value.is_empty() && !value.contains(char::is_whitespace), "{}", value);
        }
    }

    #[test]
    fn without_links_there_is_nothing_but_the_api_servers(services in any_services()) {
        let alone = service_environment(&services, "shop", false);
        prop_assert!(alone.contested.is_empty());
        prop_assert!(alone.variables.keys().all(|name| name.starts_with("KUBERNETES_")));
    }
}
