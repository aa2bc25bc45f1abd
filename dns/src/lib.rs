//! The cluster's DNS.
//!
//! [`index`] is pure: objects go in, answers come out. It follows Kubernetes' DNS-Based Service Discovery 1.1.0 as
//! CoreDNS 1.15 answers it. [`wire`] is pure too: octets to questions, and answers to octets. Around them are
//! [`cluster`], which watches the API server, [`state`], which keeps on disk what it said, [`resolver`], which also asks others, and [`server`] with the sockets.
//!
//! hickory-server is not used: it spawns a task for each datagram without a bound, answers what it cannot read by
//! rules of its own, and lets the client choose the size of a datagram. Its wire format and its resolver are used.

pub mod cluster;
pub mod config;
pub mod forwarder;
pub mod index;
pub mod metrics;
pub mod resolver;
pub mod server;
pub mod state;
mod tcp;
pub mod transfer;
mod udp;
pub mod web;
pub mod wire;
