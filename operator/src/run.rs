//! The wiring: tasks, streams, and their ends.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{
    StreamExt, TryStreamExt,
    channel::mpsc::{UnboundedReceiver, unbounded},
};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    runtime::{
        Controller, WatchStreamExt,
        controller::{self, Config},
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use penstock_model::ObjectKey;
use penstock_providers::pool::PoolProvider;
use penstock_runtime::{HttpError, Telemetry, watch};
use tokio::sync::{Notify, watch as watch_value};
use tokio_util::sync::CancellationToken;

use crate::{
    adoption::adopt_all,
    backoff::Backoff,
    configuration::Configuration,
    departure::Departures,
    drift::{Suspects, look_for_drift},
    endpoints::Endpoints,
    events::Events,
    finding::Rules,
    fleet::Fleet,
    intent::World,
    leadership::{Candidate, Gate, Identity, LeadershipError},
    metrics::Metrics,
    neighbourhood::Neighbourhood,
    orphan::collect_orphans,
    reconcile::{Context, error_policy, reconcile},
    record::Records,
    shutdown::until_stopped,
    tls_secrets::TlsSecrets,
    trim::trim,
    wake_list::WakeList,
};

/// Reconciliations at the same time. Each waits for one write at most.
const CONCURRENCY: u16 = 32;

/// Services in one answer of the API server to the first list: what is read is larger than what is kept.
const PAGE: u32 = 100;

/// What the operator must be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where IPAddressPools are read from.
    pub namespace: String,
    /// Where metrics and health are served.
    pub http_address: SocketAddr,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Under which name this process leads.
    pub identity: Identity,
    /// Between two looks for drift at providers, at least; at most twice as long.
    pub drift_interval: Duration,
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
    /// Another replica leads now.
    #[error(transparent)]
    Leadership(#[from] LeadershipError),
}

/// Runs until `stop` is cancelled: stands by until it leads, then does the work.
///
/// # Errors
/// What keeps it from starting, a failed endpoint, or the loss of leadership.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> Result<(), OperatorError> {
    let telemetry = Telemetry::new(env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::register(&telemetry);
    let readiness = telemetry.readiness.clone();
    let candidate = Candidate::new(client, &options.namespace, &options.identity, &telemetry);
    let http = telemetry.serve(options.http_address, stop.clone());
    let work = async {
        // One that stands by is ready, or a rollout would wait for ever for the leader that it is to replace.
        let acquired = candidate.acquire(&stop, || readiness.set_ready()).await?;
        let Some(leadership) = acquired else { return Ok(()) };
        let lead = Lead { client: leadership.client(), gate: leadership.gate(), options };
        let work = control(lead, metrics, || readiness.set_ready(), &stop);
        leadership.lead(work).await
    };
    let http = async { http.await.map_err(OperatorError::from) };
    tokio::try_join!(http, work)?;
    Ok(())
}

/// With what the leader works.
struct Lead {
    client: Client,
    gate: Gate,
    options: Options,
}

/// Watches everything beside the Services. A stop lets the reconciliations under way end.
async fn control(
    Lead { client, gate, options: Options { namespace, cluster_domain, drift_interval, .. } }: Lead,
    metrics: Metrics,
    ready: impl FnOnce(),
    stop: &CancellationToken,
) -> Result<(), OperatorError> {
    let rules = Rules { cluster_domain, ..Rules::default() };
    let world = Arc::new(RwLock::new(World { rules, ..World::default() }));
    let pool = Arc::new(PoolProvider::default());
    let (pools_used, (reader, writer)) = (Arc::new(Notify::new()), reflector::store());
    let ((changed, changes), (wake, woken)) = (unbounded(), unbounded());
    let sent_to_nodes = Arc::new(WakeList::new(wake.clone()));
    let sent_to_endpoints = Arc::new(WakeList::new(wake.clone()));
    let (configured, all_configured) = watch_value::channel(false);
    let (endpoints_wanted, wanted) = watch_value::channel(None);
    let configuration = Configuration {
        client: client.clone(),
        namespace: namespace.clone(),
        provider: pool.clone(),
        world: world.clone(),
        pools_used: pools_used.clone(),
        metrics: metrics.clone(),
        changed,
        known: configured,
        endpoints_wanted,
    };
    let (surveyed, all_surveyed) = watch_value::channel(false);
    let neighbourhood = Neighbourhood {
        client: client.clone(),
        world: world.clone(),
        sent_to_nodes: sent_to_nodes.clone(),
        services: reader.clone(),
        known: surveyed,
    };
    let (endpoints_known, all_endpoints) = watch_value::channel(false);
    let endpoints = Endpoints {
        client: client.clone(),
        world: world.clone(),
        sent_to_endpoints: sent_to_endpoints.clone(),
        services: reader.clone(),
        wanted,
        known: endpoints_known,
    };
    let (secrets_wanted, wanted_secrets) = unbounded();
    let tls_secrets = TlsSecrets {
        client: client.clone(),
        world: world.clone(),
        wake: sent_to_endpoints.clone(),
        services: reader.clone(),
        wanted: wanted_secrets,
    };
    let context = Arc::new(Context {
        fleet: Fleet::new(client.clone(), namespace, pool),
        records: Records::new(client.clone()),
        world,
        stalled: WakeList::new(wake.clone()),
        waiting: WakeList::new(wake),
        sent_to_nodes,
        sent_to_endpoints,
        secrets_wanted,
        pools_used,
        backoff: Backoff::default(),
        suspects: Suspects::default(),
        orphan_backoff: Backoff::default(),
        events: Events::start(client.clone()),
        metrics,
        gate,
        client,
    });
    let services = async {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            adopted = adopt_known(&context, [all_configured, all_surveyed, all_endpoints]) => adopted?,
        }
        ready();
        let triggers = Triggers { changes, woken, reader, writer };
        let all = triggers.reader.clone();
        tokio::join!(
            reconcile_all(context.clone(), triggers, stop),
            collect_orphans(context.clone(), stop),
            look_for_drift(context, all, drift_interval, stop)
        );
        Ok(())
    };
    tokio::select! {
        () = configuration.run() => Ok(()),
        () = neighbourhood.run() => Ok(()),
        () = endpoints.run() => Ok(()),
        () = tls_secrets.run() => Ok(()),
        result = services => result,
    }
}

