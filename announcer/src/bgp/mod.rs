//! BGP, as far as announcing needs it: a speaker that tells routers of prefixes and takes none.
//!
//! ```text
//! set_peers, set_routes, peer_down, stop           News
//!                 |                                  ^
//!                 v                                  |
//!              Speaker --- one task a peer: Fsm + Table + connection --- TCP --- router
//! ```
//!
//! # Pure
//! [`wire`] is messages as bytes, [`fsm`] the state machine of RFC 4271 (time, bytes and chance go in; bytes and actions
//! come out), [`table`] what a router is to know and what it was told.
//!
//! # Tasks
//! The tasks of [`Speaker`] own all the rest. They wait for nobody but the kernel: news are overwritten, not queued, and
//! UPDATEs are made when the connection has room for them. A task that is told to stop says farewell, for a second or
//! two at most, and ends.
//!
//! # What is received
//! No route is kept: there is no policy that takes any (RFC 8212), and none can be had. An UPDATE is looked at only for
//! the errors that end a session even by RFC 7606 ([`wire::check_update`]).

mod connection;
#[cfg(test)]
mod fixture;
pub mod fsm;
mod news;
mod peer;
mod reason;
mod route;
mod session;
mod speaker;
pub mod table;
mod terms;
mod transport;
pub mod wire;

pub use fsm::{Session, State};
pub use news::{News, PeerNews};
pub use peer::{Distance, NextHops, Password, Peer, RemoteAsn};
pub use reason::Reason;
pub use route::{Attributes, Community, CommunityError, Routes};
pub use speaker::{Speaker, Stop};
pub use table::Withheld;
pub use terms::PeerError;
