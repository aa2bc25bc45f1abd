//! Records whose Service is gone without a clean-up: somebody forced the finalizer off, or the Service came back under
//! its name as another. What they record is taken down. Whether the Service is gone is asked of the API server, not of
//! a cache.

use std::sync::Arc;

use futures::StreamExt;
use kube::{
    Api,
    runtime::{
        Controller, WatchStreamExt,
        controller::{Action, Config},
        reflector, watcher,
    },
};
use penstock_crds::LoadBalancer;
use penstock_model::ObjectKey;
use penstock_runtime::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    reconcile::{Context, ReconcileError, chain},
    run::readable,
    shutdown::until_stopped,
};

/// Balancers that are taken down at the same time.
const CONCURRENCY: u16 = 8;

/// Runs until it is told to stop, and then lets the calls under way end.
pub(crate) async fn collect_orphans(context: Arc<Context>, stop: &CancellationToken) {
    let (reader, writer) = reflector::store();
    let api: Api<LoadBalancer> = Api::all(context.client.clone());
    let records = reflector::reflector(writer, watch(api, watcher::Config::default()))
        .applied_objects()
        .filter_map(readable);
    let controller = Controller::for_stream(records, reader.clone())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(look_at, error_policy, context)
        // Errors are logged by the error policy.
        .for_each(|_| async {});
    until_stopped(controller, &reader, stop).await;
}

#[tracing::instrument(name = "collect_orphan", skip_all, fields(
    namespace = record.metadata.namespace, name = record.metadata.name))]
async fn look_at(record: Arc<LoadBalancer>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let done = context.collect_orphan(&record).await;
    if done.is_ok() {
        context.orphan_backoff.release(&ObjectKey::of(&record.metadata));
    }
    done
}

#[allow(clippy::needless_pass_by_value)] // the controller's signature
fn error_policy(record: Arc<LoadBalancer>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let pause = error.pause(&context.orphan_backoff);
    let key = ObjectKey::of(&record.metadata);
    tracing::warn!(error = %chain(error), record = %key, "trying again in {} s", pause.as_secs());
    Action::requeue(pause)
}
