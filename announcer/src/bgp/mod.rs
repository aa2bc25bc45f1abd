//! BGP, as far as announcing needs it.

#[cfg(test)]
mod fixture;
pub mod fsm;
mod peer;
mod reason;
mod route;
mod terms;
pub mod wire;

pub use peer::{Distance, NextHops, Password, Peer, RemoteAsn};
pub use reason::Reason;
pub use route::{Attributes, Community, CommunityError, Routes};
pub use terms::PeerError;
