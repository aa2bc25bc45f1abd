//! A way to a server on loopback that can be cut: connections stay, and nothing passes, as in a network that swallows
//! packets.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Carries connections for as long as this value lives.
#[derive(Debug)]
pub struct Relay {
    open: watch::Sender<bool>,
    port: u16,
}

impl Relay {
    /// Carries connections from a port of loopback to `target`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen for a relay")?;
        let port = listener.local_addr().context("look at a relay's port")?.port();
        let (open, is_open) = watch::channel(true);
        tokio::spawn(accept(listener, target, is_open));
        Ok(Self { open, port })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts it, or mends it.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, open: watch::Receiver<bool>) {
    while let Ok((near, _)) = listener.accept().await {
        let mut open = open.clone();
        tokio::spawn(async move {
            open.wait_for(|open| *open).await.ok()?;
            let far = TcpStream::connect(target).await.ok()?;
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let there = pass(near_in, far_out, open.clone());
            let back = pass(far_in, near_out, open);
            // Whichever direction ends ends the other: this is HTTP.
            tokio::select! { ended = there => ended, ended = back => ended }
        });
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut open: watch::Receiver<bool>,
) -> Option<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        open.wait_for(|open| *open).await.ok()?;
        to.write_all(&buffer[..length]).await.ok()?;
    }
}
