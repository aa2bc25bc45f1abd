//! Why there is no provider for a class.

use crate::{ProviderError, http::HttpError};

/// Parameters of a class, or a token, that nothing can be called with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigitalOceanError {
    /// The URL.
    #[error("spec.digitalocean.endpointUrl {0}")]
    Url(String),
    /// The token. What it is stays unsaid.
    #[error(
        "the token in the Secret of spec.digitalocean.tokenSecret is empty or not printable ASCII without spaces"
    )]
    Token,
    /// No TLS on this machine.
    #[error("no TLS for spec.digitalocean.endpointUrl: {0}")]
    Tls(String),
    /// No HTTP client.
    #[error("no HTTP client for spec.digitalocean.endpointUrl: {0}")]
    Client(String),
}

impl From<HttpError> for DigitalOceanError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Url(what) => Self::Url(what),
            HttpError::Token => Self::Token,
            HttpError::Tls(why) => Self::Tls(why),
            HttpError::Client(why) => Self::Client(why),
        }
    }
}

impl From<DigitalOceanError> for ProviderError {
    fn from(error: DigitalOceanError) -> Self {
        match error {
            DigitalOceanError::Token => Self::Auth(error.to_string()),
            _ => Self::refused(error.to_string()),
        }
    }
}
