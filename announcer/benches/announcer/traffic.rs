//! UDP to the balancer's addresses, as a client's kernel sends it, and who answered when.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result};
use penstock_e2e::namespace::Namespace;
use socket2::{Domain, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc};

use crate::INTERVAL;

const PORT: u16 = 7;

/// What a node does with packets to the addresses, whoever announces them: it answers with its number.
#[derive(Debug)]
pub(crate) struct Forwarding(Arc<AtomicBool>);

impl Forwarding {
    /// Answers what comes in by an interface.
    pub(crate) fn start(interface: &str, number: u8, addresses: &[IpAddr]) -> Result<Self> {
        let alive = Arc::new(AtomicBool::new(true));
        for address in addresses {
            let socket =
                server(interface, *address).with_context(|| format!("serve {address} on {interface}"))?;
            tokio::spawn(answer(socket, number, Arc::clone(&alive)));
        }
        Ok(Self(alive))
    }

    /// Whether the node is there at all.
    pub(crate) fn set_alive(&self, alive: bool) {
        self.0.store(alive, Ordering::SeqCst);
    }
}

fn server(interface: &str, address: IpAddr) -> Result<UdpSocket> {
    let domain = if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddr::new(address, PORT).into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

async fn answer(socket: UdpSocket, number: u8, alive: Arc<AtomicBool>) {
    let mut buffer = [0; 8];
    loop {
        if let Ok((_, client)) = socket.recv_from(&mut buffer).await
            && alive.load(Ordering::SeqCst)
        {
            // A client that is not reachable now asks again.
            let _ = socket.send_to(&[number], client).await;
        }
    }
}

/// An answer that came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    pub(crate) address: IpAddr,
    pub(crate) by: u8,
}

/// Asks each address every 20 ms for as long as it is listened to.
pub(crate) fn start(client: &Namespace, addresses: &[IpAddr]) -> Result<mpsc::UnboundedReceiver<Answer>> {
    let (answers, heard) = mpsc::unbounded_channel();
    for address in addresses.iter().copied() {
        let local = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = client.inside(|| -> Result<UdpSocket> {
            let socket = std::net::UdpSocket::bind(local).context("bind a client's socket")?;
            socket.set_nonblocking(true).context("set a client's socket")?;
            UdpSocket::from_std(socket).context("register a client's socket")
        })??;
        tokio::spawn(ask(socket, address, answers.clone()));
    }
    Ok(heard)
}

async fn ask(socket: UdpSocket, address: IpAddr, answers: mpsc::UnboundedSender<Answer>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut buffer = [0; 8];
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                // Fails while the kernel knows no way: that is silence, too.
                let _ = socket.send_to(b"?", (address, PORT)).await;
            }
            received = socket.recv_from(&mut buffer) => if received.is_ok() {
                let answer = Answer { at: Instant::now(), address, by: buffer[0] };
                if answers.send(answer).is_err() {
                    return;
                }
            }
        }
    }
}
