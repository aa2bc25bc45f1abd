//! Whatever happened before, answers are those of a fresh start with the same objects.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::RecordType;
use penstock_model::ObjectKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixture::{ask, config, namespace, pod, service, slice};
use crate::index::{Kind, PodNames, RecordIndex};

/// What the API server has: numbers for names, a variant for the content.
#[derive(Clone, Debug, Default)]
struct Cluster {
    services: BTreeMap<u8, u8>,
    slices: BTreeMap<u8, u8>,
    pods: BTreeMap<u8, u8>,
    namespace: bool,
}

#[derive(Clone, Debug)]
enum Event {
    Service(u8, Option<u8>),
    Slice(u8, Option<u8>),
    Pod(u8, Option<u8>),
    Namespace(bool),
    /// A relist after these changes went unseen.
    Relist(Vec<Self>),
}

fn single() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..4u8, proptest::option::of(0..7u8)).prop_map(|(n, to)| Event::Service(n, to)),
        (0..4u8, proptest::option::of(0..8u8)).prop_map(|(n, to)| Event::Slice(n, to)),
        (0..2u8, proptest::option::of(0..3u8)).prop_map(|(n, to)| Event::Pod(n, to)),
        any::<bool>().prop_map(Event::Namespace),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![6 => single(), 1 => proptest::collection::vec(single(), 0..4).prop_map(Event::Relist)]
}

fn spec(variant: u8) -> Value {
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "protocol": "UDP"}]);
    match variant {
        0 => json!({"clusterIP": "None", "ports": ports}),
        1 => json!({"type": "ExternalName", "externalName": "s0.testns.svc.cluster.local"}),
        2 => json!({"type": "ExternalName", "externalName": "elsewhere.test"}),
        3 => json!({"clusterIPs": ["10.0.0.1", "2001:db8::1"], "ports": ports}),
        n => json!({"clusterIPs": [format!("10.0.0.{}", n % 2)], "ports": [{"port": u16::from(n)}]}),
    }
}

/// Of the Service that the variant says, with endpoints that others share.
fn endpoints(number: u8, variant: u8) -> k8s_openapi::api::discovery::v1::EndpointSlice {
    let ready = json!({"ready": !variant.is_multiple_of(3)});
    let all = json!([
        {"addresses": ["172.0.0.1"]},
        {"addresses": [format!("172.0.0.{}", 2 + variant % 2)], "hostname": "h", "conditions": ready}]);
    let ports = json!([{"name": "a", "port": 8080, "protocol": "TCP"}]);
    slice(&format!("e{number}"), &format!("s{}", variant % 4), &ports, &all)
}

impl Cluster {
    fn note(&mut self, event: &Event) {
        let set = |map: &mut BTreeMap<u8, u8>, n: u8, to: Option<u8>| match to {
            Some(to) => drop(map.insert(n, to)),
            None => drop(map.remove(&n)),
        };
        match event {
            Event::Service(n, to) => set(&mut self.services, *n, *to),
            Event::Slice(n, to) => set(&mut self.slices, *n, *to),
            Event::Pod(n, to) => set(&mut self.pods, *n, *to),
            Event::Namespace(exists) => self.namespace = *exists,
            Event::Relist(unseen) => unseen.iter().for_each(|event| self.note(event)),
        }
    }

    /// Lists everything to the index.
    fn list(&self, index: &mut RecordIndex) {
        self.services
            .keys()
            .for_each(|n| self.tell(index, &Event::Service(*n, self.services.get(n).copied())));
        self.slices.keys().for_each(|n| self.tell(index, &Event::Slice(*n, self.slices.get(n).copied())));
        self.pods.keys().for_each(|n| self.tell(index, &Event::Pod(*n, self.pods.get(n).copied())));
        self.tell(index, &Event::Namespace(self.namespace));
        let keys = |prefix: &str, map: &BTreeMap<u8, u8>| -> BTreeSet<ObjectKey> {
            map.keys().map(|n| ObjectKey::new("testns", format!("{prefix}{n}"))).collect()
        };
        index.retain(Kind::Service, &keys("s", &self.services));
        index.retain(Kind::Slice, &keys("e", &self.slices));
        index.retain(Kind::Pod, &keys("p", &self.pods));
        let namespaces = self.namespace.then(|| ObjectKey::new("", "testns"));
        index.retain(Kind::Namespace, &namespaces.into_iter().collect());
    }

