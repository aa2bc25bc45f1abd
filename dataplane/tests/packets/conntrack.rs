//! UDP flows to what is no longer there. A client that keeps its socket keeps its source port, and so its flow.

use penstock_model::{FrontendAddress, Protocol};
use penstock_node::StaleFlows;

use crate::{echo::Datagrams, objects::Programmed};

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
