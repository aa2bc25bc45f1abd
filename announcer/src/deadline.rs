//! Waiting for a deadline that may not be there.

use std::time::Instant;

/// Returns at the deadline; without one, never.
pub(crate) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
