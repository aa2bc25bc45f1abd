//! All sessions of this node: who is to be watched, and what became of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    packet::{Diagnostic, State},
    profile::Profile,
    session::{Reason, Session},
    sockets::{Kind, Listener, Sender, SocketError},
    table::{Entry, Table},
    task::Task,
};

/// Packets that may wait for their session's task.
const QUEUE: usize = 16;
/// How long a listener whose socket failed waits before it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Who is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// The peer.
    pub peer: IpAddr,
    /// The address to send from, and the only one to hear it at; without one, any.
    pub local: Option<IpAddr>,
    /// The interface that it is on; without one, any. Link-local addresses need one.
    pub interface: Option<String>,
    /// Whether there are routers on the way (RFC 5883).
    pub multihop: bool,
}

impl SessionKey {
    pub(super) fn kind(&self) -> Kind {
        if self.multihop { Kind::Multihop } else { Kind::SingleHop }
    }
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Both ends hear each other.
    Up {
        /// Which.
        key: SessionKey,
    },
    /// It was up and is not any longer. Who acts on it asks [`Reason::is_failure`] first.
    Down {
        /// Which.
        key: SessionKey,
        /// Why.
        reason: Reason,
    },
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Why it last left a state.
    pub diagnostic: Diagnostic,
    /// At which interval packets are sent, before jitter; none where the peer wants none.
    pub transmit_interval: Option<Duration>,
    /// After which silence the peer is gone; none while nothing was heard of it.
    pub detection_time: Option<Duration>,
    /// How often it came up.
    pub ups: u64,
    /// How often it was up and went down.
    pub downs: u64,
}

/// What the tasks share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    table: Mutex<Table>,
    discarded: AtomicU64,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // It is whole between any two calls.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's task. It says goodbye and ends when its orders are dropped.
#[derive(Debug)]
struct Running {
    orders: watch::Sender<Profile>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

/// Runs sessions. When it is dropped, they say goodbye by themselves, as long as the runtime lives.
#[derive(Debug)]
pub struct Dispatcher {
    news: mpsc::Sender<News>,
    shared: Arc<Shared>,
    listeners: BTreeMap<(bool, Kind), JoinHandle<()>>,
    running: BTreeMap<SessionKey, Running>,
    leaving: Vec<JoinHandle<()>>,
}

impl Dispatcher {
    /// Without sessions, and without sockets. What becomes of sessions goes to `news`; a queue that is full holds no session
    /// up, and of each of them the last "down" and the "up" behind it are never lost.
    #[must_use]
    pub fn start(news: mpsc::Sender<News>) -> Self {
        Self {
            news,
            shared: Arc::default(),
            listeners: BTreeMap::new(),
            running: BTreeMap::new(),
            leaving: Vec::new(),
        }
    }

    /// Makes these the sessions: begins those that are new, follows changed profiles without going down, and tells the peers
    /// of all others that their session ends on purpose. Sockets are opened in the calling thread's network namespace.
    /// Returns the sessions that cannot be, and why; the next call tries them again.
    pub fn set(&mut self, wanted: &BTreeMap<SessionKey, Profile>) -> BTreeMap<SessionKey, SocketError> {
        let ended: Vec<SessionKey> = self
            .running
            .iter()
            .filter(|(key, running)| !wanted.contains_key(*key) || running.task.is_finished())
            .map(|(key, _)| key.clone())
            .collect();
        ended.iter().for_each(|key| self.end(key));
        self.leaving.retain(|task| !task.is_finished());
        let mut failed = BTreeMap::new();
        for (key, profile) in wanted {
            if let Err(error) = self.ensure(key, *profile) {
                failed.insert(key.clone(), error);
            }
        }
        self.close_listeners();
        failed
    }

    /// How each session is.
    #[must_use]
    pub fn sessions(&self) -> BTreeMap<SessionKey, Status> {
        self.running.iter().map(|(key, running)| (key.clone(), *running.status.borrow())).collect()
    }

    /// How many packets were discarded: malformed ones, those of no session, and those with too small a TTL.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.shared.discarded.load(Ordering::Relaxed)
    }

    /// Ends all sessions, and waits until their peers are told.
    pub async fn stop(mut self) {
        self.set(&BTreeMap::new());
        for task in std::mem::take(&mut self.leaving) {
            // A task that panicked has told nobody, which its peer will notice.
            let _ = task.await;
        }
    }

    fn end(&mut self, key: &SessionKey) {
        self.shared.table().remove(key);
        self.leaving.extend(self.running.remove(key).map(|running| running.task));
    }

    fn ensure(&mut self, key: &SessionKey, profile: Profile) -> Result<(), SocketError> {
        if let Some(running) = self.running.get(key) {
            self.shared.table().set_minimum_ttl(key, profile.minimum_ttl);
            running.orders.send_if_modified(|current| std::mem::replace(current, profile) != profile);
            return Ok(());
        }
        let interface = key.interface.as_deref().map(index_of).transpose()?;
        let sender = Sender::open(key.peer, key.local, key.interface.as_deref(), key.kind())?;
        self.ensure_listener(key.peer.is_ipv6(), key.kind())?;
        let (packets, received) = mpsc::channel(QUEUE);
        let entry = Entry { key: key.clone(), interface, minimum_ttl: profile.minimum_ttl, packets };
        let discriminator = self.shared.table().insert(entry, || fastrand::u32(..));
        let session = Session::start(profile, discriminator, Instant::now());
        let (orders, ordered) = watch::channel(profile);
        let (task, status) = Task::new(key.clone(), session, sender, received, ordered, self.news.clone());
        let task = tokio::spawn(task.run());
        self.running.insert(key.clone(), Running { orders, status, task });
        Ok(())
    }

    fn ensure_listener(&mut self, v6: bool, kind: Kind) -> Result<(), SocketError> {
        if !self.listeners.contains_key(&(v6, kind)) {
            let listener = Listener::open(v6, kind)?;
            let task = tokio::spawn(listen(listener, Arc::clone(&self.shared)));
            self.listeners.insert((v6, kind), task);
        }
        Ok(())
    }

    /// Ports that no session needs are left to others.
    fn close_listeners(&mut self) {
        let needed: BTreeSet<_> = self.running.keys().map(|key| (key.peer.is_ipv6(), key.kind())).collect();
        self.listeners.retain(|family_and_kind, task| {
            let stays = needed.contains(family_and_kind);
            if !stays {
                task.abort();
            }
            stays
        });
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.listeners.values().for_each(JoinHandle::abort);
    }
}

fn index_of(name: &str) -> Result<u32, SocketError> {
    if_nametoindex(name).map_err(|_| SocketError::Interface(name.to_owned()))
}

async fn listen(listener: Listener, shared: Arc<Shared>) {
    loop {
        match listener.receive().await {
            Ok((payload, arrival)) => match shared.table().take(&payload, &arrival) {
                // A queue that is full belongs to a session that is far behind: it would be of no use.
                Ok((entry, packet)) => drop(entry.packets.try_send(packet)),
                Err(discard) => {
                    shared.discarded.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(source = %arrival.source, %discard, "a BFD packet is discarded");
                }
            },
            Err(error) => {
                tracing::warn!(%error, "BFD packets cannot be received, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
