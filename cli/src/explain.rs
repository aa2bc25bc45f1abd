//! Why a Service has no address, or what it has: pure.

use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use penstock_crds::{
    ADDRESS_POOL, ADDRESS_POOL_METALLB, ConditionKind, FINALIZER, LOAD_BALANCER_IPS,
    LOAD_BALANCER_IPS_METALLB, ProviderKind, Reason,
};
use penstock_model::{ObjectKey, SOURCE_RANGES};
use serde::Serialize;

use crate::{
    facts::{Facts, OperatorState, PoolState},
    forecast::{Agreement, Forecast, Outcome},
    pool_side::RefusalField,
    scene::shown,
};

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it means.
    pub weight: Weight,
    /// One sentence.
    pub sentence: String,
    /// The object to change, as `KIND NAMESPACE/NAME`, and its field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// What to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Weight {
    /// This is why.
    Problem,
    /// It matters, but does not stand in the way.
    Note,
    /// All is as it should be.
    Fine,
}

/// What to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `KIND NAMESPACE/NAME`.
    pub object: String,
    /// The field; with several, any of them.
    pub field: String,
}

impl Finding {
    pub(crate) fn new(weight: Weight, sentence: impl Into<String>) -> Self {
        Self { weight, sentence: sentence.into(), change: None, command: None }
    }

    pub(crate) fn problem(sentence: impl Into<String>) -> Self {
        Self::new(Weight::Problem, sentence)
    }

    pub(crate) fn note(sentence: impl Into<String>) -> Self {
        Self::new(Weight::Note, sentence)
    }

    pub(crate) fn at(self, object: impl Into<String>, field: impl Into<String>) -> Self {
        Self { change: Some(Change { object: object.into(), field: field.into() }), ..self }
    }

    pub(crate) fn run(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }
}

/// Explains, the most basic cause first. Never empty.
#[must_use]
pub fn explain(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(leaving(facts));
    let not_ours = not_ours(facts);
    let is_ours = not_ours.is_none();
    findings.extend(not_ours);
    if is_ours {
        findings.extend(absence(&facts.operator, &facts.operator_namespace));
        findings.extend(class(facts));
        findings.extend(refused(facts));
        findings.extend(pools(facts));
        findings.extend(approvals(facts));
        findings.extend(provider(facts));
        findings.extend(about_to(facts));
    }
    findings.extend(other_refusals(&facts.service));
    if !findings.iter().any(|f| f.weight == Weight::Problem) {
        findings.insert(0, fine(facts));
    }
    findings
}

fn object(facts: &Facts) -> String {
    format!("Service {}", ObjectKey::of(&facts.service.metadata))
}

fn conditions(service: &Service) -> &[Condition] {
    service.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default()
}

/// A condition of the Service.
pub(crate) fn condition(service: &Service, kind: ConditionKind) -> Option<&Condition> {
    conditions(service).iter().find(|c| c.type_ == kind.to_string())
}

/// A deletion that waits for finalizers.
fn leaving(facts: &Facts) -> Vec<Finding> {
    let meta = &facts.service.metadata;
    let Some(since) = &meta.deletion_timestamp else { return Vec::new() };
    let finalizers = meta.finalizers.as_deref().unwrap_or_default().iter();
    finalizers
        .map(|finalizer| {
            let stuck = format!("it is being deleted since {} and waits for finalizer {finalizer}", since.0);
            if finalizer == FINALIZER {
                let awaited = awaited(facts);
                return Finding::problem(format!("{stuck}: {awaited}"));
            }
            Finding::problem(format!("{stuck}, which another controller has to remove"))
                .at(object(facts), "metadata.finalizers")
        })
        .collect()
}

fn awaited(facts: &Facts) -> String {
    if let Some(record) = &facts.record {
        let name = ObjectKey::of(&record.metadata);
        return format!(
            "what LoadBalancer {name} records has to be taken down by class {} first",
            record.spec.class_name
        );
    }
    match &facts.operator {
        OperatorState::Runs { holder } => format!("the operator ({holder}) has to take back its address"),
        _ => "an operator has to run to take back its address".to_owned(),
    }
}

fn not_ours(facts: &Facts) -> Option<Finding> {
    let Some(Forecast { outcome: Outcome::NotOurs { why }, .. }) = &facts.forecast else { return None };
    let spec = facts.service.spec.as_ref();
    let balanced = spec.and_then(|s| s.type_.as_deref()) == Some("LoadBalancer");
    let field = if balanced { "spec.loadBalancerClass" } else { "spec.type" };
    let finding = Finding::problem(format!("Penstock leaves it alone: {why}"));
    let default_missing = balanced && spec.is_some_and(|s| s.load_balancer_class.is_none());
    Some(if default_missing {
        finding.at(object(facts), "spec.loadBalancerClass, or spec.default of a LoadBalancerClass")
    } else {
        finding.at(object(facts), field)
    })
}

