//! What goes into the state machine of a session and what comes out.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::bgp::{
    reason::Reason,
    wire::{Family, Notification, Open},
};

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is tried for now.
    Idle,
    /// A connection is being made.
    Connect,
    /// A connection was lost early; the next one waits.
    Active,
    /// Our OPEN was sent.
    OpenSent,
    /// The router's OPEN came.
    OpenConfirm,
    /// Routes may be sent.
    Established,
}

/// What happens to a session. The numbers are those of RFC 4271 section 8.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It should be (1, 3 and 13).
    Start,
    /// It should no longer be, and the router is told why (2).
    Stop(Notification),
    /// It ends, and begins again after a rest (8).
    Reset(Notification),
    /// It should no longer be, and the router is to keep the routes: nothing is said.
    Abandon,
    /// The time for a connection, or between two, is over (9).
    RetryExpired,
    /// Nothing was heard within the hold time (10).
    HoldExpired,
    /// It is time for a KEEPALIVE (11).
    KeepaliveExpired,
    /// The router takes nothing off us (29, RFC 9687).
    SendHoldExpired,
    /// There is a connection (16).
    Connected,
    /// There will be none, or is no longer one (18).
    ConnectionFailed(Reason),
    /// An OPEN came (19).
    Open(Open),
    /// A wrong message came, and this answers it (21, 22, 28).
    Wrong(Notification),
    /// A NOTIFICATION came (24, 25).
    Notified(Notification),
    /// A KEEPALIVE came (26).
    Keepalive,
    /// An UPDATE came (27).
    Update,
    /// All routes of a family are asked for (RFC 2918).
    RouteRefresh(Option<Family>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection.
    Connect,
    /// Send bytes, after those before.
    Send(Vec<u8>),
    /// Close the connection, or give up opening it, once all is sent.
    Close,
    /// Close the connection without sending anything.
    Drop,
    /// Routes may be sent.
    Up(Session),
    /// Send all routes of a family again.
    Refresh(Family),
    /// Say why there is no session; one that was up is down.
    Down(Reason),
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The router's AS.
    pub asn: u32,
    /// The router's BGP identifier.
    pub router_id: Ipv4Addr,
    /// Within it something has to be heard; zero is for ever.
    pub hold_time: Duration,
    /// The families whose prefixes may be sent.
    pub families: BTreeSet<Family>,
    /// Whether AS numbers have four bytes.
    pub four_octet_as: bool,
    /// Of which families the router keeps routes while we restart.
    pub kept_on_restart: BTreeSet<Family>,
}

/// The present, and chance.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Instant,
    /// From 0 to 1: by it timers vary, so that not all nodes do the same at once (RFC 4271 section 10).
    pub chance: f64,
}
