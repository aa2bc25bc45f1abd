//! The state machine of a session (RFC 4271 section 8), without sockets and clocks: time, bytes and chance go in;
//! bytes, connections to open and close, and news come out.
//!
//! ```text
//!          Start             Connected            OPEN                KEEPALIVE
//!   Idle ---------> Connect -----------> OpenSent -----> OpenConfirm -----------> Established
//!    ^                ^ |                    |
//!    |   retry timer  | | failed             | connection lost
//!    | <------------- | +----> Idle          +------> Active --- retry timer ---> Connect
//!    +---- every error, from everywhere; a rest, longer after each failure, then Start again
//! ```
//!
//! Connections are only made, never accepted: nothing listens, so that two connections with a router never collide
//! (section 6.8), no port of the node is taken, and a router that connects as well is refused by the kernel. Of the
//! optional attributes of section 8.1 there are IdleHoldTimer and DampPeerOscillations (an idle session starts by itself,
//! after a rest), and SendHoldTimer (RFC 9687).

mod event;
mod row;
mod timers;

use std::time::{Duration, Instant};

pub use event::{Action, Event, Moment, Session, State};
use row::{Do, row};
use timers::{Timer, Timers};

use super::{
    Peer,
    wire::{
        Capabilities, Cause, Family, Frame, GracefulRestart, KEEPALIVE, Kind, Notification, Open, Remark,
        check_update, next_frame,
    },
};

/// How long an OPEN is waited for at most (RFC 4271 section 8.2.2); usually it is as long as the proposed hold time, for
/// what a router with other terms about TTLs says is never heard.
const OPEN_TIME: Duration = Duration::from_secs(240);
/// The rest after the first failure; it doubles with each one, up to the peer's `connect_retry`.
const SHORTEST_REST: Duration = Duration::from_secs(1);
/// The shortest time in which a peer must take something off us (RFC 9687 section 3).
const SEND_HOLD_TIME: Duration = Duration::from_secs(480);

/// The state machine.
#[derive(Debug)]
pub struct Fsm {
    peer: Peer,
    state: State,
    timers: Timers,
    received: Vec<u8>,
    session: Option<Session>,
    up_since: Option<Instant>,
    failures: u32,
    /// Whether this is a session's first try since this program was started (the Restart State bit of RFC 4724).
    restarted: bool,
}

impl Fsm {
    /// An idle one. The peer's values have to be right ([`Peer::check`]).
    #[must_use]
    pub fn new(peer: Peer) -> Self {
        Self {
            peer,
            state: State::Idle,
            timers: Timers::default(),
            received: Vec::new(),
            session: None,
            up_since: None,
            failures: 0,
            restarted: true,
        }
    }

    /// Where the session is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// When [`Self::expired`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Lets the timers that are due expire.
    pub fn expired(&mut self, moment: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(timer) = self.timers.expire(moment.now) {
            let event = match timer {
                Timer::Hold => Event::HoldExpired,
                Timer::SendHold => Event::SendHoldExpired,
                Timer::Retry => Event::RetryExpired,
                Timer::Rest => Event::Start,
                Timer::Keepalive => Event::KeepaliveExpired,
            };
            actions.extend(self.handle(&event, moment));
        }
        actions
    }

    /// Takes bytes that the router sent.
    pub fn received(&mut self, bytes: &[u8], moment: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut pending = std::mem::take(&mut self.received);
        pending.extend(bytes);
        let mut rest = pending.as_slice();
        while self.is_connected() {
            match next_frame(rest) {
                Ok(None) => {
                    self.received = rest.to_vec();
                    break;
                }
                Ok(Some(frame)) => {
                    rest = &rest[frame.length()..];
                    let event = self.read(frame);
                    actions.extend(event.into_iter().flat_map(|event| self.handle(&event, moment)));
                }
                Err(answer) => actions.extend(self.handle(&Event::Wrong(answer), moment)),
            }
        }
        actions
    }

