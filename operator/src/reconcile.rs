//! One Service: decide, plan, apply, report.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::{api::core::v1::Service, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use penstock_crds::{Approval, ProviderKind, Reason};
use penstock_model::ObjectKey;
use penstock_providers::{AnyProvider, Owner, ProviderError};
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    approval::{Consent, question},
    backoff::Backoff,
    class::served_by,
    drift::Suspects,
    events::{Events, Happening},
    execution::{Execution, Outcome},
    finding::{findings, news as new_findings, patch as findings_patch},
    fleet::Fleet,
    intent::{Intent, World, intent},
    leadership::Gate,
    metrics::Metrics,
    record::Records,
    status::{Report, patch},
    wake_list::WakeList,
};

/// A call that the API server did not answer is repeated after this time: when it is back, everybody has to be.
const RETRY: Duration = Duration::from_secs(5);
/// The Service has changed while we decided: the watch brings the new state, and this only bounds its delay.
const CONFLICT: Duration = Duration::from_secs(1);
/// A waiting Service is woken by what frees an address; this only bounds the harm of a cause that was missed.
pub(crate) const RECHECK: Duration = Duration::from_secs(300);

/// What all reconciliations share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) fleet: Fleet,
    pub(crate) records: Records,
    pub(crate) world: Arc<RwLock<World>>,
    /// Services that wait for an address of a pool.
    pub(crate) waiting: WakeList,
    /// Services whose provider has not built what they want.
    pub(crate) stalled: WakeList,
    /// Services whose provider sends to the nodes.
    pub(crate) sent_to_nodes: Arc<WakeList>,
    /// Services whose provider sends to their endpoints.
    pub(crate) sent_to_endpoints: Arc<WakeList>,
    /// Namespaces whose TLS Secrets are to be read.
    pub(crate) secrets_wanted: UnboundedSender<String>,
    /// What pools have left has changed.
    pub(crate) pools_used: Arc<Notify>,
    pub(crate) backoff: Backoff,
    /// Services whose balancer may not be as it was left.
    pub(crate) suspects: Suspects,
    /// Of records whose Service is gone.
    pub(crate) orphan_backoff: Backoff,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    /// Open while this process leads.
    pub(crate) gate: Gate,
}

/// Why a reconciliation has to be repeated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server refused or did not answer.
    #[error("Service {key} or its record could not be read or written")]
    Api {
        key: ObjectKey,
        #[source]
        source: Box<kube::Error>,
    },
    /// The provider failed in a way that passes.
    #[error("Service {key} could not be provisioned")]
    Provider {
        key: ObjectKey,
        #[source]
        source: ProviderError,
    },
}

impl ReconcileError {
    pub(crate) fn api(key: &ObjectKey) -> impl FnOnce(kube::Error) -> Self {
        |source| Self::Api { key: key.clone(), source: Box::new(source) }
    }

    pub(crate) fn provider(key: &ObjectKey) -> impl FnOnce(ProviderError) -> Self {
        |source| Self::Provider { key: key.clone(), source }
    }

    /// Of few kinds, for the metric.
    fn kind(&self) -> &'static str {
        match self {
            Self::Api { source, .. } if is_conflict(source) => "conflict",
            Self::Api { .. } => "api_server",
            Self::Provider { source, .. } => source.kind(),
        }
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&self, backoff: &Backoff) -> Duration {
        match self {
            Self::Api { source, .. } if is_conflict(source) => CONFLICT,
            Self::Api { source, key } => match source.as_ref() {
                kube::Error::Api(answer) if answer.code < 500 && answer.code != 429 => backoff.failed(key),
                _ => RETRY,
            },
            Self::Provider { key, source } => source.pause().unwrap_or_else(|| backoff.failed(key)),
        }
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(answer) if answer.is_conflict())
}

/// Brings one Service to what it wants. Called by the controller, never twice at once for the same Service.
#[tracing::instrument(name = "reconcile", skip_all, fields(
    namespace = service.metadata.namespace, name = service.metadata.name))]
