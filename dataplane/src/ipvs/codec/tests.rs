use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::NLM_F_DUMP;
use penstock_model::{FrontendAddress, Protocol, Scheduler};
use proptest::prelude::*;

use super::*;
use crate::netfilter::{Attributes, Data, Message, attribute};

/// What `ipvsadm` exchanges with the kernel.
const IPVSADM: &str = include_str!("ipvsadm.txt");
/// The server's mark in it.
const MARK: u32 = 1_582_301_185;

/// What was sent (`>`) or received (`<`) by the run of ipvsadm with these arguments.
fn recorded(arguments: &str, direction: &str) -> Vec<String> {
    let head = format!("# ipvsadm {arguments}\n");
    let run = IPVSADM.split_once(&head).unwrap_or_else(|| panic!("{arguments} is not recorded")).1;
    let lines = run.split("\n\n").next().unwrap_or_default().lines();
    lines.filter_map(|line| line.strip_prefix(direction)).map(|hex| hex.trim().to_owned()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Behind the netlink header.
fn sent(request: &Request) -> String {
    let mut out = Vec::new();
    request.message(28, 1, true).emit(&mut out);
    out[16..].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(ip: &str, protocol: Protocol, port: u16) -> ServerAddress {
    ServerAddress::Frontend(FrontendAddress { ip: ip.parse().unwrap(), protocol, port })
}

fn server(address: ServerAddress, scheduler: Scheduler, flags: u32, timeout: u32) -> VirtualServer {
    VirtualServer { address, scheduler: Some(scheduler), flags: ServerFlags(flags), timeout }
}

fn dns() -> ServerAddress {
    at("10.96.0.10", Protocol::Tcp, 53)
}

fn dns6() -> ServerAddress {
    at("2001:db8:96::a", Protocol::Udp, 53)
}

fn pod() -> SocketAddr {
    "10.244.1.5:8053".parse().unwrap()
}

#[test]
fn requests_are_those_of_ipvsadm() {
    let sh = ServerFlags::SH_FALLBACK.0 | ServerFlags::SH_PORT.0;
    let persistent = at("10.96.0.12", Protocol::Tcp, 80);
    let mark = |family| ServerAddress::Mark(family, MARK);
    let to = |text: &str| Destination::serving(text.parse().unwrap());
    // It does not say how packets got to what it removes.
    let removed = Destination { forwarding: Forwarding::DirectRoute, ..Destination::serving(pod()) };
    for (arguments, request) in [
        ("-A -t 10.96.0.10:53 -s rr", Request::NewServer(server(dns(), Scheduler::Rr, 0, 0))),
        ("-A -u [2001:db8:96::a]:53 -s wlc", Request::NewServer(server(dns6(), Scheduler::Wlc, 0, 0))),
        (
            "-A -t 10.96.0.11:80 -s sh -b sh-fallback,sh-port",
            Request::NewServer(server(at("10.96.0.11", Protocol::Tcp, 80), Scheduler::Sh, sh, 0)),
        ),
        (
            "-A -t 10.96.0.12:80 -s rr -p 10800",
            Request::NewServer(server(persistent, Scheduler::Rr, 1, 10_800)),
        ),
        ("-A -f 1582301185 -s rr", Request::NewServer(server(mark(Family::IPv4), Scheduler::Rr, 0, 0))),
        ("-A -f 1582301185 -6 -s rr", Request::NewServer(server(mark(Family::IPv6), Scheduler::Rr, 0, 0))),
        ("-E -t 10.96.0.12:80 -s lc -p 60", Request::SetServer(server(persistent, Scheduler::Lc, 1, 60))),
        (
            "-a -t 10.96.0.10:53 -r 10.244.1.5:8053 -m -w 1",
            Request::NewDestination(dns(), Destination::serving(pod())),
        ),
        (
            "-a -u [2001:db8:96::a]:53 -r [2001:db8:244::5]:8053 -m -w 1",
            Request::NewDestination(dns6(), to("[2001:db8:244::5]:8053")),
        ),
        (
            "-a -f 1582301185 -r 10.244.1.5:8080 -m -w 1",
            Request::NewDestination(mark(Family::IPv4), to("10.244.1.5:8080")),
        ),
        (
            "-e -t 10.96.0.10:53 -r 10.244.1.5:8053 -m -w 0",
            Request::SetDestination(dns(), Destination::draining(pod())),
        ),
        ("-d -t 10.96.0.10:53 -r 10.244.1.5:8053", Request::DeleteDestination(dns(), removed)),
        ("-D -t 10.96.0.10:53", Request::DeleteServer(dns())),
        ("-D -f 1582301185 -6", Request::DeleteServer(mark(Family::IPv6))),
        ("--set 900 120 300", Request::SetTimeouts(Timeouts { tcp: 900, tcp_fin: 120, udp: 300 })),
        ("--timeout", Request::Timeouts),
        ("-C", Request::Flush),
    ] {
        let arguments = if arguments == "--timeout" { "-L --timeout" } else { arguments };
        assert_eq!(recorded(arguments, ">"), [sent(&request)], "{arguments}");
    }
}

#[test]
fn lists_are_asked_for_and_read_as_by_ipvsadm() {
    let asked = recorded("-L -n", ">");
    assert_eq!(asked[0], sent(&Request::Servers));
    assert!(asked.contains(&sent(&Request::Destinations(dns6()))));
    assert!(asked.contains(&sent(&Request::Destinations(ServerAddress::Mark(Family::IPv6, MARK)))));
    assert_eq!(Request::Servers.message(28, 1, true).flags, NLM_F_DUMP);
    let answers: Vec<Vec<u8>> = recorded("-L -n", "<").iter().map(|hex| bytes(hex)[4..].to_vec()).collect();
    let servers: Vec<VirtualServer> =
        answers.iter().filter_map(|answer| Request::server_in(answer)).collect();
    let sh = ServerFlags::SH_FALLBACK.0 | ServerFlags::SH_PORT.0;
    let expected = [
        server(dns(), Scheduler::Rr, 0, 0),
        server(at("10.96.0.12", Protocol::Tcp, 80), Scheduler::Lc, 1, 60),
        server(at("10.96.0.11", Protocol::Tcp, 80), Scheduler::Sh, sh, 0),
        server(dns6(), Scheduler::Wlc, 0, 0),
        server(ServerAddress::Mark(Family::IPv6, MARK), Scheduler::Rr, 0, 0),
        server(ServerAddress::Mark(Family::IPv4, MARK), Scheduler::Rr, 0, 0),
    ];
    assert_eq!(servers, expected);
    let destinations: Vec<Destination> = answers
        .iter()
        .filter_map(|answer| Request::destination_in(answer))
        .filter_map(|bytes| Destination::read(bytes, Family::IPv4))
        .collect();
    let expected = [
        Destination::draining(pod()),
        Destination::serving("[2001:db8:244::5]:8053".parse().unwrap()),
        Destination::serving("10.244.1.5:8080".parse().unwrap()),
    ];
    assert_eq!(destinations, expected);
    assert!(answers.iter().filter_map(|a| Request::destination_in(a)).all(|a| Connections::read(a).none()));
}

#[test]
fn timeouts_are_read_as_they_were_set() {
    let answer = &bytes(&recorded("-L --timeout", "<")[0])[4..];
    assert_eq!(Request::timeouts_in(answer), Some(Timeouts { tcp: 900, tcp_fin: 120, udp: 300 }));
}

#[test]
fn the_familys_number_is_asked_for_and_read() {
    let mut out = Vec::new();
    family_question(1).emit(&mut out);
    assert_eq!(out[16..], *b"\x03\x01\0\0\x09\0\x02\0IPVS\0\0\0\0");
    // Cut behind the number: what follows are operations.
    let attributes = b"\x09\0\x02\0IPVS\0\0\0\0\x06\0\x01\0\x1c\0\0\0\x08\0\x03\0\x01\0\0\0".to_vec();
    let data = Data { kind: 16, port: 0, family: 1, attributes };
    assert_eq!(family_number(&data), Some(28));
}

fn addresses() -> impl Strategy<Value = ServerAddress> {
    let protocols = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let families = prop::sample::select(vec![Family::IPv4, Family::IPv6]);
    prop_oneof![
        (any::<IpAddr>(), protocols, any::<u16>())
            .prop_map(|(ip, protocol, port)| ServerAddress::Frontend(FrontendAddress { ip, protocol, port })),
        (families, any::<u32>()).prop_map(|(family, mark)| ServerAddress::Mark(family, mark)),
    ]
}

fn servers() -> impl Strategy<Value = VirtualServer> {
    let schedulers = prop::option::of(prop::sample::select(Scheduler::ALL.to_vec()));
    (addresses(), schedulers, any::<u32>(), any::<u32>()).prop_map(|(address, scheduler, flags, timeout)| {
        VirtualServer { address, scheduler, flags: ServerFlags(flags & !ServerFlags::HASHED.0), timeout }
    })
}

fn destinations() -> impl Strategy<Value = Destination> {
    let forwarding = prop::sample::select(vec![
        Forwarding::Masquerade,
        Forwarding::Local,
        Forwarding::Tunnel,
        Forwarding::DirectRoute,
    ]);
    (any::<IpAddr>(), any::<u16>(), forwarding, any::<u32>()).prop_map(|(ip, port, forwarding, weight)| {
        Destination { address: SocketAddr::new(ip, port), forwarding, weight }
    })
}

fn attributes_of(message: &Message) -> Vec<u8> {
    message.attributes.bytes().to_vec()
}

proptest! {
    #[test]
    fn what_is_written_is_read(server in servers(), to in destinations()) {
        let written = attributes_of(&Request::NewServer(server).message(28, 1, false));
        prop_assert_eq!(Request::server_in(&written), Some(server));
        let written = attributes_of(&Request::SetDestination(server.address, to).message(28, 1, false));
        let inner = Request::destination_in(&written).unwrap();
        prop_assert_eq!(Destination::read(inner, server.address.family()), Some(to));
        prop_assert_eq!(Request::server_in(&written).map(|read| read.address), Some(server.address));
    }

    #[test]
    fn timeouts_that_are_written_are_read(tcp: u32, tcp_fin: u32, udp: u32) {
        let timeouts = Timeouts { tcp, tcp_fin, udp };
        let written = attributes_of(&Request::SetTimeouts(timeouts).message(28, 1, true));
        prop_assert_eq!(Request::timeouts_in(&written), Some(timeouts));
    }

    #[test]
    fn any_bytes_are_read_without_panic(answer: Vec<u8>, kind in 1_u16..16, value: Vec<u8>) {
        let framed = Attributes::default().with(kind, &value);
        for bytes in [&answer[..], framed.bytes()] {
            let _ = (Request::server_in(bytes), Request::timeouts_in(bytes), VirtualServer::read(bytes));
            let _ = (Destination::read(bytes, Family::IPv6), Connections::read(bytes));
            let _ = attribute(bytes, kind);
        }
    }

    #[test]
    fn a_server_with_any_attribute_cut_or_changed_is_read_without_panic(
        server in servers(), place in 0_usize..100, byte: u8,
    ) {
        let mut written = attributes_of(&Request::NewServer(server).message(28, 1, false));
        let place = place % written.len();
        written[place] = byte;
        let _ = Request::server_in(&written);
        let _ = Request::server_in(&written[..place]);
    }
}
