//! Kubernetes events on Services, written by a task of their own: an API server that is slow or away delays nothing else.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Reporter},
};
use penstock_model::ObjectKey;
use penstock_runtime::publish_events;
use tokio::sync::mpsc;

/// In octets; the API server takes no more (`NoteLengthLimit`), and an annotation may be long.
const NOTE: usize = 1024;
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
        self.warn(service, "FailedToStartServiceHealthcheck", "Listen", note);
    }

    /// The scheduler that the Service names cannot be had; the node's own holds.
    pub fn scheduler_refused(&self, service: &ObjectKey, refusal: &str) {
        let note = format!("node {} chooses endpoints as for other Services: {refusal}", self.node);
        self.warn(service, "IPVSSchedulerRefused", "Program", note);
    }

    fn warn(&self, service: &ObjectKey, reason: &str, action: &str, note: String) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.into(),
            note: Some(shortened(note)),
            action: action.into(),
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

fn shortened(mut note: String) -> String {
    if note.len() > NOTE {
        let end = (0..=NOTE).rev().find(|end| note.is_char_boundary(*end));
        note.truncate(end.unwrap_or_default());
    }
    note
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::{StreamExt, stream};
    use ipnet::IpNet;
    use k8s_openapi::api::core::v1::Service;
    use penstock_model::{Change, IndexConfig, Scheduler, ServiceIndex};
    use penstock_runtime::{Piece, Readiness, Update};
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Agent, Applied, ApplyError, Backend, Metrics, Programmed};

    /// Programs nothing.
    struct Nowhere;

    impl Backend for Nowhere {
        async fn apply(&mut self, _: &[Change]) -> Result<Applied, ApplyError> {
            Ok(Applied { operations: 0, programmed: Programmed::default(), in_doubt: false })
        }

        fn take_service_cidrs(&mut self, _: Vec<IpNet>) {}

        async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
            self.apply(all).await
        }
    }

    fn service(name: &str, scheduler: &str) -> Service {
        let annotations = json!({ penstock_model::IPVS_SCHEDULER: scheduler });
        let object = json!({
            "metadata": { "namespace": "d", "name": name, "uid": name, "annotations": annotations },
            "spec": { "clusterIP": "10.96.0.7", "externalIPs": ["9.9.9.9"], "ports": [{ "port": 80 }] },
        });
        serde_json::from_value(object).unwrap()
    }

    /// What is said of which Service, of an agent whose kernel has one scheduler.
    async fn said(services: Vec<Service>) -> Vec<(String, String)> {
        let config = IndexConfig { schedulers: Some([Scheduler::Rr].into()), ..IndexConfig::default() };
        let (complaints, mut queue) = ServiceEvents::new("n1");
        let agent = Agent::new(ServiceIndex::new(config), Nowhere, Metrics::default(), Readiness::default());
        let listed = |services: &[Service]| {
            let names = services.iter().map(|service| ObjectKey::of(&service.metadata)).collect();
            let all = services.iter().cloned().map(Piece::Apply).chain([Piece::Complete(names)]);
            all.map(|piece| crate::Event::Service(Box::new(piece))).collect::<Vec<_>>()
        };
        let mut lists = vec![
            crate::Event::Slice(Box::new(Piece::Complete(BTreeSet::new()))),
            crate::Event::Node(Box::new(Update::Reset(vec![]))),
            crate::Event::ExternalIpPolicy(Box::new(Update::Reset(vec![]))),
            crate::Event::ServiceCidr(Box::new(Update::Reset(vec![]))),
        ];
        lists.extend(listed(&services));
        // Nothing is said twice.
        lists.extend(listed(&services));
        // One after the other: what is ready together is one batch.
        let events = stream::iter(lists).then(|event| async {
            tokio::task::yield_now().await;
            event
        });
        agent.telling(complaints).run(events, CancellationToken::new()).await;
        let mut said = Vec::new();
        while let Some((event, about)) = queue.recv().await {
            assert_eq!(event.reason, "IPVSSchedulerRefused");
            said.push((about.name.unwrap(), event.note.unwrap()));
        }
        said
    }

    #[tokio::test]
    async fn a_scheduler_that_cannot_be_had_is_an_event_of_its_service() {
        let told =
            said(vec![service("fast", "fastest"), service("lacking", "mh"), service("good", "rr")]).await;
        assert_eq!(
            told,
            [
                (
                    "fast".to_owned(),
                    "node n1 chooses endpoints as for other Services: penstock.dev/ipvs-scheduler: \"fastest\" is not a \
                     scheduler of IPVS: rr, wrr, lc, wlc, lblc, dh, sh, sed, nq or mh"
                        .to_owned()
                ),
                (
                    "lacking".to_owned(),
                    "node n1 chooses endpoints as for other Services: penstock.dev/ipvs-scheduler: this node's kernel has no \
                     scheduler mh of IPVS: load the module ip_vs_mh (modprobe ip_vs_mh) and restart penstock-node, or name \
                     another"
                        .to_owned()
                ),
            ]
        );
    }

    #[tokio::test]
    async fn a_note_is_no_longer_than_the_api_server_takes() {
        let told = said(vec![service("long", &"é".repeat(1500))]).await;
        assert!((NOTE - 1..=NOTE).contains(&told[0].1.len()));
    }
}
