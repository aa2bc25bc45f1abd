//! What is written to a Service: one patch of its status subresource, or none.

use std::net::IpAddr;

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use penstock_crds::{ALLOCATED_FROM, ConditionKind, FINALIZER, Reason, SERVED_BY, condition, set_condition};
use penstock_providers::{Built, IpMode};
use serde_json::{Map, Value, json};

use crate::class::{is_marked, names_foreign_class};

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Something is about to be built outside: the finalizer has to be there before.
    Begun,
    /// It has what it wants.
    Provisioned,
    /// It does not, and why.
    Waiting(Reason, String),
    /// Nothing is left.
    CleanedUp,
}

/// What the Service should say about its balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How far it is.
    pub stage: Stage,
    /// What it has.
    pub built: Built,
    /// The class that serves it; `None`: what the Service says of it stays.
    pub class: Option<String>,
}

impl Report {
    /// It has what it wants from a class.
    #[must_use]
    pub fn provisioned(class: &str, built: Built) -> Self {
        Self { stage: Stage::Provisioned, built, class: Some(class.to_owned()) }
    }

    /// It does not have what it wants; what it has meanwhile.
    #[must_use]
    pub fn waiting(built: Built, reason: Reason, message: String) -> Self {
        Self { stage: Stage::Waiting(reason, message), built, class: None }
    }

    /// Something is about to be built outside by a class.
    #[must_use]
    pub fn begun(class: &str, built: Built) -> Self {
        Self { stage: Stage::Begun, built, class: Some(class.to_owned()) }
    }

    /// Nothing is left.
    #[must_use]
    pub fn cleaned_up() -> Self {
        Self { stage: Stage::CleanedUp, built: Built::default(), class: None }
    }

    /// Whether it says that nothing is left.
    #[must_use]
    pub fn is_cleaned_up(&self) -> bool {
        self.stage == Stage::CleanedUp
    }

    /// Why it waits; of one that does not wait, how far it is.
    #[must_use]
    pub fn why(&self) -> (Reason, String) {
        match &self.stage {
            Stage::Waiting(reason, message) => (*reason, message.clone()),
            Stage::Begun => (Reason::Provisioning, "it is being built".to_owned()),
            Stage::Provisioned | Stage::CleanedUp => (Reason::Provisioned, provisioned_message(&self.built)),
        }
    }
}

/// The strategic merge patch that makes the Service say so; `None` when it does already. Finalizer, status
/// and annotations are one write. It carries uid and resourceVersion, so that it can only hit the object that was
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
    match (&report.stage, is_marked(service)) {
        (Stage::CleanedUp, true) => {
            metadata.insert("$deleteFromPrimitiveList/finalizers".into(), json!([FINALIZER]));
        }
        (Stage::Begun | Stage::Provisioned, false) => {
            metadata.insert("finalizers".into(), json!([FINALIZER]));
        }
        _ => {}
    }
    let annotations = annotations_patch(service, report);
    if !annotations.is_empty() {
        metadata.insert("annotations".into(), Value::Object(annotations));
    }
    metadata
}

fn annotations_patch(service: &core::Service, report: &Report) -> Map<String, Value> {
    let said = |key: &str| service.metadata.annotations.as_ref().and_then(|a| a.get(key));
    let mut patch = Map::new();
    if said(ALLOCATED_FROM) != report.built.pool.as_ref() {
        patch.insert(ALLOCATED_FROM.into(), json!(report.built.pool));
    }
    let settled = report.class.is_some() || report.is_cleaned_up();
    if settled && said(SERVED_BY) != report.class.as_ref() {
        patch.insert(SERVED_BY.into(), json!(report.class));
    }
    patch
}

