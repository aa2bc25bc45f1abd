//! The end of a controller.

use std::{fmt::Debug, hash::Hash};

use kube::runtime::reflector::{Lookup, Store};
use tokio_util::sync::CancellationToken;

/// Runs a controller until it has ended, or until it is told to stop before it has begun: kube-runtime's `Runner` holds
/// everything back until the store is filled, and after a stop nobody fills it any more, so that it would wait for ever.
/// Nothing is under way then that a later end could let finish.
pub(crate) async fn until_stopped<K>(
    controller: impl Future<Output = ()>,
    store: &Store<K>,
    stop: &CancellationToken,
) where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug,
{
    let stopped_before_it_began = async {
        tokio::select! {
            biased;
            Ok(()) = store.wait_until_ready() => std::future::pending().await,
            () = stop.cancelled() => {}
        }
    };
    tokio::select! {
        () = controller => {}
        () = stopped_before_it_began => tracing::debug!("told to stop before its objects were known"),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::{StreamExt, stream};
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::{
        Controller, WatchStreamExt,
        controller::Action,
        reflector,
        watcher::{Error, Event},
    };
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": "web"}})).unwrap()
    }

    /// A controller whose list has the given events and then nothing, and whose reconciliations report their begin, and
    /// their end after the stop.
    async fn control(
        events: Vec<Event<Service>>,
        reports: mpsc::UnboundedSender<()>,
        stop: &CancellationToken,
    ) {
        let (reader, writer) = reflector::store();
        let events = stream::iter(events).map(Ok::<_, Error>).chain(stream::pending());
        let controller =
            Controller::for_stream(reflector::reflector(writer, events).applied_objects(), reader.clone())
                .graceful_shutdown_on(stop.clone().cancelled_owned())
                .run(
                    async |_, context: Arc<(mpsc::UnboundedSender<()>, CancellationToken)>| {
                        context.0.send(()).unwrap();
                        context.1.cancelled().await;
                        tokio::task::yield_now().await;
                        context.0.send(()).unwrap();
                        Ok::<_, std::io::Error>(Action::await_change())
                    },
                    |_, _, _| Action::await_change(),
                    Arc::new((reports, stop.clone())),
                )
                .for_each(async |_| {});
        until_stopped(controller, &reader, stop).await;
    }

    #[tokio::test]
    async fn a_stop_before_the_first_list_ends_it() {
        for events in [vec![], vec![Event::Init, Event::InitApply(service())]] {
            let (reporter, mut reports) = mpsc::unbounded_channel();
            let stop = CancellationToken::new();
            let controller = control(events, reporter, &stop);
            let stopping = async { stop.cancel() };
            let both = async { tokio::join!(controller, stopping) };
            tokio::time::timeout(Duration::from_secs(60), both).await.expect("it ends");
            assert_eq!(reports.recv().await, None, "and nothing began");
        }
    }

    #[tokio::test]
    async fn what_is_under_way_ends_before_it() {
        let events = vec![Event::Init, Event::InitApply(service()), Event::InitDone];
        let (reporter, mut reports) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let controller = control(events, reporter, &stop);
        let stopping = async {
            reports.recv().await.unwrap();
            stop.cancel();
        };
        let both = async { tokio::join!(controller, stopping) };
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("it ends");
        assert_eq!(reports.recv().await, Some(()), "what had begun has ended");
    }
}
