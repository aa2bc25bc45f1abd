//! What the proxy answers by itself, as the API server would.

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use serde_json::json;

/// Why a connection ends in the middle.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of any answer.
pub(super) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

pub(super) fn whole(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A `Status` object as the API server sends with an error.
pub(super) fn refusal(code: u16, reason: &str) -> Response<AnyBody> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the fault proxy says so", "reason": reason, "code": code
    });
    let mut response = Response::new(whole(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// The last line of a watch that the API server cannot continue.
pub(super) fn gone_line() -> Bytes {
    let event = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: the fault proxy says so", "reason": "Expired", "code": 410
    }});
    Bytes::from(format!("{event}\n"))
}
