//! The edge of the election: reads and writes the Lease, opens and closes the gate.

use std::{pin::pin, time::Instant};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher,
};
use penstock_runtime::{Telemetry, Update, updates};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use tokio::time::sleep_until;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    election::{Action, Claim, Election, Lost, Timing},
    gate::{Gate, GateKeeper},
    identity::Identity,
    lease::{self, NAME, Tokens},
};

/// Why an operator stopped leading although nobody told it to stop.
#[derive(Debug, thiserror::Error)]
pub enum LeadershipError {
    /// The Lease is not ours any more.
    #[error("leadership was lost with Lease {namespace}/{NAME}")]
    Lost {
        /// The Lease's namespace.
        namespace: String,
        /// How.
        #[source]
        lost: Lost,
    },
    /// The task that renews the Lease is gone.
    #[error("Lease {NAME} is not renewed any more")]
    Task(#[source] Option<tokio::task::JoinError>),
}

/// A request about the Lease failed.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer within {} s", .0.request.as_secs())]
    Timeout(Timing),
}

impl LeaseError {
    /// Somebody else was faster: the Lease is not as it was seen.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if matches!(status.code, 404 | 409))
    }
}

/// An operator that would lead.
pub struct Candidate {
    client: Client,
    api: Api<Lease>,
    namespace: String,
    identity: String,
    timing: Timing,
    election: Election,
    tokens: Tokens,
    keeper: GateKeeper,
    leading: Gauge,
}

