//! `/health`, `/ready` and `/metrics`, under CoreDNS' names and under ours.

use std::{io, net::SocketAddr};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use penstock_runtime::{Readiness, Telemetry};
use tokio_util::sync::CancellationToken;

/// Why the endpoint could not serve.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address could not be bound.
    #[error("cannot listen on {0} for metrics and health: choose another --http-address")]
    Bind(SocketAddr, #[source] io::Error),
    /// The server ended.
    #[error("the metrics and health server ended")]
    Serve(#[source] io::Error),
}

/// Serves until the token is cancelled.
///
/// # Errors
/// When the address cannot be bound or the server fails.
pub async fn serve(
    telemetry: Telemetry,
    address: SocketAddr,
    until: CancellationToken,
) -> Result<(), WebError> {
    let listener =
        tokio::net::TcpListener::bind(address).await.map_err(|error| WebError::Bind(address, error))?;
    tracing::info!(%address, "serving metrics and health");
    let shutdown = async move { until.cancelled().await };
    axum::serve(listener, router(telemetry)).with_graceful_shutdown(shutdown).await.map_err(WebError::Serve)
}

fn router(telemetry: Telemetry) -> Router {
    let readiness = telemetry.readiness.clone();
    let ready = move || {
        let readiness = readiness.clone();
        async move { is_ready(&readiness) }
    };
    Router::new()
        .route("/health", get(|| async { "OK" }))
        .route("/healthz", get(|| async { "OK" }))
        .route("/ready", get(ready.clone()))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { telemetry.metrics() }))
}

fn is_ready(readiness: &Readiness) -> impl IntoResponse + use<> {
    if readiness.is_ready() {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not synced yet, or about to end")
    }
}
