//! BGP, as far as announcing needs it.

mod peer;
mod route;

pub use peer::{Distance, NextHops, Password, Peer, RemoteAsn};
pub use route::{Attributes, Community, CommunityError, Routes};
