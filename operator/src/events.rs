//! Events on Services, published beside the work: a slow or refused event never holds an address back.

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Reporter},
};
use penstock_crds::{ConditionKind, Reason};
use penstock_runtime::publish_events;
use tokio::sync::mpsc;

use crate::finding::Finding;

/// Events that may wait to be published; more are dropped with a log line.
const QUEUE: usize = 10_000;

/// What a user should hear: MetalLB's reasons for addresses from pools, upstream's (k8s.io/cloud-provider) for what is
/// built outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// The Service got its addresses.
    IPAllocated,
    /// It got none.
    AllocationFailed,
    /// Addresses were taken from it.
    ClearAssignment,
    /// Its balancer is being built.
    EnsuringLoadBalancer,
    /// Its balancer is there.
    EnsuredLoadBalancer,
    /// Its balancer was changed.
    UpdatedLoadBalancer,
    /// What the Service wants could not be had from its provider.
    SyncLoadBalancerFailed,
    /// Its balancer is not as it was left.
    DriftDetected,
    /// There is no node to send to.
    UnAvailableLoadBalancer,
    /// Its balancer is being taken down.
    DeletingLoadBalancer,
    /// It could not be taken down.
    DeleteLoadBalancerFailed,
    /// Everything of it is gone.
    DeletedLoadBalancer,
    /// A plan waits for somebody to agree.
    ApprovalRequired,
    /// Some of its externalIPs are not served.
    ExternalIPsRefused,
    /// Its `externalName` cannot be resolved.
    ExternalNameInvalid,
}

impl Happening {
    /// What a Service that waits for this reason should hear.
    pub(crate) fn of_waiting(reason: Reason) -> Self {
        match reason {
            Reason::ApprovalRequired => Self::ApprovalRequired,
            _ => Self::AllocationFailed,
        }
    }

    /// The same for one whose balancer is built outside: upstream's reasons.
    pub(crate) fn of_waiting_outside(reason: Reason) -> Self {
        match reason {
            Reason::Provisioning => Self::EnsuringLoadBalancer,
            Reason::ApprovalRequired => Self::ApprovalRequired,
            _ => Self::SyncLoadBalancerFailed,
        }
    }

    /// What a Service should hear of a finding.
    pub(crate) fn of_finding(finding: &Finding) -> Self {
        match finding.kind {
            ConditionKind::ExternalNameAccepted => Self::ExternalNameInvalid,
            _ => Self::ExternalIPsRefused,
        }
    }

    fn event_type(self) -> EventType {
        match self {
            Self::IPAllocated
            | Self::EnsuringLoadBalancer
            | Self::EnsuredLoadBalancer
            | Self::UpdatedLoadBalancer
            | Self::DeletingLoadBalancer
            | Self::DeletedLoadBalancer => EventType::Normal,
            Self::AllocationFailed
            | Self::ClearAssignment
            | Self::SyncLoadBalancerFailed
            | Self::DriftDetected
            | Self::UnAvailableLoadBalancer
            | Self::DeleteLoadBalancerFailed
            | Self::ApprovalRequired
            | Self::ExternalIPsRefused
            | Self::ExternalNameInvalid => EventType::Warning,
        }
    }
}

/// The way to the publishing task.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Starts the publishing task; it ends when all senders are gone.
    pub(crate) fn start(client: Client) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: "penstock-operator".into(), instance: None };
        tokio::spawn(publish_events(client, reporter, queue, |event, error| {
            tracing::warn!(%error, reason = event.reason, "event could not be published");
        }));
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
        if self.0.try_send((event, service.object_ref(&()))).is_err() {
            tracing::warn!(?happening, "event dropped: too many are waiting to be published");
        }
    }
}
