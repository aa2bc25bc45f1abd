//! Whether all is well, part by part: pure.

use penstock_crds::{ConditionKind, LoadBalancer, NodeAnnouncement, Reason};
use penstock_model::ObjectKey;
use penstock_providers::plan_text::count;
use serde::Serialize;

use crate::{
    access::Gaps,
    explain::{Finding, Weight, absence},
    facts::OperatorState,
    forecast::{Agreement, Forecast, Outcome},
    pools::PoolsReport,
    pools_text::is_nearly_full,
};

/// Everything that a verdict follows from.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Where operator, announcers and agents live.
    pub operator_namespace: String,
    /// Who leads.
    pub operator: OperatorState,
    /// Deployments and DaemonSets of the installation.
    pub workloads: Vec<Workload>,
    /// Classes that are not in use, and why.
    pub refused_classes: Vec<(String, String)>,
    /// What is done about each Service.
    pub forecasts: Vec<Forecast>,
    /// What was built outside.
    pub records: Vec<LoadBalancer>,
    /// How full each pool is.
    pub pools: PoolsReport,
    /// What each node announces.
    pub announcements: Vec<NodeAnnouncement>,
    /// Announcers that do not renew their Lease, in one sentence each.
    pub absent_announcers: Vec<String>,
    /// What the user may not read.
    pub gaps: Gaps,
}

/// How many Pods of a Deployment or DaemonSet are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment` or `DaemonSet`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// How many are.
    pub ready: i32,
    /// How many should be.
    pub wanted: i32,
}

/// A part, in one line, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartStatus {
    /// Which.
    pub part: &'static str,
    /// The gravest of its findings.
    pub weight: Weight,
    /// In figures.
    pub summary: String,
    /// What is not as it should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl PartStatus {
    fn new(part: &'static str, summary: String, findings: Vec<Finding>) -> Self {
        let is_there = |weight| findings.iter().any(|finding| finding.weight == weight);
        let weight = [Weight::Problem, Weight::Note].into_iter().find(|weight| is_there(*weight));
        Self { part, weight: weight.unwrap_or(Weight::Fine), summary, findings }
    }
}

/// Looks at each part. What may not be read is a problem: nobody knows.
#[must_use]
pub fn parts(survey: &Survey) -> Vec<PartStatus> {
    let parts = [operator, workloads, classes, services, plans, balancers, pools, announcers, bgp];
    let mut parts: Vec<PartStatus> = parts.iter().map(|part| part(survey)).collect();
    if !survey.gaps.sentences().is_empty() {
        let findings: Vec<Finding> = survey.gaps.sentences().into_iter().map(Finding::problem).collect();
        parts.push(PartStatus::new("unknown", count(findings.len(), "resource"), findings));
    }
    parts
}

fn operator(survey: &Survey) -> PartStatus {
    let summary = match &survey.operator {
        OperatorState::Runs { holder } => format!("{holder} leads"),
        OperatorState::Unknown => "not known".to_owned(),
        _ => "nobody leads".to_owned(),
    };
    let findings = absence(&survey.operator, &survey.operator_namespace);
    PartStatus::new("operator", summary, findings.into_iter().collect())
}

fn workloads(survey: &Survey) -> PartStatus {
    let namespace = &survey.operator_namespace;
    let ready: Vec<String> =
        survey.workloads.iter().map(|w| format!("{} {}/{}", w.name, w.ready, w.wanted)).collect();
    let lacking = survey.workloads.iter().filter(|w| w.ready < w.wanted || w.wanted == 0);
    let mut findings: Vec<Finding> = lacking.map(|w| of_workload(w, namespace)).collect();
    if survey.workloads.is_empty() && !survey.gaps.lack("deployments") && !survey.gaps.lack("daemonsets") {
        findings.push(Finding::note(format!(
            "neither Deployments nor DaemonSets of Penstock are in namespace {namespace}: is it installed, and its namespace \
             this one?"
        )));
    }
    let summary = if ready.is_empty() { "none".to_owned() } else { format!("ready: {}", ready.join(", ")) };
    PartStatus::new("pods", summary, findings)
}

fn of_workload(workload: &Workload, namespace: &str) -> Finding {
    let Workload { kind, name, ready, wanted } = workload;
    let check = format!("kubectl -n {namespace} describe {} {name}", kind.to_lowercase());
    if *wanted == 0 {
        return Finding::note(format!("{kind} {name} is to run nowhere")).run(check);
    }
    Finding::problem(format!("{ready} of {wanted} Pods of {kind} {name} are ready")).run(check)
}

fn classes(survey: &Survey) -> PartStatus {
    let of = |(name, why): &(String, String)| {
        let object = format!("LoadBalancerClass {name}");
        Finding::problem(format!("{object} is not accepted: {why}")).at(object, "spec")
    };
    let findings: Vec<Finding> = survey.refused_classes.iter().map(of).collect();
    let summary =
        if findings.is_empty() { "all accepted".to_owned() } else { format!("{} refused", findings.len()) };
    PartStatus::new("classes", summary, findings)
}

fn services(survey: &Survey) -> PartStatus {
    let ours: Vec<&Forecast> =
        survey.forecasts.iter().filter(|f| !matches!(f.outcome, Outcome::NotOurs { .. })).collect();
    let served = ours.iter().filter(|f| !f.has.is_empty()).count();
    let findings = ours.iter().filter_map(|forecast| of_service(forecast)).collect();
    let summary = format!("{served} of {} with an address", count(ours.len(), "Service"));
    PartStatus::new("services", summary, findings)
}

