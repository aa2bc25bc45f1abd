//! Any history of objects ends where a fresh index with the final objects begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use ipnet::IpNet;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::{
    ExternalIpAllowList, Flow, FrontendAddress, HealthChange, HealthCheck, ObjectKey, Protocol, ServiceIndex,
};
use proptest::{collection::vec, option, prelude::*, sample::subsequence};
use serde_json::{Value, json};

use crate::{
    objects::{empty_index, node_in, read},
    said::Said,
};

/// Few names and addresses, so that histories collide.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const NODE_IPS: [&str; 5] =
    ["203.0.113.11", "203.0.113.12", "2001:db8:113::11", "80.11.12.10", "203.0.113.200"];
const EXTERNAL_IPS: [&str; 6] =
    ["80.11.12.10", "80.11.12.11", "10.96.0.1", "10.244.0.1", "203.0.113.11", "9.9.9.9"];
const BALANCER_IPS: [&str; 4] = ["203.0.113.200", "203.0.113.12", "80.11.12.10", "2001:db8:113::200"];
/// Among them what is refused, and what another Service may have for its own.
const ENDPOINT_IPS: [&str; 7] = [
    "10.244.0.1",
    "10.244.0.2",
    "2001:db8:244::1",
    "2001:db8:244::2",
    "127.0.0.1",
    "80.11.12.10",
    "203.0.113.200",
];

#[derive(Clone, Debug)]
enum Step {
    ApplyService(Box<core::Service>),
    DeleteService(ObjectKey),
    ResetServices(Vec<core::Service>),
    ApplySlice(Box<discovery::EndpointSlice>),
    DeleteSlice(ObjectKey),
    ResetSlices(Vec<discovery::EndpointSlice>),
    ApplyNode(Box<core::Node>),
    DeleteNode(&'static str),
    ResetNodes(Vec<core::Node>),
    AllowExternalIps(ExternalIpAllowList),
    ServiceCidrs(Vec<IpNet>),
    Take,
}

/// The objects as the API server holds them.
#[derive(Default)]
struct World {
    services: BTreeMap<ObjectKey, core::Service>,
    slices: BTreeMap<ObjectKey, discovery::EndpointSlice>,
    nodes: BTreeMap<String, core::Node>,
    allowed: Option<ExternalIpAllowList>,
    service_cidrs: Vec<IpNet>,
}

impl World {
    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::ApplyService(s) => drop(self.services.insert(ObjectKey::of(&s.metadata), *s)),
            Step::DeleteService(key) => drop(self.services.remove(&key)),
            Step::ResetServices(all) => {
                self.services = all.into_iter().map(|s| (ObjectKey::of(&s.metadata), s)).collect();
            }
            Step::ApplySlice(s) => drop(self.slices.insert(ObjectKey::of(&s.metadata), *s)),
            Step::DeleteSlice(key) => drop(self.slices.remove(&key)),
            Step::ResetSlices(all) => {
                self.slices = all.into_iter().map(|s| (ObjectKey::of(&s.metadata), s)).collect();
            }
            Step::ApplyNode(n) => drop(self.nodes.insert(n.metadata.name.clone().unwrap(), *n)),
            Step::DeleteNode(name) => drop(self.nodes.remove(name)),
            Step::ResetNodes(all) => {
                self.nodes = all.into_iter().map(|n| (n.metadata.name.clone().unwrap(), n)).collect();
            }
            Step::AllowExternalIps(allowed) => self.allowed = Some(allowed),
            Step::ServiceCidrs(cidrs) => self.service_cidrs = cidrs,
            Step::Take => {}
        }
    }

    /// What a fresh index makes of it.
    fn fresh(&self) -> ServiceIndex {
        let mut index = empty_index();
        self.allowed.iter().for_each(|allowed| drop(index.allow_external_ips(allowed.clone())));
        index.take_service_cidrs(self.service_cidrs.clone());
        self.nodes.values().for_each(|node| index.apply_node(node));
        self.slices.values().for_each(|slice| index.apply_slice(slice));
        self.services.values().for_each(|service| index.apply_service(service));
        index
    }
}

/// What is answered to balancers, added up.
#[derive(Debug, Default, PartialEq)]
struct Health(BTreeMap<String, HealthCheck>);

impl Health {
    fn add(&mut self, changes: Vec<HealthChange>) {
        for HealthChange { service, desired } in changes {
            let before = self.0.remove(&service.to_string());
            assert_ne!(before, desired, "{service} is said twice");
            self.0.extend(desired.map(|check| (service.to_string(), check)));
        }
    }
}

/// Every flow that could lead somewhere, of which the index says that it may go on.
fn live_flows(index: &ServiceIndex, said: &Said) -> BTreeSet<Flow> {
    let frontends: Vec<FrontendAddress> = said.owners().into_keys().collect();
    let endpoints = || ENDPOINT_IPS.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 8080));
    let flows = frontends.into_iter().filter(|f| f.protocol == Protocol::Udp);
    let flows = flows.flat_map(|frontend| endpoints().map(move |endpoint| Flow { frontend, endpoint }));
    let flows = flows.filter(|flow| flow.frontend.ip.is_ipv4() == flow.endpoint.is_ipv4());
    flows.filter(|flow| !index.is_stale(flow)).collect()
}