/// Once everything else is known, takes over what the statuses say.
async fn adopt_known(
    context: &Context,
    all_known: [watch_value::Receiver<bool>; 3],
) -> Result<(), OperatorError> {
    for mut known in all_known {
        // The sender lives as long as its watch, which ends after this.
        let _ = known.wait_for(|known| *known).await;
    }
    let world = context.world.read().unwrap_or_else(PoisonError::into_inner).clone();
    let adopted = adopt_all(&context.client, &context.fleet.pool, &world).await;
    adopted.map_err(|error| OperatorError::List(Box::new(error)))?;
    context.pools_used.notify_one();
    Ok(())
}

/// What makes the controller look at Services.
struct Triggers {
    /// All of them: a class or pool has changed.
    changes: UnboundedReceiver<()>,
    /// One of them: what it waits for may be there.
    woken: UnboundedReceiver<ObjectRef<Service>>,
    reader: Store<Service>,
    writer: Writer<Service>,
}

async fn reconcile_all(context: Arc<Context>, triggers: Triggers, stop: &CancellationToken) {
    let api: Api<Service> = Api::all(context.client.clone());
    let (deletions, queue, woken_queue) = (context.clone(), context.clone(), context.clone());
    let mut departures = Departures::default();
    let all = (triggers.reader.clone(), context.clone());
    let events =
        watch(api, watcher::Config::default().page_size(PAGE)).modify(trim).inspect_ok(move |event| {
            let gone = departures.by(event, || deletions.fleet.pool.holders());
            gone.iter().for_each(|key| deletions.forget(key));
        });
    let services = reflector::reflector(triggers.writer, events)
        .applied_objects()
        .filter_map(readable)
        .inspect_ok(move |service| queue.metrics.queued(ObjectKey::of(&service.metadata)));
    let changes = triggers.changes.inspect(move |()| {
        all.0.state().iter().for_each(|service| all.1.metrics.queued(ObjectKey::of(&service.metadata)));
    });
    let woken = triggers.woken.inspect(move |service| woken_queue.metrics.queued(key_of(service)));
    let stopped = stop.clone().cancelled_owned();
    let controller = Controller::for_stream(services, triggers.reader.clone())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_all_on(changes)
        .reconcile_on(woken)
        .graceful_shutdown_on(stopped)
        .run(reconcile, error_policy, context.clone())
        .for_each(|result| async {
            match result {
                // It was deleted while it was in the queue.
                Err(controller::Error::ObjectNotFound(object)) => {
                    let key = ObjectKey::new(object.namespace.unwrap_or_default(), object.name);
                    context.metrics.dequeued(&key);
                    context.forget(&key);
                }
                // What `reconcile` returns is logged by the error policy; the rest are the controller's own.
                Err(controller::Error::ReconcilerFailed(..)) | Ok(_) => {}
                Err(error) => tracing::warn!(%error, "controller"),
            }
        });
    until_stopped(controller, &triggers.reader, stop).await;
}

fn key_of(service: &ObjectRef<Service>) -> ObjectKey {
    ObjectKey::new(service.namespace.clone().unwrap_or_default(), service.name.clone())
}

/// The watch tries again by itself, within 5 s. The controller would pause for up to 30 s, and hear of nothing else
/// meanwhile.
pub(crate) async fn readable<K>(event: Result<K, watcher::Error>) -> Option<Result<K, watcher::Error>> {
    event.map(Ok).map_err(|error| tracing::warn!(%error, "watch failed, trying again")).ok()
}
