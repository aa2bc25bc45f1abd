//! What a Service says about its traffic, and what an endpoint of the provider `webhook` hears of it and answers.

#![allow(clippy::unwrap_used)] // a test may panic

use anyhow::Result;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use kube::api::{Patch, PatchParams};
use penstock_model::SOURCE_RANGES;
use penstock_tests::{outside_lab::OutsideLab, provisioning, shown};
use serde_json::{Value, json};

fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default()
}

fn health_check_port(service: &Service) -> Option<u16> {
    let port = service.spec.as_ref().and_then(|spec| spec.health_check_node_port);
    port.filter(|port| *port > 0).map(|port| u16::try_from(port).unwrap())
}

#[tokio::test]
async fn policy_local_tells_the_health_check_and_the_way_back_asks_first() -> Result<()> {
    let mut lab = OutsideLab::new("Manual").await?;
    let created = lab.service("s", json!({"externalTrafficPolicy": "Local"})).await?;
    let port = health_check_port(&created);
    assert!(port.is_some(), "the API server allots it: {created:?}");
    lab.fixture.gets("s", &["203.0.113.1"]).await?;
    let balancer = lab.balancer("s", |_| true).await?;
    assert_eq!(balancer.spec.traffic_policy, "Local");
    let check = &balancer.spec.health_check;
    assert_eq!(
        (check.protocol.as_str(), check.path.as_deref(), check.port),
        ("http", Some("/healthz"), port)
    );

    // The API server takes the health check's port back by itself.
    let changed = lab.fixture.change("s", json!({"spec": {"externalTrafficPolicy": "Cluster"}})).await?;
    assert_eq!(health_check_port(&changed), None);
    lab.fixture.waits("s", "ApprovalRequired", "traffic policy: Local → Cluster").await?;
    let record = lab.record("s", |r| r.status.as_ref().is_some_and(|s| s.pending_plan.is_some())).await?;
    let steps = record.status.unwrap().pending_plan.unwrap().steps;
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!((steps[0].risk.as_str(), steps[0].calls), ("disruptive", 1));
    assert!(steps[0].reason.contains("health check: HTTP /healthz at node port"), "{steps:?}");
    assert_eq!(lab.balancer("s", |_| true).await?.spec, balancer.spec, "nothing is done before the approval");

    lab.approve("s").await?;
    let balancer = lab.balancer("s", |b| b.spec.traffic_policy == "Cluster").await?;
    let check = &balancer.spec.health_check;
    assert_eq!((check.protocol.as_str(), check.port), ("tcp", None));
    let settled = lab.fixture.eventually("s", |s| provisioning(s).is_none()).await?;
    assert_eq!(shown(&settled), ["203.0.113.1"]);
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn source_ranges_are_followed_and_a_bad_one_changes_nothing() -> Result<()> {
    let mut lab = OutsideLab::new("Automatic").await?;
    let ranges = |list: &[&str]| json!({"spec": {"loadBalancerSourceRanges": list}});
    lab.service("s", ranges(&["198.51.100.0/24", "192.0.2.0/24"])["spec"].clone()).await?;
    lab.fixture.gets("s", &["203.0.113.1"]).await?;
    lab.balancer("s", |b| b.spec.source_ranges == ["192.0.2.0/24", "198.51.100.0/24"]).await?;
    lab.fixture.change("s", ranges(&["198.51.100.0/25"])).await?;
    lab.balancer("s", |b| b.spec.source_ranges == ["198.51.100.0/25"]).await?;

    // What cannot be read does not get past this API server. Older ones let it through, and so does the status.
    for bad in ["198.51.100.0", "198.051.100.0/24"] {
        let refused = lab.fixture.change("s", ranges(&[bad])).await.unwrap_err().to_string();
        assert!(refused.contains("SourceRanges"), "{refused}");
    }
    let annotated = |text: Value| json!({"metadata": {"annotations": {SOURCE_RANGES: text}}});
    let slip = |text: &str| {
        let (services, patch) = (lab.fixture.services(), annotated(json!(text)));
        async move { services.patch_status("s", &PatchParams::default(), &Patch::Merge(patch)).await }
    };
    // The annotation counts where the field is empty.
    slip("nonsense").await?;
    lab.fixture.change("s", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    lab.fixture.eventually("s", |s| provisioning(s).is_none()).await?;
    lab.fixture.change("s", annotated(json!("2001:db8::/32, 192.0.2.0/24"))).await?;
    lab.fixture.change("s", ranges(&[])).await?;
    lab.balancer("s", |b| b.spec.source_ranges == ["192.0.2.0/24", "2001:db8::/32"]).await?;
    let calls = lab.calls();
    slip("192.0.2.0/24,192.0.2.256/32").await?;
    let held = lab.fixture.waits("s", "RequestInvalid", "\"192.0.2.256/32\"").await?;
    let (_, message) = provisioning(&held).unwrap();
    assert!(message.starts_with(&format!("{SOURCE_RANGES} holds")), "{message}");
    assert!(message.contains("which is not a CIDR such as 198.51.100.0/24"), "{message}");
    assert!(lab.fixture.event("s", "SyncLoadBalancerFailed").await?.contains("192.0.2.256/32"));
    assert_eq!(shown(&held), ["203.0.113.1"]);
    assert_eq!(lab.calls(), calls, "the endpoint is not asked");
    lab.balancer("s", |b| b.spec.source_ranges == ["192.0.2.0/24", "2001:db8::/32"]).await?;

    // The way out: a better text, none at all, or the field.
    lab.fixture.change("s", ranges(&["198.51.100.0/24"])).await?;
    lab.balancer("s", |b| b.spec.source_ranges == ["198.51.100.0/24"]).await?;
    lab.fixture.eventually("s", |s| provisioning(s).is_none()).await?;
    lab.fixture.change("s", annotated(Value::Null)).await?;
    lab.fixture.change("s", ranges(&[])).await?;
    lab.balancer("s", |b| b.spec.source_ranges.is_empty()).await?;
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn both_protocols_of_a_port_are_balanced_and_reported() -> Result<()> {
    let mut lab = OutsideLab::new("Automatic").await?;
    let port = |protocol: &str| json!({"name": protocol.to_lowercase(), "port": 53, "protocol": protocol});
    lab.service("dns", json!({"ports": [port("TCP"), port("UDP")]})).await?;
    let served = lab.fixture.gets("dns", &["203.0.113.1"]).await?;
    let reported = |service: &Service| -> Vec<(i32, String)> {
        let ports = ingress(service)[0].ports.as_deref().unwrap_or_default();
        ports.iter().map(|port| (port.port, port.protocol.clone())).collect()
    };
    assert_eq!(reported(&served), [(53, "TCP".to_owned()), (53, "UDP".to_owned())]);
    let node_ports: Vec<(String, u16)> = served
        .spec
        .unwrap()
        .ports
        .unwrap()
        .iter()
        .map(|p| (p.protocol.clone().unwrap(), u16::try_from(p.node_port.unwrap()).unwrap()))
        .collect();
    let balancer = lab.balancer("dns", |b| b.spec.frontends.len() == 2).await?;
    let frontends: Vec<(String, u16)> =
        balancer.spec.frontends.iter().map(|f| (f.protocol.clone(), f.node_port)).collect();
    assert_eq!(frontends, node_ports);

    // One protocol goes, then the NodePorts: what sends to nodes cannot do without, and says which field gives them.
    lab.fixture.change("dns", json!({"spec": {"ports": [port("UDP")]}})).await?;
    let before = lab.balancer("dns", |b| b.spec.frontends.len() == 1).await?;
    assert_eq!(before.spec.frontends[0].protocol, "UDP");
    lab.fixture.eventually("dns", |s| reported(s) == [(53, "UDP".to_owned())]).await?;
    let mut bare = port("UDP");
    bare["nodePort"] = json!(0);
    let spec = json!({"allocateLoadBalancerNodePorts": false, "ports": [bare]});
    lab.fixture.change("dns", json!({"spec": spec})).await?;
    let sentence = "sends to NodePorts and port 53 has none: set spec.allocateLoadBalancerNodePorts to true";
    let held = lab.fixture.waits("dns", "RequestRefused", sentence).await?;
    assert_eq!(shown(&held), ["203.0.113.1"]);
    assert_eq!(lab.balancer("dns", |_| true).await?.spec, before.spec, "what it has stays");
    lab.fixture.change("dns", json!({"spec": {"allocateLoadBalancerNodePorts": true}})).await?;
    let again = lab.fixture.eventually("dns", |s| provisioning(s).is_none()).await?;
    let node_port = again.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
    lab.balancer("dns", |b| i32::from(b.spec.frontends[0].node_port) == node_port).await?;
    lab.fixture.stop_operator().await
}

#[tokio::test]
async fn a_mode_and_a_name_stand_in_the_status_as_upstream_defines_them() -> Result<()> {
    let mut lab = OutsideLab::new("Automatic").await?;
    lab.endpoint.store().ip_mode = "Proxy".to_owned();
    lab.service("proxied", json!({})).await?;
    let proxied = lab.fixture.gets("proxied", &["203.0.113.1"]).await?;
    assert_eq!(ingress(&proxied).len(), 1);
    assert_eq!(ingress(&proxied)[0].ip_mode.as_deref(), Some("Proxy"));

    // A name has no mode (KEP-1860): the API server refuses one without an address.
    lab.endpoint.store().hostname = Some("lb-1.example.com".to_owned());
    lab.service("named", json!({})).await?;
    let named = lab.fixture.eventually("named", |s| !ingress(s).is_empty()).await?;
    let [entry] = ingress(&named) else { panic!("{named:?}") };
    assert_eq!(entry.hostname.as_deref(), Some("lb-1.example.com"));
    assert_eq!((&entry.ip, &entry.ip_mode), (&None, &None));
    assert_eq!(entry.ports.as_ref().unwrap()[0].port, 80);
    assert_eq!(provisioning(&named), None);

    // From a name to an address, with the next look at the endpoint.
    lab.endpoint.store().hostname = None;
    lab.endpoint.store().ip_mode = "VIP".to_owned();
    lab.fixture.change("named", json!({"spec": {"ports": [{"port": 81}]}})).await?;
    let moved = lab.fixture.gets("named", &["203.0.113.2"]).await?;
    let [entry] = ingress(&moved) else { panic!("{moved:?}") };
    assert_eq!((entry.hostname.as_deref(), entry.ip_mode.as_deref()), (None, Some("VIP")));
    // The other one still says what its balancer said when it was last asked.
    assert_eq!(ingress(&lab.fixture.services().get("proxied").await?)[0].ip_mode.as_deref(), Some("Proxy"));
    lab.fixture.stop_operator().await
}
