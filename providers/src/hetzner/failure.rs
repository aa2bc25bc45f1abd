//! What an error of the API means for the operator.

use penstock_crds::Reason;
use serde::Deserialize;

use crate::{ProviderError, http::Received, shown_text::shown};

/// How a call, or an action that it began, failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<Details>,
}

/// Of `invalid_input`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Details {
    #[serde(default)]
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Field {
    #[serde(default)]
    name: String,
    #[serde(default)]
    messages: Vec<String>,
}

#[derive(Deserialize)]
struct Body {
    error: Failure,
}

impl Failure {
    /// Of an answer that is none of success; without the API's body it is a stranger's, as a proxy's.
    pub(super) fn of(received: &Received) -> Self {
        let read: Option<Body> = serde_json::from_slice(&received.body).ok();
        let stranger = || Self {
            code: String::new(),
            message: format!("status {} without the API's error", received.status.as_u16()),
            details: None,
        };
        read.map_or_else(stranger, |body| body.error)
    }

    /// Of an action that says nothing else.
    pub(super) fn without_reason() -> Self {
        Self { code: "action_failed".to_owned(), message: "the action failed".to_owned(), details: None }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.code == "not_found"
    }

    pub(super) fn is_duplicate(&self) -> bool {
        self.code == "uniqueness_error"
    }

    /// By the list of errors in the API's reference.
    pub(super) fn into_error(self, call: &str) -> ProviderError {
        let text = self.text();
        let says = format!("Hetzner answers {} to {call}: {text}", shown(&self.code));
        match self.code.as_str() {
            "unauthorized" | "forbidden" | "token_readonly" => ProviderError::Auth(says),
            "not_found" => ProviderError::NotFound(says),
            // The world is not as it was seen.
            "uniqueness_error" | "source_port_already_used" | "target_already_defined" => {
                ProviderError::Conflict(says)
            }
            "resource_limit_exceeded" | "placement_error" | "resource_unavailable" => ProviderError::Quota {
                reason: Reason::Exhausted,
                message: format!("{says} (free something, or ask Hetzner for a higher limit)"),
            },
            "protected" => ProviderError::refused(format!(
                "Hetzner protects the load balancer ({text}): switch the protection off if it may go"
            )),
            "conflict"
            | "locked"
            | "rate_limit_exceeded"
            | "bad_gateway"
            | "timeout"
            | "unavailable"
            | "service_error"
            | "server_error"
            | "maintenance"
            | "action_failed"
            | "unknown_error"
            | "" => ProviderError::Retryable(says),
            _ => ProviderError::refused(format!("Hetzner refuses {call} ({}): {text}", shown(&self.code))),
        }
    }

    fn text(&self) -> String {
        let fields = self.details.iter().flat_map(|details| &details.fields);
        let fields: Vec<String> = fields.map(|f| format!("{} {}", f.name, f.messages.join(", "))).collect();
        let message = if self.message.is_empty() { "no message" } else { &self.message };
        let text =
            if fields.is_empty() { message.to_owned() } else { format!("{message}: {}", fields.join("; ")) };
        shown(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::{StatusCode, header::HeaderMap};

    fn failure(status: u16, body: &str) -> ProviderError {
        let status = StatusCode::from_u16(status).unwrap();
        let received = Received { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
        Failure::of(&received).into_error("POST load_balancers")
    }

    #[test]
    fn each_code_says_what_the_operator_has_to_do() {
        for (code, kind) in [
            ("unauthorized", "auth"),
            ("token_readonly", "auth"),
            ("not_found", "not_found"),
            ("uniqueness_error", "conflict"),
            ("target_already_defined", "conflict"),
            ("source_port_already_used", "conflict"),
            ("resource_limit_exceeded", "quota"),
            ("protected", "user"),
            ("invalid_input", "user"),
            ("load_balancer_not_attached_to_network", "user"),
            ("locked", "retryable"),
            ("conflict", "retryable"),
            ("bad_gateway", "retryable"),
            ("timeout", "retryable"),
        ] {
            let body = format!(r#"{{"error": {{"code": "{code}", "message": "why"}}}}"#);
            assert_eq!(failure(400, &body).kind(), kind, "{code}");
        }
    }

    #[test]
    fn a_strangers_answer_passes() {
        for (status, body) in [(502, "<html>"), (404, ""), (403, "{}"), (200, "null")] {
            assert_eq!(failure(status, body).kind(), "retryable", "{status} {body}");
        }
    }

    #[test]
    fn fields_of_a_refusal_are_named() {
        let body = r#"{"error": {"code": "invalid_input", "message": "invalid input", "details":
            {"fields": [{"name": "services.0.listen_port", "messages": ["too large"]}]}}}"#;
        let error = failure(422, body).to_string();
        assert!(
            error.ends_with("(invalid_input): invalid input: services.0.listen_port too large"),
            "{error}"
        );
    }
}
