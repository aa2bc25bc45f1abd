//! A packet socket (`AF_PACKET`, packet(7)) that carries the ARP of one interface.

use std::{
    io,
    mem::{MaybeUninit, size_of},
};

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, ETH_P_ARP, PACKET_OTHERHOST, SKF_AD_OFF,
    SKF_AD_PKTTYPE, sockaddr_ll,
};
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

/// More than any ARP frame that we read: 14 of Ethernet, 28 of ARP.
const SNAP_LENGTH: usize = 128;

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

/// Sends and receives the ARP frames of one interface.
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
    pub fn open(interface: u32) -> Result<Self, PacketSocketError> {
        let socket = Self::bind(interface).map_err(|source| refused(interface, source))?;
        Ok(Self { socket })
    }

    /// Protocol 0 hears nothing until `bind` names protocol and interface, and the filter is there before it.
    fn bind(interface: u32) -> io::Result<AsyncFd<Socket>> {
        let socket = unbound()?;
        socket.attach_filter(&filter())?;
        socket.bind(&address(interface)?)?;
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
/// that this interface is not in. The kernel has stripped the tag by now and marks them as another's.
fn filter() -> [SockFilter; 4] {
    let packet_type = (SKF_AD_OFF + SKF_AD_PKTTYPE).cast_unsigned();
    let instruction =
        |code: u32, jump_true, jump_false, k: u32| SockFilter::new(code as u16, jump_true, jump_false, k);
    [
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, packet_type),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, u32::from(PACKET_OTHERHOST)),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
        instruction(BPF_RET | BPF_K, 0, 0, SNAP_LENGTH as u32),
    ]
}

fn address(interface: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(interface).map_err(|_| io::Error::from(Errno::ENODEV))?;
    // SAFETY: sockaddr_ll fits into sockaddr_storage, all of which was zeroed; family and length are set.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = sockaddr_ll {
                sll_family: libc::AF_PACKET as u16,
                sll_protocol: (ETH_P_ARP as u16).to_be(),
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
