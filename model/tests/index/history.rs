//! Any history of objects ends where a fresh index with the final objects begins.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::{ExternalIpAllowList, ObjectKey, ServiceIndex};
use proptest::{collection::vec, option, prelude::*, sample::subsequence};
use serde_json::{Value, json};

use crate::{
    objects::{empty_index, node, read},
    said::Said,
};

/// Few names and addresses, so that histories collide.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const NODE_IPS: [&str; 5] =
    ["203.0.113.11", "203.0.113.12", "2001:db8:113::11", "80.11.12.10", "203.0.113.200"];
const EXTERNAL_IPS: [&str; 6] =
    ["80.11.12.10", "80.11.12.11", "10.96.0.1", "10.244.0.1", "203.0.113.11", "9.9.9.9"];
const BALANCER_IPS: [&str; 4] = ["203.0.113.200", "203.0.113.12", "80.11.12.10", "2001:db8:113::200"];
const ENDPOINT_IPS: [&str; 5] =
    ["10.244.0.1", "10.244.0.2", "2001:db8:244::1", "2001:db8:244::2", "127.0.0.1"];

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
    Take,
}

/// The objects as the API server holds them.
#[derive(Default)]
struct World {
    services: BTreeMap<ObjectKey, core::Service>,
    slices: BTreeMap<ObjectKey, discovery::EndpointSlice>,
    nodes: BTreeMap<String, core::Node>,
    allowed: Option<ExternalIpAllowList>,
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
            Step::Take => {}
        }
    }

    /// What a fresh index says of it.
    fn said(&self) -> Said {
        let mut index = empty_index();
        self.allowed.iter().for_each(|allowed| drop(index.allow_external_ips(allowed.clone())));
        self.nodes.values().for_each(|node| index.apply_node(node));
        self.slices.values().for_each(|slice| index.apply_slice(slice));
        self.services.values().for_each(|service| index.apply_service(service));
        Said::all(&mut index)
    }
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
    (types, ips, external, ports()).prop_map(|(service_type, ips, external, ports)| {
        json!({"type": service_type, "clusterIPs": ips, "externalIPs": external, "ports": ports})
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
    (prop::sample::select(&ENDPOINT_IPS[..]), conditions, node).prop_map(
        |(ip, conditions, node)| json!({"addresses": [ip], "conditions": conditions, "nodeName": node}),
    )
}

fn slice(name: &'static str) -> BoxedStrategy<discovery::EndpointSlice> {
    let family = prop::sample::select(vec!["IPv4", "IPv6"]);
    (any_name(), family, ports(), vec(endpoint(), 0..4))
        .prop_map(move |(service, family, mut ports, endpoints)| {
            ports.as_array_mut().unwrap().iter_mut().for_each(|port| port["port"] = json!(8080));
            read(json!({
                "metadata": {
                    "name": name, "namespace": "d", "labels": {"kubernetes.io/service-name": service}},
                "addressType": family, "ports": ports, "endpoints": endpoints
            }))
        })
        .boxed()
}

fn any_node(name: &'static str) -> BoxedStrategy<core::Node> {
    subsequence(NODE_IPS.to_vec(), 0..=3).prop_shuffle().prop_map(move |ips| node(name, &ips)).boxed()
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

fn any_step() -> impl Strategy<Value = Step> {
    let nodes = ["n1", "n2"].map(|name| option::of(any_node(name)));
    prop_oneof![
        6 => any_name().prop_flat_map(service).prop_map(|s| Step::ApplyService(Box::new(s))),
        2 => any_key().prop_map(Step::DeleteService),
        1 => list_of(service).prop_map(Step::ResetServices),
        4 => any_name().prop_flat_map(slice).prop_map(|s| Step::ApplySlice(Box::new(s))),
        1 => any_key().prop_map(Step::DeleteSlice),
        1 => list_of(slice).prop_map(Step::ResetSlices),
        2 => node_name().prop_flat_map(any_node).prop_map(|n| Step::ApplyNode(Box::new(n))),
        1 => node_name().prop_map(Step::DeleteNode),
        1 => nodes.prop_map(|n| Step::ResetNodes(n.into_iter().flatten().collect())),
        2 => any_allow_list().prop_map(Step::AllowExternalIps),
        4 => Just(Step::Take),
    ]
}

proptest! {
    #[test]
    fn changes_add_up_to_what_a_fresh_index_says(history in vec(any_step(), 1..40)) {
        let (mut world, mut index, mut said) = (World::default(), empty_index(), Said::default());
        for next in history.iter().chain([&Step::Take]) {
            world.step(next);
            step(&mut index, next);
            if matches!(next, Step::Take) {
                said.add(index.take_changes());
                prop_assert_eq!(&said, &world.said());
                prop_assert!(index.take_changes().is_empty());
            }
        }
    }
}
