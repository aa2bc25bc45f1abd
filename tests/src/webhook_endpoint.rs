//! An endpoint of the provider `webhook` (`docs/webhook.md`) on loopback: it remembers what it was asked for, refuses
//! whatever the contract does not have, and fails when it is told to. Its types are its own and not the provider's, so
//! that a mistake on one side shows.

mod balancer;
mod fault;
mod store;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Result;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::Response,
};

use crate::loopback::{ANY_PORT, Loopback, lock, serve};

pub use balancer::{Balancer, Frontend, Owner, Spec, Target};
pub use fault::Fault;
pub use store::{Call, Store};

/// A running endpoint. It ends with the value.
pub struct WebhookEndpoint(Loopback<Store>);

impl WebhookEndpoint {
    /// Starts one on a free port of loopback; it has the addresses 203.0.113.1 to 203.0.113.254 and 2001:db8::1 to
    /// 2001:db8::fe and wants no token.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self> {
        let routed = |listener, store| serve(listener, Router::new().fallback(answer).with_state(store));
        Ok(Self(Loopback::start(ANY_PORT, Store::default(), routed).await?))
    }

    /// For `spec.webhook.url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/balancers", self.0.address())
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
    let (reply, fault) = {
        let mut store = lock(&store);
        let fault = store.next_fault(&method);
        let before = fault.as_ref().and_then(Fault::instead);
        let reply = before.unwrap_or_else(|| handle(&mut store, &method, &uri, &headers, &body));
        store.log(&method, uri.path(), reply.status);
        (reply, fault)
    };
    match fault {
        Some(fault) => fault.spoil(reply).await,
        None => reply.into_response(),
    }
}

fn handle(store: &mut Store, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> store::Reply {
    let result = store.admit(headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()));
    let result = result.and_then(|()| {
        let path = uri.path().strip_prefix("/balancers/v1/load-balancers/");
        let path = path.ok_or_else(|| store::Reply::stranger(uri.path()))?;
        if method == Method::PUT && headers.get(header::CONTENT_TYPE).is_none_or(|t| t != "application/json")
        {
            return Err(store::Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a PUT has JSON"));
        }
        match (method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", [uid]) => store.get(uid),
            ("PUT", [uid]) => store.put(uid, body),
            ("PUT", [uid, "targets"]) => store.put_targets(uid, body),
            ("DELETE", [uid]) => store.delete(uid),
            _ => Err(store::Reply::error(StatusCode::METHOD_NOT_ALLOWED, "the contract has no such call")),
        }
    });
    result.unwrap_or_else(|refusal| refusal)
}
