//! `kubectl penstock status`: one look at all parts. Reads, and prints what [`parts`] finds.

use std::fmt::Write;

use anyhow::Result;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        coordination::v1::Lease,
    },
    jiff::Timestamp,
};
use kube::{Api, ResourceExt};
use penstock_crds::NodeAnnouncement;
use penstock_operator::leadership::LEASE_NAME;
use serde::Serialize;

use crate::{
    access::Gaps,
    announcements::{RESOURCE, absent},
    cluster::Cluster,
    explain::{Finding, Weight},
    facts::OperatorState,
    forecast::forecasts,
    outside_provider::outside_provider,
    pools::pools_report,
    scene::{Objects, Scene},
    style::{bad, doubtful, good},
    survey::{PartStatus, Survey, Workload, parts},
};

/// The chart's workloads carry it (`app.kubernetes.io/name`).
const NAME_LABEL: (&str, &str) = ("app.kubernetes.io/name", "penstock");

/// What the command prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusReport {
    /// Whether there is no problem; notes do not count.
    pub well: bool,
    /// Part by part.
    pub parts: Vec<PartStatus>,
}

/// Looks at all.
///
/// # Errors
/// When the API server does not answer.
pub async fn status(cluster: &Cluster) -> Result<StatusReport> {
    let mut gaps = Gaps::default();
    let objects = cluster.objects(&mut gaps).await?;
    let leases = leases(cluster, &mut gaps).await?;
    let workloads = workloads(cluster, &mut gaps).await?;
    let api: Api<NodeAnnouncement> = Api::namespaced(cluster.client.clone(), &cluster.operator_namespace);
    let resource = format!("{RESOURCE} in namespace {}", cluster.operator_namespace);
    let announcements = gaps.list(&api, &resource).await?;
    let now = Timestamp::now();
    let operator = match leases.iter().find(|lease| lease.name_any() == LEASE_NAME) {
        Some(lease) => OperatorState::of(lease, now),
        None if gaps.lack("leases.coordination.k8s.io") => OperatorState::Unknown,
        None => OperatorState::NoLease,
    };
    let leases_known = !gaps.lack("leases.coordination.k8s.io");
    let absent_announcers = if leases_known { absent(&announcements, &leases, now) } else { Vec::new() };
    let survey = Survey {
        operator_namespace: cluster.operator_namespace.clone(),
        operator,
        workloads,
        announcements,
        absent_announcers,
        gaps,
        ..survey_of(objects).await
    };
    let parts = parts(&survey);
    Ok(StatusReport { well: parts.iter().all(|part| part.weight != Weight::Problem), parts })
}

/// What follows from the objects that the operator decides by; the rest is empty.
pub async fn survey_of(objects: Objects) -> Survey {
    let scene = Scene::of(objects);
    let refused = scene.class_verdicts.iter().filter_map(|(name, verdict)| {
        let (reason, message) = verdict.as_ref().err()?;
        Some((name.clone(), format!("{reason}: {message}")))
    });
    let refused_classes = refused.collect();
    let records = scene.objects.records.clone();
    // Each look at what the Services will get takes what there is.
    let forecasts = forecasts(&Scene::of(scene.objects.clone()), outside_provider).await;
    Survey {
        operator_namespace: String::new(),
        operator: OperatorState::Unknown,
        workloads: Vec::new(),
        refused_classes,
        forecasts,
        records,
        pools: pools_report(&scene).await,
        announcements: Vec::new(),
        absent_announcers: Vec::new(),
        gaps: Gaps::default(),
    }
}

async fn leases(cluster: &Cluster, gaps: &mut Gaps) -> Result<Vec<Lease>> {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.operator_namespace);
    gaps.list(&api, &format!("leases.coordination.k8s.io in namespace {}", cluster.operator_namespace)).await
}

async fn workloads(cluster: &Cluster, gaps: &mut Gaps) -> Result<Vec<Workload>> {
    let namespace = &cluster.operator_namespace;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let deployments = gaps.list(&deployments, &format!("deployments.apps in namespace {namespace}")).await?;
    let sets: Api<DaemonSet> = Api::namespaced(cluster.client.clone(), namespace);
    let sets = gaps.list(&sets, &format!("daemonsets.apps in namespace {namespace}")).await?;
    let ours = deployments.iter().filter(|object| is_ours(*object)).map(of_deployment);
    Ok(ours.chain(sets.iter().filter(|object| is_ours(*object)).map(of_daemon_set)).collect())
}

fn is_ours(object: &impl ResourceExt) -> bool {
    object.labels().get(NAME_LABEL.0).is_some_and(|name| name == NAME_LABEL.1)
}

fn of_deployment(object: &Deployment) -> Workload {
    let status = object.status.clone().unwrap_or_default();
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    Workload {
        kind: "Deployment",
        name: object.name_any(),
        ready: status.ready_replicas.unwrap_or(0),
        wanted,
    }
}

fn of_daemon_set(object: &DaemonSet) -> Workload {
    let status = object.status.clone().unwrap_or_default();
    let (ready, wanted) = (status.number_ready, status.desired_number_scheduled);
    Workload { kind: "DaemonSet", name: object.name_any(), ready, wanted }
}

/// Several lines, the last one ended too.
#[must_use]
pub fn status_text(report: &StatusReport) -> String {
    let mut text = String::new();
    for part in &report.parts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {:<11} {}", weight(part.weight), part.part, part.summary);
        part.findings.iter().for_each(|finding| add(&mut text, finding));
    }
    text.push_str(if report.well { "All is well.\n" } else { "Not all is well.\n" });
    text
}

/// In a word of eight columns.
fn weight(weight: Weight) -> String {
    match weight {
        Weight::Problem => bad("problem "),
        Weight::Note => doubtful("note    "),
        Weight::Fine => good("fine    "),
    }
}

fn add(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "         - {}", finding.sentence.replace('\n', " "));
    if let Some(change) = &finding.change {
        let _ = writeln!(text, "           change {}: {}", change.object, change.field);
    }
    if let Some(command) = &finding.command {
        let _ = writeln!(text, "           run {command}");
    }
}
