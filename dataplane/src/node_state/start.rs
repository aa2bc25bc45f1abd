//! A node without rules, as after a boot, while the API server is away.

use std::time::Duration;

use tokio::time::Instant;

use super::StateFile;
use crate::{ApplyError, Backend};

/// An API server from which the lists have not come within this time is away, to a node without rules.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What the node knew last, for when the lists do not come in time. What they say later takes its place in one step.
#[derive(Debug)]
pub struct Fallback {
    file: StateFile,
    due: Instant,
}

impl Fallback {
    /// Lists that come within `patience` from now are in time.
    #[must_use]
    pub fn new(file: StateFile, patience: Duration) -> Self {
        Self { file, due: Instant::now() + patience }
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Programs it. That there is none, or that it cannot be used, is said.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn restore(self, backend: &mut impl Backend) -> Result<(), ApplyError> {
        match self.file.read() {
            Ok(Some((state, written))) => {
                let all = state.into_changes();
                backend.restore(&all).await?;
                tracing::warn!(%written, ports = all.len(), "the API server is away: programmed what was known last");
            }
            Ok(None) => {
                tracing::warn!("the API server is away and nothing is known from before: waiting for it");
            }
            Err(error) => {
                tracing::warn!("the API server is away: {:#}", anyhow::Error::from(error));
            }
        }
        Ok(())
    }
}
