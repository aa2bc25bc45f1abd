//! `kubectl penstock why`: collects the facts, explains them, prints the findings.

use std::fmt::Write;

use anyhow::Result;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Event, Service},
    },
    jiff::Timestamp,
};
use kube::{Api, api::ListParams};
use penstock_model::ObjectKey;
use penstock_operator::leadership::LEASE_NAME;
use penstock_providers::plan_text::count;
use serde::Serialize;

use crate::{
    access::{Found, Gaps, sentence},
    cluster::Cluster,
    explain::{Finding, Weight, explain},
    facts::{Facts, OperatorState, Warning, class_facts, pool_states},
    forecast::forecast,
    outside_provider::outside_provider,
    scene::{Scene, shown},
};

/// How many warnings are shown.
const WARNINGS: usize = 5;

/// What the command prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyReport {
    /// The Service.
    pub service: ObjectKey,
    /// The addresses and names that its status shows.
    pub has: Vec<String>,
    /// The most basic cause first.
    pub findings: Vec<Finding>,
    /// The newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// What the user may not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Explains why a Service has no address, or what it has.
///
/// # Errors
/// When the Service cannot be read or the API server does not answer.
pub async fn why(cluster: &Cluster, name: &str) -> Result<WhyReport> {
    let service = cluster.service(name).await?;
    let mut gaps = Gaps::default();
    let facts = facts(cluster, service, &mut gaps).await?;
    Ok(WhyReport {
        service: ObjectKey::of(&facts.service.metadata),
        has: shown(&facts.service),
        findings: explain(&facts),
        warnings: facts.warnings,
        notes: gaps.sentences(),
    })
}

async fn facts(cluster: &Cluster, service: Service, gaps: &mut Gaps) -> Result<Facts> {
    let mut objects = cluster.objects(gaps).await?;
    objects.put_service(service.clone());
    let operator = operator(cluster, gaps).await?;
    let warnings = warnings(cluster, &service, gaps).await?;
    let scene = Scene::of(objects);
    let known = !gaps.lack("loadbalancerclasses.penstock.dev") && !gaps.lack("ipaddresspools.penstock.dev");
    let forecast = if known { Some(forecast(&service, &scene, outside_provider).await) } else { None };
    Ok(Facts {
        forecast,
        class: class_facts(&service, &scene),
        pools: pool_states(&service, &scene),
        record: scene.record(&service).cloned(),
        operator,
        operator_namespace: cluster.operator_namespace.clone(),
        warnings,
        service,
    })
}

async fn operator(cluster: &Cluster, gaps: &mut Gaps) -> Result<OperatorState> {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.operator_namespace);
    let resource = format!("leases.coordination.k8s.io in namespace {}", cluster.operator_namespace);
    Ok(match gaps.get(&api, LEASE_NAME, &resource).await? {
        Found::Here(lease) => OperatorState::of(&lease, Timestamp::now()),
        Found::Missing => OperatorState::NoLease,
        Found::Unknown => OperatorState::Unknown,
    })
}

async fn warnings(cluster: &Cluster, service: &Service, gaps: &mut Gaps) -> Result<Vec<Warning>> {
    let uid = service.metadata.uid.clone().unwrap_or_default();
    let key = ObjectKey::of(&service.metadata);
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &key.namespace);
    let about = format!("type=Warning,involvedObject.kind=Service,involvedObject.uid={uid}");
    match api.list(&ListParams::default().fields(&about)).await {
        Ok(events) => Ok(newest(events.items)),
        Err(error) => {
            let resource = format!("events in namespace {}", key.namespace);
            gaps.add(&resource, sentence("list", &resource, &error));
            Ok(Vec::new())
        }
    }
}

/// The last few, the newest first.
fn newest(events: Vec<Event>) -> Vec<Warning> {
    let mut dated: Vec<(Option<Timestamp>, Event)> = events.into_iter().map(|e| (seen(&e), e)).collect();
    dated.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    dated.into_iter().take(WARNINGS).map(|(time, event)| warning(time, event)).collect()
}

fn seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
    let last = || event.last_timestamp.as_ref().map(|t| t.0);
    series.or_else(last).or_else(|| event.event_time.as_ref().map(|t| t.0))
}

fn warning(time: Option<Timestamp>, event: Event) -> Warning {
    let series = event.series.and_then(|s| s.count);
    Warning {
        time: time.map(|t| t.to_string()),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default().replace('\n', " "),
        count: series.or(event.count).unwrap_or(1),
    }
}

/// The report as text; notes go to stderr.
#[must_use]
pub fn why_text(report: &WhyReport) -> String {
    let has = if report.has.is_empty() { "no address".to_owned() } else { report.has.join(", ") };
    let mut text = format!("Service {}: {has}\n", report.service);
    for (number, finding) in (1..).zip(&report.findings) {
        add(&mut text, number, finding);
    }
    if !report.warnings.is_empty() {
        text.push_str("Last warnings, newest first:\n");
    }
    for warning in &report.warnings {
        let time = warning.time.as_deref().unwrap_or("at an unknown time");
        let often =
            if warning.count > 1 { format!(" ({})", count_times(warning.count)) } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {time}  {}{often}: {}", warning.reason, warning.message);
    }
    text
}

fn count_times(number: i32) -> String {
    count(usize::try_from(number).unwrap_or_default(), "time")
}

fn add(text: &mut String, number: usize, finding: &Finding) {
    let weight = match finding.weight {
        Weight::Problem => "problem",
        Weight::Note => "note",
        Weight::Fine => "fine",
    };
    let _ = writeln!(text, "  {number}. {weight:<9}{}", finding.sentence);
    if let Some(change) = &finding.change {
        let _ = writeln!(text, "     {:<9}{}: {}", "change", change.object, change.field);
    }
    if let Some(command) = &finding.command {
        let _ = writeln!(text, "     {:<9}{command}", "run");
    }
}
