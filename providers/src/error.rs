//! How a provider fails, by what the operator has to do about it.

use std::time::Duration;

use penstock_crds::Reason;

/// A failure of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Too many calls: none before this time has passed.
    #[error("the provider asks to slow down for {} s", .0.as_secs())]
    Throttled(Duration),
    /// Passing: try again with backoff.
    #[error("{0}")]
    Retryable(String),
    /// Under way: look again after this time.
    #[error("not finished yet, looking again in {} s", .0.as_secs())]
    Pending(Duration),
    /// The world is not as observed: observe and plan again.
    #[error("{0}")]
    Conflict(String),
    /// What was to be changed is gone: observe and plan again.
    #[error("{0}")]
    NotFound(String),
    /// Nothing left to give: waits until something is freed or added.
    #[error("{message}")]
    Quota {
        /// Whether there is nothing at all, or all of it is taken.
        reason: Reason,
        /// One sentence that says what to change.
        message: String,
    },
    /// Wrong until the user changes an input.
    #[error("{message}")]
    User {
        /// For condition and event.
        reason: Reason,
        /// One sentence that says what to change.
        message: String,
    },
    /// The credentials do not work: no call for any Service until they change.
    #[error("{0}")]
    Auth(String),
    /// Not ours: refuse to touch it.
    #[error("{0}")]
    NotOwned(String),
}

impl ProviderError {
    /// Something that the Service asks for and cannot have.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::User { reason: Reason::RequestRefused, message: message.into() }
    }
}
