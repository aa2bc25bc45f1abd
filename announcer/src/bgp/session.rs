//! The task of one peer. It owns the peer's state machine, table and connection, and nobody else touches them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    Peer, Reason, Routes,
    connection::{Connection, Happening},
    fsm::{Action, Event, Fsm, Moment, Session, State},
    news::Publisher,
    table::Table,
    transport,
    wire::{Encoder, Notification},
};
use crate::deadline;

/// What a task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// End the session and begin it again.
    Reset(Notification),
    /// End the session and the task: with this NOTIFICATION, or without a word, so that the router keeps the routes.
    Stop(Option<Notification>),
}

/// What the task of a peer is made from.
pub(super) struct Task {
    pub(super) peer: Peer,
    pub(super) publisher: Publisher,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    /// `None` until they are known for the first time.
    pub(super) routes: watch::Receiver<Option<Arc<Routes>>>,
    /// The task of the same peer with other values, whose end comes first.
    pub(super) predecessor: Option<JoinHandle<()>>,
}

impl Task {
    pub(super) async fn run(mut self) {
        if let Some(predecessor) = self.predecessor.take() {
            // It ends by itself, within the time that a farewell may take; a panic of it is no reason not to begin.
            let _ = predecessor.await;
        }
        let fsm = Fsm::new(self.peer.clone());
        let (table, connection) = (Table::default(), Connection::None);
        let mut running = Running { task: self, fsm, table, connection, local: None };
        running.take_routes();
        running.run().await;
    }
}

struct Running {
    task: Task,
    fsm: Fsm,
    table: Table,
    connection: Connection,
    /// Our address in this connection.
    local: Option<SocketAddr>,
}

impl Running {
    async fn run(&mut self) {
        self.handle(Event::Start).await;
        loop {
            let deadline = self.fsm.deadline();
            let more = !self.table.is_settled();
            tokio::select! {
                biased;
                command = self.task.commands.recv() => match command {
                    Some(Command::Reset(notification)) => self.handle(Event::Reset(notification)).await,
                    Some(Command::Stop(notification)) => return self.stop(notification).await,
                    // Whoever had the other end is gone without a word, and so are we.
                    None => return self.stop(None).await,
                },
                () = deadline::reached(deadline) => self.expired().await,
                Ok(()) = self.task.routes.changed() => self.take_routes(),
                happening = self.connection.next(more) => self.happened(happening).await,
            }
            self.write().await;
        }
    }

    /// After a pause of this program both may be true: that time is over, and that there is something to be heard.
    async fn expired(&mut self) {
        if let Some(happening) = self.connection.unread() {
            self.happened(happening).await;
        }
        let actions = self.fsm.expired(present());
        self.carry_out(actions).await;
    }

    async fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Connected { local } => {
                self.local = Some(local);
                self.handle(Event::Connected).await;
            }
            Happening::Received(bytes) => {
                let actions = self.fsm.received(&bytes, present());
                self.carry_out(actions).await;
            }
            Happening::Closed => {
                let after_open = self.fsm.state() != State::OpenSent;
                self.handle(Event::ConnectionFailed(Reason::Closed { after_open })).await;
            }
            Happening::Failed(reason) => self.handle(Event::ConnectionFailed(reason)).await,
            Happening::Writable => {}
        }
    }

    async fn handle(&mut self, event: Event) {
        let actions = self.fsm.handle(&event, present());
        self.carry_out(actions).await;
    }

    async fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect => {
                    let peer = self.task.peer.clone();
                    self.connection = Connection::opening(async move { transport::connect(&peer).await });
                }
                Action::Send(bytes) => self.connection.push(&bytes),
                Action::Close => self.connection.close().await,
                Action::Drop => self.connection = Connection::None,
                Action::Up(session) => self.up(session),
                Action::Refresh(family) => self.table.refresh(family),
                Action::Down(reason) => self.down(&reason),
            }
        }
        let state = self.fsm.state();
        self.task.publisher.tell(|news| news.state = state);
    }

    fn up(&mut self, session: Session) {
        let peer = &self.task.publisher.name;
        tracing::info!(peer, router = %self.task.peer.address, asn = session.asn, "the session is up");
        self.table.up(self.encoder(&session), &session);
        self.task.publisher.tell(|news| {
            news.state = State::Established;
            news.sessions += 1;
            news.session = Some(session);
        });
        self.tell_routes();
    }

    fn encoder(&self, session: &Session) -> Encoder {
        let Peer { local_asn, next_hops, .. } = self.task.peer;
        let (v4, v6) = match self.local.map(|local| local.ip().to_canonical()) {
            Some(IpAddr::V4(address)) => (Some(address), next_hops.v6),
            Some(IpAddr::V6(address)) => (next_hops.v4, Some(address)),
            None => (next_hops.v4, next_hops.v6),
        };
        Encoder {
            local_asn,
            external: session.asn != local_asn,
            four_octet_as: session.four_octet_as,
            next_hop_v4: v4,
            next_hop_v6: v6,
        }
    }

    fn down(&mut self, reason: &Reason) {
        let (peer, router) = (&self.task.publisher.name, self.task.peer.address);
        self.table.down();
        let state = self.fsm.state();
        let mut differs = false;
        self.task.publisher.tell(|news| {
            differs = news.session.is_some() || news.reason != *reason;
            news.state = state;
            news.reason.clone_from(reason);
            news.session = None;
        });
        if differs {
            tracing::info!(peer, %router, %reason, "there is no session");
        } else {
            tracing::debug!(peer, %router, %reason, "there is still no session");
        }
        self.tell_routes();
    }

    fn take_routes(&mut self) {
        let routes = self.task.routes.borrow_and_update().clone();
        if let Some(routes) = routes {
            self.table.set(&routes);
        }
    }

    /// Writes as much as the connection takes.
    async fn write(&mut self) {
        let had_news = !self.table.is_settled();
        while self.connection.has_room()
            && let Some(update) = self.table.next_update()
        {
            self.connection.push(&update);
        }
        match self.connection.write() {
            Ok(true) => self.fsm.sent(Instant::now()),
            Ok(false) => {}
            Err(reason) => self.handle(Event::ConnectionFailed(reason)).await,
        }
        if had_news && self.table.is_settled() {
            self.tell_routes();
        }
    }

    fn tell_routes(&self) {
        let (told, withheld) = (self.table.told().clone(), self.table.all_withheld());
        self.task.publisher.tell(|news| {
            (news.told, news.withheld) = (Arc::new(told), Arc::new(withheld));
        });
    }

    /// With a NOTIFICATION the router forgets the routes in any case; to withdraw them first is for one that keeps them
    /// over a NOTIFICATION (RFC 8538) without having been asked to.
    async fn stop(&mut self, notification: Option<Notification>) {
        match notification {
            Some(notification) => {
                self.table.set(&Routes::new());
                self.write().await;
                self.handle(Event::Stop(notification)).await;
            }
            None => self.handle(Event::Abandon).await,
        }
    }
}

fn present() -> Moment {
    Moment { now: Instant::now(), chance: fastrand::f64() }
}

#[cfg(test)]
mod tests;
