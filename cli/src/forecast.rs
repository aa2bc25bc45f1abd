//! What the operator would do about a Service. It decides by the operator's own functions and calls no provider: what
//! exists is what the status (provider `pool`) or the record (providers that build outside) says.

use k8s_openapi::api::core::v1::Service;
use penstock_crds::{Approval, LoadBalancer, LoadBalancerClassSpec, PlanVerdict, Reason, TLS_SECRET};
use penstock_model::ObjectKey;
use penstock_operator::{
    Consent, Intent, Membership, Wanted, approve_command, intent, is_marked, pending, served_by,
};
use penstock_providers::{Owner, Plan, ProviderError, Step, fingerprint};
use serde::Serialize;
use serde_json::Value;

use crate::{
    outside_provider::MakeProvider,
    pool_side,
    scene::{Scene, shown},
};

/// What would be done about a Service, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The Service.
    pub service: ObjectKey,
    /// The class that serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// That class's provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The addresses and names that its status shows now.
    pub has: Vec<String>,
    /// In one word, and why.
    pub outcome: Outcome,
    /// What is to be done, in this order.
    pub plans: Vec<Proposal>,
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Outcome {
    /// Somebody else's, or nobody's.
    NotOurs {
        /// Why.
        why: String,
    },
    /// It has what it wants, or gets it by the plans.
    Served,
    /// It is on its way out: what it has is taken back.
    CleanedUp,
    /// It does not get what it wants.
    Refused {
        /// The condition's reason.
        reason: String,
        /// What to change.
        message: String,
    },
}

/// A plan that is not empty.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// The class whose provider carries it out.
    pub class: String,
    /// The provider.
    pub provider: String,
    /// The steps, in order.
    pub steps: Vec<Step<Value>>,
    /// Calls of the provider's API that the steps cost.
    pub calls: u32,
    /// What an approval has to name.
    pub hash: String,
    /// Who has to agree.
    pub approval: Agreement,
    /// What the provider's own API said of exactly this plan when the operator asked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<PlanVerdict>,
}

/// Whether a plan is carried out as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Agreement {
    /// The class leaves everything to the operator, or no step is risky.
    NotNeeded,
    /// The annotation names this plan.
    Given,
    /// The steps from the first risky one on wait.
    Needed {
        /// What agrees.
        command: String,
    },
}

/// Tells what the operator would do.
pub async fn forecast(service: &Service, scene: &Scene, make: MakeProvider) -> Forecast {
    let key = ObjectKey::of(&service.metadata);
    let owner = Owner { service: key.clone(), uid: service.metadata.uid.clone().unwrap_or_default() };
    let mut forecaster = Forecaster { service, scene, make, owner, plans: Vec::new() };
    let outcome = forecaster.outcome().await.unwrap_or_else(|error| refused(&error));
    let (class, provider) = match scene.world.classes.membership(service) {
        Membership::Ours(name, class) if matches!(outcome, Outcome::Served | Outcome::Refused { .. }) => {
            (Some(name.to_owned()), Some(class.provider.to_string()))
        }
        _ => (served_by(service).map(ToOwned::to_owned), None),
    };
    Forecast { service: key, class, provider, has: shown(service), outcome, plans: forecaster.plans }
}

/// Of all Services, one after the other, so that no address is promised twice: the scene's pools are those after all plans.
pub async fn forecasts(scene: &Scene, make: MakeProvider) -> Vec<Forecast> {
    let mut forecasts = Vec::new();
    for service in scene.in_turn() {
        let forecast = forecast(service, scene, make).await;
        forecast.play(service, scene).await;
        forecasts.push(forecast);
    }
    forecasts
}

fn refused(error: &ProviderError) -> Outcome {
    Outcome::Refused { reason: error.reason().to_string(), message: error.to_string() }
}

struct Forecaster<'a> {
    service: &'a Service,
    scene: &'a Scene,
    make: MakeProvider,
    owner: Owner,
    plans: Vec<Proposal>,
}

