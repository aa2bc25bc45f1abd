//! Kubernetes events on Services, written by a task of their own: an API server that is slow or away delays nothing else.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Reporter},
};
use penstock_model::ObjectKey;
use penstock_runtime::publish_events;
use tokio::sync::mpsc;

/// Events that may wait; further ones are dropped, as events may be.
const QUEUE: usize = 256;

/// Hands events to the task.
#[derive(Clone, Debug)]
pub struct ServiceEvents {
    node: String,
    queue: mpsc::Sender<(Event, ObjectReference)>,
}

impl ServiceEvents {
    /// Starts the task. It ends with this handle.
    #[must_use]
    pub fn start(client: Client, node: &str) -> Self {
        let reporter = Reporter { controller: "penstock-node".into(), instance: Some(node.to_owned()) };
        let (events, waiting) = Self::new(node);
        tokio::spawn(publish_events(client, reporter, waiting, |_, error| {
            tracing::debug!(%error, "an event was not written");
        }));
        events
    }

    /// A handle, and what is handed to it: for who writes events otherwise.
    #[must_use]
    pub fn new(node: &str) -> (Self, mpsc::Receiver<(Event, ObjectReference)>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { node: node.to_owned(), queue }, waiting)
    }

    /// The Service's `healthCheckNodePort` cannot be opened. kube-proxy's reason and wording.
    pub fn failed_to_start_health_check(&self, service: &ObjectKey, port: u16, error: &std::io::Error) {
        let note = format!(
            "node {} failed to start healthcheck \"{service}\" on port {port}: {error}; it is tried again until the \
             port is free",
            self.node
        );
        tracing::warn!("{note}");
        let event = Event {
            type_: EventType::Warning,
            reason: "FailedToStartServiceHealthcheck".into(),
            note: Some(note),
            action: "Listen".into(),
            secondary: None,
        };
        let reference = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Service".into()),
            namespace: Some(service.namespace.clone()),
            name: Some(service.name.clone()),
            ..ObjectReference::default()
        };
        if self.queue.try_send((event, reference)).is_err() {
            tracing::debug!(%service, "an event was dropped");
        }
    }
}