/// What it means that the operator is as it is; nothing where it works or nobody may know.
pub(crate) fn absence(operator: &OperatorState, namespace: &str) -> Option<Finding> {
    let lease = format!("Lease {namespace}/{}", penstock_operator::leadership::LEASE_NAME);
    let at = |time: &Option<Timestamp>| time.map(|t| format!(" since {t}")).unwrap_or_default();
    let sentence = match operator {
        OperatorState::Unknown | OperatorState::Runs { .. } => return None,
        OperatorState::NoLease => format!("no operator runs: {lease} does not exist"),
        OperatorState::Vacant { since } => {
            format!("no operator runs: the last one gave up {lease}, which is vacant{}", at(since))
        }
        OperatorState::Stale { holder, since } => {
            format!("no operator runs: {holder} has not renewed {lease}{}", at(since))
        }
    };
    let check = format!("kubectl -n {namespace} get pods,leases");
    Some(Finding::problem(sentence).run(check))
}

fn class(facts: &Facts) -> Option<Finding> {
    let class = facts.class.as_ref()?;
    let message = class.refused.as_ref()?;
    let object = format!("LoadBalancerClass {}", class.name);
    Some(Finding::note(format!("{object} is not accepted: {message}")).at(object, "spec"))
}

/// What the operator's own decision says; without it what it has written down.
fn refused(facts: &Facts) -> Option<Finding> {
    let (reason, message) = match &facts.forecast {
        Some(Forecast { outcome: Outcome::Refused { reason, message }, .. }) => (reason, message),
        Some(_) => return None,
        None => {
            let said = condition(&facts.service, ConditionKind::LoadBalancerProvisioning)?;
            (&said.reason, Some(&said.message).filter(|_| said.status == "True")?)
        }
    };
    let finding = Finding::problem(format!("{reason}: {message}"));
    let is = |known: Reason| *reason == known.to_string();
    Some(if is(Reason::NoClass) {
        finding.at(object(facts), "spec.loadBalancerClass")
    } else if is(Reason::NoPool) || is(Reason::Exhausted) {
        // Where a pool says why, its own finding names the field.
        if facts.pools.iter().any(|(_, state)| matches!(state, PoolState::Rejects(_))) {
            return Some(finding);
        }
        finding.at(format!("IPAddressPools of namespace {}", facts.operator_namespace), "spec.addresses")
    } else if is(Reason::RequestRefused) || is(Reason::RequestInvalid) {
        finding.at(object(facts), requests(&facts.service))
    } else {
        finding
    })
}

/// The fields by which a Service asks for something.
fn requests(service: &Service) -> String {
    let spec = service.spec.as_ref();
    let mut fields = Vec::new();
    if spec.is_some_and(|s| s.load_balancer_ip.as_ref().is_some_and(|ip| !ip.is_empty())) {
        fields.push("spec.loadBalancerIP".to_owned());
    }
    if spec.is_some_and(|s| s.load_balancer_source_ranges.is_some()) {
        fields.push("spec.loadBalancerSourceRanges".to_owned());
    }
    let keys =
        [LOAD_BALANCER_IPS, LOAD_BALANCER_IPS_METALLB, ADDRESS_POOL, ADDRESS_POOL_METALLB, SOURCE_RANGES];
    let annotated = |key: &&str| service.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(*key));
    fields.extend(keys.iter().filter(|key| annotated(key)).map(|key| format!("metadata.annotations[{key}]")));
    if fields.is_empty() { "spec.ports".to_owned() } else { fields.join(" or ") }
}

/// Every pool and what it says, for a Service that is refused.
fn pools(facts: &Facts) -> Vec<Finding> {
    let Some(forecast) = &facts.forecast else { return Vec::new() };
    let Some(class) = facts.class.as_ref().filter(|c| c.spec.provider == ProviderKind::Pool) else {
        return Vec::new();
    };
    if facts.pools.is_empty() {
        let sentence = format!("there is no IPAddressPool in namespace {}", facts.operator_namespace);
        let command = "kubectl explain ipaddresspools.penstock.dev.spec";
        return vec![Finding::note(sentence).run(command)];
    }
    let refused = matches!(forecast.outcome, Outcome::Refused { .. });
    facts.pools.iter().filter_map(|(name, state)| pool(facts, &class.name, name, state, refused)).collect()
}

fn pool(facts: &Facts, class: &str, name: &str, state: &PoolState, refused: bool) -> Option<Finding> {
    let pool = format!("IPAddressPool {}/{name}", facts.operator_namespace);
    match state {
        PoolState::NotAccepted(message) => {
            Some(Finding::note(format!("{pool} is not accepted: {message}")).at(pool, "spec"))
        }
        PoolState::Rejects(refusal) if refused => {
            let finding = Finding::note(format!("{pool} does not serve it: {}", refusal.why));
            Some(match refusal.field {
                RefusalField::Pool(field) => finding.at(pool, field),
                RefusalField::Class(field) => finding.at(format!("LoadBalancerClass {class}"), field),
                RefusalField::Request => finding.at(object(facts), requests(&facts.service)),
            })
        }
        PoolState::Rejects(_) | PoolState::Serves | PoolState::InUse => None,
    }
}