    /// Notes that the router took something off us.
    pub fn sent(&mut self, now: Instant) {
        let Some(session) = self.session.as_ref().filter(|_| self.state == State::Established) else {
            return;
        };
        if !session.hold_time.is_zero() {
            self.timers.set(Timer::SendHold, now + SEND_HOLD_TIME.max(session.hold_time * 2));
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, State::OpenSent | State::OpenConfirm | State::Established)
    }

    /// What a message is, in this state.
    fn read(&self, frame: Frame<'_>) -> Option<Event> {
        Some(match frame.kind {
            Kind::Open => match Open::decode(frame.body).and_then(|open| self.acceptable(open)) {
                Ok(open) => Event::Open(open),
                Err(answer) => Event::Wrong(answer),
            },
            Kind::Update => match check_update(frame.body) {
                Ok(remark) => {
                    if let Remark::TreatedAsWithdrawn(error) = remark {
                        tracing::debug!(router = %self.peer.address, error, "an UPDATE with an error was received");
                    }
                    Event::Update
                }
                // Before the session is up it is unexpected, whatever is in it.
                Err(_) if self.state != State::Established => Event::Update,
                Err(answer) => Event::Wrong(answer),
            },
            Kind::Notification => Event::Notified(Notification::decode(frame.body)?),
            Kind::Keepalive => Event::Keepalive,
            Kind::RouteRefresh => Event::RouteRefresh(route_refresh(frame.body)),
        })
    }

    /// What can be told of an OPEN only by whom it comes from (RFC 4271 section 6.2, RFC 6286).
    fn acceptable(&self, open: Open) -> Result<Open, Notification> {
        if !self.peer.expects(open.asn) {
            return Err(Cause::BadPeerAs.into());
        }
        if open.asn == self.peer.local_asn && open.router_id == self.peer.router_id {
            return Err(Notification::with(Cause::BadIdentifier, open.router_id.octets()));
        }
        if open.capabilities.unicast().is_empty() {
            return Err(Cause::UnsupportedCapability.into());
        }
        Ok(open)
    }

    /// Takes an event.
    pub fn handle(&mut self, event: &Event, moment: Moment) -> Vec<Action> {
        let from = self.state;
        let (next, steps) = row(from, event);
        self.state = next;
        steps.iter().filter_map(|step| self.carry_out(*step, from, event, moment)).collect()
    }

    fn carry_out(&mut self, step: Do, from: State, event: &Event, moment: Moment) -> Option<Action> {
        match step {
            Do::Connect => Some(self.connect(moment.now)),
            Do::Await => self.wait(moment),
            Do::SendOpen => Some(self.send_open(moment.now)),
            Do::Agree => self.agree(event),
            Do::Hold => self.hold(moment.now),
            Do::SendKeepalive => Some(self.keep_alive(moment)),
            Do::Up => self.up(moment.now),
            Do::Refresh => self.refresh(event),
            Do::Notify => row::answer(from, event).map(|answer| Action::Send(answer.encode())),
            Do::Close => Some(self.close(Action::Close)),
            Do::Drop => Some(self.close(Action::Drop)),
            Do::Rest => self.rest(moment),
            Do::Tell => Some(Action::Down(row::reason(from, event, &self.peer))),
        }
    }

    fn connect(&mut self, now: Instant) -> Action {
        self.timers.set(Timer::Retry, now + self.peer.connect_retry);
        Action::Connect
    }

    fn wait(&mut self, moment: Moment) -> Option<Action> {
        self.timers.set(Timer::Retry, moment.now + vary(self.peer.connect_retry, moment.chance));
        None
    }

    fn send_open(&mut self, now: Instant) -> Action {
        let proposed = Some(self.peer.hold_time).filter(|time| !time.is_zero());
        self.timers.clear();
        self.timers.set(Timer::Hold, now + proposed.map_or(OPEN_TIME, |time| time.min(OPEN_TIME)));
        Action::Send(self.open().encode())
    }

