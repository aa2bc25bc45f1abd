//! Events on Services and BGPPeers, written by a task of their own: an API server that is slow or away delays nothing else.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Reporter},
};
use penstock_model::Service;
use penstock_runtime::publish_events;
use tokio::sync::mpsc;

use crate::announcer::Conflict;

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
        self.queue(event, service_reference(service));
    }

    /// Another station claims the Service's address.
    pub(crate) fn address_conflict(&self, service: &Service, conflict: &Conflict) {
        let Conflict { address, by, interface } = conflict;
        let note = format!(
            "{address} is also claimed by the station {by} on {interface} of node {:?}: take the address from it, or out of \
             the pools",
            self.node
        );
        let event = Event {
            type_: EventType::Warning,
            reason: "AddressConflict".into(),
            note: Some(note),
            action: "Announce".into(),
            secondary: None,
        };
        self.queue(event, service_reference(service));
    }

    /// A session of this node came up, or ended.
    pub(crate) fn session(&self, peer: &str, uid: &str, namespace: &str, is_up: bool, reason: &str) {
        let node = &self.node;
        let (type_, word, note) = match is_up {
            true => (EventType::Normal, "SessionUp", format!("node {node:?}: the session is established")),
            false => (EventType::Warning, "SessionDown", format!("node {node:?}: {reason}")),
        };
        let event = Event {
            type_,
            reason: word.into(),
            note: Some(note),
            action: "Announce".into(),
            secondary: None,
        };
        let reference = ObjectReference {
            api_version: Some(format!("{}/v1alpha1", penstock_crds::GROUP)),
            kind: Some("BGPPeer".into()),
            namespace: Some(namespace.to_owned()),
            name: Some(peer.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        self.queue(event, reference);
    }

    fn queue(&self, event: Event, about: ObjectReference) {
        if self.queue.try_send((event, about)).is_err() {
            tracing::debug!("an event was dropped");
        }
    }
}

fn service_reference(service: &Service) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Service".into()),
        namespace: Some(service.key.namespace.clone()),
        name: Some(service.key.name.clone()),
        uid: Some(service.uid.clone()),
        ..ObjectReference::default()
    }
}
