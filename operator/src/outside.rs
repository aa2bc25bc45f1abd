//! Services whose balancer is built outside the cluster. The order is what makes every crash survivable: finalizer,
//! record, calls of the provider, record of what exists, status of the Service; and backwards when it goes. While the
//! record's fingerprint is that of what is wanted, the provider is not asked.

use std::{sync::PoisonError, time::Instant};

use k8s_openapi::{api::core::v1::Service, jiff::Timestamp};
use kube::{Api, Resource, runtime::controller::Action};
use penstock_crds::{
    ALLOCATED_FROM, APPROVED_PLAN, Approval, DriftPolicy, LoadBalancer, LoadBalancerClassSpec,
    LoadBalancerSpec, LoadBalancerStatus, PendingPlan, ProviderKind, Reason,
};
use penstock_model::ObjectKey;
use penstock_providers::{Built, Desired, Owner, Plan, ProviderError, fingerprint};
use serde_json::Value;

use crate::{
    approval::{Consent, question},
    class::{is_marked, served_by},
    events::Happening,
    execution::Outcome,
    fleet::identity,
    intent::{Wanted, still_wants},
    reconcile::{Context, RECHECK, ReconcileError, asking, of_service, owner},
    record::{self, Verdict},
    status::{Report, provisioned_message},
};

impl Context {
    pub(crate) async fn provision_outside(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
    ) -> Result<Action, ReconcileError> {
        if let Some(action) = self.tear_down_outside(service, key, Some(wanted)).await? {
            return Ok(action);
        }
        self.sent_to_endpoints.set(key, wanted.desired.endpoints.is_some());
        let service = &self.mark(service, key, wanted).await?;
        let record = self.current_record(service, key, wanted).await?;
        let wish = fingerprint(&(&wanted.class, &wanted.desired));
        let wish =
            wish.map_err(|e| ReconcileError::provider(key)(ProviderError::Retryable(e.to_string())))?;
        let settled = record.status.as_ref().and_then(|s| s.fingerprint.as_ref()) == Some(&wish);
        if settled && !self.is_to_repair(service, key, wanted).await {
            return self.settled(service, key, wanted, record::built(&record)).await;
        }
        if let Some(message) = record::refusal(&record, &wish) {
            let report = Report::waiting(record::built(&record), Reason::RequestRefused, message);
            return self.wait_outside(service, key, report).await;
        }
        let plea =
            format!("{wish} {:?}", service.metadata.annotations.as_ref().and_then(|a| a.get(APPROVED_PLAN)));
        if let Some(pause) = self.backoff.held(key, &plea, Instant::now()) {
            return Ok(Action::requeue(pause));
        }
        let record = self.unsettle(key, record).await?;
        let outcome = self.bring_about(service, key, wanted, &record).await;
        if let Err(error) = &outcome
            && !error.is_terminal()
        {
            let pause = error.pause().unwrap_or_else(|| self.backoff.failed(key));
            self.backoff.hold(key, plea, Instant::now() + pause);
        }
        match outcome {
            Ok(outcome) => self.built_outside(service, key, wanted, &record, wish, outcome).await,
            Err(error) => self.failed_outside(service, key, &record, wish, error).await,
        }
    }

    /// What is carried out in part is not what the record says: after a crash it must not pass for that, also if the
    /// Service wants it back by then.
    async fn unsettle(&self, key: &ObjectKey, record: LoadBalancer) -> Result<LoadBalancer, ReconcileError> {
        let Some(status) = record.status.as_ref().filter(|status| status.fingerprint.is_some()) else {
            return Ok(record);
        };
        let status = LoadBalancerStatus { fingerprint: None, ..status.clone() };
        self.records.set_status(&record, &status).await.map_err(ReconcileError::api(key))
    }

