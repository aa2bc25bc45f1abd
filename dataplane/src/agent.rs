//! The loop of the node agent: one task owns the index and the backend.
//!
//! Nothing is programmed before all lists have arrived: half of them would say that Services have no endpoints
//! or may not use their externalIPs, and connections would be rejected. Until then, and after the agent has ended, the
//! rules of its predecessor stand. Cancellation is looked at between transactions, never within one.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery, networking::v1::ServiceCIDR};
use penstock_crds::ExternalIPPolicy;
use penstock_model::{Change, Flow, HealthCheck, ObjectKey, ServiceIndex};
use penstock_runtime::{Readiness, Update};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Applied, ApplyError, Backend, Event, Metrics, Piece, Sync, external_ip_policies::ExternalIpPolicies,
    nftables::Touched, node_state::Fallback, refusal_log::RefusalLog, repair::Repair,
    service_cidrs::ServiceCidrs, service_events::ServiceEvents, stale_flow_queue::StaleFlowQueue,
};

/// How many events that are ready are taken into one transaction at most.
const BATCH: usize = 1024;
/// The pause after the first failed transaction; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is to be said at the `healthCheckNodePort` of each Service that has one.
pub type HealthChecks = BTreeMap<Arc<ObjectKey>, HealthCheck>;

/// Which lists have arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    services: bool,
    slices: bool,
    nodes: bool,
    policies: bool,
    service_cidrs: bool,
}

/// Whether the kernel holds what the index said.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    /// Changes can be applied.
    Loaded,
    /// Everything has to be loaded, not before this time.
    Unknown { not_before: Instant, pause: Duration },
}

/// Keeps the kernel as the API server says.
#[derive(Debug)]
pub struct Agent<B> {
    index: ServiceIndex,
    backend: B,
    metrics: Metrics,
    readiness: Readiness,
    policies: ExternalIpPolicies,
    service_cidrs: ServiceCidrs,
    /// Whether the backend has been told of ranges that it has not programmed.
    service_cidrs_differ: bool,
    stale_flows: StaleFlowQueue,
    health_checks: watch::Sender<HealthChecks>,
    refusals: RefusalLog,
    /// Where those about schedulers are told too.
    complaints: Option<ServiceEvents>,
    touched: BTreeSet<ObjectKey>,
    listed: Listed,
    kernel: Kernel,
    repair: Repair,
    /// Until the first load.
    fallback: Option<Fallback>,
    /// Whether the flows that were there before have been asked for.
    looked: bool,
}

impl<B: Backend> Agent<B> {
    /// An agent that has seen nothing yet.
    #[must_use]
    pub fn new(index: ServiceIndex, backend: B, metrics: Metrics, readiness: Readiness) -> Self {
        Self {
            index,
            backend,
            metrics,
            readiness,
            policies: ExternalIpPolicies::default(),
            service_cidrs: ServiceCidrs::default(),
            service_cidrs_differ: false,
            stale_flows: StaleFlowQueue::default(),
            health_checks: watch::Sender::default(),
            refusals: RefusalLog::default(),
            complaints: None,
            touched: BTreeSet::new(),
            listed: Listed::default(),
            kernel: Kernel::Unknown { not_before: Instant::now(), pause: FIRST_PAUSE },
            repair: Repair::default(),
            fallback: None,
            looked: false,
        }
    }

    /// An agent that programs this if the lists do not come in time.
    #[must_use]
    pub fn with_fallback(self, fallback: Option<Fallback>) -> Self {
        Self { fallback, ..self }
    }

    /// With events on Services whose scheduler is refused. Without this, as in modes that have no schedulers, the log has them.
    #[must_use]
    pub fn telling(self, complaints: ServiceEvents) -> Self {
        Self { complaints: Some(complaints), ..self }
    }

    /// The UDP flows that connection tracking has to forget: somebody has to drain it.
    #[must_use]
    pub fn stale_flows(&self) -> StaleFlowQueue {
        self.stale_flows.clone()
    }

    /// What health check servers have to say, as of the last change that was programmed.
    #[must_use]
    pub fn health_checks(&self) -> watch::Receiver<HealthChecks> {
        self.health_checks.subscribe()
    }

