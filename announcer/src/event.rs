//! Events on Services, written by a task of their own: an API server that is slow or away delays nothing else.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Reporter},
};
use penstock_model::Service;
use penstock_runtime::publish_events;
use tokio::sync::mpsc;

/// Events that may wait; further ones are dropped, as events may be.
const QUEUE: usize = 1024;

/// Hands events to the task.
pub(crate) struct Events {
    node: String,
    queue: mpsc::Sender<(Event, ObjectReference)>,
}

impl Events {
    /// Starts the task. It ends with this handle.
    pub(crate) fn start(client: Client, node: &str) -> Self {
        let (queue, waiting) = mpsc::channel::<(Event, ObjectReference)>(QUEUE);
        let reporter = Reporter { controller: "penstock-announcer".into(), instance: Some(node.to_owned()) };
        tokio::spawn(publish_events(client, reporter, waiting, |_, error| {
            tracing::debug!(%error, "an event was not written");
        }));
        Self { node: node.to_owned(), queue }
    }

    /// This node answers for the Service's address from now on. MetalLB's reason and wording.
    pub(crate) fn node_assigned(&self, service: &Service, address: std::net::IpAddr) {
        let event = Event {
            type_: EventType::Normal,
            reason: "nodeAssigned".into(),
            note: Some(format!("announcing {address} from node {:?} with protocol \"layer2\"", self.node)),
            action: "Announce".into(),
            secondary: None,
        };
        let reference = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Service".into()),
            namespace: Some(service.key.namespace.clone()),
            name: Some(service.key.name.clone()),
            uid: Some(service.uid.clone()),
            ..ObjectReference::default()
        };
        if self.queue.try_send((event, reference)).is_err() {
            tracing::debug!(service = %service.key, "an event was dropped");
        }
    }
}
