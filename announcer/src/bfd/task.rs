//! The task of one session.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{
    dispatcher::{News, SessionKey, Status},
    packet::Packet,
    profile::Profile,
    session::{Change, Session},
    sockets::Sender,
};
use crate::deadline;

/// How often a peer is told that the session ends on purpose; a packet may be lost.
const GOODBYES: u32 = 3;
/// How long between two of them.
const GOODBYE_INTERVAL: Duration = Duration::from_millis(50);

/// What the task owns.
pub(super) struct Task {
    key: SessionKey,
    session: Session,
    sender: Sender,
    packets: mpsc::Receiver<Packet>,
    orders: watch::Receiver<Profile>,
    news: mpsc::Sender<News>,
    /// What waits for room in `news`: nothing, an up, a down, or a down and an up.
    untold: VecDeque<News>,
    status: watch::Sender<Status>,
    /// Whether the last packet could not be sent, so that it is said once.
    mute: bool,
}

impl Task {
    pub(super) fn new(
        key: SessionKey,
        session: Session,
        sender: Sender,
        packets: mpsc::Receiver<Packet>,
        orders: watch::Receiver<Profile>,
        news: mpsc::Sender<News>,
    ) -> (Self, watch::Receiver<Status>) {
        let status = Status {
            state: session.state(),
            diagnostic: session.diagnostic(),
            transmit_interval: session.transmit_interval(),
            detection_time: None,
            ups: 0,
            downs: 0,
        };
        let (status, seen) = watch::channel(status);
        let untold = VecDeque::new();
        (Self { key, session, sender, packets, orders, news, untold, status, mute: false }, seen)
    }

    pub(super) async fn run(mut self) {
        let news = self.news.clone();
        loop {
            self.send_what_is_due();
            self.publish();
            let deadline = self.session.next_deadline();
            tokio::select! {
                biased;
                ordered = self.orders.changed() => match ordered {
                    Ok(()) => self.session.configure(*self.orders.borrow_and_update()),
                    Err(_) => break,
                },
                Some(packet) = self.packets.recv() => self.receive(&packet),
                room = news.reserve(), if !self.untold.is_empty() => match (room, self.untold.pop_front()) {
                    (Ok(room), Some(news)) => room.send(news),
                    _ => self.untold.clear(),
                },
                () = deadline::reached(deadline) => self.let_time_pass().await,
            }
        }
        self.say_goodbye().await;
    }

    /// A machine that was busy may have kept packets that arrived in time from this task: they are looked at first.
    async fn let_time_pass(&mut self) {
        tokio::task::yield_now().await;
        while let Ok(packet) = self.packets.try_recv() {
            self.receive(&packet);
        }
        let change = self.session.elapse(Instant::now());
        self.tell(change);
    }

    fn receive(&mut self, packet: &Packet) {
        let change = self.session.packet_received(packet, Instant::now());
        self.tell(change);
    }

    fn tell(&mut self, change: Option<Change>) {
        let key = self.key.clone();
        match change {
            Some(Change::Up) => {
                tracing::info!(peer = %key.peer, "BFD is up");
                self.status.send_modify(|status| status.ups += 1);
                self.untold.push_back(News::Up { key });
            }
            Some(Change::Down(reason)) => {
                tracing::warn!(peer = %key.peer, %reason, "BFD is down");
                self.status.send_modify(|status| status.downs += 1);
                self.untold.clear();
                self.untold.push_back(News::Down { key, reason });
            }
            None => {}
        }
    }

    fn send_what_is_due(&mut self) {
        while let Some(packet) = self.session.packet_to_send(Instant::now(), fastrand::u32(..)) {
            self.send(&packet);
        }
    }

    fn send(&mut self, packet: &Packet) {
        let outcome = self.sender.send(&packet.to_bytes());
        if let Some(error) = outcome.as_ref().err().filter(|_| !self.mute) {
            tracing::warn!(peer = %self.key.peer, %error, "BFD packets cannot be sent");
        }
        self.mute = outcome.is_err();
    }

    fn publish(&self) {
        let session = &self.session;
        self.status.send_if_modified(|status| {
            let now = Status {
                state: session.state(),
                diagnostic: session.diagnostic(),
                transmit_interval: session.transmit_interval(),
                detection_time: session.detection_time(),
                ..*status
            };
            std::mem::replace(status, now) != now
        });
    }

    async fn say_goodbye(mut self) {
        self.session.shut();
        let packet = self.session.packet_to_send(Instant::now(), 0);
        for number in 0..GOODBYES {
            if number > 0 {
                tokio::time::sleep(GOODBYE_INTERVAL).await;
            }
            if let Some(packet) = &packet {
                self.send(packet);
            }
        }
    }
}
