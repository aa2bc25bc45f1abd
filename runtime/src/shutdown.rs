//! The end of the process: SIGTERM from the kubelet, SIGINT from a terminal.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A signal handler could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
pub struct ShutdownError(#[from] std::io::Error);

/// A token that is cancelled by the first SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signal() -> Result<CancellationToken, ShutdownError> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down");
        cancelled.cancel();
    });
    Ok(token)
}
