//! How a provider fails, by what the operator has to do about it.

use std::time::Duration;

use penstock_crds::Reason;

/// A failure of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Too many calls: none before this time has passed.
    #[error("the provider asks to slow down")]
    Throttled(Duration),
    /// Passing: try again with backoff.
    #[error("{0}")]
    Retryable(String),
    /// Under way: look again after this time.
    #[error("the provider has not finished yet")]
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
    /// One word, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::Retryable(_) => "retryable",
            Self::Pending(_) => "pending",
            Self::Conflict(_) => "conflict",
            Self::NotFound(_) => "not_found",
            Self::Quota { .. } => "quota",
            Self::User { .. } => "user",
            Self::Auth(_) => "auth",
            Self::NotOwned(_) => "not_owned",
        }
    }

    /// For condition and event.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Pending(_) => Reason::Provisioning,
            Self::Throttled(_) | Self::Retryable(_) | Self::Conflict(_) | Self::NotFound(_) => {
                Reason::ProviderFailed
            }
            Self::Quota { reason, .. } | Self::User { reason, .. } => *reason,
            Self::Auth(_) => Reason::InvalidCredentials,
            Self::NotOwned(_) => Reason::NotOwned,
        }
    }

    /// The pause that the provider asks for.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Throttled(after) | Self::Pending(after) => Some(*after),
            _ => None,
        }
    }

    /// Whether another attempt is of no use before an input changes.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::User { .. } | Self::NotOwned(_))
    }

    /// Something that the Service asks for and cannot have.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::User { reason: Reason::RequestRefused, message: message.into() }
    }
}
