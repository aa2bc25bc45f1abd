//! Waiting for a condition with a deadline; never for a fixed time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How long between two looks at the condition.
const INTERVAL: Duration = Duration::from_millis(50);

/// What one look at a condition found.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds.
    Ready(T),
    /// Not yet, and why; the last reason becomes part of the error when time runs out.
    NotYet(String),
}

/// Looks until the condition holds.
///
/// # Errors
/// The first error of `look` (it means that waiting on is pointless), or the last reason when `limit` has passed.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Look<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let reason = match look().await? {
            Look::Ready(value) => return Ok(value),
            Look::NotYet(reason) => reason,
        };
        if Instant::now() >= deadline {
            return Err(anyhow!("{what} did not happen within {} s: {reason}", limit.as_secs()));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// [`until`] for callers without a runtime.
///
/// # Errors
/// As [`until`].
pub fn until_blocking<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Look<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let reason = match look()? {
            Look::Ready(value) => return Ok(value),
            Look::NotYet(reason) => reason,
        };
        if Instant::now() >= deadline {
            return Err(anyhow!("{what} did not happen within {} s: {reason}", limit.as_secs()));
        }
        std::thread::sleep(INTERVAL);
    }
}
