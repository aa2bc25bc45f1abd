//! The socket.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_GENERIC, NETLINK_NETFILTER},
};
use nix::sys::socket::{setsockopt, sockopt};

use super::{NetworkNamespace, Refusal, Reply};

/// No datagram of the kernel is longer: a list comes in parts of at most 32 KiB, an answer without the message.
const DATAGRAM: usize = 1 << 16;
/// What a socket may hold that nobody has read yet, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Why the kernel's netfilter did not do what was asked, or why that is not known.
#[derive(Debug, thiserror::Error)]
pub enum NetfilterError {
    /// There is no socket.
    #[error("cannot open a netfilter socket: this needs CAP_NET_ADMIN and a kernel with nfnetlink")]
    Open(#[source] io::Error),
    /// The kernel did not take the message.
    #[error("cannot send to the kernel's netfilter")]
    Send(#[source] io::Error),
    /// The answer was lost.
    #[error("cannot receive the answer of the kernel's netfilter")]
    Receive(#[source] io::Error),
    /// The kernel took the message and said nothing.
    #[error("the kernel's netfilter did not answer")]
    Unanswered,
    /// The kernel refused; nothing has changed.
    #[error("the kernel refused to {what}: {why}")]
    Refused {
        /// What it would not do.
        what: String,
        /// Why not.
        why: Refusal,
    },
}

impl NetfilterError {
    /// Whether the kernel had more to tell than the socket could hold.
    pub(crate) fn is_overrun(&self) -> bool {
        matches!(self, Self::Receive(error) if error.raw_os_error() == Some(libc::ENOBUFS))
    }
}

/// A socket to the kernel's netfilter. It is kept open: closing it after something was removed waits until every
/// CPU has let go of what was removed (`nft_rcv_nl_event`), several milliseconds, which every run of the `nft` program pays.
pub(crate) struct NetfilterSocket {
    socket: Socket,
    /// Of this socket among those of the namespace.
    port: u32,
    sequence: u32,
    /// The longest datagram that may be sent, in bytes.
    send_buffer: usize,
}

impl std::fmt::Debug for NetfilterSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetfilterSocket").field("port", &self.port).finish_non_exhaustive()
    }
}

impl NetfilterSocket {
    /// Opens one.
    pub(crate) fn open(namespace: &NetworkNamespace) -> Result<Self, NetfilterError> {
        namespace.enter(|| Self::open_here(NETLINK_NETFILTER)).map_err(NetfilterError::Open)
    }

    /// Opens one to generic netlink instead, which has what nfnetlink never got: IPVS.
    pub(crate) fn open_generic(namespace: &NetworkNamespace) -> Result<Self, NetfilterError> {
        namespace.enter(|| Self::open_here(NETLINK_GENERIC)).map_err(NetfilterError::Open)
    }

    fn open_here(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        // An error without the message at fault, which may be long, but with the place in it.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        Ok(Self { socket, port, sequence: 0, send_buffer: 0 })
    }

    /// By what the kernel tells this socket from others.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Receives what the kernel tells a group, too.
    pub(crate) fn join(&self, group: libc::c_int) -> Result<(), NetfilterError> {
        self.socket.add_membership(group.unsigned_abs()).map_err(NetfilterError::Open)
    }

    /// Receives it no longer.
    pub(crate) fn leave(&self, group: libc::c_int) -> Result<(), NetfilterError> {
        self.socket.drop_membership(group.unsigned_abs()).map_err(NetfilterError::Open)
    }

    /// The first of so many sequence numbers that nobody has used.
    pub(crate) fn take_sequence(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends messages as one datagram. When this returns, the kernel has carried them out or refused them, and its
    /// answers can be received.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), NetfilterError> {
        self.widen(bytes.len()).map_err(NetfilterError::Send)?;
        self.socket.send(bytes, 0).map_err(NetfilterError::Send)?;
        Ok(())
    }

    /// The kernel takes no datagram longer than the buffer, and the usual limit is 208 KiB.
    fn widen(&mut self, length: usize) -> io::Result<()> {
        // What netlink itself keeps of it is 32 bytes, and the kernel doubles what it is told.
        let needed = length.max(DATAGRAM);
        if needed > self.send_buffer {
            setsockopt(&self.socket, sockopt::SndBufForce, &needed)?;
            self.send_buffer = needed;
        }
        Ok(())
    }

    /// The messages of the next datagram; `None` if there is none now.
    pub(crate) fn receive(&self) -> Result<Option<Vec<Reply>>, NetfilterError> {
        let mut datagram = Vec::with_capacity(DATAGRAM);
        match self.socket.recv(&mut datagram, libc::MSG_DONTWAIT) {
            Ok(_) => Ok(Some(Reply::read(&datagram))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(NetfilterError::Receive(error)),
        }
    }

    /// Sends messages and takes all that the kernel answers at once.
    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> Result<Vec<Reply>, NetfilterError> {
        self.send(bytes)?;
        let mut replies = Vec::new();
        while let Some(more) = self.receive()? {
            replies.extend(more);
        }
        Ok(replies)
    }
}

impl AsFd for NetfilterSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for NetfilterSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
