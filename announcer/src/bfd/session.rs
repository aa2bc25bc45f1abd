//! One session as a pure machine (RFC 5880, section 6): time, randomness and packets are arguments, packets come out.
//!
//! ```text
//!                     hears Down                   hears Init or Up
//!           Down ──────────────────> Init ─────────────────────────────> Up
//!            │ ^                      │                                   │
//!            │ └──────────────────────┴───────────────────────────────────┘
//!            │     silence for the detection time, hears AdminDown; in Up: hears Down
//!            └── hears Init ──> Up
//! ```
//!
//! - While not Up, packets are sent once a second at most (section 6.8.3).
//! - Where the peer asks for demand mode, nothing is sent to it while both are Up, except for a poll (section 6.6). This
//!   end never asks for it, nor for echo packets.
//! - A peer that goes into AdminDown says nothing of the path: [`Change::Down`] tells it from a failure.

use std::{
    num::{NonZeroU8, NonZeroU32},
    time::{Duration, Instant},
};

use super::{
    packet::{Diagnostic, Packet, State},
    profile::Profile,
};

/// The least interval while a session is not Up (section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Both ends hear each other.
    Up,
    /// It was Up.
    Down(Reason),
}

/// Why a session that was Up is not any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing was heard for the detection time.
    #[error("nothing was heard for {0:?}")]
    Silence(Duration),
    /// The peer says that it is down, and why.
    #[error("the peer is down ({0})")]
    PeerDown(Diagnostic),
    /// The peer's operator took it down, which says nothing of the path: routes stay (RFC 5882, section 3.2).
    #[error("the peer is administratively down")]
    PeerAdminDown,
}

impl Reason {
    /// Whether the path or the peer failed, so that what depends on the session has to go.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self != Self::PeerAdminDown
    }
}

/// What is known of the peer. All of it is forgotten after a detection time of silence (section 6.8.1).
#[derive(Clone, Copy, Debug)]
struct Peer {
    discriminator: NonZeroU32,
    state: State,
    demand: bool,
    detect_multiplier: NonZeroU8,
    desired_min_tx: Duration,
    required_min_rx: Duration,
    heard: Instant,
}

/// A number that is told to the peer, and the one that is used until the peer has confirmed it (section 6.8.3).
#[derive(Clone, Copy, Debug)]
struct Parameter {
    told: Duration,
    used: Duration,
}

impl Parameter {
    fn new(value: Duration) -> Self {
        Self { told: value, used: value }
    }

    /// Whether it changed. What is `safe` is used at once.
    fn set(&mut self, value: Duration, safe: impl Fn(Duration, Duration) -> bool) -> bool {
        let changed = self.told != value;
        self.told = value;
        if safe(self.used, value) {
            self.used = value;
        }
        changed
    }

    fn confirm(&mut self) {
        self.used = self.told;
    }
}

/// A poll sequence (section 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    None,
    /// Until the final bit arrives.
    Active,
    /// What is told changed while the poll went on: its final bit may answer an older packet, so that another follows.
    AndAgain,
}

/// A session's machine.
#[derive(Clone, Debug)]
pub struct Session {
    profile: Profile,
    discriminator: NonZeroU32,
    state: State,
    diagnostic: Diagnostic,
    peer: Option<Peer>,
    transmit: Parameter,
    receive: Parameter,
    poll: Poll,
    /// A packet with the final bit is due.
    answer: bool,
    /// A packet is due because what it says has changed (section 6.8.7).
    news: bool,
    /// The last periodic packet, and which part of the interval is left out before the next.
    sent: Option<(Instant, Jitter)>,
    started: Instant,
}

/// By how much an interval is shortened, so that many sessions do not send in step (section 6.8.7).
#[derive(Clone, Copy, Debug)]
struct Jitter(f64);

impl Jitter {
    /// Up to a quarter; with a multiplier of 1 at least a tenth, or the peer might take a late packet for a lost one.
    fn new(random: u32, multiplier: NonZeroU8) -> Self {
        let part = f64::from(random) / f64::from(u32::MAX);
        Self(if multiplier.get() == 1 { 0.10 + 0.15 * part } else { 0.25 * part })
    }

