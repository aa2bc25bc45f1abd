//! How the API refuses.

use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Of HTTP.
    pub status: u16,
    /// Of the API.
    pub code: String,
    message: String,
    field: Option<String>,
}

impl Error {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), field: None }
    }

    /// `invalid_input`.
    pub(super) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(422, "invalid_input", message) }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(404, "not_found", format!("{what} not found"))
    }

    pub(super) fn body(&self) -> Value {
        let details =
            self.field.as_ref().map(|field| json!({"fields": [{"name": field, "messages": [self.message]}]}));
        json!({"error": {"code": self.code, "message": self.message, "details": details}})
    }
}
