//! In which words an API is called and refuses. Calls of AWS are all `POST /`: what they are stands inside, and so does
//! what refusals are.

use http::{Method, Response, StatusCode, header, request::Parts};
use hyper::body::Bytes;
use serde_json::json;

use super::{
    answer::{AnyBody, refusal, whole},
    call::Class,
};

/// The words of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Methods and paths, and the API server's refusals.
    Paths,
    /// AWS' Query protocol: an action in a form, refusals in XML.
    AwsQuery(String),
    /// AWS' JSON protocol: an action in a header.
    AwsJson(String),
    /// Methods and paths, and Hetzner's refusals.
    Hetzner,
    /// Methods and paths, and DigitalOcean's refusals.
    DigitalOcean,
}

impl Dialect {
    pub(super) fn of(parts: &Parts, body: &Bytes) -> Self {
        // Only theirs begin so: the API server's paths begin with `/api`.
        for (begin, cloud) in [("/v1/", Self::Hetzner), ("/v2/", Self::DigitalOcean)] {
            if parts.uri.path().starts_with(begin) {
                return cloud;
            }
        }
        if parts.method != Method::POST || parts.uri.path() != "/" {
            return Self::Paths;
        }
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        if let Some((_, action)) = target.and_then(|target| target.split_once('.')) {
            return Self::AwsJson(action.to_owned());
        }
        let action = form_urlencoded::parse(body).find(|(name, _)| name == "Action");
        action.map_or(Self::Paths, |(_, action)| Self::AwsQuery(action.into_owned()))
    }

    /// What the call is named in the log and in plans.
    pub(super) fn path(&self, parts: &Parts) -> String {
        match self {
            Self::Paths | Self::Hetzner | Self::DigitalOcean => parts.uri.path().to_owned(),
            Self::AwsQuery(action) | Self::AwsJson(action) => format!("/{action}"),
        }
    }

    pub(super) fn class(&self, parts: &Parts) -> Class {
        match self {
            Self::Paths | Self::Hetzner | Self::DigitalOcean => Class::of(&parts.method, &parts.uri),
            Self::AwsQuery(action) | Self::AwsJson(action) => {
                let reads = ["Describe", "List", "Get"].iter().any(|begin| action.starts_with(begin));
                if reads { Class::Read } else { Class::Mutation }
            }
        }
    }

    /// The refusal that stands for this status: AWS throttles with 400 and has no conflicts, and DigitalOcean's is that
    /// the balancer is still being changed.
    pub(super) fn refusal(&self, code: u16, reason: &str) -> Response<AnyBody> {
        let message = "the fault proxy says so";
        let (aws_status, aws) = match code {
            409 => (503, "ServiceUnavailable"),
            429 => (400, "Throttling"),
            _ => (500, "InternalFailure"),
        };
        let (status, kind, body) = match self {
            Self::Paths => return refusal(code, reason),
            Self::AwsQuery(_) => {
                let error = format!("<Error><Code>{aws}</Code><Message>{message}</Message></Error>");
                let body = format!("<ErrorResponse>{error}<RequestId>none</RequestId></ErrorResponse>");
                (aws_status, "text/xml", body)
            }
            Self::AwsJson(_) => {
                let body = json!({"__type": aws, "message": message}).to_string();
                (aws_status, "application/x-amz-json-1.1", body)
            }
            Self::Hetzner => (code, "application/json", hetzner(code, message)),
            Self::DigitalOcean => {
                let (status, body) = digitalocean(code, message);
                (status, "application/json", body)
            }
        };
        let mut response = Response::new(whole(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }
}

fn hetzner(code: u16, message: &str) -> String {
    let said = match code {
        409 => "conflict",
        429 => "rate_limit_exceeded",
        _ => "server_error",
    };
    json!({"error": {"code": said, "message": message, "details": null}}).to_string()
}

fn digitalocean(code: u16, message: &str) -> (u16, String) {
    let (status, id, message) = match code {
        409 => (403, "forbidden", "Load Balancer can't be updated while it processes previous actions"),
        429 => (429, "too_many_requests", "API Rate limit exceeded."),
        _ => (500, "server_error", message),
    };
    (status, json!({"id": id, "message": message, "request_id": "none"}).to_string())
}
