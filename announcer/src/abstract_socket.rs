//! Abstract Unix sockets (unix(7)) in the thread's network namespace, by which the processes of one node reach each other
//! without a file: whoever has bound a name has it alone, and the kernel frees it with the process, however that ends.

use std::{
    io,
    os::{linux::net::SocketAddrExt, unix::net},
};

use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};

/// Listens by this name.
pub(crate) fn bind(name: &str) -> io::Result<UnixListener> {
    let listener = net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Reaches whoever listens by this name.
pub(crate) fn connect(name: &str) -> io::Result<UnixStream> {
    let stream = net::UnixStream::connect_addr(&net::SocketAddr::from_abstract_name(name)?)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Whether the other end is a process of our own user. Such a name has no permissions: everybody on the node's network may
/// connect to it.
pub(crate) fn is_of_our_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == Uid::effective().as_raw())
}
