//! What is to be done about a Service: pure.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::api::core::v1 as core;
use penstock_crds::{
    AwsParameters, ConditionKind, HetznerParameters, LoadBalancerClassSpec, ProviderKind, Reason,
};
use penstock_model::EndpointIndex;
use penstock_providers::{Desired, DesiredError, Surroundings, Target, aws, digitalocean, hetzner};

use crate::{
    certificates::{Certificates, Obstacle},
    class::{Classes, Membership, is_marked},
    finding::Rules,
};

/// What counts for the decision besides the Service itself.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// All classes.
    pub classes: Classes,
    /// The labels of each namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The nodes that may receive traffic, by name.
    pub targets: Vec<Target>,
    /// The labels of those nodes.
    pub node_labels: BTreeMap<String, BTreeMap<String, String>>,
    /// All endpoints; `None` while nobody needs them, or they are not known yet.
    pub endpoints: Option<Arc<RwLock<EndpointIndex>>>,
    /// What the Secrets hold that Services name for TLS.
    pub certificates: Certificates,
    /// What externalIPs and external names are examined against.
    pub rules: Rules,
}

/// What a Service wants, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The LoadBalancerClass.
    pub class_name: String,
    /// Its parameters.
    pub class: LoadBalancerClassSpec,
    /// What the provider is asked for.
    pub desired: Desired,
}

/// What is to be done about a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Nothing: it is not ours and has nothing of ours.
    Ignore,
    /// Give it what it wants.
    Provision(Box<Wanted>),
    /// Leave what it has and says until the Secrets of its namespace are read.
    AwaitSecrets,
    /// Leave what it has, and say why nothing changes.
    Hold(Reason, String),
    /// Take back what it has, then drop the finalizer.
    CleanUp,
}

/// Decides by type, class, deletion and finalizer. The class alone never leads to a clean-up of what the
/// finalizer does not mark: when the type changes, the API server drops the class first.
#[must_use]
pub fn intent(service: &core::Service, world: &World) -> Intent {
    let unwanted = if is_marked(service) { Intent::CleanUp } else { Intent::Ignore };
    let balanced = service.spec.as_ref().and_then(|s| s.type_.as_deref()) == Some("LoadBalancer");
    if service.metadata.deletion_timestamp.is_some() {
        return unwanted;
    }
    if !balanced {
        return if is_told(service) { Intent::CleanUp } else { unwanted };
    }
    match world.classes.membership(service) {
        Membership::Foreign if is_told(service) => Intent::CleanUp,
        Membership::Foreign => unwanted,
        Membership::Ours(name, class) => wanted(service, name, class, world),
        Membership::Missing(why) if is_marked(service) || names_a_class(service) => {
            Intent::Hold(Reason::NoClass, why)
        }
        Membership::Missing(_) => Intent::Ignore,
    }
}

/// Whether what was built for the Service is to stay although our finalizer is not there: `kubectl replace` drops it
/// from a Service that wants its balancer as before.
#[must_use]
pub(crate) fn still_wants(service: &core::Service, world: &World) -> bool {
    let balanced = service.spec.as_ref().and_then(|s| s.type_.as_deref()) == Some("LoadBalancer");
    let leaving = service.metadata.deletion_timestamp.is_some();
    balanced && !leaving && world.classes.membership(service) != Membership::Foreign
}

fn wanted(service: &core::Service, name: &str, class: &LoadBalancerClassSpec, world: &World) -> Intent {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let certificate = match world.certificates.of(service, class.provider) {
        Ok(certificate) => certificate,
        Err(Obstacle::Unread) => return Intent::AwaitSecrets,
        Err(Obstacle::Refused(reason, message)) => return Intent::Hold(reason, message),
    };
    let around = Surroundings {
        certificate,
        class_pools: class.pool.as_ref().map(|p| p.ip_address_pools.as_slice()).unwrap_or_default(),
        namespace_labels: world.namespaces.get(namespace),
        // A change of nodes is no change for a provider that does not send to them.
        targets: if class.provider == ProviderKind::Pool { &[] } else { &world.targets },
        ..Surroundings::default()
    };
    let desired = match (&class.provider, &class.aws) {
        (ProviderKind::Aws, Some(parameters)) => match desired_of_aws(service, parameters, world, &around) {
            Some(desired) => desired,
            None => return Intent::Hold(Reason::Provisioning, "its endpoints are not known yet".to_owned()),
        },
        (ProviderKind::DigitalOcean, _) => {
            Desired::of(service, &Surroundings { options: &digitalocean::OPTIONS, ..around })
        }
        _ => match &class.hetzner {
            Some(parameters) => desired_of_hetzner(service, parameters, world, &around),
            None => Desired::of(service, &around),
        },
    };
    match desired {
        Ok(desired) => {
            Intent::Provision(Box::new(Wanted { class_name: name.to_owned(), class: class.clone(), desired }))
        }
        Err(error) => Intent::Hold(Reason::RequestInvalid, error.to_string()),
    }
}

/// Its balancers send to endpoints, or to those nodes that annotations name. `None`: nobody knows the endpoints yet, and
/// to plan without would take them all away.
fn desired_of_aws(
    service: &core::Service,
    parameters: &AwsParameters,
    world: &World,
    around: &Surroundings<'_>,
) -> Option<Result<Desired, DesiredError>> {
    let none = BTreeMap::new();
    let annotations = service.metadata.annotations.as_ref().unwrap_or(&none);
    let around = Surroundings { options: &aws::OPTIONS, ..*around };
    if aws::sends_to_endpoints(parameters, annotations) {
        let endpoints = world.endpoints.as_ref()?.read().unwrap_or_else(PoisonError::into_inner);
        let around = Surroundings { targets: &[], endpoints: Some(&endpoints), ..around };
        return Some(Desired::of(service, &around));
    }
    Some(desired_of_nodes(service, &aws::node_labels(parameters, annotations), world, &around))
}

