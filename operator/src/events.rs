//! Events on Services, published beside the work: a slow or refused event never holds an address back.

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

/// Events that may wait to be published; more are dropped with a log line.
const QUEUE: usize = 10_000;

/// What a user should hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// The Service got its addresses.
    IPAllocated,
    /// It got none.
    AllocationFailed,
    /// Addresses were taken from it.
    ClearAssignment,
    /// Everything of it is gone.
    DeletedLoadBalancer,
}

impl Happening {
    fn event_type(self) -> EventType {
        match self {
            Self::IPAllocated | Self::DeletedLoadBalancer => EventType::Normal,
            Self::AllocationFailed | Self::ClearAssignment => EventType::Warning,
        }
    }
}

/// The way to the publishing task.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<(ObjectReference, Event)>);

impl Events {
    /// Starts the publishing task; it ends when all senders are gone.
    pub(crate) fn start(client: Client) -> Self {
        let (sender, mut queue) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: "penstock-operator".into(), instance: None };
        let recorder = Recorder::new(client, reporter);
        tokio::spawn(async move {
            while let Some((about, event)) = queue.recv().await {
                if let Err(error) = recorder.publish(&event, &about).await {
                    tracing::warn!(%error, reason = event.reason, "event could not be published");
                }
            }
        });
        Self(sender)
    }

    /// Tells the users of a Service.
    pub(crate) fn tell(&self, service: &Service, happening: Happening, note: String) {
        let event = Event {
            type_: happening.event_type(),
            reason: format!("{happening:?}"),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if self.0.try_send((service.object_ref(&()), event)).is_err() {
            tracing::warn!(?happening, "event dropped: too many are waiting to be published");
        }
    }
}
