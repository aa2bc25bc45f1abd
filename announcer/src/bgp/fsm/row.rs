//! The table of RFC 4271 section 8.2.2: what each event does in each state.

use super::{Event, State};
use crate::bgp::{
    Peer,
    reason::Reason,
    wire::{Cause, Notification},
};

/// A step of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Do {
    /// Open a connection, for as long as the retry timer runs.
    Connect,
    /// Wait for the retry timer.
    Await,
    /// Send our OPEN and wait for the router's.
    SendOpen,
    /// Take what the OPEN says.
    Agree,
    /// Begin the hold time anew.
    Hold,
    /// Send a KEEPALIVE, and the next one later.
    SendKeepalive,
    /// The session is up.
    Up,
    /// Send the routes of a family again.
    Refresh,
    /// Send the NOTIFICATION that answers the event.
    Notify,
    /// End the connection once all is sent.
    Close,
    /// End the connection.
    Drop,
    /// Start again after a rest.
    Rest,
    /// Say why there is no session.
    Tell,
}

/// What an error does to a session that has a connection. To close it takes a while, which nobody should wait for.
const ERROR: &[Do] = &[Do::Notify, Do::Tell, Do::Close, Do::Rest];
/// What the end of a connection does to a session.
const LOST: &[Do] = &[Do::Drop, Do::Rest, Do::Tell];

/// The next state and the steps there.
pub(super) const fn row(state: State, event: &Event) -> (State, &'static [Do]) {
    use Event as E;
    use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};
    match (state, event) {
        (Idle, E::Start) => (Connect, &[Do::Connect]),
        // Also ends the rest.
        (Idle, E::Stop(_) | E::Abandon) => (Idle, &[Do::Drop]),
        (Idle, _) => (Idle, &[]),

        (_, E::Start) => (state, &[]),
        (_, E::Abandon) => (Idle, &[Do::Drop, Do::Tell]),

        (Connect | Active, E::Stop(_)) => (Idle, &[Do::Drop, Do::Tell]),
        (Connect, E::RetryExpired) => (Connect, &[Do::Drop, Do::Tell, Do::Connect]),
        (Active, E::RetryExpired) => (Connect, &[Do::Connect]),
        (Connect, E::Connected) => (OpenSent, &[Do::SendOpen]),
        (Connect | Active, _) => (Idle, LOST),

        (OpenSent | OpenConfirm | Established, E::Stop(_)) => (Idle, &[Do::Notify, Do::Tell, Do::Close]),
        (OpenSent | OpenConfirm | Established, E::Reset(_) | E::HoldExpired | E::Wrong(_)) => (Idle, ERROR),
        // Nothing answers a NOTIFICATION (section 6.4), not even one that comes unexpected.
        (OpenSent | OpenConfirm | Established, E::Notified(_)) => (Idle, LOST),
        // Nothing can be sent any more (RFC 9687 section 3.3).
        (OpenSent | OpenConfirm | Established, E::SendHoldExpired) => (Idle, LOST),

        (OpenSent, E::ConnectionFailed(_)) => (Active, &[Do::Drop, Do::Await, Do::Tell]),
        (OpenSent, E::Open(_)) => (OpenConfirm, &[Do::Agree, Do::SendKeepalive, Do::Hold]),
        (OpenSent, _) => (Idle, ERROR),

        (OpenConfirm | Established, E::ConnectionFailed(_)) => (Idle, LOST),
        (OpenConfirm | Established, E::KeepaliveExpired) => (state, &[Do::SendKeepalive]),
        (OpenConfirm, E::Keepalive) => (Established, &[Do::Hold, Do::Up]),
        (Established, E::Keepalive | E::Update) => (Established, &[Do::Hold]),
        (Established, E::RouteRefresh(_)) => (Established, &[Do::Refresh]),
        (OpenConfirm | Established, _) => (Idle, ERROR),
    }
}

/// The NOTIFICATION that answers an event which ends a connection.
pub(super) fn answer(state: State, event: &Event) -> Option<Notification> {
    let unexpected = match state {
        State::OpenSent => Cause::UnexpectedInOpenSent, // RFC 6608
        State::OpenConfirm => Cause::UnexpectedInOpenConfirm,
        State::Established => Cause::UnexpectedInEstablished,
        State::Idle | State::Connect | State::Active => return None,
    };
    match event {
        Event::Stop(notification) | Event::Reset(notification) | Event::Wrong(notification) => {
            Some(notification.clone())
        }
        Event::HoldExpired => Some(Cause::HoldTimerExpired.into()),
        Event::SendHoldExpired => Some(Cause::SendHoldTimerExpired.into()),
        Event::ConnectionFailed(_) | Event::Notified(_) | Event::Abandon => None,
        _ => Some(unexpected.into()),
    }
}

/// What people are told of an event that ends a session or a try.
pub(super) fn reason(state: State, event: &Event, peer: &Peer) -> Reason {
    match event {
        Event::ConnectionFailed(reason) => reason.clone(),
        Event::Notified(notification) => Reason::Received(notification.clone()),
        Event::Reset(notification) => Reason::Sent(notification.clone()),
        Event::Stop(_) | Event::Abandon => Reason::Stopped,
        Event::RetryExpired => {
            Reason::NoAnswer { within: peer.connect_retry, password: peer.password.is_some() }
        }
        _ => answer(state, event).map_or(Reason::Stopped, Reason::Sent),
    }
}