    fn open(&self) -> Open {
        let restart = self.peer.graceful_restart.map(|time| GracefulRestart {
            restarting: self.restarted,
            time: u16::try_from(time.as_secs()).unwrap_or(u16::MAX),
            families: Family::ALL.into(),
        });
        Open {
            asn: self.peer.local_asn,
            hold_time: u16::try_from(self.peer.hold_time.as_secs()).unwrap_or(u16::MAX),
            router_id: self.peer.router_id,
            capabilities: Capabilities {
                families: Family::ALL.into(),
                multiprotocol: true,
                route_refresh: true,
                four_octet_as: true,
                graceful_restart: restart,
            },
        }
    }

    /// The smaller hold time counts (RFC 4271 section 4.2); of the rest, what both can do.
    fn agree(&mut self, event: &Event) -> Option<Action> {
        let Event::Open(open) = event else { return None };
        let capabilities = &open.capabilities;
        let kept = capabilities.graceful_restart.as_ref().filter(|_| self.peer.graceful_restart.is_some());
        self.session = Some(Session {
            asn: open.asn,
            router_id: open.router_id,
            hold_time: self.peer.hold_time.min(Duration::from_secs(open.hold_time.into())),
            families: capabilities.unicast(),
            four_octet_as: capabilities.four_octet_as,
            kept_on_restart: kept.map(|_| capabilities.unicast()).unwrap_or_default(),
        });
        None
    }

    fn hold_time(&self) -> Duration {
        self.session.as_ref().map_or(Duration::ZERO, |session| session.hold_time)
    }

    fn hold(&mut self, now: Instant) -> Option<Action> {
        match self.hold_time() {
            Duration::ZERO => self.timers.unset(Timer::Hold),
            time => self.timers.set(Timer::Hold, now + time),
        }
        None
    }

    /// Without a hold time there are no KEEPALIVEs (RFC 4271 section 4.4), but for the one that answers an OPEN.
    fn keep_alive(&mut self, moment: Moment) -> Action {
        let third = self.hold_time() / 3;
        if !third.is_zero() {
            let interval = self.peer.keepalive.map_or(third, |time| time.min(third));
            self.timers.set(Timer::Keepalive, moment.now + vary(interval, moment.chance));
        }
        Action::Send(KEEPALIVE.to_vec())
    }

    fn up(&mut self, now: Instant) -> Option<Action> {
        (self.up_since, self.restarted) = (Some(now), false);
        self.sent(now);
        self.session.clone().map(Action::Up)
    }

    /// Only families that were agreed on (RFC 2918 section 4).
    fn refresh(&self, event: &Event) -> Option<Action> {
        let Event::RouteRefresh(Some(family)) = event else { return None };
        let agreed = self.session.as_ref().is_some_and(|session| session.families.contains(family));
        agreed.then_some(Action::Refresh(*family))
    }

    fn close(&mut self, how: Action) -> Action {
        self.timers.clear();
        self.received = Vec::new();
        self.session = None;
        how
    }

    /// DampPeerOscillations (section 8.1.1): only a session that stood longer than the longest rest begins anew at once.
    fn rest(&mut self, moment: Moment) -> Option<Action> {
        let longest = self.peer.connect_retry;
        let stood = self.up_since.take().is_some_and(|since| moment.now - since >= longest);
        self.failures = if stood { 0 } else { self.failures };
        let doubled = SHORTEST_REST.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.timers.set(Timer::Rest, moment.now + vary(doubled.min(longest), moment.chance));
        None
    }
}

/// From three quarters of a time to all of it (RFC 4271 section 10).
fn vary(time: Duration, chance: f64) -> Duration {
    time.mul_f64(0.75 + 0.25 * chance.clamp(0.0, 1.0))
}

/// The family that a ROUTE-REFRESH asks for, if it is one of ours.
fn route_refresh(body: &[u8]) -> Option<Family> {
    let [high, low, _, safi] = body else { return None };
    Family::from_afi_safi(u16::from_be_bytes([*high, *low]), *safi)
}

#[cfg(test)]
mod tests;
