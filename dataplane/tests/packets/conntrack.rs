//! UDP flows to what is no longer there. A client that keeps its socket keeps its source port, and so its flow.

use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::{FrontendAddress, Protocol};
use penstock_node::StaleFlows;
use serde_json::json;

use crate::{
    agent::{Running, lists_of},
    echo::Datagrams,
    lab::{Lab, service, slice},
    namespace::Namespace,
    objects::Programmed,
};

const DNS: &str = "10.96.0.10:53";
/// Another frontend of the same Service port.
const EXTERNAL_DNS: &str = "80.11.12.10:53";
/// Enough for chance: one of two is missed once in 10^19 runs.
const ATTEMPTS: usize = 64;

fn stale(frontend: &str, endpoint: Option<&str>) -> StaleFlows {
    let to: std::net::SocketAddr = frontend.parse().unwrap();
    let frontend = FrontendAddress { ip: to.ip(), protocol: Protocol::Udp, port: to.port() };
    StaleFlows { frontend, endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()) }
}

/// A client's socket at p1 whose flow goes to p2.
fn flow_to_p2(programmed: &Programmed, to: &str) -> Datagrams {
    let mut flows = (0..ATTEMPTS).map(|_| Datagrams::open(&programmed.lab.p1, to.parse().unwrap()).unwrap());
    flows.find(|flow| flow.ask().unwrap().by == "p2").expect("p2 was never chosen")
}

#[test]
fn the_same_socket_reaches_another_endpoint_once_its_flow_is_forgotten() {
    let mut programmed = Programmed::new();
    let (flow, other) = (flow_to_p2(&programmed, DNS), flow_to_p2(&programmed, EXTERNAL_DNS));
    programmed.set_web_endpoints(&["10.244.0.2"]);
    assert_eq!(flow.ask().unwrap().by, "p2", "without a removal it goes on");
    // p1 stays, and so do flows to it.
    let gone = programmed.forget(&[stale(DNS, Some("10.244.0.3:8053"))]);
    assert_eq!(gone, 1);
    assert_eq!(flow.ask().unwrap().by, "p1");
    assert_eq!(other.ask().unwrap().by, "p2", "a flow of another frontend stays");
    assert_eq!(programmed.forget(&[stale(DNS, Some("10.244.0.3:8053"))]), 0);
    assert_eq!(programmed.forget(&[stale(EXTERNAL_DNS, Some("10.244.0.3:8053"))]), 1);
}

#[test]
fn without_endpoints_the_flow_is_gone_and_the_client_is_refused() {
    let mut programmed = Programmed::new();
    let (flow, other) = (flow_to_p2(&programmed, DNS), flow_to_p2(&programmed, EXTERNAL_DNS));
    programmed.set_web_endpoints(&[]);
    assert_eq!(flow.ask().unwrap().by, "p2", "without a removal it goes on");
    let endpoints = ["10.244.0.2:8053", "10.244.0.3:8053"].map(|endpoint| stale(DNS, Some(endpoint)));
    assert!(programmed.forget(&endpoints) >= 1);
    assert_eq!(flow.ask().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(programmed.forget(&[stale(DNS, None)]), 0, "a refused packet leaves no flow");
    assert_eq!(other.ask().unwrap().by, "p2", "a flow of another frontend stays");
}

/// A Service of both families for UDP.
fn dns(name: &str, last: u8) -> core::Service {
    let ips = [format!("10.96.0.{last}"), format!("2001:db8:96::{last}")];
    let ports = json!([{"port": 53, "protocol": "UDP"}]);
    service(name, name, &json!({"clusterIPs": ips, "ports": ports}), &[])
}

/// Its endpoints: p1 is 2, p2 is 3.
fn endpoints(name: &str, last: &[u8]) -> [discovery::EndpointSlice; 2] {
    ["10.244.0.", "2001:db8:244::"].map(|net| {
        let ips: Vec<String> = last.iter().map(|last| format!("{net}{last}")).collect();
        let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
        slice(name, &json!([{"port": 8053, "protocol": "UDP"}]), &ips)
    })
}

/// An agent that has loaded three Services: with these endpoints, with both Pods always, and with none or one.
fn agent(node: &Arc<Namespace>, dns_at: u8, last_at: &[u8]) -> Running {
    let all = vec![dns("dns", 10), dns("both", 11), dns("last", 12)];
    let slices =
        [endpoints("dns", &[dns_at]), endpoints("both", &[2, 3]), endpoints("last", last_at)].concat();
    let agent = Running::start(node.clone(), stream::iter(lists_of(all, slices)).chain(stream::pending()));
    agent.wait("the first load", || agent.readiness.is_ready());
    agent
}

#[test]
fn flows_from_before_the_agent_started_go_on_only_where_somebody_is_left() {
    let Lab { node, p1: _p1, p2: _p2, client: _client } = Lab::new();
    let node = Arc::new(node);
    let before = agent(&node, 2, &[2]);
    let open = |to: &str| Datagrams::open(&node, to.parse().unwrap()).unwrap();
    let gone = ["10.96.0.10:53", "[2001:db8:96::10]:53"].map(open);
    let last = ["10.96.0.12:53", "[2001:db8:96::12]:53"].map(open);
    gone.iter().chain(&last).for_each(|flow| assert_eq!(flow.ask().unwrap().by, "p1"));
    // Enough for chance: of flows that begin anew half go elsewhere.
    let stay: Vec<_> = (0..32).map(|n| open(["10.96.0.11:53", "[2001:db8:96::11]:53"][n % 2])).collect();
    let answered = |flows: &[Datagrams]| flows.iter().map(|flow| flow.ask().unwrap().by).collect::<Vec<_>>();
    let had = answered(&stay);
    before.stop();

    let after = agent(&node, 3, &[]);
    assert_eq!(answered(&gone), ["p1", "p1"], "without a look at them they go on");
    after.forget_flows();
    after.wait("the new endpoint", || answered(&gone) == ["p2", "p2"]);
    let refused =
        |flow: &Datagrams| flow.ask().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
    after.wait("a refusal", || last.iter().all(refused));
    assert_eq!(answered(&stay), had, "those of endpoints that are left stay");
}
