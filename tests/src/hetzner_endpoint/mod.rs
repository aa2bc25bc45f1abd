//! Hetzner Cloud on loopback, as far as load balancers need it: it remembers what it was asked for, refuses what the API
//! refuses, takes its time for actions, and fails when it is told to. Its types are its own and not the provider's, so
//! that a mistake on one side shows.
//!
//! Written by the API's reference, and never compared with the API itself. What it leaves out:
//! - Everything but load balancers, actions and uploaded certificates, whose pages are one: servers, networks and other
//!   certificates exist because a test says so.
//! - `PUT` of anything but name and labels, reverse DNS, metrics, `change_protection`, prices, `created`, targets of type
//!   `ip`, and the health of targets.
//! - Selectors of labels other than `key=value` with commas; sorting; `per_page` of other lists.
//! - An action takes effect at once, and only its end is late, by so many requests; the balancer is `locked` in between. The quota of requests is only
//!   counted where a test says so, and is not given back by time.
//! - Messages are like Hetzner's and not the same. Unknown fields are refused, which Hetzner ignores.

mod balancer;
mod error;
mod fault;
mod server;
mod service;
mod store;
mod target;
mod wish;

pub use balancer::Balancer;
pub use error::Error;
pub use fault::Fault;
pub use server::HetznerEndpoint;
pub use service::Service;
pub use store::{Call, Certificate, Store};
pub use target::Target;
