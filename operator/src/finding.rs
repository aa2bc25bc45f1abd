//! What is wrong with what a Service asks for, whatever its type: pure.
//!
//! A Service without findings carries no condition of this kind, so that it is never written to for want of any; a
//! condition of ours that no longer applies is removed.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use penstock_crds::{ConditionKind, Reason, condition, set_condition};
use penstock_model::{ExternalIpPolicy, ServiceType, check_external_name};
use serde_json::{Value, json};

/// The conditions that findings are written as.
const KINDS: [ConditionKind; 2] = [ConditionKind::ExternalIPsAccepted, ConditionKind::ExternalNameAccepted];

/// How many refused addresses are named; more are counted. A refusal has at most 240 octets.
const NAMED: usize = 3;
/// In octets. The API server takes 1024 as the note of an event (`NoteLengthLimit`), and a count may follow.
const LONGEST_MESSAGE: usize = 1000;

/// What Services are examined against.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Which externalIPs each namespace may use, and which nobody may.
    pub external_ips: ExternalIpPolicy,
    /// The nodes' own addresses; empty where they are not known.
    pub node_ips: BTreeSet<IpAddr>,
    /// The cluster's DNS domain (`cluster.local`).
    pub cluster_domain: String,
}

/// One thing that a Service asks for and does not get. Its condition is `False`; its event a warning with the same
/// reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The condition's type.
    pub kind: ConditionKind,
    /// Of condition and event.
    pub reason: Reason,
    /// Of condition and event: what is wrong and what to change.
    pub message: String,
}

/// Examines one Service; none for one that is being deleted.
#[must_use]
pub fn findings(service: &core::Service, rules: &Rules) -> Vec<Finding> {
    if service.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let read = penstock_model::Service::from_object(service);
    [external_ips(&read, rules), external_name(service, &read, rules)].into_iter().flatten().collect()
}

fn external_ips(service: &penstock_model::Service, rules: &Rules) -> Option<Finding> {
    let refusals = rules.external_ips.refusals(service, |ip| rules.node_ips.contains(&ip));
    let sentences: Vec<String> = refusals.map(|refusal| refusal.to_string()).collect();
    let unnamed = sentences.len().saturating_sub(NAMED);
    let message = sentences.get(..NAMED).unwrap_or(&sentences).join("; ");
    let (kind, reason) = (ConditionKind::ExternalIPsAccepted, Reason::ExternalIPsRefused);
    match (sentences.len(), unnamed) {
        (0, _) => None,
        (_, 0) => Some(Finding { kind, reason, message: shortened(message) }),
        _ => Some(Finding { kind, reason, message: format!("{}; and {unnamed} more", shortened(message)) }),
    }
}

fn external_name(service: &core::Service, read: &penstock_model::Service, rules: &Rules) -> Option<Finding> {
    if read.service_type != ServiceType::ExternalName {
        return None;
    }
    let name = service.spec.as_ref().and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
    let error = check_external_name(&read.key, name, &rules.cluster_domain).err()?;
    let (kind, reason) = (ConditionKind::ExternalNameAccepted, Reason::ExternalNameInvalid);
    Some(Finding { kind, reason, message: shortened(error.to_string()) })
}

/// Texts of objects stored long ago may be of any length.
fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        let ends = message.char_indices().map(|(start, c)| start + c.len_utf8());
        let last = ends.take_while(|end| *end <= LONGEST_MESSAGE - '…'.len_utf8()).last();
        message.truncate(last.unwrap_or_default());
        message.push('…');
    }
    message
}

/// The findings that the Service's conditions do not tell of yet: each is worth an event.
pub fn news<'a>(service: &core::Service, findings: &'a [Finding]) -> impl Iterator<Item = &'a Finding> {
    let conditions = conditions_of(service);
    findings.iter().filter(move |finding| {
        let kind = finding.kind.to_string();
        let told = |c: &Condition| c.type_ == kind && c.status == "False" && c.message == finding.message;
        !conditions.iter().any(told)
    })
}

/// The strategic merge patch of `services/status` that says `besides`, if that is anything, and makes the Service tell
/// its findings; `None` when it says all that already. It carries uid and resourceVersion, so that it can only hit the
/// object that was examined.
#[must_use]
pub fn patch(
    service: &core::Service,
    findings: &[Finding],
    besides: Option<Value>,
    now: Timestamp,
) -> Option<Value> {
    let found = condition_patches(service, findings, now);
    if found.is_empty() {
        return besides;
    }
    let metadata = json!({
        "uid": service.metadata.uid, "resourceVersion": service.metadata.resource_version});
    let mut patch = besides.unwrap_or_else(|| json!({"metadata": metadata, "status": {}}));
    match &mut patch["status"]["conditions"] {
        Value::Array(conditions) => conditions.extend(found),
        absent => *absent = Value::Array(found),
    }
    Some(patch)
}

/// The entries for `status.conditions` of a strategic merge patch; empty when the Service tells its findings already.
fn condition_patches(service: &core::Service, findings: &[Finding], now: Timestamp) -> Vec<Value> {
    if service.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let told = conditions_of(service);
    let patches = KINDS.into_iter().map(|kind| match findings.iter().find(|f| f.kind == kind) {
        Some(finding) => put(told, finding, service.metadata.generation, now),
        None => told.iter().find(|c| c.type_ == kind.to_string()).map(remove),
    });
    patches.flatten().collect()
}

fn put(told: &[Condition], finding: &Finding, generation: Option<i64>, now: Timestamp) -> Option<Value> {
    let new = condition(finding.kind, false, finding.reason, &finding.message, generation, now);
    let mut conditions: Vec<_> = told.iter().filter(|c| c.type_ == new.type_).cloned().collect();
    let differs = set_condition(&mut conditions, new);
    conditions.first().filter(|_| differs).map(|c| json!(c))
}

fn remove(condition: &Condition) -> Value {
    json!({"$patch": "delete", "type": condition.type_})
}

fn conditions_of(service: &core::Service) -> &[Condition] {
    service.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
