//! The sessions with routers, and BFD beside them: orders go in, what became of sessions comes out.
//!
//! A router that BFD no longer sees loses its session at once (RFC 5882, section 4.3); one that took BFD down on purpose
//! does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::{
    Metrics, Orders,
    announcement::SessionState,
    bfd::{self, Dispatcher, SessionKey, SocketError},
    bgp::{Distance, News, PeerNews, Speaker, State, Stop},
    peering::Session,
};

/// News of BFD that may wait; a session's last one is never lost.
const QUEUE: usize = 64;

/// All sessions of this node.
pub(crate) struct Routers {
    speaker: Speaker,
    heard: watch::Receiver<News>,
    dispatcher: Dispatcher,
    detections: mpsc::Receiver<bfd::News>,
    orders: Arc<Orders>,
    /// BFD sessions that could not be opened.
    failed: BTreeMap<SessionKey, SocketError>,
    states: BTreeMap<String, SessionState>,
    revision: u64,
    metrics: Metrics,
}

impl Routers {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let speaker = Speaker::new();
        let (news, detections) = mpsc::channel(QUEUE);
        Self {
            heard: speaker.news(),
            speaker,
            dispatcher: Dispatcher::start(news),
            detections,
            orders: Arc::default(),
            failed: BTreeMap::new(),
            states: BTreeMap::new(),
            revision: 0,
            metrics,
        }
    }

    /// Speaks with these routers of these routes. Routes first: a router that kept routes while we were away must not hear
    /// that this was all before it has heard of them.
    pub(crate) fn carry_out(&mut self, orders: &Arc<Orders>) {
        if !Arc::ptr_eq(&self.orders, orders) {
            self.speaker.set_routes(orders.routes.clone());
            if self.orders.sessions != orders.sessions {
                let peers =
                    orders.sessions.iter().map(|(name, session)| (name.clone(), session.peer.clone()));
                self.speaker.set_peers(&peers.collect());
            }
            self.orders = Arc::clone(orders);
        }
        // Also without new orders: an interface or an address may have come back.
        self.failed = self.dispatcher.set(&detections(&self.orders.sessions));
    }

    /// Waits until something became of a session.
    pub(crate) async fn hear(&mut self) {
        tokio::select! {
            // Neither ends: both have their senders here.
            _ = self.heard.changed() => {}
            Some(detection) = self.detections.recv() => self.take(&detection),
        }
        self.refresh();
    }

    fn take(&mut self, detection: &bfd::News) {
        let bfd::News::Down { key, reason } = detection else { return };
        if !reason.is_failure() {
            return;
        }
        for name in self
            .orders
            .sessions
            .iter()
            .filter(|(_, session)| is_watched_by(session, key))
            .map(|(name, _)| name)
        {
            tracing::warn!(peer = name, %reason, "BFD: the router cannot be reached");
            self.speaker.peer_down(name);
        }
    }

    fn refresh(&mut self) {
        let news = self.heard.borrow_and_update().clone();
        let detections = self.dispatcher.sessions();
        let states: BTreeMap<String, SessionState> =
            news.iter().map(|(name, news)| (name.clone(), self.state(name, news, &detections))).collect();
        if states != self.states {
            self.states = states;
            self.revision += 1;
        }
        self.metrics.report_sessions(&self.states, self.dispatcher.discarded());
    }

    fn state(
        &self,
        name: &str,
        news: &PeerNews,
        detections: &BTreeMap<SessionKey, bfd::Status>,
    ) -> SessionState {
        let before = self.states.get(name).filter(|before| before.state == news.state);
        SessionState {
            state: news.state,
            since: before.map_or_else(Timestamp::now, |before| before.since),
            reason: reason(news),
            told: news.told.clone(),
            bfd: self.orders.sessions.get(name).and_then(key).map(|key| self.detection(&key, detections)),
        }
    }

    fn detection(&self, key: &SessionKey, detections: &BTreeMap<SessionKey, bfd::Status>) -> String {
        match (self.failed.get(key), detections.get(key)) {
            (Some(error), _) => format!("not possible: {error}"),
            (None, Some(status)) if status.state == bfd::State::Up => "Up".to_owned(),
            (None, Some(status)) => format!("{:?}: {}", status.state, status.diagnostic),
            (None, None) => "not started".to_owned(),
        }
    }

    /// How the sessions are.
    pub(crate) fn states(&self) -> &BTreeMap<String, SessionState> {
        &self.states
    }

    /// Another number when the states are others.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes leave. Routers that were asked to keep the routes while we restart do; whoever ends it for good looks the same.
    pub(crate) async fn stop(self) {
        tokio::join!(self.speaker.stop(Stop::Restart), self.dispatcher.stop());
    }
}

/// Why there is no session, or what it does not tell.
fn reason(news: &PeerNews) -> Option<String> {
    if news.state != State::Established {
        return Some(news.reason.to_string());
    }
    let (prefix, why) = news.withheld.first_key_value()?;
    Some(format!("{} prefixes are withheld, among them {prefix}: {why}", news.withheld.len()))
}

fn detections(sessions: &BTreeMap<String, Session>) -> BTreeMap<SessionKey, bfd::Profile> {
    sessions.values().filter_map(|session| Some((key(session)?, session.bfd?))).collect()
}

fn is_watched_by(session: &Session, watched: &SessionKey) -> bool {
    key(session).is_some_and(|key| key == *watched)
}

fn key(session: &Session) -> Option<SessionKey> {
    session.bfd?;
    let peer = &session.peer;
    let multihop = match peer.distance {
        Distance::Usual => false,
        Distance::Anywhere => true,
        Distance::Within(hops) => hops.get() > 1,
    };
    Some(SessionKey { peer: peer.address, local: peer.source, interface: None, multihop })
}

/// The sessions that came up, and those that ended, between two looks.
pub(crate) fn turns<'a>(
    before: &BTreeMap<String, SessionState>,
    now: &'a BTreeMap<String, SessionState>,
) -> BTreeSet<(&'a str, bool)> {
    let is_up = |state: &SessionState| state.state == State::Established;
    let turned = now.iter().filter_map(|(name, state)| {
        let was_up = before.get(name).is_some_and(is_up);
        (was_up != is_up(state)).then_some((name.as_str(), is_up(state)))
    });
    turned.collect()
}