fn approvals(facts: &Facts) -> Vec<Finding> {
    let plans = facts.forecast.iter().flat_map(|forecast| &forecast.plans);
    plans
        .filter_map(|plan| match &plan.approval {
            Agreement::Needed { command } => {
                let risky = plan.steps.iter().find(|step| step.risk.needs_approval())?;
                let sentence = format!(
                    "plan {} waits for approval, as class {} wants it: {} ({})",
                    plan.hash,
                    plan.class,
                    risk_reason(&risky.reason),
                    risky.risk
                );
                Some(Finding::problem(sentence).run(command))
            }
            Agreement::NotNeeded | Agreement::Given => None,
        })
        .collect()
}

fn risk_reason(reason: &str) -> &str {
    reason.trim_end_matches('.')
}

/// What the record's condition says of the provider.
fn provider(facts: &Facts) -> Option<Finding> {
    let record = facts.record.as_ref()?;
    let status = record.status.as_ref()?;
    let said = status.conditions.iter().find(|c| c.type_ == ConditionKind::Programmed.to_string())?;
    let is = |known: Reason| said.reason == known.to_string();
    if said.status == "True" || is(Reason::ApprovalRequired) {
        return None;
    }
    let class = &record.spec.class_name;
    let sentence = format!("the provider of class {class} says: {} ({})", said.message, said.reason);
    let secret = record.spec.class.webhook.as_ref().and_then(|w| w.token_secret.as_ref());
    Some(match secret.filter(|_| is(Reason::InvalidCredentials)) {
        Some(name) => {
            Finding::problem(sentence).at(format!("Secret {}/{name}", facts.operator_namespace), "data.token")
        }
        None if is(Reason::Provisioning) => Finding::note(sentence),
        None => Finding::problem(sentence).at(format!("LoadBalancerClass {class}"), "spec"),
    })
}

/// An operator that works and has not come to it yet.
fn about_to(facts: &Facts) -> Option<Finding> {
    let forecast = facts.forecast.as_ref().filter(|f| f.outcome == Outcome::Served)?;
    let plan = forecast.plans.iter().find(|p| !matches!(p.approval, Agreement::Needed { .. }))?;
    let (OperatorState::Runs { .. } | OperatorState::Unknown) = facts.operator else { return None };
    let reason = plan.steps.first().map(|step| step.reason.as_str()).unwrap_or_default();
    let sentence = format!("the operator has not carried out its plan yet ({reason})");
    let log = format!("kubectl -n {} logs deployment/penstock-operator", facts.operator_namespace);
    let waits = shown(&facts.service).is_empty();
    let weight = if waits { Weight::Problem } else { Weight::Note };
    Some(Finding::new(weight, sentence).run(log))
}

/// What is refused beside the balancer's address, as the Service's conditions say.
fn other_refusals(service: &Service) -> Vec<Finding> {
    let name = format!("Service {}", ObjectKey::of(&service.metadata));
    let refused = |kind| condition(service, kind).filter(|c| c.status == "False");
    let ips = refused(ConditionKind::ExternalIPsAccepted).map(|c| {
        let field = "spec.externalIPs, or spec.cidrs of an ExternalIPPolicy";
        Finding::problem(format!("some of its externalIPs are not served: {}", c.message)).at(&name, field)
    });
    let target = refused(ConditionKind::ExternalNameAccepted).map(|c| {
        Finding::problem(format!("its externalName is refused: {}", c.message)).at(&name, "spec.externalName")
    });
    [ips, target].into_iter().flatten().collect()
}

fn fine(facts: &Facts) -> Finding {
    let has = shown(&facts.service);
    if has.is_empty() {
        return Finding::note("it has no address, and nothing is known to stand in the way".to_owned());
    }
    let annotation = facts.service.metadata.annotations.as_ref();
    let pool = annotation.and_then(|a| a.get(penstock_crds::ALLOCATED_FROM));
    let pool = pool.map(|pool| format!(" from IPAddressPool {pool}")).unwrap_or_default();
    let class = facts.class.as_ref().map(|c| format!(", served by LoadBalancerClass {}", c.name));
    let settled = condition(&facts.service, ConditionKind::LoadBalancerProvisioning);
    let since =
        settled.filter(|c| c.status == "False").map(|c| format!(", since {}", c.last_transition_time.0));
    let sentence =
        format!("it has {}{pool}{}{}", has.join(", "), class.unwrap_or_default(), since.unwrap_or_default());
    Finding::new(Weight::Fine, sentence)
}
