//! `kubectl penstock`: what the operator would do for a Service, why a Service has no address, which node announces which
//! address, which way a connection goes, and whether all is well.
//!
//! The commands read the cluster with the user's own rights, decide by the functions of operator and node agent, call no
//! provider and change nothing. Pure are [`Scene`](scene::Scene), what the operator knows, [`forecast`](forecast::forecast),
//! what it would do, [`explain`](explain::explain), what to tell, [`parts`](survey::parts), whether all is well, and
//! [`trace`](trace::trace), which way a connection goes; the rest reads and prints. [`convert`](convert::convert) asks no cluster.

pub mod access;
pub mod announcements;
pub mod cluster;
pub mod completion;
pub mod convert;
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
pub mod trace;
pub mod trace_report;
pub mod why;

pub use pool_side::{PoolRefusal, RefusalField};