fn step(index: &mut ServiceIndex, step: &Step) {
    match step {
        Step::ApplyService(service) => index.apply_service(service),
        Step::DeleteService(key) => index.delete_service(key),
        Step::ResetServices(all) => index.reset_services(all),
        Step::ApplySlice(slice) => index.apply_slice(slice),
        Step::DeleteSlice(key) => index.delete_slice(key),
        Step::ResetSlices(all) => index.reset_slices(all),
        Step::ApplyNode(node) => index.apply_node(node),
        Step::DeleteNode(name) => index.delete_node(name),
        Step::ResetNodes(all) => index.reset_nodes(all),
        Step::AllowExternalIps(allowed) => drop(index.allow_external_ips(allowed.clone())),
        Step::ServiceCidrs(cidrs) => drop(index.take_service_cidrs(cidrs.clone())),
        Step::Take => {}
    }
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn any_key() -> impl Strategy<Value = ObjectKey> {
    any_name().prop_map(|name| ObjectKey::new("d", name))
}

/// Lists with every name at most once.
fn list_of<T: Clone + std::fmt::Debug + 'static>(
    object: impl Fn(&'static str) -> BoxedStrategy<T>,
) -> impl Strategy<Value = Vec<T>> {
    let objects = NAMES.map(|name| option::of(object(name)));
    objects.prop_map(|objects| objects.into_iter().flatten().collect())
}

fn ports() -> impl Strategy<Value = Value> {
    let ports = [
        json!({"name": "x", "port": 80, "nodePort": 30080}),
        json!({"name": "y", "port": 81}),
        json!({"name": "z", "port": 80, "protocol": "UDP", "nodePort": 30080}),
    ];
    subsequence(ports.to_vec(), 1..=3).prop_map(Value::from)
}

fn service_spec() -> impl Strategy<Value = Value> {
    let types = ["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer", "ExternalName"];
    let ips =
        [json!(["10.96.0.1"]), json!(["10.96.0.2", "2001:db8:96::2"]), json!(["10.96.0.2"]), json!(["None"])];
    let (types, ips) = (prop::sample::select(types.to_vec()), prop::sample::select(ips.to_vec()));
    let external = subsequence(EXTERNAL_IPS.to_vec(), 0..=4);
    (types, ips, external, ports(), behaviour()).prop_map(
        |(service_type, ips, external, ports, behaviour)| {
            let mut spec =
                json!({"type": service_type, "clusterIPs": ips, "externalIPs": external, "ports": ports});
            spec.as_object_mut().unwrap().extend(behaviour.as_object().unwrap().clone());
            spec
        },
    )
}

/// Policies, affinity, source ranges and the port of health checks.
fn behaviour() -> impl Strategy<Value = Value> {
    let policy = || prop::sample::select(vec!["Cluster", "Local"]);
    let affinity = prop::sample::select(vec!["None", "ClientIP"]);
    let ranges =
        subsequence(vec!["203.0.113.0/28", "198.51.100.0/24", "2001:db8::/32", "0.0.0.0/0", "x"], 0..=2);
    (policy(), policy(), affinity, ranges).prop_map(|(internal, external, affinity, ranges)| {
        json!({
            "internalTrafficPolicy": internal, "externalTrafficPolicy": external, "sessionAffinity": affinity,
            "loadBalancerSourceRanges": ranges, "healthCheckNodePort": 31234})
    })
}

fn service(name: &'static str) -> BoxedStrategy<core::Service> {
    let balancer = subsequence(BALANCER_IPS.to_vec(), 0..=3);
    (service_spec(), 0_u8..3, 0_u8..3, balancer, prop::bool::weighted(0.1))
        .prop_map(move |(spec, uid, created, balancer, foreign)| {
            let ingress: Vec<Value> = balancer.iter().map(|ip| json!({"ip": ip})).collect();
            let label = foreign.then_some(json!({"service.kubernetes.io/service-proxy-name": "other"}));
            read(json!({
                "metadata": {
                    "name": name, "namespace": "d", "uid": format!("u{uid}"), "labels": label,
                    "creationTimestamp": format!("2026-01-01T00:00:0{created}Z")},
                "spec": spec,
                "status": {"loadBalancer": {"ingress": ingress}}
            }))
        })
        .boxed()
}

fn endpoint() -> impl Strategy<Value = Value> {
    let conditions = [
        Value::Null,
        json!({"ready": true}),
        json!({"ready": false}),
        json!({"ready": false, "serving": true, "terminating": true}),
    ];
    let conditions = prop::sample::select(conditions.to_vec());
    let node = prop::sample::select(vec![Value::Null, json!("n1"), json!("n2")]);
    let hints = [
        json!({"forZones": [{"name": "a"}]}),
        json!({"forZones": [{"name": "b"}], "forNodes": [{"name": "n1"}]}),
    ];
    let hints = prop::sample::select(hints.to_vec());
    (prop::sample::select(&ENDPOINT_IPS[..]), conditions, node, hints).prop_map(
        |(ip, conditions, node, hints)| {
            json!({"addresses": [ip], "conditions": conditions, "nodeName": node, "hints": hints})
        },
    )
}

fn slice(name: &'static str) -> BoxedStrategy<discovery::EndpointSlice> {
    let family = prop::sample::select(vec!["IPv4", "IPv6"]);
    (any_name(), family, ports(), vec(endpoint(), 0..4), any::<bool>())
        .prop_map(move |(service, family, mut ports, mut endpoints, hinted)| {
            if !hinted {
                endpoints.iter_mut().for_each(|endpoint| endpoint["hints"] = Value::Null);
            }
            ports.as_array_mut().unwrap().iter_mut().for_each(|port| port["port"] = json!(8080));
            read(json!({
                "metadata": {
                    "name": name, "namespace": "d", "labels": {"kubernetes.io/service-name": service}},
                "addressType": family, "ports": ports, "endpoints": endpoints
            }))
        })
        .boxed()
}

/// As the API servers write it.
fn api_servers() -> impl Strategy<Value = discovery::EndpointSlice> {
    subsequence(vec!["80.11.12.10", "203.0.113.200"], 0..=2).prop_map(|ips| {
        let endpoints: Vec<Value> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
        read(json!({
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "ports": [{"port": 6443}], "endpoints": endpoints
        }))
    })
}

fn any_node(name: &'static str) -> BoxedStrategy<core::Node> {
    let zone = prop::sample::select(vec![None, Some("a"), Some("b")]);
    let ips = subsequence(NODE_IPS.to_vec(), 0..=3).prop_shuffle();
    (ips, zone).prop_map(move |(ips, zone)| node_in(name, &ips, zone)).boxed()
}

fn node_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["n1", "n2"])
}