    /// Whether the balancer is to be brought back to what it was. Users hear what is different in any case.
    async fn is_to_repair(&self, service: &Service, key: &ObjectKey, wanted: &Wanted) -> bool {
        if wanted.class.drift == DriftPolicy::Ignore || !self.suspects.take(key) {
            return false;
        }
        let plan = match self.examine(service, key, wanted).await {
            Ok(plan) => plan,
            // What is wrong there is said when the Service changes, or found by a later sweep.
            Err(error) => {
                tracing::warn!(%error, "could not look for drift, trying again later");
                return false;
            }
        };
        let reasons: Vec<&str> = plan.steps.iter().map(|step| step.reason.as_str()).collect();
        if !reasons.is_empty() {
            tracing::info!(?reasons, "its balancer is not as it was left");
            self.events.tell(service, Happening::DriftDetected, reasons.join("; "));
        }
        !reasons.is_empty() && wanted.class.drift == DriftPolicy::Repair
    }

    async fn examine(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
    ) -> Result<Plan<Value>, ProviderError> {
        if let Some(error) = self.fleet.would_hear(&wanted.class, Instant::now()) {
            return Err(error);
        }
        let provider = self.fleet.outside(&wanted.class).await?;
        let (owner, consent) = (owner(service, key), Consent::Given);
        let plan = self.execution(provider.as_ref(), &owner, &consent).examine(&wanted.desired).await;
        self.metrics.called_api(&identity(&wanted.class), provider.as_ref());
        if let Err(error) = &plan {
            self.fleet.heard(&wanted.class, error, Instant::now());
        }
        plan
    }

    /// The finalizer is there before the first call outside.
    async fn mark(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
    ) -> Result<Service, ReconcileError> {
        let name = &wanted.class_name;
        if is_marked(service) && served_by(service) == Some(name) {
            return Ok(service.clone());
        }
        // What it has, from a pool or recorded, stays shown until there is something else.
        let before = match self.own_record(service, key).await?.map(|r| record::built(&r)) {
            Some(built) if !built.is_empty() => built,
            _ => self.held(service, key).await?,
        };
        let marked = self.write(service, key, &Report::begun(name, before)).await?;
        self.events.tell(
            service,
            Happening::EnsuringLoadBalancer,
            format!("LoadBalancerClass {name} builds it"),
        );
        Ok(marked.unwrap_or_else(|| service.clone()))
    }

    /// The record of this very Service, with its class as it is now. One of a Service that had the name before is in the
    /// way until what it records is taken down.
    async fn current_record(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
    ) -> Result<LoadBalancer, ReconcileError> {
        let api = ReconcileError::api;
        let spec = LoadBalancerSpec {
            service_uid: service.metadata.uid.clone().unwrap_or_default(),
            class_name: wanted.class_name.clone(),
            class: wanted.class.clone(),
        };
        match self.records.get(key).await.map_err(api(key))? {
            Some(record) if record.spec.service_uid != spec.service_uid => {
                let why = "the balancer of a Service that had this name before is still being taken down";
                Err(ReconcileError::provider(key)(ProviderError::Retryable(why.to_owned())))
            }
            // Also one that somebody deleted: our finalizer keeps it for as long as there is something to record.
            Some(record) if record.spec == spec => Ok(record),
            Some(record) => self.records.set_spec(&record, &spec).await.map_err(api(key)),
            None => self.records.create(&record::new(service, spec)).await.map_err(api(key)),
        }
    }

    async fn bring_about(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
        record: &LoadBalancer,
    ) -> Result<Outcome, ProviderError> {
        let consent = Consent::of(wanted.class.approval, service.metadata.annotations.as_ref());
        let provider = self.fleet.outside(&record.spec.class).await?;
        self.sent_to_nodes.set(key, provider.capabilities().sends_to_nodes);
        let outcome =
            self.carry_out(&record.spec.class, &owner(service, key), &consent, Some(&wanted.desired)).await?;
        Ok(self.judged(record, &owner(service, key), outcome).await)
    }

