//! Kubernetes events, published by a task of their own: an API server that is slow or away delays nothing else.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, Recorder, Reporter},
};
use tokio::sync::mpsc;

/// A repeated event is counted up (`series`) only among so many: kube's recorder keeps each event for six minutes and
/// looks through all of them for every new one, which with thousands of Services is most of a process' memory and
/// of the time to an address.
const REMEMBERED: usize = 128;

/// Publishes what comes, until all senders are gone; `failed` hears of each event that could not be written.
pub async fn publish_events(
    client: Client,
    reporter: Reporter,
    mut queue: mpsc::Receiver<(Event, ObjectReference)>,
    failed: impl Fn(&Event, &kube::Error),
) {
    loop {
        let recorder = Recorder::new(client.clone(), reporter.clone());
        for _ in 0..REMEMBERED {
            let Some((event, about)) = queue.recv().await else { return };
            if let Err(error) = recorder.publish(&event, &about).await {
                failed(&event, &error);
            }
        }
    }
}
