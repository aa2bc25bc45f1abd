//! Whatever happened to the objects, the kernel ends with the rules of a fresh start from what they are at last.

use std::{collections::BTreeMap, process::Command};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::{ObjectKey, ServiceIndex};
use penstock_node::{
    Backend,
    nftables::{Nft, Nftables},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    lab::{index, service, slice_on, table_config},
    namespace::Namespace,
};

#[derive(Clone, Debug)]
enum Step {
    Service(usize, Box<core::Service>),
    DeleteService(usize),
    Slice(Box<discovery::EndpointSlice>),
    DeleteSlice(ObjectKey),
    /// Everything so far in one transaction.
    Apply,
    /// Everything anew, as after a failure.
    Reload,
}

fn name(n: usize) -> String {
    format!("s{n}")
}

fn any_service(n: usize) -> impl Strategy<Value = core::Service> {
    let ports = [
        json!({"name": "tcp", "port": 80, "nodePort": 30_080 + n}),
        json!({"name": "udp", "port": 80, "protocol": "UDP", "nodePort": 30_080 + n}),
        json!({"name": "sctp", "port": 81, "protocol": "SCTP"}),
    ];
    let policy = || select(vec!["Cluster", "Local"]);
    let ranges = subsequence(vec!["203.0.113.0/28", "10.0.0.0/8", "2001:db8::/47", "::/0"], 0..=2);
    let affinity = select(vec![None, None, Some(10), Some(10_800)]);
    // Contested, of both families.
    let external = subsequence(vec!["80.11.12.1", "80.11.12.2"], 0..=2);
    let balancer = subsequence(vec!["203.0.113.200", "2001:db8:113::200", "203.0.113.201"], 0..=3);
    let families = select(vec![vec![4], vec![6], vec![4, 6]]);
    let behaviour = (policy(), policy(), ranges, affinity);
    (subsequence(ports.to_vec(), 1..=3), behaviour, external, balancer, families).prop_map(
        move |(ports, (internal, external_policy, ranges, seconds), external, balancer, families)| {
            let ip = |family| match family {
                4 => format!("10.96.0.{}", n + 1),
                _ => format!("2001:db8:96::{}", n + 1),
            };
            let affinity = seconds.map(|seconds| json!({"clientIP": {"timeoutSeconds": seconds}}));
            let spec = json!({
                "type": "LoadBalancer", "clusterIPs": families.into_iter().map(ip).collect::<Vec<_>>(),
                "ports": ports, "externalIPs": external, "loadBalancerSourceRanges": ranges,
                "internalTrafficPolicy": internal, "externalTrafficPolicy": external_policy,
                "sessionAffinity": if seconds.is_some() { "ClientIP" } else { "None" },
                "sessionAffinityConfig": affinity});
            service(&name(n), &format!("u{n}"), &spec, &balancer)
        },
    )
}