    /// Asks the provider, unless another Service has heard that nobody should.
    async fn carry_out(
        &self,
        class: &LoadBalancerClassSpec,
        owner: &Owner,
        consent: &Consent,
        desired: Option<&Desired>,
    ) -> Result<Outcome, ProviderError> {
        if let Some(error) = self.fleet.would_hear(class, Instant::now()) {
            return Err(error);
        }
        let provider = self.fleet.outside(class).await?;
        let outcome = self.execution(provider.as_ref(), owner, consent).carry_out(desired).await;
        self.metrics.called_api(&identity(class), provider.as_ref());
        if let Err(error) = &outcome {
            self.fleet.heard(class, error, Instant::now());
        }
        outcome
    }

    /// All is as it was when it was last carried out in full; the status may still be another's work.
    async fn settled(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
        built: Built,
    ) -> Result<Action, ReconcileError> {
        self.waiting.set(key, false);
        self.stalled.set(key, false);
        self.backoff.release(key);
        // Every provider outside sends to nodes, or hears of none: a change of nodes then changes no fingerprint.
        self.sent_to_nodes.set(key, true);
        self.write(service, key, &Report::provisioned(&wanted.class_name, built)).await?;
        self.release(key);
        Ok(Action::await_change())
    }

    async fn built_outside(
        &self,
        service: &Service,
        key: &ObjectKey,
        wanted: &Wanted,
        record: &LoadBalancer,
        wish: String,
        outcome: Outcome,
    ) -> Result<Action, ReconcileError> {
        let plan = outcome.pending().map_err(ReconcileError::provider(key))?;
        let verdict = plan.as_ref().map_or(Ok(()), |plan| Err(waits(plan, &of_service(key))));
        let status = LoadBalancerStatus {
            fingerprint: Some(wish).filter(|_| plan.is_none()),
            observed: Some(outcome.observed.clone()),
            pending_plan: plan,
            ..LoadBalancerStatus::default()
        };
        self.record_status(key, record, &outcome.built, status, verdict).await?;
        if let Some(report) = asking(key, &outcome)? {
            return self.wait_outside(service, key, report).await;
        }
        let message = provisioned_message(&outcome.built);
        let first = outcome.before.is_empty();
        let happening = if first { Happening::EnsuredLoadBalancer } else { Happening::UpdatedLoadBalancer };
        self.events.tell(service, happening, message);
        if wanted.desired.targets.is_empty() && wanted.desired.endpoints.is_none() {
            let note = "no node may receive its traffic: see their exclude label and taints".to_owned();
            self.events.tell(service, Happening::UnAvailableLoadBalancer, note);
        }
        self.settled(service, key, wanted, outcome.built).await
    }

    /// What exists stays; condition, event and record say what is wrong. What passes is tried again with backoff.
    async fn failed_outside(
        &self,
        service: &Service,
        key: &ObjectKey,
        record: &LoadBalancer,
        wish: String,
        error: ProviderError,
    ) -> Result<Action, ReconcileError> {
        let (reason, message) = (error.reason(), error.to_string());
        let recorded = record::built(record);
        let built = if recorded.is_empty() { self.held(service, key).await? } else { recorded };
        let before = record.status.clone().unwrap_or_default();
        let refused = Some(wish).filter(|_| reason == Reason::RequestRefused);
        let status = LoadBalancerStatus { fingerprint: None, refused, pending_plan: None, ..before };
        self.record_status(key, record, &built, status, Err((reason, message.clone()))).await?;
        let action = self.wait_outside(service, key, Report::waiting(built, reason, message)).await?;
        if error.is_terminal() {
            return Ok(action);
        }
        tracing::warn!(%error, "the provider could not do it");
        Ok(Action::requeue(self.backoff.pause_of(key, Instant::now()).unwrap_or(RECHECK)))
    }

