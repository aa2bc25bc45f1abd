//! What a subject holds and does while nothing happens.

use std::time::Duration;

use anyhow::Result;

use super::generation::GenerationWatch;
use super::ground::Ground;
use super::subject::Running;

/// What was used and done.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Resident memory at the end, MiB.
    pub resident: f64,
    /// The most that ever was resident, MiB.
    pub peak: f64,
    /// Processor time, milliseconds in a minute.
    pub cpu: f64,
    /// Commits to nftables.
    pub commits: usize,
}

/// Watches a subject for `span`.
///
/// # Errors
/// When it ends.
pub async fn measure(ground: &Ground, running: &Running, span: Duration) -> Result<Idle> {
    let watch = GenerationWatch::start(ground.node_file())?;
    let (before, commits) = (running.usage()?, watch.current()?);
    tokio::time::sleep(span).await;
    let (after, later) = (running.usage()?, watch.current()?);
    let cpu = (after.cpu - before.cpu).as_secs_f64() * 1e3 * 60.0 / span.as_secs_f64();
    let commits = usize::try_from(later.wrapping_sub(commits)).unwrap_or(usize::MAX);
    Ok(Idle { resident: after.resident, peak: after.peak, cpu, commits })
}
