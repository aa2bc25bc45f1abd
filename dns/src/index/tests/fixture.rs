//! Objects and questions in few words.

use std::collections::BTreeSet;

use hickory_proto::rr::{Name, Record, RecordType};
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::ObjectKey;
use serde_json::{Value, json};

use crate::index::{Answer, Kind, Outcome, PodNames, RecordConfig, RecordIndex, Zones};

pub(crate) fn config(pod_names: PodNames) -> RecordConfig {
    let zones = Zones::new(&["cluster.local".into(), "Example.org.".into()]).unwrap();
    RecordConfig { zones, ttl: 5, pod_names, own_addresses: vec!["10.244.0.53".parse().unwrap()] }
}

pub(crate) fn service(name: &str, spec: &Value) -> core::Service {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "testns"}, "spec": spec})).unwrap()
}

pub(crate) fn slice(name: &str, service: &str, ports: &Value, endpoints: &Value) -> discovery::EndpointSlice {
    let labels = json!({"kubernetes.io/service-name": service});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "testns", "labels": labels},
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints
    }))
    .unwrap()
}

pub(crate) fn namespace(name: &str) -> core::Namespace {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

pub(crate) fn pod(name: &str, ip: &str) -> core::Pod {
    let status = json!({"phase": "Running", "podIPs": [{"ip": ip}]});
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "testns"}, "status": status}))
        .unwrap()
}

/// An index that takes what it has for everything.
pub(crate) fn synced(mut index: RecordIndex) -> RecordIndex {
    let services: BTreeSet<ObjectKey> = index.services.keys().map(|k| ObjectKey::clone(k)).collect();
    let slices = index.slices.keys().map(|k| ObjectKey::clone(k)).collect();
    let namespaces = index.namespaces.iter().map(|name| ObjectKey::new("", name)).collect();
    let pods = index.pods.keys().cloned().collect();
    for (kind, kept) in
        [(Kind::Service, services), (Kind::Slice, slices), (Kind::Namespace, namespaces), (Kind::Pod, pods)]
    {
        assert!(!index.retain(kind, &kept), "{kind:?}: what is kept was forgotten");
    }
    index
}

/// The answer in the words of a zone file, with its outcome where there are no records.
pub(crate) fn ask(index: &RecordIndex, name: &str, record_type: RecordType) -> Vec<String> {
    let answer = question(index, name, record_type);
    let extra = answer.additionals.iter().map(|record| format!("+ {}", text(record)));
    let outside = answer.outside.iter().map(|name| format!("? {name}"));
    let records = answer.answers.iter().map(text).chain(extra).chain(outside);
    match answer.outcome {
        Outcome::Records => records.collect(),
        other => vec![format!("{other:?}")],
    }
}

pub(crate) fn question(index: &RecordIndex, name: &str, record_type: RecordType) -> Answer {
    index.answer(&Name::from_ascii(name).unwrap(), record_type)
}

pub(crate) fn text(record: &Record) -> String {
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)
}