    fn shorten(self, interval: Duration) -> Duration {
        interval.mul_f64(1.0 - self.0)
    }
}

impl Session {
    /// A session that is Down and about to send, unless it is passive. Its discriminator is unique in this process.
    #[must_use]
    pub fn start(profile: Profile, discriminator: NonZeroU32, now: Instant) -> Self {
        Self {
            profile,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            peer: None,
            transmit: Parameter::new(profile.transmit_interval.max(SLOW)),
            receive: Parameter::new(profile.receive_interval),
            poll: Poll::None,
            answer: false,
            news: false,
            sent: None,
            started: now,
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it last left a state.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// The interval at which packets are sent, before jitter; none where the peer wants none (section 6.8.2).
    #[must_use]
    pub fn transmit_interval(&self) -> Option<Duration> {
        match self.peer {
            Some(peer) if peer.required_min_rx.is_zero() => None,
            Some(peer) => Some(self.transmit.used.max(peer.required_min_rx)),
            None => Some(self.transmit.used),
        }
    }

    /// After which silence the peer is gone; none while nothing was heard of it (section 6.8.4).
    #[must_use]
    pub fn detection_time(&self) -> Option<Duration> {
        let peer = self.peer?;
        Some(self.receive.used.max(peer.desired_min_tx) * u32::from(peer.detect_multiplier.get()))
    }

    /// Takes a packet that belongs to this session (section 6.8.6, from "Set bfd.RemoteDiscr" on).
    pub fn packet_received(&mut self, packet: &Packet, now: Instant) -> Option<Change> {
        if self.state == State::AdminDown {
            return None;
        }
        self.peer = Some(Peer {
            discriminator: packet.my_discriminator,
            state: packet.state,
            demand: packet.demand,
            detect_multiplier: packet.detect_multiplier,
            desired_min_tx: Duration::from_micros(packet.desired_min_tx.into()),
            required_min_rx: Duration::from_micros(packet.required_min_rx.into()),
            heard: now,
        });
        if packet.final_ {
            self.end_poll();
        }
        self.answer |= packet.poll;
        self.hear(packet)
    }

    fn hear(&mut self, packet: &Packet) -> Option<Change> {
        match (self.state, packet.state) {
            (State::Down, State::Down) => self.enter(State::Init, Diagnostic::NONE, None),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(State::Up, Diagnostic::NONE, None)
            }
            (State::Init | State::Up, State::AdminDown) => {
                self.enter(State::Down, Diagnostic::NEIGHBOR_DOWN, Some(Reason::PeerAdminDown))
            }
            (State::Up, State::Down) => {
                let reason = Reason::PeerDown(packet.diagnostic);
                self.enter(State::Down, Diagnostic::NEIGHBOR_DOWN, Some(reason))
            }
            (State::AdminDown, _)
            | (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up) => None,
        }
    }

    /// Lets time pass: after a detection time of silence the peer is gone.
    pub fn elapse(&mut self, now: Instant) -> Option<Change> {
        let time = self.detection_time()?;
        if now < self.peer?.heard + time {
            return None;
        }
        self.peer = None;
        match self.state {
            State::Init | State::Up => {
                self.enter(State::Down, Diagnostic::EXPIRED, Some(Reason::Silence(time)))
            }
            State::Down | State::AdminDown => None,
        }
    }

    /// The packet that is due, if one is: called after everything else that is called, until there is none.
    /// `random` is evenly spread.
    pub fn packet_to_send(&mut self, now: Instant, random: u32) -> Option<Packet> {
        if std::mem::take(&mut self.answer) {
            // It says all that is news, too.
            self.news = false;
            return Some(Packet { final_: true, ..self.packet() });
        }
        // Only periodic packets poll: additional ones must not be sent for it (section 6.5).
        if self.next_periodic().is_some_and(|at| at <= now) {
            self.news = false;
            self.sent = Some((now, Jitter::new(random, self.profile.detect_multiplier)));
            return Some(Packet { poll: self.poll != Poll::None, ..self.packet() });
        }
        (std::mem::take(&mut self.news) && !self.is_waiting()).then(|| self.packet())
    }

    /// When to call [`Session::elapse`] and [`Session::packet_to_send`] at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let silence = self.peer.zip(self.detection_time()).map(|(peer, time)| peer.heard + time);
        let due = (self.answer || self.news).then_some(self.started);
        [due, silence, self.next_periodic()].into_iter().flatten().min()
    }

