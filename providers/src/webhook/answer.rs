//! What an answer of the endpoint means. Pure.

use std::time::Duration;

use penstock_crds::Reason;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::{ProviderError, shown_text::shown};

/// When to look again where the endpoint does not say.
pub(super) const POLL: Duration = Duration::from_secs(2);
/// How long to make no call where the endpoint does not say.
const SLOW_DOWN: Duration = Duration::from_secs(10);
/// The longest wait that the endpoint may ask for: a slip there must not stop a Service for days.
const LONGEST_WAIT: u64 = 3600;
/// An answer, read as far as the limit allows.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The header `Retry-After`, if it holds a number of seconds.
    pub(super) retry_after: Option<u64>,
    pub(super) body: Vec<u8>,
}

/// What every answer of 400 and above has to hold.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Answer {
    /// How long the endpoint asks to wait, in seconds within reason.
    pub(super) fn wait(&self) -> Option<u64> {
        self.retry_after.map(|seconds| seconds.clamp(1, LONGEST_WAIT))
    }

    /// Whether the endpoint itself says that there is no such balancer. A proxy in between or a server at a mistyped
    /// URL answers 404 too, and to believe it would orphan what was built: only the contract's body counts.
    pub(super) fn is_absent(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.message().is_some()
    }

    /// After a 202: [`ProviderError::Pending`].
    pub(super) fn pending(&self) -> ProviderError {
        ProviderError::Pending(self.wait().map_or(POLL, Duration::from_secs))
    }

    /// The failure that it is.
    pub(super) fn failure(&self, call: &str) -> ProviderError {
        let status = self.status.as_u16();
        let says = format!("the endpoint answers {status} to {call}: {}", self.text());
        match status {
            400 | 422 => ProviderError::refused(format!("the endpoint refuses: {}", self.text())),
            401 | 403 => ProviderError::Auth(says),
            404 if self.is_absent() => ProviderError::NotFound(says),
            404 => ProviderError::Retryable(format!(
                "the endpoint answers 404 to {call} without the contract's {{\"message\"}}: check the URL of the class"
            )),
            409 => ProviderError::Conflict(says),
            429 => ProviderError::Throttled(self.wait().map_or(SLOW_DOWN, Duration::from_secs)),
            507 => ProviderError::Quota {
                reason: Reason::Exhausted,
                message: format!("the endpoint has nothing left: {}", self.text()),
            },
            300..400 => ProviderError::Retryable(format!(
                "the endpoint answers {status} to {call}, and redirects are not followed: give the class the URL it leads to"
            )),
            200..300 => ProviderError::Retryable(format!(
                "the endpoint answers {status} to {call}, which the contract does not have there"
            )),
            _ => ProviderError::Retryable(says),
        }
    }

    fn message(&self) -> Option<String> {
        serde_json::from_slice::<Refusal>(&self.body).ok().map(|refusal| refusal.message)
    }

    fn text(&self) -> String {
        let text = self.message().filter(|message| !message.trim().is_empty());
        text.map_or("no message".to_owned(), |message| shown(&message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, retry_after: None, body: body.as_bytes().to_vec() }
    }

    fn failure(status: u16) -> ProviderError {
        answer(status, r#"{"message": "port 22 is not allowed"}"#).failure("PUT")
    }

    #[test]
    fn each_status_says_what_the_operator_has_to_do() {
        for status in [400, 422] {
            let ProviderError::User { message, .. } = failure(status) else { panic!("{status}") };
            assert_eq!(message, "the endpoint refuses: port 22 is not allowed");
        }
        for status in [401, 403] {
            assert!(matches!(failure(status), ProviderError::Auth(_)), "{status}");
        }
        assert!(matches!(failure(404), ProviderError::NotFound(_)));
        assert!(matches!(failure(409), ProviderError::Conflict(_)));
        assert!(matches!(failure(507), ProviderError::Quota { .. }));
        for status in [204, 206, 302, 402, 405, 418, 500, 502, 503, 504] {
            assert!(matches!(failure(status), ProviderError::Retryable(_)), "{status}");
        }
    }

    #[test]
    fn a_wait_has_a_least_and_a_most() {
        let wait = |seconds| Answer { retry_after: seconds, ..answer(429, "") }.failure("PUT");
        assert_eq!(wait(None), ProviderError::Throttled(SLOW_DOWN));
        assert_eq!(wait(Some(7)), ProviderError::Throttled(Duration::from_secs(7)));
        assert_eq!(wait(Some(0)), ProviderError::Throttled(Duration::from_secs(1)));
        assert_eq!(wait(Some(u64::MAX)), ProviderError::Throttled(Duration::from_secs(3600)));
        assert_eq!(answer(202, "").pending(), ProviderError::Pending(POLL));
    }

    #[test]
    fn a_stranger_that_answers_404_is_not_believed() {
        assert!(answer(404, r#"{"message": "no such balancer"}"#).is_absent());
        for body in ["<html>404 Not Found</html>", "", "default backend - 404", "{}", "null"] {
            assert!(!answer(404, body).is_absent(), "{body}");
            let error = answer(404, body).failure("DELETE").to_string();
            assert!(error.contains("check the URL"), "{error}");
        }
    }

    #[test]
    fn a_failure_without_a_message_says_so() {
        assert!(answer(500, "<html>").failure("GET").to_string().ends_with("no message"));
    }
}
