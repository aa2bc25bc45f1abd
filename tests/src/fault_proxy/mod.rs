//! A proxy that makes one call, or one event of a watch, go wrong.
//!
//! It stands on loopback between a process and the HTTP API that it calls: the API server, or a provider. Every
//! mutating call is numbered and logged; one of AWS is named by its action. Calls are carried out in tasks of their own: what has left the process goes
//! on when the process is dead, as on a network.

mod answer;
mod call;
mod dialect;
mod fault;
mod plan;
mod record;
mod upstream;
mod watch;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch as watch_value, task::JoinHandle};

pub use call::{Call, WatchEvent};
pub use fault::{CallFault, EventFault};
pub use plan::{Dice, Plan};
pub use record::Entry;
pub use upstream::Upstream;
pub use watch::LOSS;

use answer::{AnyBody, BoxError, whole};
use call::{Class, collection, event_identity};
use dialect::Dialect;
use record::Record;

/// The reply is on its way for this long before the caller is killed: it has then been read, or just not.
const REPLY: Duration = Duration::from_millis(5);

/// Kills the process behind the proxy and returns when it is dead.
pub type Kill = Arc<dyn Fn() + Send + Sync>;

/// The proxy; it ends when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Shared,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    upstream: Upstream,
    kill: Kill,
    record: Mutex<Record>,
    /// Mutating calls that are being carried out; those of a dead process too.
    under_way: watch_value::Sender<usize>,
}

/// Where a request stands in the log. The log may begin anew before the request is answered.
#[derive(Clone, Copy)]
struct Place {
    began: Instant,
    index: usize,
}

impl FaultProxy {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(upstream: Upstream, kill: Kill) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("bind the fault proxy")?;
        let address = listener.local_addr().context("bind the fault proxy")?;
        let shared = Shared(Arc::new(Inner {
            upstream,
            kill,
            record: Mutex::new(Record::new(Plan::Nothing)),
            under_way: watch_value::Sender::new(0),
        }));
        let server = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { address, shared, server })
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Begins anew: an empty log, and from now on this plan.
    pub fn begin(&self, plan: Plan) {
        *self.shared.record() = Record::new(plan);
    }

    /// Returns once every mutating call that has arrived has been carried out, also those of a dead process.
    pub async fn drained(&self) {
        // The sender lives as long as the proxy.
        let _ = self.shared.0.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    /// From now on nothing goes wrong; the log stays.
    pub fn heal(&self) {
        self.shared.record().plan = Plan::Nothing;
    }

    /// How many faults happened since the beginning.
    #[must_use]
    pub fn fired(&self) -> usize {
        self.shared.record().fired
    }

    /// All requests since the beginning.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.shared.record().entries.clone()
    }

    /// All events of watches since the beginning, as they came from the API server.
    #[must_use]
    pub fn events(&self) -> Vec<WatchEvent> {
        self.shared.record().events.clone()
    }

    /// When the last request came, of whatever kind.
    #[must_use]
    pub fn last_call(&self) -> Option<Instant> {
        self.shared.record().entries.last().map(|entry| entry.at)
    }

    /// When something other than a Lease was last written.
    #[must_use]
    pub fn last_write(&self) -> Option<Instant> {
        self.shared.record().entries.iter().rev().find(|entry| entry.is_write()).map(|entry| entry.at)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Shared) {
    // The connections end with the task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Otherwise a reply in two parts waits for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        let service = service_fn(move |request| shared.clone().handle(request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error closes the connection without an answer.
    async fn handle(self, request: Request<Incoming>) -> Result<Response<AnyBody>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        tokio::spawn(async move {
            let dialect = Dialect::of(&parts, &body);
            let class = dialect.class(&parts);
            let (place, fault) = self.arrived(&parts, &dialect.path(&parts), class);
            let mutates = usize::from(class == Class::Mutation);
            self.0.under_way.send_modify(|count| *count += mutates);
            let answer = self.answer(&parts, body, &dialect, fault).await;
            self.0.under_way.send_modify(|count| *count -= mutates);
            self.answered(place, &answer);
            answer
        })
        .await?
    }

    fn arrived(&self, parts: &http::request::Parts, path: &str, class: Class) -> (Place, Option<CallFault>) {
        let mut record = self.record();
        let index = record.arrived(&parts.method, path, class);
        let place = Place { began: record.began, index };
        if class != Class::Mutation {
            return (place, None);
        }
        let call = record.entries[index].call.clone();
        let fault = record.plan.call(&call);
        record.entries[index].fault = fault.map(|fault| fault.to_string());
        record.fired += usize::from(fault.is_some());
        (place, fault)
    }

    fn answered(&self, place: Place, answer: &Result<Response<AnyBody>, BoxError>) {
        let mut record = self.record();
        if let (true, Ok(response)) = (record.began == place.began, answer) {
            record.entries[place.index].status = Some(response.status().as_u16());
        }
    }

    async fn answer(
        &self,
        parts: &http::request::Parts,
        body: Bytes,
        dialect: &Dialect,
        fault: Option<CallFault>,
    ) -> Result<Response<AnyBody>, BoxError> {
        let class = dialect.class(parts);
        match fault {
            None => self.forward(parts, body, class).await,
            Some(CallFault::KillBefore) => {
                self.kill().await;
                Err("killed before the call".into())
            }
            Some(CallFault::KillCommitted) => {
                self.forward(parts, body, class).await?;
                self.kill().await;
                Err("killed before the reply".into())
            }
            Some(CallFault::KillReplied) => {
                let response = self.forward(parts, body, class).await?;
                let killer = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(REPLY).await;
                    killer.kill().await;
                });
                Ok(response)
            }
            Some(CallFault::Conflict) => Ok(dialect.refusal(409, "Conflict")),
            Some(CallFault::TooManyRequests) => Ok(dialect.refusal(429, "TooManyRequests")),
            Some(CallFault::ErrorBefore) => Ok(dialect.refusal(500, "InternalError")),
            Some(CallFault::ErrorCommitted) => {
                self.forward(parts, body, class).await?;
                Ok(dialect.refusal(500, "InternalError"))
            }
            Some(CallFault::LostReply) => {
                self.forward(parts, body, class).await?;
                Err("the reply is lost".into())
            }
        }
    }

    async fn forward(
        &self,
        parts: &http::request::Parts,
        body: Bytes,
        class: Class,
    ) -> Result<Response<AnyBody>, BoxError> {
        let (mut head, body) = self.0.upstream.send(parts, body).await?.into_parts();
        // They describe the connection behind, and a body whose length may change.
        for name in [header::TRANSFER_ENCODING, header::CONNECTION, header::CONTENT_LENGTH] {
            head.headers.remove(name);
        }
        let body = match class {
            Class::Watch if head.status.is_success() => {
                watch::body(self.clone(), collection(parts.uri.path()).to_owned(), body)
            }
            _ => whole(body.collect().await?.to_bytes()),
        };
        Ok(Response::from_parts(head, body))
    }

    /// What happens to a line of a watch.
    fn meet_event(&self, collection: &str, line: &[u8]) -> Option<EventFault> {
        let (kind, name) = event_identity(line)?;
        let mut record = self.record();
        let event = record.event(collection, kind, name);
        let fault = record.plan.event(&event);
        record.fired += usize::from(fault.is_some());
        fault
    }

    async fn kill(&self) {
        let kill = self.0.kill.clone();
        // It waits for the death; a panic of it has been printed.
        let _ = tokio::task::spawn_blocking(move || kill()).await;
    }
}
