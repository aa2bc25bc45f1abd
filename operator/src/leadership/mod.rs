//! One of several operators leads; the others stand by. The Lease `penstock-operator` says which.
//!
//! [`election`] decides (pure), [`Candidate`] and [`Leadership`] read and write the Lease, and [`Gate`] refuses what
//! a process that no longer leads would still write. How one leader follows another:
//!
//! - **Clean stop**: the reconciliations under way end, the gate closes, the Lease is given up. Whoever stands by
//!   watches it and takes it at once.
//! - **Death**: nobody renews, and [`Timing::duration`] after the last renewal that it saw, another takes over.
//! - **Loss**: a leader whose renewals fail, or that was suspended, writes nothing from [`Timing::deadline`] after
//!   its last renewal on; the process ends, and its next life stands by.
//! - **Restart under the same identity**: the Lease goes on at once. The kubelet starts a container only when the one
//!   before it is dead, and nobody else has the name of the pod.
//!
//! What no client can rule out is a process that is suspended in the microseconds between the gate and the network
//! card, for longer than the Lease lasts. Against that stand the preconditions (uid, resourceVersion) of our writes.

mod candidate;
mod election;
mod gate;
mod identity;
mod lease;
#[cfg(test)]
mod simulation;

pub use candidate::{Candidate, Leadership, LeadershipError};
pub use election::{Lost, Timing};
pub use gate::{Gate, GateKeeper, NotLeader};
pub use identity::{Identity, IdentityError};
pub use lease::NAME as LEASE_NAME;
