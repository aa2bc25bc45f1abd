//! What is written to a Service: one patch of its status subresource, or none.

use std::net::IpAddr;

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use penstock_crds::{ALLOCATED_FROM, ConditionKind, FINALIZER, Reason, condition, set_condition};
use penstock_providers::Built;
use serde_json::{Map, Value, json};

/// What the Service should say about its balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It has what it wants.
    Provisioned(Built),
    /// It does not; what it holds meanwhile.
    Waiting(Built, Reason, String),
    /// Nothing is left.
    CleanedUp,
}

/// The strategic merge patch that makes the Service say so; `None` when it does already. Finalizer, status
/// and annotation are one write. It carries uid and resourceVersion, so that it can only hit the object that was
/// decided about: a conflict is decided anew.
#[must_use]
pub fn patch(service: &core::Service, report: &Report, now: Timestamp) -> Option<Value> {
    let mut metadata = metadata_patch(service, report);
    let status = status_patch(service, report, now);
    if metadata.is_empty() && status.is_empty() {
        return None;
    }
    metadata.insert("uid".into(), json!(service.metadata.uid));
    metadata.insert("resourceVersion".into(), json!(service.metadata.resource_version));
    Some(json!({"metadata": metadata, "status": status}))
}

fn metadata_patch(service: &core::Service, report: &Report) -> Map<String, Value> {
    let mut metadata = Map::new();
    let finalizers = service.metadata.finalizers.as_deref().unwrap_or_default();
    let marked = finalizers.iter().any(|f| f == FINALIZER);
    match report {
        Report::CleanedUp if marked => {
            metadata.insert("$deleteFromPrimitiveList/finalizers".into(), json!([FINALIZER]));
        }
        Report::Provisioned(_) if !marked => {
            metadata.insert("finalizers".into(), json!([FINALIZER]));
        }
        _ => {}
    }
    let annotations = service.metadata.annotations.as_ref();
    let said = annotations.and_then(|a| a.get(ALLOCATED_FROM));
    let pool = held(report).and_then(|built| built.pool.as_ref());
    if said != pool {
        metadata.insert("annotations".into(), json!({ALLOCATED_FROM: pool}));
    }
    metadata
}

fn held(report: &Report) -> Option<&Built> {
    match report {
        Report::Provisioned(built) | Report::Waiting(built, ..) => Some(built),
        Report::CleanedUp => None,
    }
}

fn status_patch(service: &core::Service, report: &Report, now: Timestamp) -> Map<String, Value> {
    let mut status = Map::new();
    let addresses = held(report).map(|built| built.addresses.as_slice()).unwrap_or_default();
    let wanted: Vec<core::LoadBalancerIngress> = addresses.iter().map(|ip| vip(*ip)).collect();
    if ingress(service) != wanted {
        let wanted = if wanted.is_empty() { Value::Null } else { json!(wanted) };
        status.insert("loadBalancer".into(), json!({"ingress": wanted}));
    }
    if let Some(condition) = condition_patch(service, report, now) {
        status.insert("conditions".into(), json!([condition]));
    }
    status
}

fn ingress(service: &core::Service) -> &[core::LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default()
}

/// What we write for an address, whole: with another `ipMode` no node would forward it.
fn vip(ip: IpAddr) -> core::LoadBalancerIngress {
    core::LoadBalancerIngress {
        ip: Some(ip.to_string()),
        ip_mode: Some("VIP".to_owned()),
        ..core::LoadBalancerIngress::default()
    }
}

/// The addresses that the status shows, whatever their `ipMode`.
pub(crate) fn shown_addresses(service: &core::Service) -> Vec<IpAddr> {
    ingress(service).iter().filter_map(|i| penstock_model::parse_ip(i.ip.as_deref()?)).collect()
}

/// `LoadBalancerProvisioning` (KEP-4631): true while an address is being sought, with the reason.
fn condition_patch(service: &core::Service, report: &Report, now: Timestamp) -> Option<Value> {
    let kind = ConditionKind::LoadBalancerProvisioning;
    let conditions = service.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let old = conditions.iter().find(|c| c.type_ == kind.to_string());
    let (provisioning, reason, message) = match report {
        Report::CleanedUp => return old.map(|c| json!({"$patch": "delete", "type": c.type_})),
        Report::Provisioned(built) => (false, Reason::Provisioned, provisioned_message(built)),
        Report::Waiting(_, reason, message) => (true, *reason, message.clone()),
    };
    let mut conditions = conditions.to_vec();
    let new = condition(kind, provisioning, reason, &message, service.metadata.generation, now);
    let differs = set_condition(&mut conditions, new);
    conditions.into_iter().find(|c| differs && c.type_ == kind.to_string()).map(|c| json!(c))
}

