//! Services with addresses from pools. Nothing is built outside, so that everything goes into one write of the
//! Service, and its status is the record.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::runtime::controller::Action;
use penstock_crds::Reason;
use penstock_model::ObjectKey;
use penstock_providers::{Built, Desired, Provider, ProviderError};

use crate::{
    adoption::adopt_one,
    approval::Consent,
    class::is_marked,
    events::Happening,
    execution::Outcome,
    intent::Wanted,
    reconcile::{Context, ReconcileError, asking, owner},
    status::{Report, provisioned_message},
};

impl Context {
    pub(crate) async fn provision_from_pool(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
    ) -> Result<Action, ReconcileError> {
        if let Some(action) = self.tear_down_outside(service, key, Some(wanted)).await? {
            return Ok(action);
        }
        self.adopt_late(service, key);
        let consent = Consent::of(wanted.class.approval, service.metadata.annotations.as_ref());
        match self.take_from_pool(service, key, &consent, Some(&wanted.desired)).await {
            Ok(outcome) => {
                if outcome.before != outcome.built {
                    // Also where the Service's status cannot be written now.
                    self.pools_used.notify_one();
                }
                match asking(key, &outcome)? {
                    Some(report) => self.wait(service, key, report).await,
                    None => self.provisioned(service, key, &wanted.class_name, outcome).await,
                }
            }
            Err(ProviderError::User { reason, message }) => {
                self.hold_pool_addresses(service, key, Some(&wanted.desired), reason, message).await
            }
            Err(ProviderError::Quota { reason, message }) => {
                self.starve(service, key, &consent, reason, message).await
            }
            Err(error) => Err(ReconcileError::provider(key)(error)),
        }
    }

    /// A Service that became ours after the start, because its class was made only then, keeps what it shows if nobody
    /// has that: a cluster that moves here from MetalLB loses no address for the order in which things were applied.
    fn adopt_late(&self, service: &Service, key: &ObjectKey) {
        if !is_marked(service) && !self.fleet.pool.holds(key) {
            adopt_one(&self.fleet.pool, service);
        }
    }

    async fn take_from_pool(
        &self,
        service: &Service,
        key: &ObjectKey,
        consent: &Consent,
        desired: Option<&Desired>,
    ) -> Result<Outcome, ProviderError> {
        let (owner, provider) = (owner(service, key), self.fleet.pool.as_ref());
        self.execution(provider, &owner, consent).carry_out(desired).await
    }

    /// What it held before is free only once its status no longer shows it.
    async fn provisioned(
        &self,
        service: &Service,
        key: &ObjectKey,
        class: &str,
        Outcome { before, built, .. }: Outcome,
    ) -> Result<Action, ReconcileError> {
        self.waiting.set(key, false);
        self.stalled.set(key, false);
        let message = provisioned_message(&built);
        let lost: Vec<IpAddr> =
            before.addresses.iter().copied().filter(|ip| !built.addresses.contains(ip)).collect();
        let wrote = self.write(service, key, &Report::provisioned(class, built)).await?.is_some();
        if self.fleet.pool.reported(key) {
            self.pools_used.notify_one();
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
    pub(crate) async fn hold_pool_addresses(
        &self,
        service: &Service,
        key: &ObjectKey,
        desired: Option<&Desired>,
        reason: Reason,
        message: String,
    ) -> Result<Action, ReconcileError> {
        if !self.fleet.pool.may_keep(key, desired) {
            return self.starve(service, key, &self.consent(service), reason, message).await;
        }
        let held = self.held(service, key).await?;
        self.wait(service, key, Report::waiting(held, reason, message)).await
    }

    pub(crate) async fn held(&self, service: &Service, key: &ObjectKey) -> Result<Built, ReconcileError> {
        let observed = self.fleet.pool.observe(&owner(service, key)).await;
        Ok(self.fleet.pool.built(&observed.map_err(ReconcileError::provider(key))?))
    }

    /// Nothing to be had, and what it had it may not keep: the status says so before anybody else gets it.
    async fn starve(
        &self,
        service: &Service,
        key: &ObjectKey,
        consent: &Consent,
        reason: Reason,
        message: String,
    ) -> Result<Action, ReconcileError> {
        if let Some(action) = self.ask_to_release(service, key, consent).await? {
            return Ok(action);
        }
        let report = Report::waiting(Built::default(), reason, message);
        let action = self.wait(service, key, report).await?;
        let before = self.release(key);
        if !before.is_empty() {
            self.events.tell(service, Happening::ClearAssignment, moved(&before));
        }
        Ok(action)
    }

    /// The status says that nothing is left before the address is given to anybody else.
    pub(crate) async fn clean_up_pool_addresses(
        &self,
        service: &Service,
        key: &ObjectKey,
    ) -> Result<Action, ReconcileError> {
        if let Some(action) = self.ask_to_release(service, key, &self.consent(service)).await? {
            return Ok(action);
        }
        self.write(service, key, &Report::cleaned_up()).await?;
        let before = self.release(key);
        let note = if before.is_empty() {
            "nothing is left".to_owned()
        } else {
            format!("released {}", texts(&before))
        };
        tracing::info!(note, "cleaned up");
        self.events.tell(service, Happening::DeletedLoadBalancer, note);
        Ok(Action::await_change())
    }

    async fn ask_to_release(
        &self,
        service: &Service,
        key: &ObjectKey,
        consent: &Consent,
    ) -> Result<Option<Action>, ReconcileError> {
        if *consent == Consent::Given {
            return Ok(None);
        }
        let (owner, provider) = (owner(service, key), self.fleet.pool.as_ref());
        let asked = self
            .execution(provider, &owner, consent)
            .ask_to_remove()
            .await
            .map_err(ReconcileError::provider(key))?;
        match asking(key, &asked)? {
            Some(report) => self.wait(service, key, report).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes back what the Service holds and wakes who waits for it.
    pub(crate) fn release(&self, key: &ObjectKey) -> Vec<IpAddr> {
        let Some(before) = self.fleet.pool.release(key) else { return Vec::new() };
        self.pools_used.notify_one();
        self.waiting.wake_all();
        before
    }
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
