//! The connection of a session: one that is being made, one that is there, or none.

use std::{
    future::{Future, pending},
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
    time::timeout,
};

use super::Reason;

/// How much is kept at most for a router that does not read.
pub(super) const ROOM: usize = 64 * 1024;
/// How much is read at once.
const READ: usize = 16 * 1024;
/// How long a router has to take the last message, and then to close its side.
const FAREWELL: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<TcpStream, Reason>> + Send>>;

/// A connection.
#[derive(Default)]
pub(super) enum Connection {
    #[default]
    None,
    Opening(Opening),
    Open(Stream),
}

/// An open connection, with what is still to be written.
pub(super) struct Stream {
    tcp: TcpStream,
    unsent: Vec<u8>,
}

/// What a connection comes up with.
pub(super) enum Happening {
    Connected { local: SocketAddr },
    Received(Vec<u8>),
    Closed,
    Failed(Reason),
    Writable,
}

impl Connection {
    pub(super) fn opening(future: impl Future<Output = Result<TcpStream, Reason>> + Send + 'static) -> Self {
        Self::Opening(Box::pin(future))
    }

    /// Waits for the next happening. May be dropped at any time. Whether it can be written to matters only if there is
    /// `more` to be written than what the connection has.
    pub(super) async fn next(&mut self, more: bool) -> Happening {
        match self {
            Self::None => pending().await,
            Self::Opening(opening) => {
                let opened = opening.await;
                *self = Self::None;
                self.opened(opened)
            }
            Self::Open(stream) => stream.next(more).await,
        }
    }

    fn opened(&mut self, opened: Result<TcpStream, Reason>) -> Happening {
        let with_address = opened.and_then(|tcp| match tcp.local_addr() {
            Ok(local) => Ok((tcp, local)),
            Err(error) => Err(Reason::Broken(error.to_string())),
        });
        match with_address {
            Ok((tcp, local)) => {
                *self = Self::Open(Stream { tcp, unsent: Vec::new() });
                Happening::Connected { local }
            }
            Err(reason) => Happening::Failed(reason),
        }
    }

    /// What is there to be read without waiting.
    pub(super) fn unread(&self) -> Option<Happening> {
        match self {
            Self::Open(stream) => stream.read(),
            Self::None | Self::Opening(_) => None,
        }
    }

    /// Adds what is to be written next.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Self::Open(stream) = self {
            stream.unsent.extend(bytes);
        }
    }

    /// Whether there is room for more.
    pub(super) const fn has_room(&self) -> bool {
        matches!(self, Self::Open(stream) if stream.unsent.len() < ROOM)
    }

    /// How much is kept.
    #[cfg(test)]
    pub(super) const fn kept(&self) -> usize {
        match self {
            Self::Open(stream) => stream.unsent.capacity(),
            Self::None | Self::Opening(_) => 0,
        }
    }

    /// Writes what can be written without waiting; says whether anything was.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn write(&mut self) -> Result<bool, Reason> {
        let Self::Open(Stream { tcp, unsent }) = self else { return Ok(false) };
        let mut written = 0;
        while written < unsent.len() {
            match tcp.try_write(&unsent[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(Reason::Broken(error.to_string())),
            }
        }
        unsent.drain(..written);
        Ok(written > 0)
    }

    /// Writes the rest and closes, so that the router gets it all: a close with something unread, or too early, would
    /// throw away what is on its way.
    pub(super) async fn close(&mut self) {
        let Self::Open(Stream { mut tcp, unsent }) = std::mem::take(self) else { return };
        let farewell = async {
            tcp.write_all(&unsent).await?;
            tcp.shutdown().await
        };
        if matches!(timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            let mut unread = vec![0; READ];
            let end = async { while tcp.read(&mut unread).await.is_ok_and(|length| length > 0) {} };
            // Whoever does not close on its side is left alone.
            let _ = timeout(FAREWELL, end).await;
        }
    }
}

impl Stream {
    async fn next(&self, more: bool) -> Happening {
        let writes = more || !self.unsent.is_empty();
        let interest = if writes { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        loop {
            match self.tcp.ready(interest).await {
                Ok(ready) if ready.is_readable() || ready.is_read_closed() => match self.read() {
                    Some(happening) => return happening,
                    None if ready.is_writable() && writes => return Happening::Writable,
                    None => {}
                },
                Ok(ready) if ready.is_writable() => return Happening::Writable,
                Ok(_) => {}
                Err(error) => return Happening::Failed(Reason::Broken(error.to_string())),
            }
        }
    }

    fn read(&self) -> Option<Happening> {
        let mut bytes = vec![0; READ];
        match self.tcp.try_read(&mut bytes) {
            Ok(0) => Some(Happening::Closed),
            Ok(length) => {
                bytes.truncate(length);
                Some(Happening::Received(bytes))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            // Closed with something of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(Happening::Closed),
            Err(error) => Some(Happening::Failed(Reason::Broken(error.to_string()))),
        }
    }
}