    async fn record_status(
        &self,
        key: &ObjectKey,
        record: &LoadBalancer,
        built: &Built,
        status: LoadBalancerStatus,
        verdict: Verdict,
    ) -> Result<(), ReconcileError> {
        let status = record::status(record, built, status, verdict, Timestamp::now());
        let written = self.records.set_status(record, &status).await;
        written.map(|_| ()).map_err(ReconcileError::api(key))
    }

    /// What the record of the Service says that it has; `None` where nothing is recorded.
    pub(crate) async fn recorded(
        &self,
        service: &Service,
        key: &ObjectKey,
    ) -> Result<Option<Built>, ReconcileError> {
        Ok(self.own_record(service, key).await?.map(|record| record::built(&record)))
    }

    /// The record of this very Service, not of one that had its name before.
    async fn own_record(
        &self,
        service: &Service,
        key: &ObjectKey,
    ) -> Result<Option<LoadBalancer>, ReconcileError> {
        let record = self.records.get(key).await.map_err(ReconcileError::api(key))?;
        Ok(record.filter(|r| Some(&r.spec.service_uid) == service.metadata.uid.as_ref()))
    }

    /// Takes down what another class than `keep` has built for the Service; with `None` whatever was built. Returns
    /// what to do meanwhile if that is not finished.
    pub(crate) async fn tear_down_outside(
        &self,
        service: &Service,
        key: &ObjectKey,
        keep: Option<&Wanted>,
    ) -> Result<Option<Action>, ReconcileError> {
        if !is_marked(service) || keep.is_some_and(|wanted| only_by(service, wanted)) {
            return Ok(None);
        }
        let found = self.records.get(key).await.map_err(ReconcileError::api(key))?;
        let Some(record) = found.or_else(|| self.remembered(service)) else { return Ok(None) };
        let same = |wanted: &Wanted| {
            let LoadBalancerSpec { class_name, class, .. } = &record.spec;
            *class_name == wanted.class_name && class.provider == wanted.class.provider
        };
        let (owner, kept) = (owner(service, key), keep.is_some_and(same));
        if kept || record.spec.service_uid != owner.uid {
            return Ok(None);
        }
        self.events.tell(service, Happening::DeletingLoadBalancer, record.spec.class_name.clone());
        let consent = Consent::of(self.approval(&record), service.metadata.annotations.as_ref());
        match self.tear_down(&record, &owner, &consent).await {
            Ok(outcome) => {
                self.record_pending(key, &record, &outcome, &of_service(key)).await?;
                match asking(key, &outcome)? {
                    Some(report) => self.wait_outside(service, key, report).await.map(Some),
                    None => Ok(None),
                }
            }
            Err(error) => {
                let (reason, message) = (error.reason(), error.to_string());
                self.stalled.set(key, true);
                if !matches!(error, ProviderError::Pending(_)) {
                    self.events.tell(service, Happening::DeleteLoadBalancerFailed, message.clone());
                }
                let report = Report::waiting(record::built(&record), reason, message);
                self.write(service, key, &report).await?;
                Err(ReconcileError::provider(key)(error))
            }
        }
    }

    /// A record that is gone says nothing: a namespace that is being deleted loses its objects in any order. What was
    /// built follows from the Service's UID and the class that served it.
    fn remembered(&self, service: &Service) -> Option<LoadBalancer> {
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        let class_name = served_by(service)?;
        let class = world.classes.get(class_name).filter(|c| c.provider != ProviderKind::Pool)?;
        let service_uid = service.metadata.uid.clone()?;
        let spec = LoadBalancerSpec { service_uid, class_name: class_name.to_owned(), class: class.clone() };
        Some(record::new(service, spec))
    }

    /// The class as it is by now, with a URL or Secret that was put right; as the record has it where it is gone.
    fn class_of(&self, record: &LoadBalancer) -> LoadBalancerClassSpec {
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        let same = |class: &&LoadBalancerClassSpec| class.provider == record.spec.class.provider;
        world.classes.get(&record.spec.class_name).filter(same).unwrap_or(&record.spec.class).clone()
    }

