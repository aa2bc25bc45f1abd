//! Several operators at once, each under a name of its own, and a protocol of what each of them changed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use http::{Method, Request};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, Client,
    client::{Body, ClientBuilder},
};
use penstock_e2e::wait::{Look, until};
use penstock_operator::{OperatorError, Options};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Fixture;

/// Bounds how long a broken operator is waited for; the longest that a working one takes is the Lease's 15 s.
const LIMIT: Duration = Duration::from_secs(90);

/// A change that reached the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub identity: String,
    /// What was changed.
    pub path: String,
}

impl Change {
    /// Whether it is about the Lease, which those that do not lead may write as well.
    #[must_use]
    pub fn is_about_the_lease(&self) -> bool {
        self.path.contains("/leases")
    }
}

/// The changes that succeeded, of all replicas that were started with it, in the order of their answers. All replicas
/// of a test are in one process, so that this order means something.
#[derive(Clone, Debug, Default)]
pub struct Protocol(Arc<Mutex<Vec<Change>>>);

impl Protocol {
    /// What was changed so far.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client that takes down what `identity` changes through it. Failed changes are none.
    #[must_use]
    pub fn recorded(&self, identity: &str, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let (protocol, identity) = (self.0.clone(), identity.to_owned());
        let service = tower::service_fn(move |request: Request<Body>| {
            let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
            let change = Change { identity: identity.clone(), path: request.uri().path().to_owned() };
            let (client, protocol) = (client.clone(), protocol.clone());
            async move {
                let answer = client.send(request).await?;
                if changes && answer.status().is_success() {
                    protocol.lock().unwrap_or_else(PoisonError::into_inner).push(change);
                }
                Ok::<_, kube::Error>(answer)
            }
        });
        ClientBuilder::new(service, namespace).build()
    }
}

/// One operator of several.
#[derive(Debug)]
pub struct Replica {
    stop: CancellationToken,
    task: JoinHandle<Result<(), OperatorError>>,
}

impl Replica {
    /// Stops it and waits for its end, as SIGTERM does.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn ended(self) -> Result<()> {
        Ok(tokio::time::timeout(LIMIT, self.task).await.context("the operator does not end")???)
    }

    /// Ends it in the middle of whatever it does, as SIGKILL does.
    ///
    /// # Errors
    /// When it ended before.
    pub async fn kill(self) -> Result<()> {
        self.task.abort();
        let aborted = self.task.await.err().is_some_and(|error| error.is_cancelled());
        anyhow::ensure!(aborted, "it had ended by itself");
        Ok(())
    }
}

impl Fixture {
    /// Starts a further operator as the ServiceAccount, in this process.
    ///
    /// # Errors
    /// When its client cannot be made.
    pub async fn replica(&self, identity: &str, protocol: &Protocol) -> Result<Replica> {
        let client = protocol.recorded(identity, self.operator_client().await?);
        let options = Options {
            cluster_domain: "cluster.local".into(),
            namespace: "penstock-system".into(),
            http_address: SocketAddr::from(([127, 0, 0, 1], 0)),
            identity: identity.parse()?,
            drift_interval: self.drift_interval,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(penstock_operator::run(client, options, stop.clone()));
        Ok(Replica { stop, task })
    }

    /// The operators' Leases.
    #[must_use]
    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), "penstock-system")
    }

    /// Waits until the Lease is as `wanted` says.
    ///
    /// # Errors
    /// When it is not within the limit; shows how it is instead.
    pub async fn lease(&self, wanted: impl Fn(&LeaseSpec) -> bool) -> Result<LeaseSpec> {
        let api = self.leases();
        until("the operator's Lease", LIMIT, || async {
            let spec = api.get_opt("penstock-operator").await?.and_then(|lease| lease.spec);
            Ok(match spec {
                Some(spec) if wanted(&spec) => Look::Ready(spec),
                other => Look::NotYet(format!("{other:?}")),
            })
        })
        .await
    }

    /// Waits until the operator of this name leads.
    ///
    /// # Errors
    /// When it does not within the limit.
    pub async fn led_by(&self, identity: &str) -> Result<LeaseSpec> {
        self.lease(|spec| spec.holder_identity.as_deref() == Some(identity)).await
    }
}
