//! On the kernel, with real flows in network namespaces of their own. Needs root.

use std::{net::UdpSocket, process::Command};

use super::*;
use crate::netfilter::fresh_namespace::{in_fresh_namespace, nft};

/// Two frontends with two endpoints, to which the client's port decides; all is loopback.
const RULES: &str = "table inet lab {
  chain output {
    type nat hook output priority -100;
    ip daddr { 127.0.96.1, 127.0.96.2 } udp dport 53 udp sport 40000-49999 dnat ip to 127.0.1.1:5353
    ip daddr { 127.0.96.1, 127.0.96.2 } udp dport 53 dnat ip to 127.0.1.2:5353
    ip6 daddr fd00::96 udp dport 53 dnat ip6 to [::1]:5353
  }
}
";

fn frontend(ip: &str) -> FrontendAddress {
    FrontendAddress { ip: ip.parse().unwrap(), protocol: Protocol::Udp, port: 53 }
}

fn stale(frontend_ip: &str, endpoint: Option<&str>) -> StaleFlows {
    StaleFlows {
        frontend: frontend(frontend_ip),
        endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
    }
}

/// A port is bound once: a program that another test starts meanwhile holds our sockets open until it runs.
fn send(from: &str, to: &[&str]) {
    let socket = UdpSocket::bind(from).unwrap();
    to.iter().for_each(|to| assert_eq!(socket.send_to(b"?", to).unwrap(), 1));
}

/// A namespace in which flows from two ports to each of the IPv4 frontends have begun, and one to that of IPv6.
fn with_flows(work: impl FnOnce(&mut NetfilterSocket) + Send + 'static) {
    in_fresh_namespace(|| {
        for line in ["link set lo up", "addr add fd00::96 dev lo nodad"] {
            assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success());
        }
        nft(RULES);
        for from in ["127.0.0.1:40001", "127.0.0.1:50001"] {
            send(from, &["127.0.96.1:53", "127.0.96.2:53"]);
        }
        send("[fd00::96]:40001", &["[fd00::96]:53"]);
        work(&mut NetfilterSocket::open(&NetworkNamespace::Own).unwrap());
    });
}

/// What the kernel lists.
fn listed(socket: &mut NetfilterSocket, stale: &[StaleFlows]) -> Vec<String> {
    let flows = super::listed(socket, &questions(stale)[0]).unwrap();
    let mut flows: Vec<_> = flows.iter().map(ToString::to_string).collect();
    flows.sort();
    flows
}

const FIRST: &str = "127.0.0.1:40001 → 127.0.96.1:53 (127.0.1.1:5353)";
const SECOND: &str = "127.0.0.1:50001 → 127.0.96.1:53 (127.0.1.2:5353)";

#[test]
fn the_kernel_itself_leaves_out_what_is_not_asked_for() {
    with_flows(|socket| {
        assert_eq!(listed(socket, &[stale("127.0.96.1", None)]), [FIRST, SECOND]);
        assert_eq!(listed(socket, &[stale("127.0.96.1", Some("127.0.1.2:5353"))]), [SECOND]);
        assert_eq!(listed(socket, &[stale("127.0.96.1", Some("127.0.1.2:53"))]), [""; 0]);
        let tcp = FrontendAddress { protocol: Protocol::Tcp, ..frontend("127.0.96.1") };
        assert_eq!(listed(socket, &[StaleFlows { frontend: tcp, endpoint: None }]), [""; 0]);
        let other_port = FrontendAddress { port: 54, ..frontend("127.0.96.1") };
        assert_eq!(listed(socket, &[StaleFlows { frontend: other_port, endpoint: None }]), [""; 0]);
    });
}

/// See `Question::compared` about IPv6.
#[test]
fn of_ipv6_the_kernel_compares_the_ports_and_we_the_addresses() {
    with_flows(|socket| {
        let flow = ["[fd00::96]:40001 → [fd00::96]:53 ([::1]:5353)"];
        assert_eq!(listed(socket, &[stale("fd00::96", None)]), flow);
        assert_eq!(listed(socket, &[stale("fd00::96", Some("[::1]:5353"))]), flow);
        assert_eq!(listed(socket, &[stale("fd00::96", Some("[::1]:5354"))]), [""; 0]);
        let other = &questions(&[stale("fd00::97", None)])[0];
        assert_eq!(list(socket, other).unwrap(), []);
        let this = &questions(&[stale("fd00::96", None)])[0];
        assert_eq!(list(socket, this).unwrap().len(), 1);
    });
}

