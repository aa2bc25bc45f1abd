//! The wiring: tasks, streams, and their ends.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{StreamExt, channel::mpsc::unbounded};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        Controller, WatchStreamExt,
        controller::{self, Config},
        reflector, watcher,
    },
};
use penstock_model::ObjectKey;
use penstock_providers::pool::PoolProvider;
use penstock_runtime::{HttpError, Telemetry, watch};
use tokio::sync::watch as watch_value;
use tokio_util::sync::CancellationToken;

use crate::{
    adoption::adopt_all,
    class::Classes,
    configuration::Configuration,
    events::Events,
    metrics::Metrics,
    reconcile::{Context, error_policy, reconcile},
    waiting::Waiting,
};

/// Reconciliations at the same time. Each waits for one write at most.
const CONCURRENCY: u16 = 32;

/// What the operator must be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where IPAddressPools are read from.
    pub namespace: String,
    /// Where metrics and health are served.
    pub http_address: SocketAddr,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The endpoint for metrics and health.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The first list of Services failed.
    #[error(
        "cannot list Services: check that the API server is reachable and the operator's ClusterRole is bound"
    )]
    List(#[source] Box<kube::Error>),
}

/// Runs until `stop` is cancelled.
///
/// # Errors
/// What keeps it from starting, or a failed endpoint.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> Result<(), OperatorError> {
    let telemetry = Telemetry::new(env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::register(&telemetry);
    let readiness = telemetry.readiness.clone();
    let http = telemetry.serve(options.http_address, stop.clone());
    let work = control(client, options.namespace, metrics, || readiness.set_ready(), &stop);
    let http = async { http.await.map_err(OperatorError::from) };
    tokio::try_join!(http, work)?;
    Ok(())
}

/// Watches the configuration beside the Services. A stop lets the reconciliations under way end.
async fn control(
    client: Client,
    namespace: String,
    metrics: Metrics,
    ready: impl FnOnce(),
    stop: &CancellationToken,
) -> Result<(), OperatorError> {
    let provider = Arc::new(PoolProvider::default());
    let classes = Arc::new(RwLock::new(Classes::default()));
    let (changed, changes) = unbounded();
    let (known, all_known) = watch_value::channel(false);
    let configuration = Configuration {
        client: client.clone(),
        namespace,
        provider: provider.clone(),
        classes: classes.clone(),
        metrics: metrics.clone(),
        changed,
        known,
    };
    let (waiting, woken) = Waiting::new();
    let events = Events::start(client.clone());
    let context = Context { client, provider, classes, waiting: Arc::new(waiting), events, metrics };
    let services = async {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            adopted = adopt_known(&context, all_known) => adopted?,
        }
        ready();
        reconcile_all(Arc::new(context), changes, woken, stop).await;
        Ok(())
    };
    tokio::select! {
        () = configuration.run() => Ok(()),
        result = services => result,
    }
}

/// Once classes and pools are known, takes over what the statuses say.
async fn adopt_known(
    context: &Context,
    mut all_known: watch_value::Receiver<bool>,
) -> Result<(), OperatorError> {
    // The sender lives as long as the watch of the configuration, which ends after this.
    let _ = all_known.wait_for(|known| *known).await;
    let classes = context.classes.read().unwrap_or_else(PoisonError::into_inner).clone();
    let adopted = adopt_all(&context.client, &context.provider, &classes).await;
    adopted.map_err(|error| OperatorError::List(Box::new(error)))
}

async fn reconcile_all(
    context: Arc<Context>,
    changes: impl StreamExt<Item = ()> + Send + 'static,
    woken: impl StreamExt<Item = reflector::ObjectRef<Service>> + Send + 'static,
    stop: &CancellationToken,
) {
    let (reader, writer) = reflector::store();
    let api: Api<Service> = Api::all(context.client.clone());
    let deletions = context.clone();
    let events = watch(api, watcher::Config::default())
        .modify(|service| service.managed_fields_mut().clear())
        .then(move |event| forget_deleted(deletions.clone(), event));
    let services = reflector::reflector(writer, events).applied_objects();
    let stopped = stop.clone().cancelled_owned();
    Controller::for_stream(services, reader)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_all_on(changes)
        .reconcile_on(woken)
        .graceful_shutdown_on(stopped)
        .run(reconcile, error_policy, context)
        .for_each(|result| async {
            // What `reconcile` returns is logged by the error policy; these are the controller's own.
            match result {
                Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..))
                | Ok(_) => {}
                Err(error) => tracing::warn!(%error, "controller"),
            }
        })
        .await;
}

/// A Service whose finalizer somebody removed is gone without a clean-up: its addresses are free again.
async fn forget_deleted(
    context: Arc<Context>,
    event: Result<watcher::Event<Service>, watcher::Error>,
) -> Result<watcher::Event<Service>, watcher::Error> {
    if let Ok(watcher::Event::Delete(service)) = &event {
        let key = ObjectKey::of(&service.metadata);
        if let Err(error) = context.forget(&key).await {
            tracing::warn!(%error, service = %key, "addresses could not be released");
        }
    }
    event
}