fn any_allow_list() -> impl Strategy<Value = ExternalIpAllowList> {
    let namespaces = prop::sample::select(vec![None, Some("d"), Some("e")]);
    let nets = prop::sample::select(vec!["80.11.12.10/32", "80.11.12.0/28", "9.9.9.0/24", "0.0.0.0/1"]);
    vec((namespaces, nets), 0..3).prop_map(|grants| {
        grants.into_iter().map(|(name, net)| (name.map(str::to_owned), net.parse().unwrap())).collect()
    })
}

fn any_service_cidrs() -> impl Strategy<Value = Vec<IpNet>> {
    let nets = ["80.11.12.8/29", "203.0.113.192/26", "2001:db8:113::/64"].map(|net| net.parse().unwrap());
    subsequence(nets.to_vec(), 0..=3)
}

fn any_step() -> impl Strategy<Value = Step> {
    let nodes = ["n1", "n2"].map(|name| option::of(any_node(name)));
    prop_oneof![
        6 => any_name().prop_flat_map(service).prop_map(|s| Step::ApplyService(Box::new(s))),
        2 => any_key().prop_map(Step::DeleteService),
        1 => list_of(service).prop_map(Step::ResetServices),
        4 => any_name().prop_flat_map(slice).prop_map(|s| Step::ApplySlice(Box::new(s))),
        1 => api_servers().prop_map(|s| Step::ApplySlice(Box::new(s))),
        1 => any_key().prop_map(Step::DeleteSlice),
        1 => list_of(slice).prop_map(Step::ResetSlices),
        2 => node_name().prop_flat_map(any_node).prop_map(|n| Step::ApplyNode(Box::new(n))),
        1 => node_name().prop_map(Step::DeleteNode),
        1 => nodes.prop_map(|n| Step::ResetNodes(n.into_iter().flatten().collect())),
        2 => any_allow_list().prop_map(Step::AllowExternalIps),
        1 => any_service_cidrs().prop_map(Step::ServiceCidrs),
        10 => Just(Step::Take),
    ]
}

proptest! {
    #[test]
    fn changes_add_up_to_what_a_fresh_index_says(history in vec(any_step(), 1..60)) {
        let (mut world, mut index) = (World::default(), empty_index());
        let (mut said, mut health, mut live) = (Said::default(), Health::default(), BTreeSet::new());
        for next in history.iter().chain([&Step::Take]) {
            world.step(next);
            step(&mut index, next);
            if !matches!(next, Step::Take) {
                continue;
            }
            said.add(index.take_changes());
            health.add(index.take_health_changes());
            let mut fresh = world.fresh();
            prop_assert_eq!(&said, &Said::all(&mut fresh));
            let mut answered = Health::default();
            answered.add(fresh.take_health_changes());
            prop_assert_eq!(&health, &answered);
            prop_assert!(index.take_changes().is_empty() && index.take_health_changes().is_empty());

            let (before, stale) = (live, BTreeSet::from_iter(index.take_stale_flows()));
            live = live_flows(&fresh, &said);
            prop_assert_eq!(&live, &live_flows(&index, &said));
            prop_assert!(before.difference(&live).all(|flow| stale.contains(flow)), "{before:?} {stale:?}");
            prop_assert!(stale.is_disjoint(&live), "{stale:?}");
        }
    }
}