fn desired_of_hetzner(
    service: &core::Service,
    parameters: &HetznerParameters,
    world: &World,
    around: &Surroundings<'_>,
) -> Result<Desired, DesiredError> {
    let none = BTreeMap::new();
    let annotations = service.metadata.annotations.as_ref().unwrap_or(&none);
    let around = Surroundings { options: &hetzner::OPTIONS, ..*around };
    desired_of_nodes(service, &hetzner::node_labels(parameters, annotations), world, &around)
}

/// With the nodes that have these labels.
fn desired_of_nodes(
    service: &core::Service,
    labels: &BTreeMap<String, String>,
    world: &World,
    around: &Surroundings<'_>,
) -> Result<Desired, DesiredError> {
    let none = BTreeMap::new();
    let has = |target: &&Target| {
        let found = world.node_labels.get(&target.node).unwrap_or(&none);
        labels.iter().all(|(key, value)| found.get(key) == Some(value))
    };
    let targets: Vec<Target> = around.targets.iter().filter(has).cloned().collect();
    Desired::of(service, &Surroundings { targets: &targets, ..*around })
}

/// Whether it still says in our words why it waited for a balancer, before it became of another type or class.
fn is_told(service: &core::Service) -> bool {
    use Reason::{Exhausted, InvalidCertificateRef, NoClass, NoPool, RequestInvalid, RequestRefused};
    let ours = [Exhausted, InvalidCertificateRef, NoClass, NoPool, RequestInvalid, RequestRefused];
    let ours = ours.map(|reason| reason.to_string());
    let kind = ConditionKind::LoadBalancerProvisioning.to_string();
    let conditions = service.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == kind && ours.contains(&c.reason))
}

fn names_a_class(service: &core::Service) -> bool {
    service.spec.as_ref().is_some_and(|s| s.load_balancer_class.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_crds::{FINALIZER, LoadBalancerClass};
    use serde_json::{Value, json};

    fn decide(default_class: bool, metadata: &Value, spec: &Value) -> Intent {
        let class: LoadBalancerClass = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass",
            "metadata": {"name": "bare"}, "spec": {"provider": "pool", "default": default_class}
        }))
        .unwrap();
        let service = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        intent(&service, &World { classes: Classes::judge(&[class]).0, ..World::default() })
    }

    #[test]
    fn every_state_of_a_service_has_one_intent() {
        let (plain, ours) = (json!({"name": "s"}), json!({"name": "s", "finalizers": [FINALIZER]}));
        let leaving =
            json!({"name": "s", "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let foreign_leaving =
            json!({"name": "s", "finalizers": ["other/x"], "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let balanced = json!({"type": "LoadBalancer"});
        let foreign = json!({"type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb"});
        let unknown = json!({"type": "LoadBalancer", "loadBalancerClass": "penstock.dev/gone"});
        let is_hold = |i: &Intent| matches!(i, Intent::Hold(Reason::NoClass, _));
        assert!(matches!(decide(true, &plain, &balanced), Intent::Provision(_)));
        assert!(matches!(decide(true, &ours, &balanced), Intent::Provision(_)));
        assert_eq!(decide(false, &plain, &balanced), Intent::Ignore);
        assert!(is_hold(&decide(false, &ours, &balanced)));
        assert!(is_hold(&decide(true, &plain, &unknown)));
        assert_eq!(decide(true, &plain, &foreign), Intent::Ignore);
        assert_eq!(decide(true, &ours, &foreign), Intent::CleanUp);
        assert_eq!(decide(true, &ours, &json!({"type": "ClusterIP"})), Intent::CleanUp);
        assert_eq!(decide(true, &plain, &json!({"type": "ClusterIP"})), Intent::Ignore);
        assert_eq!(decide(true, &leaving, &balanced), Intent::CleanUp);
        assert_eq!(decide(true, &foreign_leaving, &balanced), Intent::Ignore);
    }

    #[test]
    fn what_a_service_was_told_is_taken_back_when_it_is_no_longer_ours() {
        let told = |spec: &Value| {
            let conditions = json!([{"type": "LoadBalancerProvisioning", "status": "True", "reason": "NoPool",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
            let object =
                json!({"metadata": {"name": "s"}, "spec": spec, "status": {"conditions": conditions}});
            intent(&serde_json::from_value(object).unwrap(), &World::default())
        };
        assert_eq!(told(&json!({"type": "ClusterIP"})), Intent::CleanUp);
        assert_eq!(
            told(&json!({"type": "LoadBalancer", "loadBalancerClass": "other.example/x"})),
            Intent::CleanUp
        );
    }

    #[test]
    fn only_a_live_service_of_ours_still_wants_its_balancer_without_the_finalizer() {
        let wants = |metadata: Value, spec: Value| {
            let service = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
            still_wants(&service, &World::default())
        };
        let balanced = json!({"type": "LoadBalancer"});
        assert!(wants(json!({}), balanced.clone()));
        assert!(!wants(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), balanced));
        assert!(!wants(json!({}), json!({"type": "ClusterIP"})));
        assert!(!wants(json!({}), json!({"type": "LoadBalancer", "loadBalancerClass": "other.example/x"})));
    }

    #[test]
    fn a_contradicting_request_changes_nothing() {
        let spec = json!({"type": "LoadBalancer", "loadBalancerIP": "010.0.0.1"});
        assert!(matches!(
            decide(true, &json!({"name": "s"}), &spec),
            Intent::Hold(Reason::RequestInvalid, _)
        ));
    }
}
