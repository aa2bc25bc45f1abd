//! Tells the network where an address lives: ARP for IPv4, NDP for IPv6, one owner per address.
//!
//! ```text
//! watches, Leases, links, heard claims -> Announcer (pure) -> Orders -> responders (one task per interface)
//! ```
//!
//! # Tasks
//! - [`agent::run`]'s own task owns the [`Announcer`]: all that the cluster says goes in, [`Orders`] come out.
//! - One task per interface owns packet sockets and a [`speaker::Speaker`]; it answers without asking anybody,
//!   so neither a busy agent nor an API server that is away delays an answer.
//! - One task renews this node's Lease ([`lease`]), one reads links and addresses ([`link`]), one writes events.
//!
//! # One owner, without a coordinator
//! Every node computes the owner of every address by itself ([`election`]) from the same facts: which nodes may
//! announce it ([`cluster`]) and which are alive ([`liveness`]). Nodes may disagree for as long as news travel;
//! [`fence`] says how they settle when one of them cannot hear the news.
//!
//! # One announcer of a node follows another
//! While a DaemonSet replaces its Pods the next one stands by beside this one, and takes over at once: see [`succession`].
//!
//! # Routers
//! Every node that can serve an address says so to the routers that it speaks BGP with ([`bgp`], and [`bfd`] beside it);
//! there need not be one owner. [`cluster`] says what, [`peering`] to whom.

mod abstract_socket;
pub mod advertisement;
pub mod agent;
pub mod announcement;
mod announcer;
pub mod arp;
pub mod bfd;
pub mod bgp;
mod claim_log;
pub mod cluster;
pub mod dataplane_link;
mod deadline;
pub mod election;
mod event;
pub mod fence;
mod input;
pub mod lease;
pub mod link;
pub mod liveness;
pub mod mac;
mod membership;
mod metrics;
pub mod ndp;
mod orders;
pub mod packet_socket;
mod passwords;
pub mod peering;
pub mod pool;
pub mod readiness;
mod reporter;
pub mod responder;
pub mod route_advertisement;
mod routers;
pub mod selection;
pub mod speaker;
pub mod succession;
mod watches;

pub use announcer::{Announcer, Conflict};
pub use input::Input;
pub use metrics::Metrics;
pub use orders::Orders;
