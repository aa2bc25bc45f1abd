//! The servers that balancers ask at a Service's `healthCheckNodePort` whether this node has an endpoint for them.
//!
//! [`Desired`](desired::Desired) decides (pure) which ports to open and close, [`answer`] is what is said there, and
//! [`Servers`] does it, beside the task that programs: a port that cannot be opened harms only its Service.

mod answer;
mod desired;
mod listening;
mod servers;

pub use servers::Servers;
