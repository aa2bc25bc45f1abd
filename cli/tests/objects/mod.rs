//! Objects for tests.

// Each test program uses some; literals read better by value.
#![allow(dead_code, unreachable_pub, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use penstock_cli::scene::Objects;
use penstock_crds::{FINALIZER, IPAddressPool, LoadBalancer, LoadBalancerClass, SERVED_BY};
use serde_json::{Value, json};

/// A Service of type LoadBalancer in namespace shop; `spec` is merged over it.
pub fn service(name: &str, spec: Value) -> Service {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}
    });
    if let (Some(base), Value::Object(more)) = (object["spec"].as_object_mut(), spec) {
        base.extend(more);
    }
    serde_json::from_value(object).unwrap()
}

/// The same with what the operator has written: finalizer, class and address.
pub fn served(name: &str, address: &str) -> Service {
    let mut service = service(name, json!({}));
    service.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    let annotations = [(SERVED_BY, "bare-metal"), (penstock_crds::ALLOCATED_FROM, "segment")];
    service.metadata.annotations = Some(annotations.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    service.status = serde_json::from_value(json!({
        "loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]},
        "conditions": [{"type": "LoadBalancerProvisioning", "status": "False", "reason": "Provisioned",
            "message": address, "lastTransitionTime": "2026-01-02T03:04:05Z"}]
    }))
    .unwrap();
    service
}

pub fn class(name: &str, spec: Value) -> LoadBalancerClass {
    serde_json::from_value(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass",
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}))
    .unwrap()
}

pub fn pool(name: &str, spec: Value) -> IPAddressPool {
    serde_json::from_value(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}))
    .unwrap()
}

pub fn record(name: &str, class: &LoadBalancerClass, status: Value) -> LoadBalancer {
    serde_json::from_value(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancer",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"serviceUid": format!("uid-{name}"), "className": class.metadata.name, "class": class.spec},
        "status": status}))
    .unwrap()
}

/// A default class bare-metal, a pool segment of two addresses, and these Services.
pub fn objects(approval: &str, services: Vec<Service>) -> Objects {
    Objects {
        classes: vec![class(
            "bare-metal",
            json!({"provider": "pool", "default": true, "approval": approval}),
        )],
        pools: vec![pool("segment", json!({"addresses": ["203.0.113.200-203.0.113.201"]}))],
        namespaces: BTreeMap::from([("shop".to_owned(), BTreeMap::new())]),
        services,
        ..Objects::default()
    }
}