    /// Runs until the token is cancelled or the events end.
    pub async fn run(mut self, events: impl Stream<Item = Event> + Send, until: CancellationToken) {
        let mut batches = pin!(events.ready_chunks(BATCH));
        let stale_flows = self.stale_flows.clone();
        loop {
            tokio::select! {
                () = until.cancelled() => return,
                () = at(self.time_to_load()) => {}
                () = at(self.fallback.as_ref().map(Fallback::due)) => self.restore().await,
                found = stale_flows.found() => self.take_found(found),
                batch = batches.next() => match batch {
                    Some(batch) => batch.into_iter().for_each(|event| self.take(event)),
                    None => return,
                },
            }
            self.program().await;
            self.log_refusals();
        }
    }

    /// When a load that failed may be tried again, or one is due because others changed the rules.
    fn time_to_load(&self) -> Option<Instant> {
        match self.kernel {
            Kernel::Unknown { not_before, .. } => self.listed.all().then_some(not_before),
            Kernel::Loaded => self.repair.due(),
        }
    }

    async fn restore(&mut self) {
        let Some(fallback) = self.fallback.take() else { return };
        if let Err(error) = fallback.restore(&mut self.backend).await {
            tracing::error!("what was known last cannot be programmed: {:#}", anyhow::Error::from(error));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Service(update) => self.take_service(*update),
            Event::Slice(update) => self.take_slice(*update),
            Event::Node(update) => self.take_node(*update),
            Event::ExternalIpPolicy(update) => self.take_policy(*update),
            Event::ServiceCidr(update) => self.take_service_cidr(*update),
            Event::Touched(touched) => self.take_touched(&touched),
        }
    }

    /// Of the flows from before the agent started, those that lead to what is gone have to begin anew.
    fn take_found(&mut self, mut found: BTreeSet<Flow>) {
        // As of the last changes: that they are taken and not programmed yet makes no difference to what is held.
        found.retain(|flow| self.index.is_stale(flow));
        if !found.is_empty() {
            tracing::info!(stale = found.len(), "UDP flows from before the start lead to what is gone");
        }
        self.stale_flows.hold(found.into_iter().collect());
    }

    /// While nothing of ours stands for certain, everything is about to be loaded anyway.
    fn take_touched(&mut self, touched: &Touched) {
        if matches!(self.kernel, Kernel::Loaded) {
            self.metrics.touched(touched);
            let now = Instant::now();
            let pause = self.repair.touched(touched, now).saturating_duration_since(now);
            tracing::warn!("the rules are loaded anew in {pause:?}: {touched}");
        }
    }

    fn take_slice(&mut self, piece: Piece<discovery::EndpointSlice>) {
        match piece {
            Piece::Apply(slice) => self.index.apply_slice(&slice),
            Piece::Delete(slice) => self.index.delete_slice(&ObjectKey::of(&slice.metadata)),
            Piece::Complete(all) => {
                self.listed.slices = true;
                self.index.retain_slices(&all);
            }
        }
    }

    fn take_node(&mut self, update: Update<core::Node>) {
        match update {
            Update::Reset(all) => {
                self.listed.nodes = true;
                self.index.reset_nodes(&all);
            }
            Update::Apply(node) => self.index.apply_node(&node),
            Update::Delete(node) => {
                self.index.delete_node(node.metadata.name.as_deref().unwrap_or_default());
            }
        }
    }

    fn take_policy(&mut self, update: Update<ExternalIPPolicy>) {
        self.listed.policies |= matches!(update, Update::Reset(_));
        let allowed = self.policies.take(update);
        self.touched.extend(self.index.allow_external_ips(allowed));
    }

    fn take_service_cidr(&mut self, update: Update<ServiceCIDR>) {
        self.listed.service_cidrs |= matches!(update, Update::Reset(_));
        if let Some(ranges) = self.service_cidrs.take(update) {
            self.touched.extend(self.index.take_service_cidrs(ranges.clone()));
            self.backend.take_service_cidrs(ranges);
            self.service_cidrs_differ = true;
        }
    }

    fn take_service(&mut self, piece: Piece<core::Service>) {
        match piece {
            Piece::Apply(service) => {
                self.touched.insert(ObjectKey::of(&service.metadata));
                self.index.apply_service(&service);
            }
            Piece::Delete(service) => {
                let key = ObjectKey::of(&service.metadata);
                self.index.delete_service(&key);
                self.touched.insert(key);
            }
            Piece::Complete(all) => {
                self.listed.services = true;
                self.index.retain_services(&all);
                self.touched.extend(all);
            }
        }
    }

