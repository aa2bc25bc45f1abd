//! What the node agent knew last, on disk: a node that starts while the API server is away, after a power cut say, would
//! have no rules otherwise.
//!
//! [`NodeState`] is the value (pure), [`StateFile`] the file, [`Recorded`] a backend that hands what
//! it programmed to a task that writes, and a [`Fallback`] is for when the API server is away.
//!
//! Health checks are not kept: nobody has confirmed that the endpoints on this node are still there, and balancers that
//! get no answer go elsewhere.

mod content;
mod file;
mod keeper;
mod recorded;
mod start;

pub use content::NodeState;
pub use file::StateFile;
pub use recorded::Recorded;
pub use start::{Fallback, PATIENCE};
