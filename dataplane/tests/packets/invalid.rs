//! Packets that connection tracking finds invalid are not forwarded (kubernetes issue 74839).

use std::{
    io::{ErrorKind, Read},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use etherparse::{SlicedPacket, TcpHeader, TransportSlice};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{lab::Lab, namespace::Namespace, objects::Programmed};

const P1: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Nobody listens there.
const PORT: u16 = 81;

/// Sees and sends whole segments, whatever the kernel's own TCP thinks of them.
fn raw(namespace: &Namespace) -> Socket {
    let socket = namespace.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

fn send(socket: &Socket, mut segment: TcpHeader) {
    segment.checksum = segment.calc_checksum_ipv4_raw(P1.octets(), CLIENT.octets(), &[]).unwrap();
    socket.send_to(&segment.to_bytes(), &SocketAddr::from((CLIENT, 0)).into()).unwrap();
}

/// Whether the next segment to [`PORT`] is a reset; `None` if none comes.
fn next_is_reset(socket: &mut Socket) -> Option<bool> {
    let mut buffer = [0; 256];
    loop {
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => panic!("{error}"),
        };
        match SlicedPacket::from_ip(&buffer[..length]).unwrap().transport {
            Some(TransportSlice::Tcp(tcp)) if tcp.destination_port() == PORT => return Some(tcp.rst()),
            _ => {}
        }
    }
}

/// Whether a reset of no connection reaches the client before the first packet of a connection.
fn forwards_invalid(lab: &Lab) -> bool {
    let (from, mut to) = (raw(&lab.p1), raw(&lab.client));
    let deadline = Instant::now() + Duration::from_secs(30);
    for source in 40_000.. {
        assert!(Instant::now() < deadline, "nothing is forwarded");
        let segment = TcpHeader::new(source, PORT, 1, 1024);
        send(&from, TcpHeader { rst: true, ..segment.clone() });
        send(&from, TcpHeader { syn: true, ..segment });
        if let Some(reset) = next_is_reset(&mut to) {
            return reset;
        }
    }
    unreachable!()
}

#[test]
fn what_belongs_to_no_connection_is_not_forwarded() {
    let programmed = Programmed::new();
    assert!(!forwards_invalid(&programmed.lab));
    programmed.cleanup();
    assert!(forwards_invalid(&programmed.lab), "the test sees nothing even without our table");
}