    async fn program(&mut self) {
        if !self.listed.all() {
            return;
        }
        match self.kernel {
            Kernel::Loaded if self.repair.due().is_some_and(|due| Instant::now() >= due) => {
                self.load(FIRST_PAUSE).await;
            }
            Kernel::Loaded => self.apply().await,
            Kernel::Unknown { not_before, pause } if Instant::now() >= not_before => self.load(pause).await,
            Kernel::Unknown { .. } => {}
        }
    }

    async fn apply(&mut self) {
        let changes = self.index.take_changes();
        self.stale_flows.hold(self.index.take_stale_flows());
        if changes.is_empty() && !self.service_cidrs_differ {
            self.metrics.unchanged();
            // An endpoint that nobody was sent to any longer may be gone.
            return self.pass_on();
        }
        self.touch(&changes);
        let started = Instant::now();
        let result = self.backend.apply(&changes).await;
        self.report(Sync::Partial, result, started, FIRST_PAUSE);
    }

    async fn load(&mut self, pause: Duration) {
        self.fallback = None;
        let all = self.index.all();
        self.stale_flows.hold(self.index.take_stale_flows());
        self.touch(&all);
        let started = Instant::now();
        let result = self.backend.reload(&all).await;
        if let Ok(applied) = &result {
            let (frontends, took) = (applied.programmed.frontends, started.elapsed());
            tracing::info!(frontends, endpoints = applied.programmed.endpoints, ?took, "loaded all Services");
            self.repair.loaded(Instant::now());
            if !std::mem::replace(&mut self.looked, true) {
                self.stale_flows.look();
            }
        }
        self.report(Sync::Full, result, started, (pause * 2).min(LONGEST_PAUSE));
    }

    /// What others do once the rules are changed.
    fn pass_on(&mut self) {
        self.stale_flows.release();
        let changes = self.index.take_health_changes();
        if !changes.is_empty() {
            self.health_checks.send_modify(|checks| {
                for change in changes {
                    match change.desired {
                        Some(check) => drop(checks.insert(change.service, check)),
                        None => drop(checks.remove(&change.service)),
                    }
                }
            });
        }
    }

    /// The Services whose refusals may differ: a change tells who lost an address to another.
    fn touch(&mut self, changes: &[Change]) {
        self.touched.extend(changes.iter().map(|change| ObjectKey::clone(&change.key.service)));
    }

    fn report(
        &mut self,
        sync: Sync,
        result: Result<Applied, ApplyError>,
        started: Instant,
        next_pause: Duration,
    ) {
        let took = started.elapsed();
        match result {
            Ok(applied) => {
                tracing::debug!(operations = applied.operations, ?took, "changes programmed");
                self.metrics.applied(sync, &applied, took);
                self.kernel = Kernel::Loaded;
                self.service_cidrs_differ = false;
                self.pass_on();
                self.readiness.set(true);
                if applied.in_doubt {
                    self.take_touched(&Touched::Unknown);
                }
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!("{error:#}; loading everything in {next_pause:?}");
                self.metrics.failed(sync, took);
                let soonest = Instant::now() + next_pause;
                // What others broke is put right when that is due.
                let not_before = self.repair.due().map_or(soonest, |due| due.max(soonest));
                self.kernel = Kernel::Unknown { not_before, pause: next_pause };
                self.readiness.set(false);
            }
        }
    }

    fn log_refusals(&mut self) {
        if !self.listed.all() {
            return;
        }
        for service in std::mem::take(&mut self.touched) {
            for refusal in self.refusals.news(&self.index, &service) {
                let sentence = refusal.to_string();
                tracing::warn!(%service, "{}", sentence.escape_debug());
                let complaints = self.complaints.as_ref().filter(|_| refusal.is_of_scheduler());
                if let Some(complaints) = complaints {
                    complaints.scheduler_refused(&service, &sentence);
                }
            }
        }
    }
}

/// Never, if there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

impl Listed {
    fn all(self) -> bool {
        self.services && self.slices && self.nodes && self.policies && self.service_cidrs
    }
}

#[cfg(test)]
mod tests;