    /// The class may ask for approval by now; if it is gone, what the record says of it counts.
    fn approval(&self, record: &LoadBalancer) -> Approval {
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        world.classes.get(&record.spec.class_name).unwrap_or(&record.spec.class).approval
    }

    /// Observes, deletes, confirms that nothing is left, then removes the record.
    async fn tear_down(
        &self,
        record: &LoadBalancer,
        owner: &Owner,
        consent: &Consent,
    ) -> Result<Outcome, ProviderError> {
        let outcome = self.carry_out(&self.class_of(record), owner, consent, None).await?;
        if outcome.held.is_none() && record.metadata.uid.is_some() {
            let removed = self.records.remove(record).await;
            removed.map_err(|e| ProviderError::Retryable(format!("the record cannot be removed: {e}")))?;
        }
        Ok(outcome)
    }

    /// A record whose Service is gone, or is no longer marked as ours by the hand of somebody who forced it: what it
    /// records is taken down, then it goes. It is approved, where that is needed, by an annotation of its own.
    pub(crate) async fn collect_orphan(&self, record: &LoadBalancer) -> Result<Action, ReconcileError> {
        let key = ObjectKey::of(record.meta());
        let api: Api<Service> = Api::namespaced(self.client.clone(), &key.namespace);
        let service = api.get_opt(&key.name).await.map_err(ReconcileError::api(&key))?;
        let same = service.filter(|s| s.metadata.uid.as_ref() == Some(&record.spec.service_uid));
        if let Some(service) = same
            && (is_marked(&service) || self.still_wanted(&service))
        {
            if record.metadata.deletion_timestamp.is_some() || !is_marked(&service) {
                self.waiting.wake(&key);
            }
            // The finalizer may be forced off without the record's knowing.
            return Ok(Action::requeue(RECHECK));
        }
        let owner = Owner { service: key.clone(), uid: record.spec.service_uid.clone() };
        let consent = Consent::of(self.approval(record), record.metadata.annotations.as_ref());
        let outcome =
            self.tear_down(record, &owner, &consent).await.map_err(ReconcileError::provider(&key))?;
        if outcome.held.is_none() {
            tracing::warn!(record = %key, "took down the balancer of a Service that is gone");
            self.waiting.wake(&key);
            return Ok(Action::await_change());
        }
        let resource = format!("-n {} loadbalancers.penstock.dev {}", key.namespace, key.name);
        self.record_pending(&key, record, &outcome, &resource).await?;
        Ok(Action::requeue(RECHECK))
    }

    fn still_wanted(&self, service: &Service) -> bool {
        still_wants(service, &self.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The record shows the plan that waits, if one does, and what has to carry the approval.
    async fn record_pending(
        &self,
        key: &ObjectKey,
        record: &LoadBalancer,
        outcome: &Outcome,
        resource: &str,
    ) -> Result<(), ReconcileError> {
        let plan = outcome.pending().map_err(ReconcileError::provider(key))?;
        let (Some(plan), true) = (plan, record.metadata.uid.is_some()) else { return Ok(()) };
        let verdict = Err(waits(&plan, resource));
        let before = record.status.clone().unwrap_or_default();
        let status = LoadBalancerStatus { pending_plan: Some(plan), fingerprint: None, ..before };
        self.record_status(key, record, &outcome.built, status, verdict).await
    }
}

/// Whether it can be told without the record that nobody else has built anything for the Service: the class that it
/// wants serves it, and that one is what it was. (One of its name may have built outside before it became one for pools.)
fn only_by(service: &Service, wanted: &Wanted) -> bool {
    let from_pool =
        || service.metadata.annotations.as_ref().is_some_and(|said| said.contains_key(ALLOCATED_FROM));
    served_by(service) == Some(&wanted.class_name)
        && (wanted.class.provider != ProviderKind::Pool || from_pool())
}

fn waits(plan: &PendingPlan, resource: &str) -> (Reason, String) {
    (Reason::ApprovalRequired, question(plan, resource))
}
