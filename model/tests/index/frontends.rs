//! Where a Service answers.

use penstock_model::{ExternalIpAllowList, IndexConfig, ObjectKey, ServiceIndex};
use serde_json::{Value, json};

use crate::{
    objects::{NODE, allowed, balanced, empty_index, index, node, service, slice},
    said::Said,
};

fn frontends(index: &mut ServiceIndex, spec: &Value) -> Vec<String> {
    index.apply_service(&service("s", 1, spec));
    Said::all(index).frontends()
}

#[test]
fn external_ips_are_served_where_a_rule_allows_it() {
    let answers = |ip: &str| {
        let spec = json!({"clusterIP": "10.96.0.7", "externalIPs": [ip], "ports": [{"port": 80}]});
        frontends(&mut index(), &spec).contains(&format!("{ip}:80/TCP"))
    };
    assert!(answers("80.11.12.10"));
    for refused in ["9.9.9.9", "10.244.0.1", "203.0.113.11", "127.0.0.1"] {
        assert!(!answers(refused), "{refused}");
    }
}

#[test]
fn an_external_ip_goes_and_comes_back_with_what_its_namespace_may_use() {
    let mut index = index();
    let spec = |cluster_ip: &str, ip: &str| json!({"clusterIP": cluster_ip, "externalIPs": [ip], "ports": [{"port": 80}]});
    index.apply_service(&service("other", 1, &json!({"clusterIP": "10.96.0.8", "ports": [{"port": 80}]})));
    index.apply_service(&service("stays", 1, &spec("10.96.0.9", "80.11.12.11")));
    index.apply_service(&service("s", 2, &spec("10.96.0.7", "80.11.12.10")));
    index.take_changes();
    let s = vec![ObjectKey::new("d", "s")];

    let of_another = [(Some("e".to_owned()), "80.11.12.10/32"), (None, "80.11.12.11/32")];
    let of_another = of_another.map(|(name, net)| (name, net.parse().unwrap())).into_iter().collect();
    assert_eq!(index.allow_external_ips(of_another), s);
    let changes = index.take_changes();
    assert!(changes.len() == 1 && *changes[0].key.service == s[0], "nobody else is worked on: {changes:?}");
    let answers =
        |index: &mut ServiceIndex| Said::all(index).frontends().contains(&"80.11.12.10:80/TCP".to_owned());
    assert!(!answers(&mut index));
    assert_eq!(index.refusals(&s[0]).len(), 1);

    let own = [(Some("d".to_owned()), "80.11.12.0/24".parse().unwrap())].into_iter().collect();
    assert_eq!(index.allow_external_ips(own), s);
    assert!(answers(&mut index) && index.refusals(&s[0]).is_empty());
    // The same in other words touches nobody.
    assert!(index.allow_external_ips(allowed(&["80.11.12.0/25", "80.11.12.128/25"])).is_empty());
    assert_eq!(index.allow_external_ips(ExternalIpAllowList::default()).len(), 2);
    assert!(!answers(&mut index));
}

