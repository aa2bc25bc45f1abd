//! How the API refuses.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
    pub(super) retry_after: Option<u64>,
}

impl Reply {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), retry_after: None }
    }

    pub(super) fn nothing() -> Self {
        Self { status: 204, body: None, retry_after: None }
    }

    pub(super) fn refusal(status: u16, message: &str) -> Self {
        let id = match status {
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            422 => "unprocessable_entity",
            429 => "too_many_requests",
            _ => "server_error",
        };
        let request_id = "4d9d8375-3c56-4925-a3e7-eb137fed17e9";
        Self::new(status, json!({"id": id, "message": message, "request_id": request_id}))
    }

    pub(super) fn unprocessable(message: &str) -> Self {
        Self::refusal(422, message)
    }

    pub(super) fn absent() -> Self {
        Self::refusal(404, "The resource you requested could not be found.")
    }

    /// `left`: limit and what is left of it.
    pub(super) fn into_response(self, (limit, left): (u64, u64)) -> Response {
        let body = self.body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut builder = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/json")
            .header("ratelimit-limit", limit)
            .header("ratelimit-remaining", left)
            .header("ratelimit-reset", 1_900_000_000);
        if let Some(seconds) = self.retry_after {
            builder = builder.header(header::RETRY_AFTER, seconds);
        }
        builder.body(body).unwrap_or_default()
    }
}
