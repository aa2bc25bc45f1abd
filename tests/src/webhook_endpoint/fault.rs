//! How a call of the endpoint can go wrong.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::store::Reply;

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status instead of being carried out.
    Status(u16),
    /// Answered with this status; everything was done.
    StatusAfter(u16),
    /// The connection breaks within the answer; nothing was done.
    BrokenBefore,
    /// The same, but everything was done.
    BrokenAfter,
    /// No answer ever; everything was done.
    Hangs,
    /// The answer goes on for longer than anybody should read; everything was done.
    Endless,
    /// The answer's body is this; everything was done.
    Body(String),
    /// A 404 from something that does not know the contract.
    Stranger,
    /// A redirect to this URL.
    Redirect(String),
}

impl Fault {
    /// The answer, where the call is not carried out.
    pub(super) fn instead(&self) -> Option<Reply> {
        match self {
            Self::Status(code) => {
                let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Some(Reply::error(status, "this call was told to fail"))
            }
            Self::BrokenBefore => Some(Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "")),
            Self::Stranger => Some(Reply::stranger("anywhere")),
            Self::Redirect(url) => Some(Reply::redirect(url)),
            Self::StatusAfter(_) | Self::BrokenAfter | Self::Hangs | Self::Endless | Self::Body(_) => None,
        }
    }

    /// What becomes of the answer.
    pub(super) async fn spoil(self, reply: Reply) -> Response {
        let reply = match self {
            Self::StatusAfter(code) => Self::Status(code).instead().unwrap_or(reply),
            _ => reply,
        };
        let status = reply.status;
        let mut response = reply.into_response();
        match self {
            Self::Hangs => std::future::pending().await,
            Self::BrokenBefore | Self::BrokenAfter => {
                let parts = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("told to break"))];
                *response.body_mut() = Body::from_stream(futures::stream::iter(parts));
            }
            Self::Endless => {
                let part = || Some((Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096])), ()));
                let parts = futures::stream::unfold((), move |()| std::future::ready(part()));
                *response.body_mut() = Body::from_stream(parts);
            }
            Self::Body(text) => *response.body_mut() = Body::from(text),
            Self::Status(_) | Self::StatusAfter(_) | Self::Stranger | Self::Redirect(_) => return response,
        }
        *response.status_mut() = status;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
