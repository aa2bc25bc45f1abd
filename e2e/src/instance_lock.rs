//! One run at a time for each instance: a second one under the same name would take down the first one's.

use std::fs::{self, File};

use anyhow::{Context, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};

use crate::tools::cache_dir;
use crate::topology::Topology;

/// Held as long as the value lives, and gone with the process.
///
/// # Errors
/// When another process holds it, or its file cannot be made.
pub(crate) fn only_one(topology: &Topology) -> Result<Flock<File>> {
    let path = cache_dir()?.join(format!("flows-{topology}.lock"));
    fs::create_dir_all(cache_dir()?).context("make the cache directory")?;
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        anyhow!("another run with the lab {topology} is under way ({errno}); wait for it or give this one another --name")
    })
}
