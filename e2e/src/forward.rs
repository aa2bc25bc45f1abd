//! The one door between the machine and an instance: a socket on the machine's loopback whose connections are carried
//! into the control plane's namespace. A listening socket stays in the namespace in which it was made, also when its
//! process moves into another one; so one process can stand in both.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::netns;

/// A forwarder: from a free port of 127.0.0.1 to an address inside a namespace.
#[derive(Debug, Clone)]
pub struct Forward {
    /// The namespace's file.
    pub netns: PathBuf,
    /// Where connections go, inside.
    pub target: SocketAddr,
    /// The file that the port is written to.
    pub port_file: PathBuf,
}

impl Forward {
    /// The arguments of `penstock-e2e` that make [`Forward::run`] run.
    pub fn args(&self) -> Vec<String> {
        vec![
            "forward".into(),
            format!("--netns={}", self.netns.display()),
            format!("--target={}", self.target),
            format!("--port-file={}", self.port_file.display()),
        ]
    }

    /// Forwards until the process ends. It must have one thread.
    ///
    /// # Errors
    /// When the port cannot be bound or the namespace cannot be entered.
    pub fn run(&self) -> Result<()> {
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a port of 127.0.0.1")?;
        listener.set_nonblocking(true).context("make the socket non-blocking")?;
        let port = listener.local_addr().context("ask for the socket's port")?.port();
        netns::enter(&self.netns)?;
        // One thread: others would still be in the machine's namespace.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("start a runtime")?.block_on(async {
            let listener = TcpListener::from_std(listener).context("listen")?;
            write_port(&self.port_file, port)?;
            self.serve(&listener).await
        })
    }

    async fn serve(&self, listener: &TcpListener) -> Result<()> {
        loop {
            let (incoming, _) = listener.accept().await.context("accept a connection")?;
            tokio::spawn(pipe(incoming, self.target));
        }
    }
}

/// Carries one connection. That it breaks is seen at its two ends; there is nobody else to tell.
async fn pipe(mut incoming: TcpStream, target: SocketAddr) {
    if let Ok(mut outgoing) = TcpStream::connect(target).await {
        let _ = incoming.set_nodelay(true);
        let _ = outgoing.set_nodelay(true);
        let _ = copy_bidirectional(&mut incoming, &mut outgoing).await;
    }
}

/// In one step, so that a reader never sees half a number.
fn write_port(path: &Path, port: u16) -> Result<()> {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, port.to_string()).with_context(|| format!("write {}", fresh.display()))?;
    std::fs::rename(&fresh, path).with_context(|| format!("write {}", path.display()))
}
