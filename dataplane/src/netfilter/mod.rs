//! Speaks nfnetlink, the kernel's interface to nftables and connection tracking.
//!
//! Framing and attributes are those of `netlink-packet-core`, the socket is that of `netlink-sys`: kept, MIT, and in the
//! program already by way of `rtnetlink`. Crates that know nftables' messages are GPL (`rustables`, `nftnl`)
//! or wrap its C library; the few messages needed here are rows of attributes.

mod attributes;
#[cfg(test)]
pub(crate) mod fresh_namespace;
mod message;
mod namespace;
mod protocol;
mod reply;
mod socket;

#[cfg(test)]
pub(crate) use attributes::attributes;
pub(crate) use attributes::{Attributes, attribute};
pub(crate) use message::Message;
pub use namespace::NetworkNamespace;
pub(crate) use protocol::protocol_number;
pub use reply::Refusal;
pub(crate) use reply::{Data, Reply};
pub use socket::NetfilterError;
pub(crate) use socket::NetfilterSocket;