/// What a user reads in events and conditions of a Service that has its addresses.
#[must_use]
pub(crate) fn provisioned_message(built: &Built) -> String {
    let addresses: Vec<String> = built.addresses.iter().map(ToString::to_string).collect();
    let from = built.pool.as_ref().map(|pool| format!(" from IPAddressPool {pool}")).unwrap_or_default();
    format!("{}{from}", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(metadata: &Value, status: &Value) -> core::Service {
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    fn built() -> Built {
        Built {
            addresses: vec![IpAddr::from([203, 0, 113, 200])],
            pool: Some("a".into()),
            ..Built::default()
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn settled() -> core::Service {
        let when = "2026-01-01T00:00:00Z";
        service(
            &json!({"uid": "u", "resourceVersion": "7", "finalizers": [FINALIZER], "annotations": {ALLOCATED_FROM: "a"}}),
            &json!({
                "loadBalancer": {"ingress": [{"ip": "203.0.113.200", "ipMode": "VIP"}]},
                "conditions": [{"type": "LoadBalancerProvisioning", "status": "False", "reason": "Provisioned",
                    "message": "203.0.113.200 from IPAddressPool a", "lastTransitionTime": when}]
            }),
        )
    }

    #[test]
    fn finalizer_and_address_are_one_write_with_preconditions() {
        let fresh = service(&json!({"uid": "u", "resourceVersion": "7"}), &json!({}));
        let patch = patch(&fresh, &Report::Provisioned(built()), now()).unwrap();
        assert_eq!(patch["metadata"]["uid"], "u");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["metadata"]["finalizers"], json!([FINALIZER]));
        assert_eq!(
            patch["status"]["loadBalancer"]["ingress"],
            json!([{"ip": "203.0.113.200", "ipMode": "VIP"}])
        );
        assert_eq!(patch["status"]["conditions"][0]["status"], "False");
    }

    #[test]
    fn a_settled_service_is_never_written_to() {
        assert_eq!(patch(&settled(), &Report::Provisioned(built()), now()), None);
    }

    #[test]
    fn a_status_changed_by_a_foreign_hand_is_put_right() {
        let mut touched = settled();
        let ingress = core::LoadBalancerIngress { ip: Some("203.0.113.9".into()), ..Default::default() };
        touched
            .status
            .as_mut()
            .unwrap()
            .load_balancer
            .as_mut()
            .unwrap()
            .ingress
            .as_mut()
            .unwrap()
            .push(ingress);
        let patch = patch(&touched, &Report::Provisioned(built()), now()).unwrap();
        assert_eq!(
            patch["status"]["loadBalancer"]["ingress"],
            json!([{"ip": "203.0.113.200", "ipMode": "VIP"}])
        );
        assert!(patch["status"].get("conditions").is_none());
    }

    #[test]
    fn a_mode_that_no_node_forwards_is_put_right() {
        let mut touched = settled();
        let ingress =
            touched.status.as_mut().unwrap().load_balancer.as_mut().unwrap().ingress.as_mut().unwrap();
        ingress[0].ip_mode = Some("Proxy".into());
        let patch = patch(&touched, &Report::Provisioned(built()), now()).unwrap();
        assert_eq!(
            patch["status"]["loadBalancer"]["ingress"],
            json!([{"ip": "203.0.113.200", "ipMode": "VIP"}])
        );
    }

    #[test]
    fn clean_up_leaves_nothing_of_ours_and_everything_of_others() {
        let patch = patch(&settled(), &Report::CleanedUp, now()).unwrap();
        assert_eq!(patch["metadata"]["$deleteFromPrimitiveList/finalizers"], json!([FINALIZER]));
        assert_eq!(patch["metadata"]["annotations"], json!({ALLOCATED_FROM: null}));
        assert_eq!(patch["status"]["loadBalancer"], json!({"ingress": null}));
        assert_eq!(patch["status"]["conditions"][0]["$patch"], "delete");
    }

    #[test]
    fn a_waiting_service_says_why_and_gets_no_finalizer() {
        let fresh = service(&json!({"uid": "u", "resourceVersion": "7"}), &json!({}));
        let report = Report::Waiting(Built::default(), Reason::Exhausted, "no free IPv4 address".into());
        let patch = patch(&fresh, &report, now()).unwrap();
        assert!(patch["metadata"].get("finalizers").is_none());
        assert_eq!(patch["status"]["conditions"][0]["reason"], "Exhausted");
        assert!(patch["status"].get("loadBalancer").is_none());
    }
}