impl Candidate {
    /// One that holds nothing yet. Registers the metric `penstock_operator_leader`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: &Identity, telemetry: &Telemetry) -> Self {
        let timing = Timing::default();
        let leading = Gauge::default();
        telemetry.register(|registry| {
            let operator = registry.sub_registry_with_prefix("operator");
            operator.register("leader", "1 while this replica leads", leading.clone());
        });
        Self {
            api: Api::namespaced(client.clone(), namespace),
            client,
            namespace: namespace.to_owned(),
            election: Election::new(identity.to_string(), timing),
            identity: identity.to_string(),
            timing,
            tokens: Tokens::default(),
            keeper: GateKeeper::default(),
            leading,
        }
    }

    /// Waits until this operator leads; `None` when `stop` comes first. `standing_by` is called once it is known
    /// that another one leads.
    ///
    /// # Errors
    /// When the Lease is lost in the moment in which it is won.
    pub async fn acquire(
        mut self,
        stop: &CancellationToken,
        standing_by: impl FnOnce(),
    ) -> Result<Option<Leadership>, LeadershipError> {
        let name = format!("metadata.name={NAME}");
        let mut news = pin!(updates(self.api.clone(), watcher::Config::default().fields(&name)));
        let mut standing_by = Some(standing_by);
        loop {
            if self.keeper.gate().is_open() {
                return Ok(Some(self.lead()));
            }
            match self.election.action(Instant::now()) {
                Action::StepDown(lost) => return Err(self.lost(lost)),
                Action::Write(claim) => self.write(&claim).await,
                Action::Wait(until) => tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(None),
                    Some(update) = news.next() => self.hear(update),
                    () = sleep_until(until.into()) => {}
                },
            }
            if let Some(leader) = self.election.other_leader()
                && let Some(tell) = standing_by.take()
            {
                tracing::info!(leader, identity = self.identity, "standing by");
                tell();
            }
        }
    }

    fn lead(self) -> Leadership {
        tracing::info!(identity = self.identity, "leading");
        self.leading.set(1);
        Leadership(self)
    }

    fn lost(&self, lost: Lost) -> LeadershipError {
        LeadershipError::Lost { namespace: self.namespace.clone(), lost }
    }

    fn hear(&mut self, update: Update<Lease>) {
        let lease = match update {
            Update::Reset(leases) => leases.into_iter().next(),
            Update::Apply(lease) => Some(lease),
            Update::Delete(_) => None,
        };
        self.observe(lease.as_ref());
    }

    fn observe(&mut self, lease: Option<&Lease>) {
        let record = lease.map(|lease| lease::record(lease, self.timing.duration));
        self.election.observe(record, Instant::now());
        self.keeper.open_until(self.election.held_until());
    }

    /// Writes the Lease, or learns why it cannot be written.
    async fn write(&mut self, claim: &Claim) {
        let (time, now) = (self.tokens.next(), Instant::now());
        self.election.sending(time.0.as_microsecond(), now);
        let object = lease::claimed(claim, &self.identity, self.timing.duration, &time);
        let written = match claim {
            Claim::Create => self.create(object).await,
            Claim::Take { .. } | Claim::Renew { .. } => self.patch(object).await,
        };
        match written {
            Ok(lease) => {
                let record = lease::record(&lease, self.timing.duration);
                self.election.written(record, Instant::now());
                self.keeper.open_until(self.election.held_until());
            }
            Err(error) if error.is_conflict() => self.look().await,
            Err(error) => self.failed(&error),
        }
    }

    /// Reads the Lease after a conflict.
    async fn look(&mut self) {
        match self.in_time(self.api.get_opt(NAME)).await {
            Ok(lease) => self.observe(lease.as_ref()),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &LeaseError) {
        let error: &dyn std::error::Error = error;
        tracing::warn!(error, "Lease {}/{NAME} cannot be written, trying again", self.namespace);
        self.election.failed(Instant::now());
    }

    async fn create(&self, object: Value) -> Result<Lease, LeaseError> {
        let lease = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        self.in_time(self.api.create(&PostParams::default(), &lease)).await
    }

    async fn patch(&self, object: Value) -> Result<Lease, LeaseError> {
        self.in_time(self.api.patch(NAME, &PatchParams::default(), &Patch::Merge(object))).await
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
        let answer = tokio::time::timeout(self.timing.request, call).await;
        Ok(answer.map_err(|_| LeaseError::Timeout(self.timing))??)
    }

    /// Renews until `ended`; then lets what is under way end and gives the Lease up.
    async fn hold(mut self, ended: CancellationToken) -> Result<(), LeadershipError> {
        let kept = self.renew(&ended).await;
        self.keeper.open_until(None);
        self.leading.set(0);
        kept.map_err(|lost| self.lost(lost))?;
        self.release().await;
        Ok(())
    }

    async fn renew(&mut self, ended: &CancellationToken) -> Result<(), Lost> {
        let keeper = self.keeper.clone();
        let mut drained = pin!(async {
            ended.cancelled().await;
            keeper.drain().await;
        });
        loop {
            match self.election.action(Instant::now()) {
                Action::StepDown(lost) => return Err(lost),
                Action::Write(claim) => self.write(&claim).await,
                Action::Wait(until) => tokio::select! {
                    () = &mut drained => return Ok(()),
                    () = sleep_until(until.into()) => {}
                },
            }
        }
    }

    /// A version that has changed means that the Lease is not ours to give up.
    async fn release(&mut self) {
        let Some(version) = self.election.release(Instant::now()) else { return };
        let object = lease::released(&version, &self.tokens.next());
        match self.patch(object).await {
            Ok(_) => tracing::info!(identity = self.identity, "leadership given up"),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "Lease {}/{NAME} is left to run out", self.namespace);
            }
        }
    }
}

/// Held by the operator that leads. Dropped, it lets the Lease run out.
pub struct Leadership(Candidate);

impl Leadership {
    /// A client whose changes are refused once this operator does not lead.
    #[must_use]
    pub fn client(&self) -> Client {
        self.gate().client(&self.0.client)
    }

    /// What to ask before each step outside of the cluster.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.0.keeper.gate()
    }

    /// Whether this operator leads at this moment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.gate().is_open()
    }

    /// Does `work` and renews the Lease beside it. Gives the Lease up when the work has ended, whatever its outcome;
    /// drops the work when leadership is lost.
    ///
    /// # Errors
    /// Those of the work, and [`LeadershipError`].
    pub async fn lead<T, E>(self, work: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<LeadershipError>,
    {
        let ended = CancellationToken::new();
        // A task of its own: however busy the work is, the Lease is renewed.
        let mut holding = AbortOnDropHandle::new(tokio::spawn(self.0.hold(ended.clone())));
        let outcome = tokio::select! {
            biased;
            held = &mut holding => return Err(joined(held).err().unwrap_or(LeadershipError::Task(None)).into()),
            outcome = work => outcome,
        };
        ended.cancel();
        joined(holding.await)?;
        outcome
    }
}

fn joined(held: Result<Result<(), LeadershipError>, tokio::task::JoinError>) -> Result<(), LeadershipError> {
    held.map_err(|error| LeadershipError::Task(Some(error)))?
}
