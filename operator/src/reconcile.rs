//! One Service: decide, plan, apply, report.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use k8s_openapi::{api::core::v1::Service, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use penstock_crds::Reason;
use penstock_model::ObjectKey;
use penstock_providers::{Built, Desired, Owner, Provider, ProviderError, pool::PoolProvider};

use crate::{
    class::Classes,
    events::{Events, Happening},
    intent::{Intent, intent},
    metrics::Metrics,
    status::{Report, patch, provisioned_message},
    waiting::Waiting,
};

/// How often a plan that no longer fits is made anew before the Service has to wait its turn again.
const ATTEMPTS: usize = 3;
/// A failed call to the API server is repeated after this time.
const RETRY: Duration = Duration::from_secs(5);
/// A waiting Service is woken by what frees an address; this only bounds the harm of a cause that was missed.
const RECHECK: Duration = Duration::from_secs(300);

/// What all reconciliations share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) provider: Arc<PoolProvider>,
    pub(crate) classes: Arc<RwLock<Classes>>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
}

/// Why a reconciliation has to be repeated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server refused or did not answer.
    #[error("the status of Service {key} could not be written")]
    Write {
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

/// Brings one Service to what it wants. Called by the controller, never twice at once for the same Service.
#[tracing::instrument(name = "reconcile", skip_all, fields(
    namespace = service.metadata.namespace, name = service.metadata.name))]
pub(crate) async fn reconcile(
    service: Arc<Service>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let key = ObjectKey::of(&service.metadata);
    let decided = intent(&service, &context.classes.read().unwrap_or_else(PoisonError::into_inner));
    let result = match decided {
        Intent::Ignore => return context.forget(&key).await,
        Intent::Provision(desired) => context.provision(&service, &key, &desired).await,
        Intent::Hold(reason, message) => context.hold(&service, &key, reason, message).await,
        Intent::CleanUp => context.clean_up(&service, &key).await,
    };
    context.metrics.set_waiting(context.waiting.count());
    context.metrics.set_free(context.provider.free());
    context.metrics.reconciled(if result.is_ok() { "ok" } else { "error" });
    result
}