fn status_patch(service: &core::Service, report: &Report, now: Timestamp) -> Map<String, Value> {
    let mut status = Map::new();
    let wanted = wanted_ingress(service, &report.built);
    // One that is not marked shows nothing of ours, and one that has become another controller's lost what it showed of
    // us when its type changed, before which no class can change: the addresses are the other's own.
    let foreign = report.is_cleaned_up() && (!is_marked(service) || names_foreign_class(service));
    if !foreign && ingress(service) != wanted {
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

/// What we write for a balancer, whole: with another `ipMode` no node would forward an address. A hostname has no
/// mode (KEP-1860), and stands alone where there are addresses too, as clients would find the same by it.
fn wanted_ingress(service: &core::Service, built: &Built) -> Vec<core::LoadBalancerIngress> {
    // The API server takes no ingress of a Service of another type: what is still being taken down is not shown.
    let other_type =
        service.spec.as_ref().and_then(|s| s.type_.as_deref()).is_some_and(|t| t != "LoadBalancer");
    if built.is_empty() || other_type {
        return Vec::new();
    }
    let ports = Some(port_statuses(service)).filter(|ports| !ports.is_empty());
    let mode = match built.ip_mode {
        IpMode::Vip => "VIP",
        IpMode::Proxy => "Proxy",
    };
    let address = |ip: &IpAddr| core::LoadBalancerIngress {
        ip: Some(ip.to_string()),
        ip_mode: Some(mode.to_owned()),
        ports: ports.clone(),
        ..core::LoadBalancerIngress::default()
    };
    let name = |hostname: &String| core::LoadBalancerIngress {
        hostname: Some(hostname.clone()),
        ports: ports.clone(),
        ..core::LoadBalancerIngress::default()
    };
    let addresses = built.addresses.iter().map(address);
    addresses.chain(built.hostname.iter().map(name)).collect()
}

/// Every port of the Service: what a balancer cannot have is refused as a whole, so that none carries an error.
fn port_statuses(service: &core::Service) -> Vec<core::PortStatus> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let status = |port: &core::ServicePort| core::PortStatus {
        port: port.port,
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        error: None,
    };
    ports.iter().map(status).collect()
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
    if report.is_cleaned_up() {
        return old.map(|c| json!({"$patch": "delete", "type": c.type_}));
    }
    let provisioning = report.stage != Stage::Provisioned;
    let (reason, message) = report.why();
    let mut conditions = conditions.to_vec();
    let new = condition(kind, provisioning, reason, &message, service.metadata.generation, now);
    let differs = set_condition(&mut conditions, new);
    conditions.into_iter().find(|c| differs && c.type_ == kind.to_string()).map(|c| json!(c))
}

/// What a user reads in events and conditions of a Service that has its addresses.
#[must_use]
pub(crate) fn provisioned_message(built: &Built) -> String {
    let addresses = built.addresses.iter().map(ToString::to_string).chain(built.hostname.clone());
    let from = built.pool.as_ref().map(|pool| format!(" from IPAddressPool {pool}")).unwrap_or_default();
    format!("{}{from}", addresses.collect::<Vec<_>>().join(", "))
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

    fn provisioned() -> Report {
        Report::provisioned("bare", built())
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn settled() -> core::Service {
        let when = "2026-01-01T00:00:00Z";
        service(
            &json!({"uid": "u", "resourceVersion": "7", "finalizers": [FINALIZER], "annotations": {ALLOCATED_FROM: "a", SERVED_BY: "bare"}}),
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
        let patch = patch(&fresh, &provisioned(), now()).unwrap();
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
        assert_eq!(patch(&settled(), &provisioned(), now()), None);
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
        let patch = patch(&touched, &provisioned(), now()).unwrap();
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
        let patch = patch(&touched, &provisioned(), now()).unwrap();
        assert_eq!(
            patch["status"]["loadBalancer"]["ingress"],
            json!([{"ip": "203.0.113.200", "ipMode": "VIP"}])
        );
    }

    #[test]
    fn clean_up_leaves_nothing_of_ours_and_everything_of_others() {
        let patch = patch(&settled(), &Report::cleaned_up(), now()).unwrap();
        assert_eq!(patch["metadata"]["$deleteFromPrimitiveList/finalizers"], json!([FINALIZER]));
        assert_eq!(patch["metadata"]["annotations"], json!({ALLOCATED_FROM: null, SERVED_BY: null}));
        assert_eq!(patch["status"]["loadBalancer"], json!({"ingress": null}));
        assert_eq!(patch["status"]["conditions"][0]["$patch"], "delete");
    }

    #[test]
    fn clean_up_leaves_the_addresses_of_the_controller_that_serves_it_now() {
        let mut foreign = settled();
        foreign.spec =
            serde_json::from_value(json!({"type": "LoadBalancer", "loadBalancerClass": "other.example/x"}))
                .unwrap();
        let patch = patch(&foreign, &Report::cleaned_up(), now()).unwrap();
        assert_eq!(patch["metadata"]["$deleteFromPrimitiveList/finalizers"], json!([FINALIZER]));
        assert!(patch["status"].get("loadBalancer").is_none(), "{patch}");
    }

    #[test]
    fn a_waiting_service_says_why_and_gets_no_finalizer() {
        let fresh = service(&json!({"uid": "u", "resourceVersion": "7"}), &json!({}));
        let report = Report::waiting(Built::default(), Reason::Exhausted, "no free IPv4 address".into());
        let patch = patch(&fresh, &report, now()).unwrap();
        assert!(patch["metadata"].get("finalizers").is_none());
        assert_eq!(patch["status"]["conditions"][0]["reason"], "Exhausted");
        assert!(patch["status"].get("loadBalancer").is_none());
    }

    #[test]
    fn every_port_and_the_mode_stand_with_each_address() {
        let mut fresh = service(&json!({"uid": "u"}), &json!({}));
        fresh.spec = serde_json::from_value(json!({"ports": [{"port": 53, "protocol": "UDP"}]})).unwrap();
        let proxy = Built { ip_mode: IpMode::Proxy, hostname: Some("lb.example".into()), ..built() };
        let patch = patch(&fresh, &Report::provisioned("c", proxy), now()).unwrap();
        let ports = json!([{"port": 53, "protocol": "UDP"}]);
        assert_eq!(
            patch["status"]["loadBalancer"]["ingress"],
            json!([
                {"ip": "203.0.113.200", "ipMode": "Proxy", "ports": ports},
                {"hostname": "lb.example", "ports": ports}
            ])
        );
    }

    #[test]
    fn a_service_of_another_type_shows_no_address_while_it_is_taken_down() {
        let mut typed = service(&json!({"uid": "u", "finalizers": [FINALIZER]}), &json!({}));
        typed.spec = serde_json::from_value(json!({"type": "ClusterIP"})).unwrap();
        let report = Report::waiting(built(), Reason::ApprovalRequired, "why".into());
        let patch = patch(&typed, &report, now()).unwrap();
        assert!(patch["status"].get("loadBalancer").is_none(), "{patch}");
    }

    #[test]
    fn the_finalizer_comes_before_anything_is_built() {
        let fresh = service(&json!({"uid": "u", "resourceVersion": "7"}), &json!({}));
        let patch = patch(&fresh, &Report::begun("cloud", Built::default()), now()).unwrap();
        assert_eq!(patch["metadata"]["finalizers"], json!([FINALIZER]));
        assert_eq!(patch["metadata"]["annotations"], json!({SERVED_BY: "cloud"}));
        assert_eq!(patch["status"]["conditions"][0]["reason"], "Provisioning");
    }
}
