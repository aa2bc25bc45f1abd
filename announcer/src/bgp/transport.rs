//! TCP to a router: the options that BGP asks for (RFC 2385, RFC 5082), and the connection itself.

use std::{io, mem::size_of, net::SocketAddr, os::fd::AsRawFd};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::{Password, Peer, Reason, terms::LONGEST_PASSWORD};

/// The DSCP of network control (CS6), as routers have it, in the byte that it is a part of.
const CONTROL: u32 = 0xc0;

/// Opens a connection.
///
/// # Errors
/// Why there is none.
pub(super) async fn connect(peer: &Peer) -> Result<TcpStream, Reason> {
    let socket = socket(peer).map_err(|error| Reason::Socket(error.to_string()))?;
    let stream =
        TcpSocket::from_std_stream(socket.into()).connect(SocketAddr::new(peer.address, peer.port)).await;
    stream.map_err(|error| Reason::Connect(error.to_string()))
}

fn socket(peer: &Peer) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address((peer.address, peer.port).into()),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    set_ttl(&socket, peer)?;
    if let Some(password) = &peer.password {
        set_md5(&socket, (peer.address, peer.port).into(), password)?;
    }
    if let Some(source) = peer.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

fn set_ttl(socket: &Socket, peer: &Peer) -> io::Result<()> {
    let (own, least) = peer.ttl();
    if peer.address.is_ipv4() {
        socket.set_tos_v4(CONTROL)?;
        own.map_or(Ok(()), |ttl| socket.set_ttl_v4(ttl.into()))?;
        least.map_or(Ok(()), |ttl| set_option(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &i32::from(ttl)))
    } else {
        socket.set_tclass_v6(CONTROL)?;
        own.map_or(Ok(()), |ttl| socket.set_unicast_hops_v6(ttl.into()))?;
        let option = |ttl| set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &i32::from(ttl));
        least.map_or(Ok(()), option)
    }
}

/// `struct tcp_md5sig` of linux/tcp.h, which libc does not have.
#[repr(C)]
struct Md5Signature {
    address: SockAddrStorage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: i32,
    key: [u8; LONGEST_PASSWORD],
}

fn set_md5(socket: &Socket, router: SocketAddr, Password(key): &Password) -> io::Result<()> {
    let mut signature = Md5Signature {
        address: SockAddr::from(router).as_storage(),
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(key.len()).unwrap_or(u16::MAX),
        interface: 0,
        key: [0; LONGEST_PASSWORD],
    };
    signature.key.get_mut(..key.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(key);
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signature)
}

/// setsockopt(2), for options that socket2 does not have.
fn set_option<T>(socket: &Socket, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads `length` bytes, which is the size of the value, and keeps no pointer to them.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