    /// Follows another profile without going down.
    pub fn configure(&mut self, profile: Profile) {
        self.profile = profile;
        if self.state != State::AdminDown {
            self.set_parameters();
        }
    }

    /// Takes the session down for good: what is sent from now on tells the peer that this is meant (section 6.8.16).
    pub fn shut(&mut self) {
        self.enter(State::AdminDown, Diagnostic::ADMINISTRATIVE, None);
        self.answer = false;
    }

    fn enter(&mut self, state: State, diagnostic: Diagnostic, reason: Option<Reason>) -> Option<Change> {
        let before = std::mem::replace(&mut self.state, state);
        self.diagnostic = diagnostic;
        self.news = true;
        if state == State::Up || before == State::Up {
            self.set_parameters();
        }
        match (before, state) {
            (_, State::Up) => Some(Change::Up),
            (State::Up, _) => reason.map(Change::Down),
            _ => None,
        }
    }

    /// Tells the peer what the profile and the state want. Before it has confirmed, it may not be sent to more rarely, nor
    /// taken for gone sooner, than it knows (section 6.8.3). Outside of Up there is nothing to protect.
    fn set_parameters(&mut self) {
        let up = self.state == State::Up;
        let slow = if up { Duration::ZERO } else { SLOW };
        let transmit =
            self.transmit.set(self.profile.transmit_interval.max(slow), |used, new| !up || new < used);
        let receive = self.receive.set(self.profile.receive_interval, |used, new| !up || new > used);
        self.poll = match self.poll {
            _ if !up => Poll::None,
            Poll::None if transmit || receive => Poll::Active,
            Poll::Active if transmit || receive => Poll::AndAgain,
            unchanged => unchanged,
        };
    }

    fn end_poll(&mut self) {
        match self.poll {
            Poll::None => {}
            Poll::AndAgain => self.poll = Poll::Active,
            Poll::Active => {
                self.poll = Poll::None;
                self.transmit.confirm();
                self.receive.confirm();
            }
        }
    }

    /// When the next periodic packet is due, if any (section 6.8.7).
    fn next_periodic(&self) -> Option<Instant> {
        if self.state == State::AdminDown || self.is_waiting() || self.is_spared() {
            return None;
        }
        let interval = self.transmit_interval()?;
        Some(self.sent.map_or(self.started, |(at, jitter)| at + jitter.shorten(interval)))
    }

    /// Whether it is the peer's turn to begin (section 6.1).
    fn is_waiting(&self) -> bool {
        self.profile.passive && self.peer.is_none()
    }

    /// Whether the peer asked not to be sent to.
    fn is_spared(&self) -> bool {
        let up = |peer: Peer| peer.demand && peer.state == State::Up && self.state == State::Up;
        self.peer.is_some_and(up) && self.poll == Poll::None
    }

    fn packet(&self) -> Packet {
        let micros = |value: Duration| u32::try_from(value.as_micros()).unwrap_or(u32::MAX);
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: false,
            final_: false,
            control_plane_independent: false,
            demand: false,
            detect_multiplier: self.profile.detect_multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.peer.map(|peer| peer.discriminator),
            desired_min_tx: micros(self.transmit.told),
            required_min_rx: micros(self.receive.told),
            required_min_echo_rx: 0,
        }
    }
}

#[cfg(test)]
mod tests;