    fn tell(&self, index: &mut RecordIndex, event: &Event) {
        let key = |prefix: &str, n: &u8| ObjectKey::new("testns", format!("{prefix}{n}"));
        match event {
            Event::Service(n, Some(to)) => index.apply_service(&service(&format!("s{n}"), &spec(*to))),
            Event::Service(n, None) => index.delete_service(&key("s", n)),
            Event::Slice(n, Some(to)) => index.apply_slice(&endpoints(*n, *to)),
            Event::Slice(n, None) => index.delete_slice(&key("e", n)),
            Event::Pod(n, Some(to)) => index.apply_pod(&pod(&format!("p{n}"), &format!("10.1.0.{to}"))),
            Event::Pod(n, None) => index.delete_pod(&key("p", n)),
            Event::Namespace(true) => index.apply_namespace(&namespace("testns")),
            Event::Namespace(false) => index.delete_namespace("testns"),
            Event::Relist(_) => {
                self.list(index);
                true
            }
        };
    }
}

fn answers(index: &RecordIndex) -> Vec<(String, Vec<String>)> {
    let labels = ["", "h.", "172-0-0-1.", "172-0-0-2.", "_a._tcp.", "_b._udp."];
    let of_services =
        (0..4).flat_map(|n| labels.map(|label| format!("{label}s{n}.testns.svc.cluster.local.")));
    let reverse = ["0.0.0.10", "1.0.0.10", "1.0.0.172", "2.0.0.172", "3.0.0.172"];
    let of_addresses = reverse.iter().map(|text| format!("{text}.in-addr.arpa."));
    let of_pods = (0..3).map(|n| format!("10-1-0-{n}.testns.pod.cluster.local."));
    let apex = ["testns.svc.cluster.local.", "cluster.local."].map(str::to_owned);
    let names = of_services.chain(of_addresses).chain(of_pods).chain(apex);
    let types = [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::PTR, RecordType::CNAME];
    names.flat_map(|name| types.map(|t| (format!("{name} {t}"), ask(index, &name, t)))).collect()
}

proptest! {
    #[test]
    fn any_history_answers_as_a_fresh_start(events in proptest::collection::vec(event(), 0..40)) {
        let (mut cluster, mut lived) = (Cluster::default(), RecordIndex::new(config(PodNames::Verified)));
        cluster.list(&mut lived);
        for event in &events {
            cluster.note(event);
            cluster.tell(&mut lived, event);
        }
        let mut fresh = RecordIndex::new(config(PodNames::Verified));
        cluster.list(&mut fresh);
        prop_assert_eq!(answers(&lived), answers(&fresh));
        // Nothing is left of what is gone.
        Cluster::default().list(&mut lived);
        prop_assert!(lived.services.is_empty() && lived.slices.is_empty() && lived.by_service.is_empty());
        prop_assert!(lived.namespaces.is_empty() && lived.pods.keys().next().is_none());
    }

    #[test]
    fn what_was_known_before_a_restart_is_answered_and_the_rest_may_exist(
        before in proptest::collection::vec(event(), 0..20), unseen in proptest::collection::vec(event(), 0..20)
    ) {
        let (mut cluster, mut old) = (Cluster::default(), RecordIndex::new(config(PodNames::Verified)));
        cluster.list(&mut old);
        for event in &before {
            cluster.note(event);
            cluster.tell(&mut old, event);
        }
        let file = postcard::to_stdvec(&old.snapshot()).unwrap();
        let mut restored = RecordIndex::new(config(PodNames::Verified));
        restored.restore(postcard::from_bytes(&file).unwrap());
        prop_assert!(!restored.is_synced());
        for ((question, known), (_, after)) in answers(&old).into_iter().zip(answers(&restored)) {
            let missing = known == ["NxDomain"] || known == ["FallThrough"];
            prop_assert_eq!(after, if missing { vec!["NotSynced".to_owned()] } else { known }, "{}", question);
        }
        unseen.iter().for_each(|event| cluster.note(event));
        cluster.list(&mut restored);
        let mut fresh = RecordIndex::new(config(PodNames::Verified));
        cluster.list(&mut fresh);
        prop_assert_eq!(answers(&restored), answers(&fresh));
    }
}
