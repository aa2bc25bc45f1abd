//! Responders: one task per interface, which owns the interface's sockets and its [`Speaker`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    Input, Metrics, Orders, deadline,
    link::Link,
    mac::Mac,
    membership::Memberships,
    packet_socket::{Discovery, PacketSocket, PacketSocketError, is_transient},
    speaker::{Announced, Frame, Heard, Speaker},
};

/// What an interface is heard and answered by.
#[derive(Debug)]
pub struct Sockets {
    arp: PacketSocket,
    ndp: PacketSocket,
    memberships: Memberships,
}

impl Sockets {
    /// Opens them on an interface of the thread's network namespace; needs a tokio runtime.
    ///
    /// # Errors
    /// When not allowed, or the interface is gone.
    pub fn open(interface: u32) -> Result<Self, PacketSocketError> {
        Ok(Self {
            arp: PacketSocket::open(interface, Discovery::Arp)?,
            ndp: PacketSocket::open(interface, Discovery::Ndp)?,
            memberships: Memberships::open(interface),
        })
    }

    async fn receive(&self) -> std::io::Result<Vec<u8>> {
        tokio::select! {
            frame = self.arp.receive() => frame,
            frame = self.ndp.receive() => frame,
        }
    }

    async fn send(&self, frame: &Frame) -> std::io::Result<()> {
        let socket = match frame {
            Frame::Arp(_) => &self.arp,
            Frame::Ndp(_) => &self.ndp,
        };
        socket.send(&frame.to_bytes()).await
    }
}

/// A running task. Dropping it ends the task.
#[derive(Debug)]
pub struct Responder {
    index: u32,
    mac: Mac,
    orders: watch::Sender<Announced>,
    task: JoinHandle<()>,
}

impl Responder {
    /// Starts answering on the link by the sockets, which must be the link's. Claims go to `news`.
    #[must_use]
    pub fn start(link: &Link, sockets: Sockets, news: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        let (orders, received) = watch::channel(Announced::default());
        let interface = Interface {
            name: link.name.clone(),
            sockets,
            speaker: Speaker::new(link.mac),
            orders: received,
            news,
            metrics,
        };
        Self { index: link.index, mac: link.mac, orders, task: tokio::spawn(interface.run()) }
    }

    /// Sets what is announced.
    pub fn set(&self, announced: Announced) {
        self.orders.send_if_modified(|current| {
            let differs = *current != announced;
            *current = announced;
            differs
        });
    }

    fn serves(&self, link: &Link) -> bool {
        (self.index, self.mac) == (link.index, link.mac) && !self.task.is_finished()
    }
}

/// The responders of all interfaces.
pub struct Responders {
    running: BTreeMap<String, Responder>,
    news: mpsc::Sender<Input>,
    metrics: Metrics,
}

impl Responders {
    /// None yet.
    #[must_use]
    pub fn new(news: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        Self { running: BTreeMap::new(), news, metrics }
    }

    /// Makes the responders carry out the orders: starts those that are missing, ends those whose interface is
    /// gone or down. An interface that cannot be used now is tried again by the next call.
    pub fn carry_out(&mut self, orders: &Orders, links: &[Link]) {
        let wanted: BTreeSet<&str> = orders.owned.values().flatten().map(String::as_str).collect();
        let usable: BTreeMap<&str, &Link> =
            links.iter().filter(|link| link.is_usable()).map(|link| (link.name.as_str(), link)).collect();
        self.running
            .retain(|name, running| usable.get(name.as_str()).is_some_and(|link| running.serves(link)));
        for link in usable.values().filter(|link| wanted.contains(link.name.as_str())) {
            self.ensure(link);
        }
        let macs: BTreeSet<Mac> = self.running.values().map(|running| running.mac).collect();
        for (name, running) in &self.running {
            let (addresses, claiming) = (orders.on(name), orders.claiming);
            running.set(Announced { addresses, claiming, own_macs: macs.clone() });
        }
    }

    fn ensure(&mut self, link: &Link) {
        if self.running.contains_key(&link.name) {
            return;
        }
        match Sockets::open(link.index) {
            Ok(sockets) => {
                tracing::info!(interface = link.name, mac = %link.mac, "answering ARP and NDP");
                let responder = Responder::start(link, sockets, self.news.clone(), self.metrics.clone());
                self.running.insert(link.name.clone(), responder);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    interface = link.name,
                    error,
                    "nothing is answered on this interface, trying again later"
                );
            }
        }
    }
}

/// What the task owns.
struct Interface {
    name: String,
    sockets: Sockets,
    speaker: Speaker,
    orders: watch::Receiver<Announced>,
    news: mpsc::Sender<Input>,
    metrics: Metrics,
}

impl Interface {
    async fn run(mut self) {
        loop {
            let due = self.speaker.next_due();
            tokio::select! {
                biased;
                changed = self.orders.changed() => match changed {
                    Ok(()) => self.take_orders(),
                    Err(_) => return,
                },
                frame = self.sockets.receive() => match frame {
                    Ok(bytes) => self.receive(&bytes).await,
                    Err(error) if is_transient(&error) => {}
                    Err(error) => {
                        tracing::warn!(interface = self.name, %error, "receiving failed, starting anew");
                        return;
                    }
                },
                () = deadline::reached(due) => {}
            }
            for frame in self.speaker.due(Instant::now()) {
                self.send(&frame).await;
            }
        }
    }

    fn take_orders(&mut self) {
        let announced = self.orders.borrow_and_update().clone();
        if let Err((group, error)) = self.sockets.memberships.set(&announced.groups()) {
            let interface = &self.name;
            tracing::warn!(interface, %group, %error, "questions for some IPv6 addresses may not be heard");
        }
        self.speaker.set(announced, Instant::now());
    }

    async fn receive(&mut self, bytes: &[u8]) {
        match self.speaker.receive(bytes) {
            Some(Heard::Question(answer)) => {
                self.send(&answer).await;
                self.metrics.count_answer(&answer);
            }
            Some(Heard::Claim { address, by }) => {
                self.metrics.foreign_claims.inc();
                let claim = Input::Claim { address, by, interface: self.name.clone() };
                // A full queue holds a claim of this storm already; to wait would hold up the answers.
                let _ = self.news.try_send(claim);
            }
            None => {}
        }
    }

    async fn send(&self, frame: &Frame) {
        if let Err(error) = self.sockets.send(frame).await {
            tracing::debug!(interface = self.name, %error, ?frame, "not sent");
        }
    }
}
