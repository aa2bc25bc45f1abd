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
}

impl Dialect {
    pub(super) fn of(parts: &Parts, body: &Bytes) -> Self {
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
            Self::Paths => parts.uri.path().to_owned(),
            Self::AwsQuery(action) | Self::AwsJson(action) => format!("/{action}"),
        }
    }

    pub(super) fn class(&self, parts: &Parts) -> Class {
        match self {
            Self::Paths => Class::of(&parts.method, &parts.uri),
            Self::AwsQuery(action) | Self::AwsJson(action) => {
                let reads = ["Describe", "List", "Get"].iter().any(|begin| action.starts_with(begin));
                if reads { Class::Read } else { Class::Mutation }
            }
        }
    }

    /// The refusal that stands for this status: AWS throttles with 400, and has no conflicts.
    pub(super) fn refusal(&self, code: u16, reason: &str) -> Response<AnyBody> {
        let (status, aws) = match code {
            409 => (503, "ServiceUnavailable"),
            429 => (400, "Throttling"),
            _ => (500, "InternalFailure"),
        };
        let message = "the fault proxy says so";
        let (kind, body) = match self {
            Self::Paths => return refusal(code, reason),
            Self::AwsQuery(_) => {
                let error = format!("<Error><Code>{aws}</Code><Message>{message}</Message></Error>");
                ("text/xml", format!("<ErrorResponse>{error}<RequestId>none</RequestId></ErrorResponse>"))
            }
            Self::AwsJson(_) => {
                ("application/x-amz-json-1.1", json!({"__type": aws, "message": message}).to_string())
            }
        };
        let mut response = Response::new(whole(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }
}
