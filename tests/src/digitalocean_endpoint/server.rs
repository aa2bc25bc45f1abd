//! The endpoint itself.

use std::{
    collections::BTreeMap,
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
    fault::Fault,
    refusal::Reply,
    store::{Call, Store},
};
use crate::loopback::{ANY_PORT, Loopback, lock, serve};

/// A running endpoint. It ends with the value.
pub struct DigitalOceanEndpoint(Loopback<Store>);

impl DigitalOceanEndpoint {
    /// Starts one on a free port of loopback. The account has the Droplets 1 to 9, all with the tag `k8s`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self> {
        let routed = |listener, store| serve(listener, Router::new().fallback(answer).with_state(store));
        Ok(Self(Loopback::start(ANY_PORT, Store::default(), routed).await?))
    }

    /// For `spec.digitalocean.endpointUrl`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address())
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
    let fault = store.next_fault(method == Method::GET);
    let mut reply = match &fault {
        Some(fault) if !fault.commits() => Reply::refusal(500, "nothing was done"),
        _ => handle(&mut store, &method, &uri, &headers, &body),
    };
    if let Some(Fault::Status(status) | Fault::StatusAfter(status)) = &fault {
        reply = Reply::refusal(*status, "this call was told to fail");
    }
    let broken = matches!(fault, Some(Fault::Broken | Fault::BrokenAfter));
    let call = Call {
        method: method.to_string(),
        path: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        status: if broken { 0 } else { reply.status },
        body: without_keys(&body),
    };
    store.calls.push(call);
    let (limit, used) = store.rate;
    let mut response = reply.into_response((limit, limit - used));
    if broken {
        let parts = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("told to break"))];
        *response.body_mut() = Body::from_stream(futures::stream::iter(parts));
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

fn without_keys(body: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    if let Some(object) = value.as_object_mut() {
        object.remove("private_key");
    }
    Some(value)
}

fn handle(store: &mut Store, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Reply {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Err(refusal) = store.admit(authorization) {
        return refusal;
    }
    if !body.is_empty() && headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return Reply::refusal(415, "a body has JSON");
    }
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    let answered = match (method.as_str(), path.as_slice()) {
        ("GET", ["v2", "load_balancers"]) => store.list_balancers(&query),
        ("POST", ["v2", "load_balancers"]) => store.create_balancer(body),
        ("GET", ["v2", "load_balancers", id]) => store.get_balancer(id),
        ("PUT", ["v2", "load_balancers", id]) => store.replace_balancer(id, body),
        ("DELETE", ["v2", "load_balancers", id]) => store.delete_balancer(id),
        ("POST", ["v2", "load_balancers", id, "droplets"]) => store.change_droplets(id, body, true),
        ("DELETE", ["v2", "load_balancers", id, "droplets"]) => store.change_droplets(id, body, false),
        ("GET", ["v2", "certificates"]) => store.list_certificates(&query),
        ("POST", ["v2", "certificates"]) => store.upload_certificate(body),
        ("DELETE", ["v2", "certificates", id]) => store.delete_certificate(id),
        _ => Err(Reply::absent()),
    };
    answered.unwrap_or_else(|refusal| refusal)
}
