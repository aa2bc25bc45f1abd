//! A packet socket (`AF_PACKET`, packet(7)) that carries the ARP or the Neighbor Discovery of one interface.

use std::{
    io,
    mem::{MaybeUninit, size_of},
};

use libc::{
    BPF_ABS, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, ETH_P_ARP, ETH_P_IPV6, IPPROTO_ICMPV6,
    PACKET_OTHERHOST, SKF_AD_OFF, SKF_AD_PKTTYPE, sockaddr_ll,
};
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// A whole frame, without those that are jumbo: what is cut off has a wrong checksum, and is no message of a neighbour.
const SNAP_LENGTH: usize = 1514;
/// Where an untagged frame of IPv6 says what it carries, and ICMPv6 behind a header without extensions its type.
const NEXT_HEADER: u32 = 14 + 6;
const ICMP_TYPE: u32 = 14 + 40;
/// Neighbor Solicitation and Advertisement (RFC 4861).
const NEIGHBOR_MESSAGES: [u32; 2] = [135, 136];

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// ARP, for IPv4.
    Arp,
    /// Neighbor Discovery, for IPv6.
    Ndp,
}

/// A packet socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PacketSocketError {
    /// Not allowed.
    #[error("packet sockets are not allowed: run as root or grant the capability NET_RAW")]
    Forbidden(#[source] io::Error),
    /// Anything else.
    #[error("cannot open a packet socket on interface {interface}")]
    Open {
        /// The interface's number.
        interface: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Sends and receives such frames of one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: AsyncFd<Socket>,
}

impl PacketSocket {
    /// Says at start whether this process may open packet sockets at all.
    ///
    /// # Errors
    /// When it may not.
    pub fn check() -> Result<(), PacketSocketError> {
        unbound().map(drop).map_err(|source| refused(0, source))
    }

    /// Opens the socket on an interface of the thread's network namespace; needs a tokio runtime.
    ///
    /// # Errors
    /// When not allowed, or the interface is gone.
    pub fn open(interface: u32, discovery: Discovery) -> Result<Self, PacketSocketError> {
        let socket = Self::bind(interface, discovery).map_err(|source| refused(interface, source))?;
        Ok(Self { socket })
    }

    /// Protocol 0 hears nothing until `bind` names protocol and interface, and the filter is there before it.
    fn bind(interface: u32, discovery: Discovery) -> io::Result<AsyncFd<Socket>> {
        let socket = unbound()?;
        socket.attach_filter(&filter(discovery))?;
        socket.bind(&address(interface, discovery)?)?;
        // SAFETY: the socket owns its descriptor and is neither replaced nor closed while the AsyncFd has it.
        Ok(unsafe { AsyncFd::register(socket) }?)
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// When the interface is down ([`is_transient`]) or the socket broke.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let read = |socket: &Socket| {
            let mut buffer = Vec::with_capacity(SNAP_LENGTH);
            let length = socket.recv(buffer.spare_capacity_mut())?;
            // SAFETY: recv wrote `length` bytes, no more than the capacity that it was given.
            unsafe { buffer.set_len(length) };
            Ok(buffer)
        };
        self.socket.async_io(Interest::READABLE, read).await
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the interface is down ([`is_transient`]) or gone.
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, |socket| socket.send(frame)).await.map(drop)
    }
}

/// Whether the socket will work again: the interface is down, or its queue full.
#[must_use]
pub fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENETDOWN | Errno::ENOBUFS))
}

fn unbound() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None::<Protocol>)
}

fn refused(interface: u32, source: io::Error) -> PacketSocketError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => PacketSocketError::Forbidden(source),
        _ => PacketSocketError::Open { interface, source },
    }
}

/// Frames to other stations stay out: those that a bridge's promiscuous port sees, and those with the tag of a VLAN
/// that this interface is not in. The kernel has stripped the tag by now and marks them as another's. Of IPv6, all but
/// messages of neighbours stay out.
fn filter(discovery: Discovery) -> Vec<SockFilter> {
    let packet_type = (SKF_AD_OFF + SKF_AD_PKTTYPE).cast_unsigned();
    let [solicitation, advertisement] = NEIGHBOR_MESSAGES;
    let (take, drop) = (verdict(SNAP_LENGTH as u32), verdict(0));
    match discovery {
        Discovery::Arp => vec![load(BPF_W, packet_type), skip_if(PACKET_OTHERHOST.into(), 1), take, drop],
        Discovery::Ndp => vec![
            load(BPF_W, packet_type),
            skip_if(PACKET_OTHERHOST.into(), 6),
            load(BPF_B, NEXT_HEADER),
            skip_unless(IPPROTO_ICMPV6 as u32, 4),
            load(BPF_B, ICMP_TYPE),
            skip_if(solicitation, 1),
            skip_unless(advertisement, 1),
            take,
            drop,
        ],
    }
}

fn instruction(code: u32, jump_true: u8, jump_false: u8, value: u32) -> SockFilter {
    SockFilter::new(code as u16, jump_true, jump_false, value)
}

fn load(size: u32, at: u32) -> SockFilter {
    instruction(BPF_LD | size | BPF_ABS, 0, 0, at)
}

/// Skips instructions where what was loaded is the value.
fn skip_if(value: u32, instructions: u8) -> SockFilter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, instructions, 0, value)
}

fn skip_unless(value: u32, instructions: u8) -> SockFilter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, instructions, value)
}

fn verdict(length: u32) -> SockFilter {
    instruction(BPF_RET | BPF_K, 0, 0, length)
}

fn address(interface: u32, discovery: Discovery) -> io::Result<SockAddr> {
    let protocol = match discovery {
        Discovery::Arp => ETH_P_ARP,
        Discovery::Ndp => ETH_P_IPV6,
    };
    let index = i32::try_from(interface).map_err(|_| io::Error::from(Errno::ENODEV))?;
    // SAFETY: sockaddr_ll fits into sockaddr_storage, all of which was zeroed; family and length are set.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = sockaddr_ll {
                sll_family: libc::AF_PACKET as u16,
                sll_protocol: (protocol as u16).to_be(),
                sll_ifindex: index,
                ..MaybeUninit::zeroed().assume_init()
            };
            storage.cast::<sockaddr_ll>().write(link);
            *length = size_of::<sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}
