//! `kubectl penstock`: what the operator would do for a Service, why a Service has no address, and which node announces
//! which address.
//!
//! The commands read the cluster with the user's own rights, decide by the operator's own functions, call no provider
//! and change nothing. [`Scene`](scene::Scene) is what the operator knows, [`forecast`](forecast::forecast) what it
//! would do, [`explain`](explain::explain) what to tell; the rest reads and prints.

pub mod access;
pub mod announcements;
pub mod cluster;
pub mod env;
pub mod explain;
pub mod facts;
pub mod flags;
pub mod forecast;
pub mod manifest;
pub mod output;
pub mod outside_provider;
pub mod plan;
pub mod plan_text;
mod pool_side;
pub mod pools;
pub mod pools_text;
pub mod scene;
pub mod status;
mod style;
pub mod survey;
mod table;
pub mod why;

pub use pool_side::{PoolRefusal, RefusalField};