impl Forecaster<'_> {
    async fn outcome(&mut self) -> Result<Outcome, ProviderError> {
        match intent(self.service, &self.scene.world) {
            Intent::Ignore => Ok(Outcome::NotOurs { why: why_ignored(self.service) }),
            Intent::CleanUp => {
                self.tear_down(None)?;
                let release = pool_side::ask_to_release(&self.scene.pool, &self.owner).await?;
                self.propose_for_pool(release)?;
                Ok(Outcome::CleanedUp)
            }
            Intent::AwaitSecrets => {
                let why =
                    format!("what {TLS_SECRET} names is not read here: only the operator plans with it");
                self.hold(Reason::InvalidCertificateRef, why).await
            }
            Intent::Hold(reason, message) => self.hold(reason, message).await,
            Intent::Provision(wanted) => {
                self.tear_down(Some(&wanted.class_name))?;
                match wanted.class.provider {
                    penstock_crds::ProviderKind::Pool => self.take_from_pool(&wanted).await,
                    _ => self.build_outside(&wanted),
                }
            }
        }
    }

    /// What a record tells of stays; so does what a pool gave, if that may stay.
    async fn hold(&mut self, reason: Reason, message: String) -> Result<Outcome, ProviderError> {
        let outcome = Outcome::Refused { reason: reason.to_string(), message: message.clone() };
        if self.record().is_none() {
            let wish = Err(ProviderError::User { reason, message });
            let answer = pool_side::ask(&self.scene.pool, &self.owner, wish).await?;
            self.propose_for_pool(answer.plan)?;
        }
        Ok(outcome)
    }

    async fn take_from_pool(&mut self, wanted: &Wanted) -> Result<Outcome, ProviderError> {
        let answer = pool_side::ask(&self.scene.pool, &self.owner, Ok(&wanted.desired)).await?;
        self.propose(&wanted.class_name, &wanted.class, wanted.class.approval, answer.plan)?;
        Ok(answer.refused.map_or(Outcome::Served, |error| refused(&error)))
    }

    /// While the fingerprint is that of what is wanted, there is nothing to do.
    fn build_outside(&mut self, wanted: &Wanted) -> Result<Outcome, ProviderError> {
        let provider = (self.make)(&wanted.class)?;
        provider.capabilities().check(&wanted.desired)?;
        let wish = fingerprint(&(&wanted.class, &wanted.desired));
        let wish = wish.map_err(|error| ProviderError::Retryable(error.to_string()))?;
        let record = self.scene.record(self.service);
        if record.is_some_and(|r| r.spec.service_uid != self.owner.uid) {
            let why = "the balancer of a Service that had this name before is still being taken down";
            return Err(ProviderError::Retryable(why.to_owned()));
        }
        let record = record.filter(|r| r.spec.class_name == wanted.class_name);
        let status = record.and_then(|r| r.status.clone()).unwrap_or_default();
        if status.fingerprint.as_ref() == Some(&wish) {
            return Ok(Outcome::Served);
        }
        let observed = status.observed.unwrap_or_default();
        let plan = provider.plan(&self.owner, Some(&wanted.desired), &observed)?;
        self.propose(&wanted.class_name, &wanted.class, wanted.class.approval, plan)?;
        Ok(Outcome::Served)
    }

    /// What another class than `keep` has built outside goes first.
    fn tear_down(&mut self, keep: Option<&str>) -> Result<(), ProviderError> {
        let Some(record) = self.record().filter(|r| Some(r.spec.class_name.as_str()) != keep) else {
            return Ok(());
        };
        let spec = record.spec.clone();
        let observed = record.status.as_ref().and_then(|s| s.observed.clone()).unwrap_or_default();
        let plan = (self.make)(&spec.class)?.plan(&self.owner, None, &observed)?;
        let now = self.scene.world.classes.get(&spec.class_name).unwrap_or(&spec.class);
        self.propose(&spec.class_name, &spec.class, now.approval, plan)
    }

    /// The record of what was built for this very Service while it was marked as ours.
    fn record(&self) -> Option<&LoadBalancer> {
        let record = self.scene.record(self.service).filter(|_| is_marked(self.service))?;
        Some(record).filter(|r| r.spec.service_uid == self.owner.uid)
    }

    /// Of a Service that has left its class: the class that served it says who has to agree.
    fn propose_for_pool(&mut self, plan: Plan<Value>) -> Result<(), ProviderError> {
        let name = served_by(self.service).unwrap_or_default().to_owned();
        let approval = self.scene.world.classes.get(&name).map_or(Approval::Automatic, |c| c.approval);
        self.add(name, "pool".to_owned(), approval, plan)
    }

    fn propose(
        &mut self,
        name: &str,
        class: &LoadBalancerClassSpec,
        approval: Approval,
        plan: Plan<Value>,
    ) -> Result<(), ProviderError> {
        self.add(name.to_owned(), class.provider.to_string(), approval, plan)
    }

    fn add(
        &mut self,
        class: String,
        provider: String,
        approval: Approval,
        plan: Plan<Value>,
    ) -> Result<(), ProviderError> {
        if plan.is_empty() {
            return Ok(());
        }
        let hash = pending(&plan)?.hash;
        let approval = self.agreement(approval, &plan, &hash)?;
        let verdict = self.verdict(&hash);
        let calls = plan.calls();
        self.plans.push(Proposal { class, provider, calls, hash, approval, verdict, steps: plan.steps });
        Ok(())
    }

    fn verdict(&self, hash: &str) -> Option<PlanVerdict> {
        let record = self.record()?;
        let pending = record.status.as_ref()?.pending_plan.as_ref().filter(|plan| plan.hash == hash)?;
        pending.verdict.clone()
    }

    fn agreement(
        &self,
        approval: Approval,
        plan: &Plan<Value>,
        hash: &str,
    ) -> Result<Agreement, ProviderError> {
        let consent = Consent::of(approval, self.service.metadata.annotations.as_ref());
        if consent == Consent::Given || plan.harmless().len() == plan.steps.len() {
            return Ok(Agreement::NotNeeded);
        }
        if consent.allowed(plan)?.len() == plan.steps.len() {
            return Ok(Agreement::Given);
        }
        let ObjectKey { namespace, name } = &self.owner.service;
        let command = approve_command(hash, &format!("-n {namespace} service {name}"));
        Ok(Agreement::Needed { command })
    }
}

