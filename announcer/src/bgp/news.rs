//! What becomes of sessions: the newest state of each, for whoever looks. Nobody waits for a reader, and no news pile up
//! before a slow one; what it must not miss is counted or kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;
use tokio::sync::watch;

use super::{
    Reason,
    fsm::{Session, State},
    table::Withheld,
};

/// All peers, by their names.
pub type News = BTreeMap<String, PeerNews>;

/// What is to be known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNews {
    /// Where its session is.
    pub state: State,
    /// Why there is no session or, when there is one, why the last one ended.
    pub reason: Reason,
    /// How often a session came up since the peer was set, whatever its values were by then.
    pub sessions: u64,
    /// What was agreed on, while there is a session.
    pub session: Option<Session>,
    /// What the router was told of in this session and not told to forget.
    pub told: Arc<BTreeSet<IpNet>>,
    /// What it cannot be told of in this session.
    pub withheld: Arc<BTreeMap<IpNet, Withheld>>,
    /// Counts the values that the peer was set with: what becomes of older ones is no longer news.
    pub(super) generation: u64,
}

impl PeerNews {
    /// A peer that was set with other values than before, or for the first time.
    pub(super) fn set(before: Option<&Self>, reason: Reason) -> Self {
        Self {
            state: State::Idle,
            reason,
            sessions: before.map_or(0, |before| before.sessions),
            generation: before.map_or(0, |before| before.generation + 1),
            session: None,
            told: Arc::default(),
            withheld: Arc::default(),
        }
    }

    /// Whether there is a session.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Established
    }
}

/// Where one peer's news are told.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    pub(super) name: String,
    pub(super) news: watch::Sender<News>,
    pub(super) generation: u64,
}

impl Publisher {
    /// Changes the peer's news; of a peer that is no longer set there are none.
    pub(super) fn tell(&self, change: impl FnOnce(&mut PeerNews)) {
        self.news.send_if_modified(|all| {
            let entry = all.get_mut(&self.name).filter(|entry| entry.generation == self.generation);
            let Some(entry) = entry else { return false };
            let before = entry.clone();
            change(entry);
            before != *entry
        });
    }
}
