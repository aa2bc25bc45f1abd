//! Ctrl-C and SIGTERM as an error, so that what was brought up is taken down before the program ends.

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Comes back, with an error, when the program is told to end.
///
/// # Errors
/// Always.
pub(crate) async fn interrupted<T>() -> Result<T> {
    let mut terminated = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    bail!("interrupted")
}
