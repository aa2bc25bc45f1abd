//! `/metrics`, `/healthz` and `/readyz`.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Between attempts to have an address that another process has.
const RETRY: Duration = Duration::from_millis(50);

/// Why the endpoint could not serve.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address could not be bound.
    #[error("cannot listen on {address} for metrics and health: choose another --http-address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the metrics and health server ended")]
    Serve(#[source] std::io::Error),
}

/// Whether the process has seen all it watches and acts on it. Starts as not ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that the process is ready.
    pub fn set_ready(&self) {
        self.set(true);
    }

    /// Says whether the process is ready, for one that may cease to be.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the endpoint shows.
#[derive(Clone)]
pub struct Telemetry {
    registry: Arc<Mutex<Registry>>,
    /// Answers `/readyz`.
    pub readiness: Readiness,
}

impl Telemetry {
    /// With the metric `penstock_build_info`.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        let registry = Arc::new(Mutex::new(Registry::default()));
        let telemetry = Self { registry, readiness: Readiness::default() };
        let build = Info::new(vec![("version", version)]);
        telemetry.register(|registry| registry.register("build", "The version of this process", build));
        telemetry
    }

    /// Adds metrics, with the prefix `penstock`.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        self.register_as_named(|registry| add(registry.sub_registry_with_prefix("penstock")));
    }

    /// Adds metrics under names that others gave them.
    pub fn register_as_named(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Serves until the token is cancelled. Binds first, so that a taken port is an error at start.
    ///
    /// # Errors
    /// When the address cannot be bound or the server fails.
    pub async fn serve(self, address: SocketAddr, until: CancellationToken) -> Result<(), HttpError> {
        self.serve_on(bind(address).await?, until).await
    }

    /// As [`Telemetry::serve`], but waits for as long as another process has the address: the one that this one follows.
    ///
    /// # Errors
    /// When the address cannot be bound for another reason, or the server fails.
    pub async fn serve_once_free(
        self,
        address: SocketAddr,
        until: CancellationToken,
    ) -> Result<(), HttpError> {
        let listener = tokio::select! {
            () = until.cancelled() => return Ok(()),
            listener = bind_once_free(address) => listener?,
        };
        self.serve_on(listener, until).await
    }

    async fn serve_on(self, listener: TcpListener, until: CancellationToken) -> Result<(), HttpError> {
        let shutdown = async move { until.cancelled().await };
        let server = axum::serve(listener, self.router()).with_graceful_shutdown(shutdown);
        server.await.map_err(HttpError::Serve)
    }

    /// The answer to who asks for all metrics, for a server of another shape.
    #[must_use]
    pub fn metrics(&self) -> Response {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match encode(&mut text, &registry) {
            Ok(()) => {
                const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()
            }
            Err(error) => {
                let text = format!("metrics cannot be encoded: {error}\n");
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }

    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| HttpError::Bind { address, source })?;
    tracing::info!(%address, "serving metrics and health");
    Ok(listener)
}

async fn bind_once_free(address: SocketAddr) -> Result<TcpListener, HttpError> {
    let mut waiting = false;
    loop {
        match bind(address).await {
            Err(HttpError::Bind { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
                if !std::mem::replace(&mut waiting, true) {
                    tracing::info!(%address, "another process serves there: metrics and health wait until it ends");
                }
                tokio::time::sleep(RETRY).await;
            }
            other => return other,
        }
    }
}

async fn readyz(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    if telemetry.readiness.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not synced yet\n")
    }
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    telemetry.metrics()
}
