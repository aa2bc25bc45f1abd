//! The sessions of a node: one task for each peer.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    News, Peer, PeerNews, Reason, Routes,
    news::Publisher,
    session::{Command, Task},
    wire::{Cause, Notification},
};

/// How the sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All routes are withdrawn, and the routers are told that it is on purpose (Cease, Administrative Shutdown).
    Withdraw,
    /// Connections with routers that were asked to keep the routes until we are back ([`Peer::graceful_restart`]) are closed
    /// without a word; a router that did not agree to it forgets them at once. The others are told as by
    /// [`Self::Withdraw`].
    Restart,
}

/// The sessions. A speaker that is dropped closes all connections without a word.
#[derive(Debug)]
pub struct Speaker {
    running: BTreeMap<String, Running>,
    /// `None` until they are known for the first time.
    routes: Option<BTreeMap<String, Arc<Routes>>>,
    news: watch::Sender<News>,
}

/// A task and what it has been told.
#[derive(Debug)]
struct Running {
    peer: Peer,
    commands: mpsc::UnboundedSender<Command>,
    routes: watch::Sender<Option<Arc<Routes>>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Tells the task to end. One that is gone already needs not be told.
    fn stop(&self, notification: Option<Notification>) {
        let _ = self.commands.send(Command::Stop(notification));
    }
}

impl Default for Speaker {
    fn default() -> Self {
        Self::new()
    }
}

impl Speaker {
    /// One without peers.
    #[must_use]
    pub fn new() -> Self {
        Self { running: BTreeMap::new(), routes: None, news: watch::Sender::new(News::new()) }
    }

    /// What becomes of the peers.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Sets whom to speak with; needs a tokio runtime. A peer with other values than before gets a new session, after a
    /// Cease in the old one; those that are the same are not touched. One whose values cannot be is not tried, which its
    /// news say.
    pub fn set_peers(&mut self, peers: &BTreeMap<String, Peer>) {
        self.running.retain(|name, running| {
            let stays = peers.contains_key(name);
            if !stays {
                running.stop(Some(Cause::PeerDeconfigured.into()));
            }
            stays
        });
        self.news.send_modify(|news| news.retain(|name, _| peers.contains_key(name)));
        for (name, peer) in peers {
            if self.running.get(name).is_none_or(|running| running.peer != *peer) {
                self.set_peer(name, peer);
            }
        }
    }

    fn set_peer(&mut self, name: &str, peer: &Peer) {
        let predecessor = self.running.remove(name).map(|running| {
            running.stop(Some(Cause::ConfigurationChange.into()));
            running.task
        });
        let checked = peer.check();
        let reason = checked.clone().map_or_else(Reason::Refused, |()| Reason::NotTried);
        let mut generation = 0;
        self.news.send_if_modified(|news| {
            let before = news.get(name);
            let entry = PeerNews::set(before, reason.clone());
            generation = entry.generation;
            // A peer that is refused is set again each time.
            let differs = before.is_none_or(|before| before.reason != reason);
            news.insert(name.to_owned(), entry);
            differs
        });
        if checked.is_ok() {
            let publisher = Publisher { name: name.to_owned(), news: self.news.clone(), generation };
            self.start(peer, publisher, predecessor);
        }
    }

    fn start(&mut self, peer: &Peer, publisher: Publisher, predecessor: Option<JoinHandle<()>>) {
        let name = publisher.name.clone();
        let (commands, received) = mpsc::unbounded_channel();
        let known = self.routes.as_ref().map(|all| all.get(&name).cloned().unwrap_or_default());
        let (routes, wanted) = watch::channel(known);
        let task = Task { peer: peer.clone(), publisher, commands: received, routes: wanted, predecessor };
        let task = tokio::spawn(task.run());
        self.running.insert(name, Running { peer: peer.clone(), commands, routes, task });
    }

    /// Sets what each peer is to know; one that is not named is to know nothing. Differences are sent, sessions stay.
    ///
    /// Before the first call nothing is said, not even that nothing will be: a router that kept routes while this program
    /// restarted keeps them on. The first call should have all that is to be announced.
    pub fn set_routes(&mut self, routes: BTreeMap<String, Routes>) {
        let routes: BTreeMap<String, Arc<Routes>> =
            routes.into_iter().map(|(name, routes)| (name, Arc::new(routes))).collect();
        for (name, running) in &self.running {
            let wanted = Some(routes.get(name).cloned().unwrap_or_default());
            running.routes.send_if_modified(|current| {
                let differs = *current != wanted;
                *current = wanted;
                differs
            });
        }
        self.routes = Some(routes);
    }

    /// Ends a peer's session because BFD no longer sees the router (Cease, BFD Down, RFC 9384). The next try follows as
    /// after any other failure.
    pub fn peer_down(&self, name: &str) {
        if let Some(running) = self.running.get(name) {
            let _ = running.commands.send(Command::Reset(Cause::BfdDown.into()));
        }
    }

    /// Ends all sessions, at the same time. A router that does not read is waited for up to two seconds.
    pub async fn stop(self, how: Stop) {
        for running in self.running.values() {
            let keeps = how == Stop::Restart && running.peer.graceful_restart.is_some();
            running.stop((!keeps).then(|| Cause::AdministrativeShutdown.into()));
        }
        for running in self.running.into_values() {
            // A task that panicked has ended too.
            let _ = running.task.await;
        }
    }
}
