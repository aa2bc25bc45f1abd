//! What a call is refused with.

/// A refusal, in AWS' words: the code is what clients decide by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The HTTP status.
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Failure {
    /// With status 400, as nearly all have.
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self::with_status(400, code, message)
    }

    pub(super) fn with_status(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// A parameter that is missing or malformed.
    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }

    /// Parameters that do not go together.
    pub(super) fn configuration(message: impl Into<String>) -> Self {
        Self::new("InvalidConfigurationRequest", message)
    }
}
