//! What a refusal of the API means. Pure.

use std::time::Duration;

use penstock_crds::Reason;
use serde::Deserialize;

use crate::{ProviderError, http::Received, shown_text::shown};

/// When to look again at what is under way.
pub(super) const POLL: Duration = Duration::from_secs(5);
/// How the API says that a balancer cannot be changed yet (digitalocean/openapi 1173). It answers 403 then, which means
/// a lack of rights otherwise.
const BUSY: &str = "processes previous actions";

/// What every refusal has.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message: String,
}

/// The failure that an answer of another status than 2xx is; a call that was one too many does not come here.
pub(super) fn failure(call: &str, answer: &Received) -> ProviderError {
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text =
        if refusal.message.trim().is_empty() { "no message".to_owned() } else { shown(&refusal.message) };
    let status = answer.status.as_u16();
    let says = format!("DigitalOcean answers {status} to {call}: {text}");
    let small = refusal.message.to_lowercase();
    let limit = small.contains("limit") && (small.contains("exceed") || small.contains("reach"));
    match status {
        403 | 409 | 422 if small.contains(BUSY) => ProviderError::Pending(POLL),
        402 | 403 | 422 if limit => ProviderError::Quota {
            reason: Reason::Exhausted,
            message: format!("the account's limit is reached: {text}"),
        },
        401 | 403 => ProviderError::Auth(says),
        404 if refusal.id == "not_found" => ProviderError::NotFound(says),
        404 => ProviderError::Retryable(format!(
            "a server that is not DigitalOcean's API answers 404 to {call}: check spec.digitalocean.endpointUrl"
        )),
        409 | 412 | 423 => ProviderError::Conflict(says),
        400 | 422 => ProviderError::refused(format!("DigitalOcean refuses: {text}")),
        _ => ProviderError::Retryable(says),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::{StatusCode, header::HeaderMap};
    use serde_json::json;

    fn heard(status: u16, id: &str, message: &str) -> ProviderError {
        let answer = Received {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: json!({"id": id, "message": message, "request_id": "r"}).to_string().into_bytes(),
        };
        failure("create", &answer)
    }

    #[test]
    fn each_refusal_says_what_the_operator_has_to_do() {
        let of = |status, id, message| heard(status, id, message).kind();
        assert_eq!(of(401, "unauthorized", "Unable to authenticate you"), "auth");
        assert_eq!(of(403, "forbidden", "You are not authorized to perform this operation"), "auth");
        let busy = "Load Balancer can't be updated while it processes previous actions";
        assert_eq!(of(403, "forbidden", busy), "pending");
        assert_eq!(of(422, "unprocessable_entity", "will exceed your load balancer limit"), "quota");
        assert_eq!(of(403, "forbidden", "you have reached the limit of load balancers"), "quota");
        assert_eq!(of(422, "unprocessable_entity", "region is invalid"), "user");
        assert_eq!(of(404, "not_found", "The resource you requested could not be found."), "not_found");
        assert_eq!(of(404, "", "default backend - 404"), "retryable");
        assert_eq!(of(409, "conflict", "somebody else changes it"), "conflict");
        for status in [302, 418, 500, 502, 503, 504] {
            assert_eq!(of(status, "server_error", "it passes"), "retryable", "{status}");
        }
    }
}
