//! The endpoint as a server.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Result;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Method, header},
    response::Response,
};
use http_body_util::BodyExt;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{
    answer::{self, Outcome},
    clock::Clock,
    credentials::{self, Protocol},
    failure::Failure,
    fault::Fault,
    form::Form,
    request_log::Call,
    settings::Settings,
    store::Store,
};
use crate::loopback::{ANY_PORT, Loopback, lock};

const VERSION: &str = "2015-12-01";

/// A running endpoint. It ends with the value.
pub struct AwsEndpoint(Loopback<Store>);

impl AwsEndpoint {
    /// Starts one on a free port of loopback: an empty account, prompt and without limits of rates.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self> {
        Self::start_at(ANY_PORT, Store::default()).await
    }

    /// As [`AwsEndpoint::start`], with these settings and this clock.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start_with(settings: Settings, clock: Clock) -> Result<Self> {
        Self::start_at(ANY_PORT, Store::new(settings, clock)).await
    }

    /// Starts one at an address, with everything that it has.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn start_at(address: SocketAddr, store: Store) -> Result<Self> {
        Ok(Self(Loopback::start(address, store, serve).await?))
    }

    /// The endpoint URL for every service of the SDK.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }

    /// Where it listens: for a proxy in front of it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it has, what it was asked, and how it behaves from now on. Nothing is answered while the guard lives.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store()
    }
}

async fn serve(listener: TcpListener, store: Arc<Mutex<Store>>) {
    // The connections end with the task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let store = store.clone();
        let service = service_fn(move |request| handle(store.clone(), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

/// An error closes the connection without an answer.
async fn handle(store: Arc<Mutex<Store>>, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let (fault, response) = {
        let mut store = lock(&store);
        let call = Asked::of(&parts.headers, &body);
        let at = store.clock.now();
        let fault = store.next_fault(&call.action);
        let response = answer(&mut store, &parts.method, &parts.headers, &call, &body, fault.as_ref(), at);
        (fault, response)
    };
    match fault {
        Some(Fault::DroppedBefore | Fault::DroppedAfter) => anyhow::bail!("told to drop the connection"),
        Some(Fault::Hangs) => std::future::pending().await,
        Some(Fault::Delayed(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    Ok(response)
}

/// Which call it is, and in which protocol.
struct Asked {
    protocol: Protocol,
    service: &'static str,
    action: String,
    form: Form,
}

impl Asked {
    fn of(headers: &HeaderMap, body: &Bytes) -> Self {
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let Some(target) = target else {
            let mut form = Form::parse(body);
            let action = form.take("Action").unwrap_or_default();
            return Self { protocol: Protocol::Query, service: "elasticloadbalancing", action, form };
        };
        let (api, action) = target.split_once('.').unwrap_or((target, ""));
        let service = if api == "CertificateManager" { "acm" } else { "tagging" };
        Self { protocol: Protocol::Json, service, action: action.to_owned(), form: Form::default() }
    }
}

fn answer(
    store: &mut Store,
    method: &Method,
    headers: &HeaderMap,
    call: &Asked,
    body: &[u8],
    fault: Option<&Fault>,
    at: std::time::Duration,
) -> Response<Body> {
    let mut outcome: Outcome = match fault {
        Some(fault) if !fault.commits() => {
            Err(fault.failure().unwrap_or_else(|| Failure::with_status(0, "Dropped", "")))
        }
        _ => carry_out(store, method, headers, call, body),
    };
    if let Some(failure) = fault.and_then(Fault::failure) {
        outcome = Err(failure);
    }
    let dropped = matches!(fault, Some(Fault::DroppedBefore | Fault::DroppedAfter | Fault::Hangs));
    let status = if dropped { 0 } else { outcome.as_ref().map_or_else(|failure| failure.status, |_| 200) };
    let parameters: BTreeMap<String, String> = call.form.parameters().clone();
    let code = outcome.as_ref().err().map(|failure| failure.code.clone());
    store.log.calls.push(Call { action: call.action.clone(), parameters, at, status, code });
    let request_id = format!("00000000-0000-4000-8000-{:012x}", store.log.calls.len());
    match call.protocol {
        Protocol::Query => answer::xml(&call.action, &outcome, &request_id),
        Protocol::Json => answer::json(&outcome, &request_id),
    }
}

fn carry_out(store: &mut Store, method: &Method, headers: &HeaderMap, call: &Asked, body: &[u8]) -> Outcome {
    credentials::check(headers, call.protocol, call.service, &store.settings.access_key)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = match call.protocol {
        Protocol::Query => "application/x-www-form-urlencoded",
        Protocol::Json => "application/x-amz-json-1.1",
    };
    if method != Method::POST || !kind.starts_with(wanted) {
        return Err(Failure::new("MalformedRequest", format!("A call is a POST of {wanted}")));
    }
    if call.protocol == Protocol::Json {
        return store.other(&call.action, body);
    }
    let mut form = call.form.clone();
    if form.take("Version").as_deref() != Some(VERSION) {
        return Err(Failure::new("InvalidAction", format!("The version must be {VERSION}")));
    }
    store.elbv2(&call.action, form)
}