#[test]
fn only_the_flows_at_hand_are_removed_and_once() {
    with_flows(|socket| {
        let asked = &questions(&[stale("127.0.96.1", Some("127.0.1.1:5353"))])[0];
        let flows = list(socket, asked).unwrap();
        assert_eq!(remove(socket, &flows).unwrap(), 1);
        assert_eq!(listed(socket, &[stale("127.0.96.1", None)]), [SECOND]);
        assert_eq!(listed(socket, &[stale("127.0.96.2", None)]).len(), 2);
        // It has gone already, which is no error.
        assert_eq!(remove(socket, &flows).unwrap(), 0);
    });
}

#[test]
fn of_several_endpoints_each_is_compared_here() {
    with_flows(|socket| {
        let both = ["127.0.1.1:5353", "127.0.1.9:5353"].map(|endpoint| stale("127.0.96.1", Some(endpoint)));
        assert_eq!(listed(socket, &both), [FIRST, SECOND]);
        assert_eq!(forget(socket, &questions(&both)).unwrap(), 1);
        assert_eq!(listed(socket, &both), [SECOND]);
        assert_eq!(
            forget(socket, &questions(&[stale("127.0.96.1", None), stale("fd00::96", None)])).unwrap(),
            2
        );
        assert_eq!(listed(socket, &[stale("127.0.96.2", None)]).len(), 2);
    });
}

#[test]
fn many_flows_are_listed_and_removed_in_parts() {
    with_flows(|socket| {
        (0..700).for_each(|n| send(&format!("127.0.2.1:{}", 41_000 + n), &["127.0.96.2:53"]));
        let flows = list(socket, &questions(&[stale("127.0.96.2", None)])[0]).unwrap();
        assert_eq!(flows.len(), 702);
        assert_eq!(remove(socket, &flows).unwrap(), 702);
        assert_eq!(listed(socket, &[stale("127.0.96.2", None)]), [""; 0]);
        assert_eq!(listed(socket, &[stale("127.0.96.1", None)]).len(), 2);
    });
}

#[test]
fn all_udp_flows_are_those_of_both_families_and_nothing_else() {
    with_flows(|socket| {
        // A connection that is refused is tracked too.
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let mut kinds = Vec::new();
        let message = all_udp(libc::AF_INET, socket.take_sequence(1));
        dump(socket, &message, "list", |flow| kinds.push(flow.protocol)).unwrap();
        assert_eq!(kinds, [protocol_number(Protocol::Udp); 4], "the kernel itself leaves out the rest");
        let texts = |flows: &BTreeSet<penstock_model::Flow>| -> Vec<String> {
            flows.iter().map(|flow| format!("{} at {}", flow.frontend, flow.endpoint)).collect()
        };
        let all = udp_flows(socket, 100).unwrap();
        assert_eq!(
            texts(&all),
            [
                "127.0.96.1:53/UDP at 127.0.1.1:5353",
                "127.0.96.1:53/UDP at 127.0.1.2:5353",
                "127.0.96.2:53/UDP at 127.0.1.1:5353",
                "127.0.96.2:53/UDP at 127.0.1.2:5353",
                "[fd00::96]:53/UDP at [::1]:5353",
            ]
        );
        assert_eq!(udp_flows(socket, 2).unwrap().len(), 2);
    });
}

#[test]
fn many_frontends_are_asked_about_together_and_each_keeps_what_is_not_stale() {
    with_flows(|socket| {
        let mut all: Vec<_> = (10..40).map(|n| stale(&format!("127.0.96.{n}"), None)).collect();
        all.push(stale("127.0.96.1", Some("127.0.1.2:5353")));
        all.extend((1..40).map(|n| stale(&format!("fd00::{n}"), None)));
        assert_eq!(forget(socket, &questions(&all)).unwrap(), 1);
        assert_eq!(listed(socket, &[stale("127.0.96.1", None)]), [FIRST]);
        all.push(stale("fd00::96", None));
        assert_eq!(forget(socket, &questions(&all)).unwrap(), 1);
        assert_eq!(udp_flows(socket, 100).unwrap().len(), 3);
    });
}
