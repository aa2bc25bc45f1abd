//! What a Service with a pool's address may change about itself, and what becomes of the address.

#![allow(clippy::unwrap_used)] // a test may panic

use anyhow::Result;
use penstock_tests::{Fixture, doubles::Doubles, provisioning, shown};
use serde_json::{Value, json};

#[tokio::test]
async fn traffic_policy_ports_and_ranges_leave_the_address_alone() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    fixture.pool("pool", &["203.0.113.200/30"]).await?;
    let port = |protocol: &str| json!({"name": protocol.to_lowercase(), "port": 53, "protocol": protocol});
    let spec = json!({
        "externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": false,
        "ports": [port("TCP"), port("UDP")], "loadBalancerSourceRanges": ["198.51.100.0/24"]
    });
    let created = fixture.service("s", spec).await?;
    let spec = created.spec.unwrap();
    assert!(spec.health_check_node_port.is_some_and(|port| port > 0), "the API server allots it");
    assert!(spec.ports.unwrap().iter().all(|port| port.node_port.is_none()), "and no NodePorts");
    let served = fixture.gets("s", &["203.0.113.200"]).await?;
    let reported = |service: &k8s_openapi::api::core::v1::Service| -> Vec<(i32, String)> {
        let status = service.status.as_ref().unwrap().load_balancer.as_ref().unwrap();
        let ports = status.ingress.as_ref().unwrap()[0].ports.clone().unwrap_or_default();
        ports.into_iter().map(|port| (port.port, port.protocol)).collect()
    };
    assert_eq!(reported(&served), [(53, "TCP".to_owned()), (53, "UDP".to_owned())]);

    let doubles = Doubles::watch(fixture.client.clone());
    let cluster =
        json!({"externalTrafficPolicy": "Cluster", "ports": [port("UDP")], "loadBalancerSourceRanges": []});
    let changed = fixture.change("s", json!({"spec": cluster})).await?;
    assert_eq!(changed.spec.unwrap().health_check_node_port.unwrap_or_default(), 0);
    let kept = fixture.eventually("s", |s| reported(s) == [(53, "UDP".to_owned())]).await?;
    assert_eq!((shown(&kept), provisioning(&kept)), (vec!["203.0.113.200"], None));
    // Its neighbours are not given what it has, before or after.
    fixture.service("t", json!({"externalTrafficPolicy": "Local"})).await?;
    fixture.gets("t", &["203.0.113.201"]).await?;
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.stop_operator().await
}

#[tokio::test]
async fn a_second_family_comes_with_dual_stack_and_goes_with_it() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    let doubles = Doubles::watch(fixture.client.clone());
    fixture.pool("pool", &["203.0.113.200/31", "2001:db8:113::200/128"]).await?;
    let six = json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]});
    fixture.service("dual", json!({"ipFamilyPolicy": "PreferDualStack"})).await?;
    let dual = fixture.gets("dual", &["203.0.113.200", "2001:db8:113::200"]).await?;
    assert_eq!(dual.spec.unwrap().cluster_ips.unwrap().len(), 2);
    // The only IPv6 address is taken: one can do without, the other cannot.
    fixture.service("optional", json!({"ipFamilyPolicy": "PreferDualStack"})).await?;
    fixture.gets("optional", &["203.0.113.201"]).await?;
    fixture.service("six", six).await?;
    fixture.waits("six", "Exhausted", "no free IPv6 address in IPAddressPool pool").await?;

    fixture.change("dual", json!({"spec": {"ipFamilyPolicy": "SingleStack"}})).await?;
    fixture.gets("dual", &["203.0.113.200"]).await?;
    assert!(fixture.event("dual", "ClearAssignment").await?.contains("2001:db8:113::200"));
    fixture.gets("six", &["2001:db8:113::200"]).await?;
    // And back: there is none left for it, which it can do without.
    fixture.change("dual", json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}})).await?;
    fixture.eventually("dual", |s| s.spec.as_ref().unwrap().cluster_ips.as_ref().unwrap().len() == 2).await?;
    let wants = json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}});
    fixture.change("dual", wants).await?;
    fixture.waits("dual", "Exhausted", "IPv6").await?;
    fixture.delete("six").await?;
    fixture.eventually("dual", |s| shown(s).contains(&"2001:db8:113::200")).await?;
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.stop_operator().await
}

#[tokio::test]
async fn an_address_that_is_asked_for_moves_the_service_when_it_is_free() -> Result<()> {
    let mut fixture = Fixture::with_operator().await?;
    let doubles = Doubles::watch(fixture.client.clone());
    fixture.pool("pool", &["203.0.113.200-203.0.113.203"]).await?;
    fixture.service("a", json!({})).await?;
    fixture.gets("a", &["203.0.113.200"]).await?;
    fixture.service("b", json!({})).await?;
    fixture.gets("b", &["203.0.113.201"]).await?;
    let asks = |ip: Value| json!({"spec": {"loadBalancerIP": ip}});

    fixture.change("a", asks(json!("203.0.113.203"))).await?;
    fixture.gets("a", &["203.0.113.203"]).await?;
    assert!(fixture.event("a", "ClearAssignment").await?.contains("203.0.113.200"));
    // Another's address is not to be had, and what it has stays until it is.
    fixture.change("a", asks(json!("203.0.113.201"))).await?;
    let held = fixture.waits("a", "RequestRefused", "Service default/b holds 203.0.113.201").await?;
    assert_eq!(shown(&held), ["203.0.113.203"]);
    // Two that want each other's wait for one of them to give way.
    fixture.change("b", asks(json!("203.0.113.203"))).await?;
    let held = fixture.waits("b", "RequestRefused", "Service default/a holds 203.0.113.203").await?;
    assert_eq!(shown(&held), ["203.0.113.201"]);
    fixture.change("b", asks(json!("203.0.113.202"))).await?;
    fixture.gets("b", &["203.0.113.202"]).await?;
    fixture.gets("a", &["203.0.113.201"]).await?;
    // Who asks for nothing any longer stays.
    let before = fixture.eventually("a", |s| provisioning(s).is_none()).await?;
    fixture.change("a", asks(Value::Null)).await?;
    fixture.service("c", json!({"loadBalancerIP": "203.0.113.203"})).await?;
    fixture.gets("c", &["203.0.113.203"]).await?;
    assert_eq!(shown(&fixture.services().get("a").await?), shown(&before));
    fixture.service("d", asks(json!("203.0.113.201"))["spec"].clone()).await?;
    fixture.waits("d", "RequestRefused", "Service default/a holds 203.0.113.201").await?;
    fixture.delete("a").await?;
    fixture.gets("d", &["203.0.113.201"]).await?;
    assert_eq!(doubles.take(), Vec::<String>::new());
    fixture.stop_operator().await
}