/// What the controller does after an error.
#[allow(clippy::needless_pass_by_value)] // the controller's signature
pub(crate) fn error_policy(_service: Arc<Service>, error: &ReconcileError, _context: Arc<Context>) -> Action {
    tracing::warn!(error = %chain(error), "trying again in {} s", RETRY.as_secs());
    Action::requeue(RETRY)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Context {
    /// A Service that is none of ours holds nothing, also when it was forced out of our hands.
    pub(crate) async fn forget(&self, key: &ObjectKey) -> Result<Action, ReconcileError> {
        self.waiting.set(key, false);
        self.release(key).await?;
        Ok(Action::await_change())
    }

    async fn provision(
        &self,
        service: &Service,
        key: &ObjectKey,
        desired: &Desired,
    ) -> Result<Action, ReconcileError> {
        match self.carry_out(key, Some(desired)).await {
            Ok((before, built)) => self.provisioned(service, key, &before, built).await,
            Err(ProviderError::User { reason, message }) => self.hold(service, key, reason, message).await,
            Err(ProviderError::Quota { reason, message }) => self.starve(service, key, reason, message).await,
            Err(source) => Err(ReconcileError::Provider { key: key.clone(), source }),
        }
    }

    /// Observes, plans and applies until nothing is left to do; returns what was there before and is now.
    async fn carry_out(
        &self,
        key: &ObjectKey,
        desired: Option<&Desired>,
    ) -> Result<(Built, Built), ProviderError> {
        if let Some(desired) = desired {
            self.provider.capabilities().check(desired)?;
        }
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let observed = self.provider.observe(&owner(key)).await?;
            let built = self.provider.built(&observed);
            let before = before.get_or_insert_with(|| built.clone());
            let plan = self.provider.plan(&owner(key), desired, &observed)?;
            if plan.is_empty() {
                return Ok((before.clone(), built));
            }
            tracing::debug!(?plan, "applying");
            for step in &plan.steps {
                match self.provider.apply(&owner(key), step).await {
                    Err(ProviderError::Conflict(why)) => {
                        tracing::debug!(why, "planning again");
                        break;
                    }
                    applied => applied?,
                }
            }
        }
        Err(ProviderError::Retryable("the plan did not converge".to_owned()))
    }

    /// What it held before is free only once its status no longer shows it.
    async fn provisioned(
        &self,
        service: &Service,
        key: &ObjectKey,
        before: &Built,
        built: Built,
    ) -> Result<Action, ReconcileError> {
        self.waiting.set(key, false);
        let message = provisioned_message(&built);
        let lost: Vec<IpAddr> =
            before.addresses.iter().copied().filter(|ip| !built.addresses.contains(ip)).collect();
        let wrote = self.write(service, key, &Report::Provisioned(built)).await?;
        if self.provider.reported(key) {
            self.waiting.wake_all();
        }
        if !lost.is_empty() {
            self.events.tell(service, Happening::ClearAssignment, moved(&lost));
        }
        if wrote {
            tracing::info!(addresses = message, "provisioned");
            self.events.tell(service, Happening::IPAllocated, message);
        }
        Ok(Action::await_change())
    }

    /// Bad input: what the Service has stays as long as its pool agrees, and it is told what to change. It waits,
    /// because another Service may hold what it asks for.
    async fn hold(
        &self,
        service: &Service,
        key: &ObjectKey,
        reason: Reason,
        message: String,
    ) -> Result<Action, ReconcileError> {
        if !self.provider.may_keep(key) {
            return self.starve(service, key, reason, message).await;
        }
        let observed = self.provider.observe(&owner(key)).await;
        let held = observed.map(|o| self.provider.built(&o));
        let held = held.map_err(|source| ReconcileError::Provider { key: key.clone(), source })?;
        self.wait(service, key, Report::Waiting(held, reason, message.clone()), message).await
    }

    /// Nothing to be had, and what it had it may not keep: the status says so before anybody else gets it.
    async fn starve(
        &self,
        service: &Service,
        key: &ObjectKey,
        reason: Reason,
        message: String,
    ) -> Result<Action, ReconcileError> {
        let report = Report::Waiting(Built::default(), reason, message.clone());
        let action = self.wait(service, key, report, message).await?;
        let before = self.release(key).await?;
        if !before.addresses.is_empty() {
            self.events.tell(service, Happening::ClearAssignment, moved(&before.addresses));
        }
        Ok(action)
    }

    async fn wait(
        &self,
        service: &Service,
        key: &ObjectKey,
        report: Report,
        message: String,
    ) -> Result<Action, ReconcileError> {
        self.waiting.set(key, true);
        if self.write(service, key, &report).await? {
            tracing::info!(why = message, "waiting");
            self.events.tell(service, Happening::AllocationFailed, message);
        }
        Ok(Action::requeue(RECHECK))
    }

    /// The status says that nothing is left before the address is given to anybody else.
    async fn clean_up(&self, service: &Service, key: &ObjectKey) -> Result<Action, ReconcileError> {
        self.waiting.set(key, false);
        self.write(service, key, &Report::CleanedUp).await?;
        let before = self.release(key).await?;
        let note = format!("released {}", texts(&before.addresses));
        tracing::info!(note, "cleaned up");
        self.events.tell(service, Happening::DeletedLoadBalancer, note);
        Ok(Action::await_change())
    }

    /// Takes back what the Service holds and wakes who waits for it.
    async fn release(&self, key: &ObjectKey) -> Result<Built, ReconcileError> {
        let carried = self.carry_out(key, None).await;
        let (before, _) = carried.map_err(|source| ReconcileError::Provider { key: key.clone(), source })?;
        if !before.addresses.is_empty() {
            self.waiting.wake_all();
        }
        Ok(before)
    }

    /// Writes the report unless the Service says so already. Returns whether it wrote. A conflict means that
    /// the Service has changed: the watch brings the new state, and with it the next reconciliation.
    async fn write(
        &self,
        service: &Service,
        key: &ObjectKey,
        report: &Report,
    ) -> Result<bool, ReconcileError> {
        let Some(patch) = patch(service, report, Timestamp::now()) else { return Ok(false) };
        let api: Api<Service> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        match written {
            Ok(_) => {
                self.metrics.wrote();
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_not_found() && *report == Report::CleanedUp => {
                Ok(false)
            }
            Err(source) => Err(ReconcileError::Write { key: key.clone(), source: Box::new(source) }),
        }
    }
}

/// The provider `pool` knows Services by name.
fn owner(key: &ObjectKey) -> Owner {
    Owner { service: key.clone(), uid: String::new() }
}

fn moved(addresses: &[IpAddr]) -> String {
    format!(
        "{} may not be held any longer: see the IPAddressPools and what the Service asks for",
        texts(addresses)
    )
}

fn texts(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