/// Why the operator leaves a Service alone.
fn why_ignored(service: &Service) -> String {
    let spec = service.spec.as_ref();
    let kind = spec.and_then(|s| s.type_.as_deref()).unwrap_or("ClusterIP");
    if kind != "LoadBalancer" {
        return format!("it is of type {kind}, and only Services of type LoadBalancer get addresses");
    }
    if service.metadata.deletion_timestamp.is_some() {
        return "it is being deleted and has nothing of ours".to_owned();
    }
    match spec.and_then(|s| s.load_balancer_class.as_deref()) {
        Some(class) => format!("spec.loadBalancerClass is {class}, which another controller serves"),
        None => "it names no class, and no LoadBalancerClass is the default".to_owned(),
    }
}

impl Forecast {
    /// Whether anything would change.
    #[must_use]
    pub fn changes(&self) -> bool {
        !self.plans.is_empty()
    }

    /// Owner and plans, to carry out in memory those of the provider `pool`.
    pub(crate) async fn play(&self, service: &Service, scene: &Scene) {
        let uid = service.metadata.uid.clone().unwrap_or_default();
        let owner = Owner { service: self.service.clone(), uid };
        for proposal in self.plans.iter().filter(|p| p.provider == "pool") {
            pool_side::play(&scene.pool, &owner, &Plan { steps: proposal.steps.clone() }).await;
        }
    }
}