pub(crate) async fn reconcile(
    service: Arc<Service>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let start = Instant::now();
    let key = ObjectKey::of(&service.metadata);
    context.metrics.dequeued(&key);
    let result = context.act(&service, &key).await;
    let outcome = match &result {
        Ok(_) => "ok",
        Err(error) => error.kind(),
    };
    if result.is_ok() {
        context.backoff.succeeded(&key);
    }
    context.metrics.set_waiting(context.waiting.count() + context.stalled.count());
    if let Err(error) = &result {
        context.metrics.failed(error.kind());
    }
    context.metrics.reconciled(outcome, start.elapsed());
    result
}

/// What the controller does after an error.
#[allow(clippy::needless_pass_by_value)] // the controller's signature
pub(crate) fn error_policy(_service: Arc<Service>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let pause = error.pause(&context.backoff);
    match error {
        ReconcileError::Api { source, .. } if is_conflict(source) => {
            tracing::debug!(error = %chain(error), "decided on an old state, deciding again");
        }
        ReconcileError::Provider { source: ProviderError::Pending(_), .. } => {
            tracing::debug!(error = %chain(error), "under way");
        }
        _ => tracing::warn!(error = %chain(error), "trying again in {} s", pause.as_secs()),
    }
    Action::requeue(pause)
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Context {
    async fn act(&self, service: &Service, key: &ObjectKey) -> Result<Action, ReconcileError> {
        let decided = intent(service, &self.world.read().unwrap_or_else(PoisonError::into_inner));
        match decided {
            Intent::Ignore => {
                self.forget(key);
                self.tell(service, key, None).await.map_err(ReconcileError::api(key))?;
                Ok(Action::await_change())
            }
            Intent::Provision(wanted) if wanted.class.provider == ProviderKind::Pool => {
                self.provision_from_pool(service, key, &wanted).await
            }
            Intent::Provision(wanted) => {
                // Its provider may take its time, or not be asked again for a while.
                let told = self.tell(service, key, None).await.map_err(ReconcileError::api(key))?;
                self.provision_outside(told.as_ref().unwrap_or(service), key, &wanted).await
            }
            // Its watch wakes the Service; until then nobody can tell whether anything is wrong.
            Intent::AwaitSecrets => {
                // A closed receiver means that the process ends.
                let _ = self.secrets_wanted.unbounded_send(key.namespace.clone());
                self.tell(service, key, None).await.map_err(ReconcileError::api(key))?;
                Ok(Action::await_change())
            }
            Intent::Hold(reason, message) => self.hold(service, key, reason, message).await,
            Intent::CleanUp => self.clean_up(service, key).await,
        }
    }

    pub(crate) fn execution<'a>(
        &'a self,
        provider: &'a dyn AnyProvider,
        owner: &'a Owner,
        consent: &'a Consent,
    ) -> Execution<'a> {
        Execution { provider, owner, consent, metrics: &self.metrics, gate: &self.gate }
    }

    /// A Service that is none of ours holds nothing, also when it was forced out of our hands. What was built for it
    /// outside is found by its record.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.unlist(key);
        self.backoff.release(key);
        self.release(key);
    }

    /// Nothing that others share concerns it any longer.
    fn unlist(&self, key: &ObjectKey) {
        self.waiting.set(key, false);
        self.stalled.set(key, false);
        self.sent_to_nodes.set(key, false);
        self.sent_to_endpoints.set(key, false);
    }

    /// Bad input: what the Service has stays as long as its provider agrees, and it is told what to change.
    async fn hold(
        &self,
        service: &Service,
        key: &ObjectKey,
        reason: Reason,
        message: String,
    ) -> Result<Action, ReconcileError> {
        match self.recorded(service, key).await? {
            Some(built) => self.wait_outside(service, key, Report::waiting(built, reason, message)).await,
            None => self.hold_pool_addresses(service, key, None, reason, message).await,
        }
    }

    /// Everything that it had is given back, then it is no longer ours.
    async fn clean_up(&self, service: &Service, key: &ObjectKey) -> Result<Action, ReconcileError> {
        self.unlist(key);
        if let Some(action) = self.tear_down_outside(service, key, None).await? {
            return Ok(action);
        }
        self.clean_up_pool_addresses(service, key).await
    }

    /// What the Service's class and its annotations agree to.
    pub(crate) fn consent(&self, service: &Service) -> Consent {
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        let class = served_by(service).and_then(|name| world.classes.get(name));
        let approval = class.map_or(Approval::Automatic, |class| class.approval);
        Consent::of(approval, service.metadata.annotations.as_ref())
    }

    /// It waits, because another Service may hold what it asks for, or somebody has to change something.
    pub(crate) async fn wait(
        &self,
        service: &Service,
        key: &ObjectKey,
        report: Report,
    ) -> Result<Action, ReconcileError> {
        self.waiting.set(key, true);
        self.stalled.set(key, false);
        self.say_why(service, key, report, Happening::of_waiting).await
    }

    /// It waits for its provider; what pools have left is nothing to it.
    pub(crate) async fn wait_outside(
        &self,
        service: &Service,
        key: &ObjectKey,
        report: Report,
    ) -> Result<Action, ReconcileError> {
        self.waiting.set(key, false);
        self.stalled.set(key, true);
        self.say_why(service, key, report, Happening::of_waiting_outside).await
    }

    async fn say_why(
        &self,
        service: &Service,
        key: &ObjectKey,
        report: Report,
        happening: fn(Reason) -> Happening,
    ) -> Result<Action, ReconcileError> {
        let (reason, message) = report.why();
        if self.write(service, key, &report).await?.is_some() {
            tracing::info!(%reason, why = message, "waiting");
            self.events.tell(service, happening(reason), message);
        }
        self.metrics.failed(&reason.to_string());
        Ok(Action::requeue(RECHECK))
    }

    /// Writes the report unless the Service says so already; returns what the API server made of it. A conflict means
    /// that the Service has changed: the watch brings the new state, and with it the next reconciliation. `None` also
    /// where the report was no news and only something else had to be told.
    pub(crate) async fn write(
        &self,
        service: &Service,
        key: &ObjectKey,
        report: &Report,
    ) -> Result<Option<Service>, ReconcileError> {
        let report_patch = patch(service, report, Timestamp::now());
        let is_news = report_patch.is_some();
        match self.tell(service, key, report_patch).await {
            Ok(written) => Ok(written.filter(|_| is_news)),
            Err(kube::Error::Api(answer)) if answer.is_not_found() && report.is_cleaned_up() => Ok(None),
            Err(error) => Err(ReconcileError::api(key)(error)),
        }
    }

    /// Whatever its type, a Service is told what of it is not served, in one write with `besides`. Returns it as it is
    /// then; `None` when it says all that already.
    async fn tell(
        &self,
        service: &Service,
        key: &ObjectKey,
        besides: Option<Value>,
    ) -> kube::Result<Option<Service>> {
        let found = {
            let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
            findings(service, &world.rules)
        };
        let Some(patch) = findings_patch(service, &found, besides, Timestamp::now()) else { return Ok(None) };
        let api: Api<Service> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams::default();
        let mut written = api.patch_status(&key.name, &params, &Patch::Strategic(&patch)).await?;
        self.metrics.wrote();
        for finding in new_findings(service, &found) {
            self.events.tell(service, Happening::of_finding(finding), finding.message.clone());
        }
        written.managed_fields_mut().clear();
        Ok(Some(written))
    }
}

/// What a Service says while a plan waits for approval; what it has stays.
pub(crate) fn asking(key: &ObjectKey, outcome: &Outcome) -> Result<Option<Report>, ReconcileError> {
    let Some(plan) = outcome.pending().map_err(ReconcileError::provider(key))? else { return Ok(None) };
    let message = question(&plan, &of_service(key));
    Ok(Some(Report::waiting(outcome.built.clone(), Reason::ApprovalRequired, message)))
}

/// The Service, as kubectl names it.
pub(crate) fn of_service(key: &ObjectKey) -> String {
    format!("-n {} service {}", key.namespace, key.name)
}

/// Whose balancer a Service's is.
pub(crate) fn owner(service: &Service, key: &ObjectKey) -> Owner {
    Owner { service: key.clone(), uid: service.metadata.uid.clone().unwrap_or_default() }
}
