//! The control loop: Services and pools in; plans applied; `.status.loadBalancer` out.
//!
//! Tasks: `configuration` watches classes and pools and tells the provider; the kube controller runs
//! [`reconcile`] with at most one call at a time per Service; `events` publishes what users should hear. Each
//! ends when the process is told to; a Service interrupted half-way is found again by its finalizer and status.

mod adoption;
mod class;
mod configuration;
mod events;
mod intent;
mod metrics;
mod reconcile;
mod run;
mod status;
mod waiting;

pub use class::{ClassVerdict, Classes};
pub use intent::{Intent, intent};
pub use run::{OperatorError, Options, run};
pub use status::{Report, patch};
