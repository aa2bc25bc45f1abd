//! The endpoint as a server.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};
use serde_json::Value;

use super::{
    error::Error,
    fault::Fault,
    store::{Answered, Asked, Call, Store},
};
use crate::loopback::{ANY_PORT, Loopback, lock, serve};

/// The token that it wants until it is told otherwise.
const TOKEN: &str = "right-token";
/// Of requests, in an hour.
const LIMIT: u32 = 3600;

/// A running endpoint. It ends with the value.
pub struct HetznerEndpoint(Loopback<Store>);

impl HetznerEndpoint {
    /// The token that it wants until it is told otherwise.
    pub const TOKEN: &str = TOKEN;

    /// Starts one on a free port of loopback, with the servers 1 to 200, which have the label `node=yes`, the networks 7
    /// and 8 and the certificates 1 and 2. It is prompt.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self> {
        let store = Store::fresh(TOKEN);
        let routed = |listener, store| serve(listener, Router::new().fallback(answer).with_state(store));
        Ok(Self(Loopback::start(ANY_PORT, store, routed).await?))
    }

    /// For `spec.hetzner.endpointUrl`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.0.address())
    }

    /// Where it listens: for a proxy in front of it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it has, what it was asked, and how it behaves from now on.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store()
    }
}

async fn answer(
    State(store): State<Arc<Mutex<Store>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut store = lock(&store);
    let path = uri.path().strip_prefix("/v1/").unwrap_or_default();
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = Asked { method: method.as_str(), path: path.split('/').collect(), query, body: &body };
    let name = asked.name();
    store.pass_time();
    let fault = store.next_fault(&name);
    let answered =
        admit(&mut store, &headers, &body).and_then(|()| carry_out(&mut store, &asked, fault.as_ref()));
    let broken = matches!(fault, Some(Fault::BrokenBefore | Fault::BrokenAfter));
    let status =
        if broken { 0 } else { answered.as_ref().map_or_else(|error| error.status, |(status, _)| *status) };
    let code = answered.as_ref().err().map(|error| error.code.clone());
    let mut body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    body.as_object_mut().map(|fields| fields.remove("private_key"));
    store.calls.push(Call { name, status, code, body });
    respond(&store, answered, broken)
}

fn carry_out(store: &mut Store, asked: &Asked<'_>, fault: Option<&Fault>) -> Answered {
    let told = |status: u16, code: &str| Err(Error::new(status, code, "this call was told to fail"));
    match fault {
        Some(Fault::Refused(status, code)) => told(*status, code),
        Some(Fault::BrokenBefore) => told(500, ""),
        Some(Fault::Committed(status, code)) => {
            store.handle(asked, None)?;
            told(*status, code)
        }
        Some(Fault::ActionFails(code)) => {
            store.handle(asked, Some(Error::new(0, code, "this action was told to fail")))
        }
        Some(Fault::BrokenAfter) | None => store.handle(asked, None),
    }
}

fn admit(store: &mut Store, headers: &HeaderMap, body: &[u8]) -> Result<(), Error> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let said = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if said != Some(&store.token) {
        // As careless as an endpoint may be: it repeats what it was sent.
        let message = format!("{} is not accepted", said.unwrap_or("nothing"));
        return Err(Error::new(401, "unauthorized", message));
    }
    match &mut store.remaining {
        Some(0) => {
            return Err(Error::new(429, "rate_limit_exceeded", "limit of 3600 requests per hour reached"));
        }
        Some(left) => *left -= 1,
        None => {}
    }
    if !body.is_empty() && text(header::CONTENT_TYPE) != Some("application/json") {
        return Err(Error::new(415, "unsupported_media_type", "a body is JSON"));
    }
    Ok(())
}

fn respond(store: &Store, answered: Answered, broken: bool) -> Response {
    let (status, body) = answered.unwrap_or_else(|error| (error.status, Some(error.body())));
    let body = match (broken, body) {
        (true, _) => {
            let parts = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("told to break"))];
            Body::from_stream(futures::stream::iter(parts))
        }
        (false, Some(body)) => Body::from(body.to_string()),
        (false, None) => Body::empty(),
    };
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header("RateLimit-Limit", LIMIT)
        .header("RateLimit-Remaining", store.remaining.unwrap_or(LIMIT))
        .header("RateLimit-Reset", 1_767_225_600);
    response.body(body).unwrap_or_default()
}