fn any_slice(n: usize) -> impl Strategy<Value = discovery::EndpointSlice> {
    let ports = json!([
        {"name": "tcp", "port": 8080}, {"name": "udp", "port": 8053, "protocol": "UDP"},
        {"name": "sctp", "port": 8080, "protocol": "SCTP"}]);
    let endpoint = || (1_u8..7, select(vec!["n1", "n2"]));
    (any::<bool>(), vec(endpoint(), 1..6)).prop_map(move |(v6, endpoints)| {
        let net = if v6 { "2001:db8:244::" } else { "10.244.0." };
        let endpoints: Vec<_> =
            endpoints.iter().map(|(last, node)| (format!("{net}{last}"), *node)).collect();
        let endpoints: Vec<_> = endpoints.iter().map(|(ip, node)| (ip.as_str(), *node)).collect();
        slice_on(&name(n), &ports, &endpoints)
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let family = select(vec!["ipv4", "ipv6"]);
    prop_oneof![
        5 => (0_usize..4).prop_flat_map(|n| any_service(n).prop_map(move |s| Step::Service(n, Box::new(s)))),
        1 => (0_usize..4).prop_map(Step::DeleteService),
        6 => (0_usize..4).prop_flat_map(any_slice).prop_map(|s| Step::Slice(Box::new(s))),
        1 => (0_usize..4, family)
            .prop_map(|(n, family)| Step::DeleteSlice(ObjectKey::new("d", format!("{}-{family}", name(n))))),
        6 => Just(Step::Apply),
        1 => Just(Step::Reload),
    ]
}

/// The objects as they are at last.
#[derive(Default)]
struct World {
    services: BTreeMap<usize, core::Service>,
    slices: BTreeMap<ObjectKey, discovery::EndpointSlice>,
}

impl World {
    fn step(&mut self, step: &Step, index: &mut ServiceIndex) {
        match step {
            Step::Service(n, service) => {
                index.apply_service(service);
                self.services.insert(*n, service.as_ref().clone());
            }
            Step::DeleteService(n) => {
                index.delete_service(&ObjectKey::new("d", name(*n)));
                self.services.remove(n);
            }
            Step::Slice(slice) => {
                index.apply_slice(slice);
                self.slices.insert(ObjectKey::of(&slice.metadata), slice.as_ref().clone());
            }
            Step::DeleteSlice(key) => {
                index.delete_slice(key);
                self.slices.remove(key);
            }
            Step::Apply | Step::Reload => {}
        }
    }
}

/// What stands in the kernel's sets, without what is history: which endpoint has which index, and chains that nobody needs any longer.
fn rules(node: &Namespace) -> BTreeMap<String, Vec<String>> {
    let words = ["netns", "exec", node.name(), "nft", "-j", "list", "table", "inet", "penstock"];
    let output = Command::new("ip").args(words).output().unwrap();
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sets = listed["nftables"].as_array().unwrap().iter();
    let sets = sets.filter_map(|object| object.get("map").or(object.get("set")));
    let sets = sets.map(|set| (set["name"].as_str().unwrap().to_owned(), set["elem"].as_array()));
    let sets = sets.filter(|(name, _)| !name.ends_with("chains"));
    sets.map(|(name, elements)| {
        let by_index = name.contains("-endpoints") || name.contains("-tokens");
        let elements = elements.into_iter().flatten().cloned();
        let mut elements: Vec<_> = elements
            .map(|mut element| {
                if by_index {
                    let index = &mut element[0]["concat"][2];
                    *index = (index.as_u64().unwrap() >= 1 << 31).into();
                }
                element.to_string()
            })
            .collect();
        elements.sort();
        (name, elements)
    })
    .collect()
}

fn backend(node: &Namespace) -> Nftables {
    Nftables::new(Nft::in_namespace(node.name()), table_config())
}

#[test]
fn any_history_of_objects_ends_with_the_rules_of_a_fresh_start() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases: 12, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
    let elements = std::cell::Cell::new(0);
    let same = TestRunner::new(config).run(&vec(any_step(), 10..60), |history| {
        let (node, mut index, mut world) = (Namespace::new("node"), index(), World::default());
        let mut programmed = backend(&node);
        runtime.block_on(programmed.reload(&index.all())).unwrap();
        for step in history.iter().chain([&Step::Apply]) {
            world.step(step, &mut index);
            match step {
                Step::Apply => drop(runtime.block_on(programmed.apply(&index.take_changes())).unwrap()),
                Step::Reload => drop(runtime.block_on(programmed.reload(&index.all())).unwrap()),
                _ => {}
            }
        }
        let (fresh, mut final_index) = (Namespace::new("fresh"), crate::lab::index());
        world.services.values().for_each(|service| final_index.apply_service(service));
        world.slices.values().for_each(|slice| final_index.apply_slice(slice));
        runtime.block_on(backend(&fresh).reload(&final_index.all())).unwrap();
        let (after, expected) = (rules(&node), rules(&fresh));
        elements.set(elements.get() + expected.values().map(Vec::len).sum::<usize>());
        prop_assert_eq!(after, expected);
        Ok(())
    });
    same.unwrap();
    assert!(elements.get() > 500, "{} elements show little", elements.get());
}
