//! The UDP sockets of BFD (RFC 5881, sections 4 and 5; RFC 5883, section 5). They belong to the network namespace of the
//! thread that opens them.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::{Ipv4PacketInfo, Ipv4RecvTtl, Ipv6RecvHopLimit, Ipv6RecvPacketInfo},
};
use socket2::{Domain, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::packet::LENGTH;

/// The TTL of everything that is sent, and of what arrives over a single hop: a router on the way would have lessened it.
pub(super) const TTL: u8 = 255;
/// Where packets are sent from, so that firewalls can tell them (RFC 5881, section 4).
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// How many of them are tried; other programs may have some.
const ATTEMPTS: usize = 64;
/// Internetwork control (RFC 4594, section 3.1), as routers mark their own.
const TRAFFIC_CLASS: u32 = 0xc0;
/// More than any packet's own length can say.
const BUFFER: usize = 256;

/// Over one hop or several; each has its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    SingleHop,
    Multihop,
}

impl Kind {
    pub(super) fn port(self) -> u16 {
        match self {
            Self::SingleHop => 3784,
            Self::Multihop => 4784,
        }
    }
}

/// A session has no sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody else has the port.
    #[error(
        "UDP port {0} is in use: stop the other BFD daemon on this node, or remove the BFD profiles of its peers"
    )]
    PortInUse(u16),
    /// The port cannot be had.
    #[error("cannot listen on UDP port {port}")]
    Listen {
        /// Which.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no such interface.
    #[error("there is no interface {0} on this node")]
    Interface(String),
    /// The address is valid on each link, and none is named.
    #[error("{0} is a link-local address: name the interface that it is on")]
    LinkLocal(IpAddr),
    /// The two are of different families.
    #[error("{local} and {peer} are of different families")]
    Families {
        /// The address to send from.
        local: IpAddr,
        /// The peer's.
        peer: IpAddr,
    },
    /// Nothing can be sent.
    #[error("cannot open a socket to send BFD packets to {peer} from")]
    Send {
        /// To whom.
        peer: IpAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How a packet came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) kind: Kind,
    pub(super) source: IpAddr,
    pub(super) destination: Option<IpAddr>,
    pub(super) interface: u32,
    pub(super) ttl: u8,
}

/// Hears all packets of one family and kind.
#[derive(Debug)]
pub(super) struct Listener {
    socket: AsyncFd<Socket>,
    kind: Kind,
}

impl Listener {
    pub(super) fn open(v6: bool, kind: Kind) -> Result<Self, SocketError> {
        let port = kind.port();
        let socket = listen(v6, port).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => SocketError::PortInUse(port),
            _ => SocketError::Listen { port, source },
        })?;
        Ok(Self { socket, kind })
    }

    /// Waits for the next packet.
    pub(super) async fn receive(&self) -> io::Result<(Vec<u8>, Arrival)> {
        self.socket.async_io(Interest::READABLE, |socket| receive(socket, self.kind)).await
    }
}

fn listen(v6: bool, port: u16) -> io::Result<AsyncFd<Socket>> {
    let socket = unbound(v6)?;
    if v6 {
        socket.set_only_v6(true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
        setsockopt(&socket, Ipv4RecvTtl, &true)?;
    }
    socket.bind(&SocketAddr::new(any_address(v6), port).into())?;
    // SAFETY: the socket owns its descriptor and is neither replaced nor closed while the AsyncFd has it.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

fn receive(socket: &Socket, kind: Kind) -> io::Result<(Vec<u8>, Arrival)> {
    let mut buffer = vec![0; BUFFER];
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::c_int);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let source = message.address.as_ref().and_then(ip_of).ok_or(io::ErrorKind::InvalidData)?;
    // Without the kernel's word the TTL is 0, which no session takes.
    let mut arrival = Arrival { kind, source, destination: None, interface: 0, ttl: 0 };
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                arrival.ttl = u8::try_from(ttl).unwrap_or_default();
            }
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                arrival.interface = info.ipi_ifindex.cast_unsigned();
                arrival.destination = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                arrival.interface = info.ipi6_ifindex;
                arrival.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
    }
    let length = message.bytes;
    buffer.truncate(length);
    Ok((buffer, arrival))
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

/// What a session sends from: a port of its own (RFC 5881, section 4).
#[derive(Debug)]
pub(super) struct Sender {
    socket: Socket,
    peer: SocketAddr,
}

impl Sender {
    pub(super) fn open(
        peer: IpAddr,
        local: Option<IpAddr>,
        interface: Option<&str>,
        kind: Kind,
    ) -> Result<Self, SocketError> {
        if let Some(local) = local.filter(|local| local.is_ipv6() != peer.is_ipv6()) {
            return Err(SocketError::Families { local, peer });
        }
        if is_link_local(peer) && interface.is_none() {
            return Err(SocketError::LinkLocal(peer));
        }
        let socket =
            sender(peer.is_ipv6(), local, interface).map_err(|source| SocketError::Send { peer, source })?;
        Ok(Self { socket, peer: SocketAddr::new(peer, kind.port()) })
    }

    /// Sends now or never: a packet that has to wait says what is no longer so.
    pub(super) fn send(&self, packet: &[u8; LENGTH]) -> io::Result<()> {
        self.socket.send_to(packet, &self.peer.into()).map(drop)
    }
}

fn sender(v6: bool, local: Option<IpAddr>, interface: Option<&str>) -> io::Result<Socket> {
    let socket = unbound(v6)?;
    if v6 {
        socket.set_unicast_hops_v6(TTL.into())?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_ttl_v4(TTL.into())?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
        // The address may come later, as with an interface that is down.
        socket.set_freebind_v4(true)?;
    }
    socket.bind_device(interface.map(str::as_bytes))?;
    let ip = local.unwrap_or_else(|| any_address(v6));
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        match socket.bind(&SocketAddr::new(ip, fastrand::u16(SOURCE_PORTS)).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            outcome => return outcome.map(|()| socket),
        }
    }
    Err(last)
}

fn unbound(v6: bool) -> io::Result<Socket> {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)
}

fn any_address(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