#[test]
fn what_lies_in_a_service_range_of_the_api_server_goes_and_comes_back_with_the_range() {
    let mut index = index();
    let spec = |cluster_ip: &str, external: &[&str]| json!({"type": "LoadBalancer", "clusterIP": cluster_ip, "externalIPs": external, "ports": [{"port": 80}]});
    let ingress = ["203.0.113.200", "2001:db8:113::200"];
    index.apply_service(&balanced(service("s", 1, &spec("10.96.0.7", &["80.11.12.10"])), &ingress));
    index.apply_service(&balanced(
        service("other", 2, &spec("10.96.0.8", &["80.11.12.20"])),
        &["203.0.113.9"],
    ));
    index.take_changes();
    let s = vec![ObjectKey::new("d", "s")];
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<ipnet::IpNet>>();

    let all = ["80.11.12.8/29", "203.0.113.200/30", "2001:db8:113::/64"];
    assert_eq!(index.take_service_cidrs(nets(&all)), s);
    let changes = index.take_changes();
    assert!(changes.len() == 1 && *changes[0].key.service == s[0], "nobody else is worked on: {changes:?}");
    let others = ["10.96.0.8:80/TCP", "80.11.12.20:80/TCP", "203.0.113.9:80/TCP"];
    let frontends = |index: &mut ServiceIndex| {
        let served = Said::all(index).frontends();
        served.into_iter().filter(|address| !others.contains(&address.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(frontends(&mut index), ["10.96.0.7:80/TCP"]);
    let told: Vec<String> = index.refusals(&s[0]).iter().map(ToString::to_string).collect();
    assert!(told.len() == 3 && told.iter().all(|told| told.contains("own Service or Pod range")), "{told:?}");
    // Other ranges with the same outcome touch nobody.
    let wider = ["80.11.12.8/30", "203.0.113.192/26", "2001:db8::/32"];
    assert_eq!(index.take_service_cidrs(nets(&wider)), []);
    assert_eq!(index.take_service_cidrs(nets(&wider[1..])), s);
    assert_eq!(frontends(&mut index), ["10.96.0.7:80/TCP", "80.11.12.10:80/TCP"]);
    assert_eq!(index.take_service_cidrs(vec![]), s);
    assert_eq!(frontends(&mut index).len(), 4);
    assert!(index.refusals(&s[0]).is_empty());
}

/// What the API servers write: the addresses need not be those of nodes.
fn api_servers(name: &str, ips: &[&str]) -> k8s_openapi::api::discovery::v1::EndpointSlice {
    let endpoints: Vec<_> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
    let mut slice = slice(name, "kubernetes", "IPv4", &json!(endpoints));
    slice.metadata.namespace = Some("default".into());
    slice
}

#[test]
fn where_an_api_server_listens_nobody_else_is_served() {
    let mut index = index();
    let spec = json!({
        "type": "LoadBalancer", "clusterIP": "10.96.0.7", "externalIPs": ["80.11.12.10"], "ports": [{"port": 443}]});
    index.apply_service(&balanced(service("s", 1, &spec), &["203.0.113.200"]));
    let all = ["10.96.0.7:443/TCP", "80.11.12.10:443/TCP", "203.0.113.200:443/TCP"];
    let served = |index: &mut ServiceIndex| all.map(|at| Said::all(index).owner(at).is_some());
    assert_eq!(served(&mut index), [true; 3]);
    index.apply_slice(&api_servers("kubernetes", &["80.11.12.10", "203.0.113.200", "192.0.2.1"]));
    assert_eq!(served(&mut index), [true, false, false]);
    let told: Vec<String> =
        index.refusals(&ObjectKey::new("d", "s")).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "externalIP 80.11.12.10 is the address of an API server: choose another",
            "load balancer IP 203.0.113.200 is the address of an API server: choose another",
        ]
    );
    index.apply_slice(&api_servers("kubernetes", &["203.0.113.200"]));
    assert_eq!(served(&mut index), [true, true, false]);
    // Somebody else's slice takes nothing away.
    index.apply_slice(&api_servers("forged", &["80.11.12.10"]));
    assert_eq!(served(&mut index), [true, true, false]);
    index.delete_slice(&ObjectKey::new("default", "kubernetes"));
    assert_eq!(served(&mut index), [true; 3]);
}

#[test]
fn an_external_ip_goes_when_a_node_gets_the_address_and_comes_back() {
    let mut index = index();
    let spec = json!({"clusterIP": "10.96.0.7", "externalIPs": ["80.11.12.10"], "ports": [{"port": 80}]});
    assert_eq!(frontends(&mut index, &spec), ["10.96.0.7:80/TCP", "80.11.12.10:80/TCP"]);
    index.apply_node(&node("n2", &["80.11.12.10"]));
    assert_eq!(Said::all(&mut index).frontends(), ["10.96.0.7:80/TCP"]);
    index.delete_node("n2");
    assert_eq!(Said::all(&mut index).frontends(), ["10.96.0.7:80/TCP", "80.11.12.10:80/TCP"]);
}

#[test]
fn node_ports_follow_the_nodes_primary_address_of_each_family_of_the_service() {
    let mut index = empty_index();
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    let dual = json!({
        "type": "NodePort", "clusterIPs": ["10.96.0.7", "2001:db8:96::7"], "ports": ports});
    let cluster_ips = ["10.96.0.7:80/TCP", "[2001:db8:96::7]:80/TCP"];
    assert_eq!(frontends(&mut index, &dual), cluster_ips, "no node yet");
    index.apply_node(&node("n2", &["203.0.113.12"]));
    assert_eq!(Said::all(&mut index).frontends(), cluster_ips, "another node");
    let addresses = ["203.0.113.11", "203.0.113.21", "2001:db8:113::11"];
    index.apply_node(&node(NODE, &addresses));
    let ports = |said: &Said| {
        Vec::from_iter(said.frontends().into_iter().filter(|a| a.contains("]:3") || a.contains(":30")))
    };
    assert_eq!(ports(&Said::all(&mut index)), ["203.0.113.11:30080/TCP", "[2001:db8:113::11]:30080/TCP"]);
    index.apply_node(&node(NODE, &addresses[1..]));
    assert_eq!(ports(&Said::all(&mut index)), ["203.0.113.21:30080/TCP", "[2001:db8:113::11]:30080/TCP"]);
    let single = json!({
        "type": "NodePort", "clusterIPs": ["10.96.0.7"], "ports": [{"port": 80, "nodePort": 30080}]});
    assert_eq!(frontends(&mut index, &single), ["10.96.0.7:80/TCP", "203.0.113.21:30080/TCP"]);
}

#[test]
fn a_load_balancer_ip_is_served_for_the_type_load_balancer_only() {
    for (service_type, served) in [("LoadBalancer", true), ("NodePort", false), ("ClusterIP", false)] {
        let mut index = index();
        let spec = json!({"type": service_type, "clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
        index.apply_service(&balanced(service("s", 1, &spec), &["203.0.113.200"]));
        let answers = Said::all(&mut index).owner("203.0.113.200:80/TCP").is_some();
        assert_eq!(answers, served, "{service_type}");
    }
}

#[test]
fn a_status_cannot_take_the_traffic_of_the_cluster_or_its_nodes() {
    let mut index = index();
    let spec = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    let ingress = ["203.0.113.200", "203.0.113.12", "10.244.0.1", "2001:db8:96::1", "127.0.0.1", "224.0.0.1"];
    index.apply_service(&balanced(service("s", 1, &spec), &ingress));
    let with_both = ["10.96.0.7:80/TCP", "203.0.113.12:80/TCP", "203.0.113.200:80/TCP"];
    assert_eq!(Said::all(&mut index).frontends(), with_both);
    index.apply_node(&node("n2", &["203.0.113.12"]));
    assert_eq!(Said::all(&mut index).frontends(), ["10.96.0.7:80/TCP", "203.0.113.200:80/TCP"]);
    index.delete_node("n2");
    assert_eq!(Said::all(&mut index).frontends(), with_both);
}

#[test]
fn node_ports_answer_on_the_configured_addresses_of_the_services_families() {
    let ips = ["203.0.113.11", "192.0.2.7", "2001:db8::5"].map(|ip| ip.parse().unwrap());
    let config = IndexConfig {
        node_name: NODE.into(),
        node_port_addresses: Some(ips.into()),
        ..IndexConfig::default()
    };
    let mut index = ServiceIndex::new(config);
    let spec =
        json!({"type": "NodePort", "clusterIP": "10.96.0.7", "ports": [{"port": 80, "nodePort": 30080}]});
    let expected = ["10.96.0.7:80/TCP", "192.0.2.7:30080/TCP", "203.0.113.11:30080/TCP"];
    index.apply_service(&service("s", 1, &spec));
    assert_eq!(Said::all(&mut index).frontends(), expected);
}

#[test]
fn headless_alias_and_foreign_services_are_not_forwarded() {
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    let external = json!(["80.11.12.10"]);
    let mut index = index();
    let headless = json!({"clusterIP": "None", "externalIPs": external, "ports": ports});
    let alias = json!({
        "type": "ExternalName", "externalName": "a.example", "externalIPs": external, "ports": ports});
    for spec in [headless, alias] {
        assert!(frontends(&mut index, &spec).is_empty(), "{spec}");
    }
    let spec = json!({"clusterIP": "10.96.0.7", "externalIPs": external, "ports": ports});
    assert!(!frontends(&mut index, &spec).is_empty());
    let mut foreign = service("s", 1, &spec);
    let label = ("service.kubernetes.io/service-proxy-name".to_owned(), "other".to_owned());
    foreign.metadata.labels = Some([label].into());
    index.take_changes();
    index.apply_service(&foreign);
    let changes = index.take_changes();
    assert!(changes.len() == 1 && changes[0].desired.is_none(), "{changes:?}");
}