/// Nothing for one that has what it wants.
fn of_service(forecast: &Forecast) -> Option<Finding> {
    let ObjectKey { namespace, name } = &forecast.service;
    let why = match &forecast.outcome {
        Outcome::Refused { reason, message } => format!("{reason}: {}", first_line(message)),
        Outcome::CleanedUp => "what it has is to be taken back".to_owned(),
        Outcome::Served if forecast.has.is_empty() => {
            "the operator has not given it an address yet".to_owned()
        }
        Outcome::Served | Outcome::NotOurs { .. } => return None,
    };
    let has = if forecast.has.is_empty() { "no address".to_owned() } else { forecast.has.join(", ") };
    let sentence = format!("Service {} has {has}: {why}", forecast.service);
    Some(Finding::problem(sentence).run(format!("kubectl penstock why -n {namespace} {name}")))
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn plans(survey: &Survey) -> PartStatus {
    let all = survey.forecasts.iter().flat_map(|f| f.plans.iter().map(move |plan| (&f.service, plan)));
    let waiting = all.filter_map(|(service, plan)| match &plan.approval {
        Agreement::Needed { command } => Some(
            Finding::problem(format!("plan {} for Service {service} waits for approval", plan.hash))
                .run(command),
        ),
        Agreement::NotNeeded | Agreement::Given => None,
    });
    let findings: Vec<Finding> = waiting.collect();
    let summary = if findings.is_empty() {
        "none waits for approval".to_owned()
    } else {
        format!("{} waiting for approval", findings.len())
    };
    PartStatus::new("plans", summary, findings)
}

fn balancers(survey: &Survey) -> PartStatus {
    let findings: Vec<Finding> = survey.records.iter().filter_map(of_record).collect();
    let summary = format!("{} outside the cluster", survey.records.len());
    PartStatus::new("balancers", summary, findings)
}

/// Nothing for one that is programmed or waits for approval, which its plan says.
fn of_record(record: &LoadBalancer) -> Option<Finding> {
    let key = ObjectKey::of(&record.metadata);
    let conditions = record.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let programmed = conditions.iter().find(|c| c.type_ == ConditionKind::Programmed.to_string());
    let why = match programmed {
        None => "its provider has not said anything yet".to_owned(),
        Some(c) if c.status == "True" || c.reason == Reason::ApprovalRequired.to_string() => return None,
        Some(c) => format!("{}: {}", c.reason, first_line(&c.message)),
    };
    let check = format!("kubectl -n {} describe loadbalancers.penstock.dev {}", key.namespace, key.name);
    Some(Finding::problem(format!("LoadBalancer {key} is not programmed: {why}")).run(check))
}

fn pools(survey: &Survey) -> PartStatus {
    let namespace = &survey.operator_namespace;
    let mut findings = Vec::new();
    for pool in &survey.pools.pools {
        let object = format!("IPAddressPool {namespace}/{}", pool.name);
        if let Some(why) = &pool.refused {
            findings.push(Finding::problem(format!("{object} is not in use: {why}")).at(&object, "spec"));
        }
        for usage in pool.families.iter().filter(|usage| is_nearly_full(usage)) {
            let sentence = format!(
                "{} of {} {:?} addresses of {object} are in use",
                usage.used, usage.size, usage.family
            );
            findings.push(Finding::note(sentence).at(&object, "spec.addresses"));
        }
    }
    findings.extend(survey.pools.notes.iter().cloned().map(Finding::note));
    PartStatus::new("pools", count(survey.pools.pools.len(), "IPAddressPool"), findings)
}

fn announcers(survey: &Survey) -> PartStatus {
    let away = survey.absent_announcers.len();
    let nodes = survey.announcements.len();
    let said = |object: &NodeAnnouncement| object.status.clone().unwrap_or_default();
    let addresses: u32 = survey.announcements.iter().map(|object| said(object).address_count).sum();
    let problems = survey.announcements.iter().flat_map(|object| {
        let node = object.metadata.name.clone().unwrap_or_default();
        said(object).problems.into_iter().map(move |problem| Finding::problem(format!("{node}: {problem}")))
    });
    let absent = survey.absent_announcers.iter().cloned().map(Finding::problem);
    let findings = absent.chain(problems).collect();
    let summary = format!(
        "{} of {} at work, {} announced",
        nodes.saturating_sub(away),
        count(nodes, "node"),
        addresses
    );
    PartStatus::new("announcers", summary, findings)
}

fn bgp(survey: &Survey) -> PartStatus {
    let (mut all, mut findings) = (0, Vec::new());
    for object in &survey.announcements {
        let node = object.metadata.name.as_deref().unwrap_or_default();
        for peer in object.status.iter().flat_map(|status| &status.peers) {
            all += 1;
            if peer.state != "Established" {
                let why = peer.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let sentence = format!("the session of {node} with {} is {}{why}", peer.peer, peer.state);
                findings.push(Finding::problem(sentence).run("kubectl penstock announcements"));
            }
        }
    }
    let summary = format!("{} of {} established", all - findings.len(), count(all, "session"));
    PartStatus::new("bgp", summary, findings)
}
