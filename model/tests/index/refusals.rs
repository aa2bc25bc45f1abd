//! What a Service is told that it does not get.

use penstock_model::{IPVS_SCHEDULER, IndexConfig, ObjectKey, Refusal, Scheduler, ServiceIndex};
use serde_json::json;

use crate::objects::{balanced, index, node, service};

fn sentences(index: &ServiceIndex, name: &str) -> Vec<String> {
    index.refusals(&ObjectKey::new("d", name)).iter().map(ToString::to_string).collect()
}

#[test]
fn each_refused_external_ip_is_one_sentence() {
    let mut index = index();
    index.apply_node(&node("n2", &["203.0.113.12"]));
    let asked = ["010.0.0.1", "80.11.12.10", "9.9.9.9", "10.244.0.1", "203.0.113.12", "127.0.0.1"];
    let spec = json!({"clusterIP": "10.96.0.7", "externalIPs": asked, "ports": [{"port": 80}]});
    index.apply_service(&service("s", 1, &spec));
    assert_eq!(
        sentences(&index, "s"),
        [
            r#"spec.externalIPs: "010.0.0.1" is not an IP address"#,
            "externalIP 9.9.9.9 is outside what namespace d may use: add it to spec.cidrs of an ExternalIPPolicy for \
             this namespace",
            "externalIP 10.244.0.1 lies in the cluster's own Service or Pod range: choose another address",
            "externalIP 203.0.113.12 is a node's own address: choose another, or use a node port",
            "externalIP 127.0.0.1 is a loopback, link-local, multicast or unspecified address: choose another",
        ]
    );
}

#[test]
fn each_refused_load_balancer_ip_is_one_sentence() {
    let mut index = index();
    index.apply_node(&node("n2", &["203.0.113.12"]));
    let ingress = ["203.0.113.200", "203.0.113.12", "10.244.0.1", "169.254.169.254"];
    let spec =
        |service_type: &str| json!({"type": service_type, "clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    index.apply_service(&balanced(service("s", 1, &spec("LoadBalancer")), &ingress));
    assert_eq!(
        sentences(&index, "s"),
        [
            "load balancer IP 203.0.113.12 is a node's own address: choose another, or use a node port",
            "load balancer IP 10.244.0.1 lies in the cluster's own Service or Pod range: choose another address",
            "load balancer IP 169.254.169.254 is a loopback, link-local, multicast or unspecified address: choose another",
        ]
    );
    index.apply_service(&balanced(service("s", 1, &spec("NodePort")), &ingress));
    assert!(sentences(&index, "s").is_empty());
}

#[test]
fn who_has_an_address_is_named_until_it_is_free() {
    let mut index = index();
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 443}]);
    for (name, created) in [("first", 1), ("second", 2)] {
        let cluster_ip = format!("10.96.0.{created}");
        let spec = json!({"clusterIP": cluster_ip, "externalIPs": ["80.11.12.10"], "ports": ports});
        index.apply_service(&service(name, created, &spec));
    }
    assert!(sentences(&index, "first").is_empty());
    assert_eq!(
        sentences(&index, "second"),
        ["80.11.12.10:80/TCP belongs to Service d/first", "80.11.12.10:443/TCP belongs to Service d/first"]
    );
    index.delete_service(&ObjectKey::new("d", "first"));
    assert!(sentences(&index, "second").is_empty());
    assert!(sentences(&index, "first").is_empty());
}

/// The kernel's schedulers count only where somebody goes by them.
#[test]
fn a_scheduler_that_the_kernel_lacks_is_one_sentence() {
    let spec = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    let mut object = service("s", 1, &spec);
    object.metadata.annotations = Some([(IPVS_SCHEDULER.to_owned(), "mh".to_owned())].into());
    let said = |schedulers: Option<&[Scheduler]>| {
        let schedulers = schedulers.map(|all| all.iter().copied().collect());
        let mut index = ServiceIndex::new(IndexConfig { schedulers, ..IndexConfig::default() });
        index.apply_service(&object);
        let of_scheduler = |refusals: Vec<Refusal>| refusals.iter().all(Refusal::is_of_scheduler);
        assert!(of_scheduler(index.refusals(&ObjectKey::new("d", "s"))));
        sentences(&index, "s")
    };
    assert!(said(None).is_empty() && said(Some(&[Scheduler::Rr, Scheduler::Mh])).is_empty());
    let lacking = said(Some(&[Scheduler::Rr]));
    assert!(lacking[0].contains("modprobe ip_vs_mh"), "{lacking:?}");
}
