//! Why there is no provider for a class.

use crate::http::HttpError;

/// Parameters of a class, or a token, that nothing can be called with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HetznerError {
    /// The URL.
    #[error("spec.hetzner.endpointUrl {0}")]
    Url(String),
    /// The token. What it is stays unsaid.
    #[error(
        "the token in the Secret of spec.hetzner.tokenSecret is empty or not printable ASCII without spaces"
    )]
    Token,
    /// No TLS or no HTTP client on this machine.
    #[error("no HTTP client for Hetzner Cloud: {0}")]
    Client(String),
}

impl From<HttpError> for HetznerError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Url(what) => Self::Url(what),
            HttpError::Token => Self::Token,
            HttpError::Tls(why) | HttpError::Client(why) => Self::Client(why),
        }
    }
}
