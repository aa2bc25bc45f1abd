//! Responders: one task per interface, which owns the interface's packet socket and its [`ArpSpeaker`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    Input, Metrics, Orders,
    arp::{ArpFrame, Mac},
    deadline,
    link::Link,
    packet_socket::{PacketSocket, is_transient},
    speaker::{Announced, ArpSpeaker, Heard},
};

/// A running task. Dropping it ends the task.
#[derive(Debug)]
pub struct Responder {
    index: u32,
    mac: Mac,
    orders: watch::Sender<Announced>,
    task: JoinHandle<()>,
}

impl Responder {
    /// Starts answering on the link by the socket, which must be the link's. Claims go to `news`.
    #[must_use]
    pub fn start(link: &Link, socket: PacketSocket, news: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        let (orders, received) = watch::channel(Announced::default());
        let interface = Interface {
            name: link.name.clone(),
            socket,
            speaker: ArpSpeaker::new(link.mac),
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
        match PacketSocket::open(link.index) {
            Ok(socket) => {
                tracing::info!(interface = link.name, mac = %link.mac, "answering ARP");
                let responder = Responder::start(link, socket, self.news.clone(), self.metrics.clone());
                self.running.insert(link.name.clone(), responder);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(interface = link.name, error, "no ARP on this interface, trying again later");
            }
        }
    }
}

/// What the task owns.
struct Interface {
    name: String,
    socket: PacketSocket,
    speaker: ArpSpeaker,
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
                frame = self.socket.receive() => match frame {
                    Ok(bytes) => self.receive(&bytes).await,
                    Err(error) if is_transient(&error) => {}
                    Err(error) => {
                        tracing::warn!(interface = self.name, %error, "receiving ARP failed, starting anew");
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
        self.speaker.set(announced, Instant::now());
    }

    async fn receive(&mut self, bytes: &[u8]) {
        match self.speaker.receive(bytes) {
            Some(Heard::Question(answer)) => {
                self.send(&answer).await;
                self.metrics.arp_requests_answered.inc();
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

    async fn send(&self, frame: &ArpFrame) {
        if let Err(error) = self.socket.send(&frame.to_bytes()).await {
            tracing::debug!(interface = self.name, %error, "an ARP frame was not sent");
        }
    }
}
