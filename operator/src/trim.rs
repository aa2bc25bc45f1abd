//! What is kept of a Service in memory: with thousands of them that is most of what this process needs.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use penstock_crds::{ALLOW_SHARED_IP, ALLOW_SHARED_IP_METALLB, ALLOW_SHARED_IP_METALLB_OLD};
use penstock_runtime::trim_metadata;

use crate::class::is_marked;

/// Keys of those who share an address; the selector counts for nobody else.
const SHARING: [&str; 3] = [ALLOW_SHARED_IP, ALLOW_SHARED_IP_METALLB, ALLOW_SHARED_IP_METALLB_OLD];

/// Drops what no decision looks at. Of a Service that neither has nor wants anything of ours only its identity and type
/// stay.
pub(crate) fn trim(service: &mut Service) {
    trim_metadata(&mut service.metadata);
    if is_indifferent(service) {
        service.metadata.annotations = None;
        service.metadata.labels = None;
        service.status = None;
        let type_ = service.spec.take().and_then(|spec| spec.type_);
        service.spec = Some(ServiceSpec { type_, ..ServiceSpec::default() });
    }
    let shares =
        service.metadata.annotations.iter().flatten().any(|(key, _)| SHARING.contains(&key.as_str()));
    if let Some(spec) = &mut service.spec {
        trim_spec(spec, shares);
    }
}

fn trim_spec(spec: &mut ServiceSpec, shares: bool) {
    if !shares {
        spec.selector = None;
    }
    if spec.cluster_ips.is_some() {
        spec.cluster_ip = None;
    }
    spec.session_affinity.take_if(|affinity| affinity == "None");
    spec.internal_traffic_policy = None;
    for port in spec.ports.iter_mut().flatten() {
        (port.target_port, port.app_protocol) = (None, None);
    }
}

fn is_indifferent(service: &Service) -> bool {
    let (Some(spec), status) = (&service.spec, &service.status) else { return false };
    let plain = matches!(spec.type_.as_deref(), None | Some("ClusterIP" | "NodePort"));
    let quiet = status.as_ref().is_none_or(|s| s.conditions.as_ref().is_none_or(Vec::is_empty));
    plain && quiet && spec.external_ips.as_ref().is_none_or(Vec::is_empty) && !is_marked(service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_crds::FINALIZER;
    use penstock_providers::{Desired, Surroundings, pool::Terms};
    use serde_json::{Value, json};

    fn trimmed(metadata: &Value, spec: &Value) -> Service {
        let mut service = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        trim(&mut service);
        service
    }

    #[test]
    fn only_what_no_decision_looks_at_is_dropped() {
        let metadata = json!({"name": "s", "uid": "u", "labels": {"a": "b"}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}});
        let cluster_ip = trimmed(&metadata, &json!({"type": "ClusterIP", "clusterIP": "10.96.0.1"}));
        assert_eq!((cluster_ip.metadata.labels, cluster_ip.spec.unwrap().cluster_ip), (None, None));
        assert_eq!(cluster_ip.metadata.uid.as_deref(), Some("u"));

        let balanced = trimmed(&metadata, &json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1"}));
        assert!(balanced.metadata.labels.is_some() && balanced.spec.unwrap().cluster_ip.is_some());
        assert_eq!(balanced.metadata.annotations.unwrap().len(), 0);
        for (metadata, spec) in [
            (json!({"finalizers": [FINALIZER]}), json!({"type": "ClusterIP", "clusterIP": "10.96.0.1"})),
            (
                json!({}),
                json!({"type": "NodePort", "clusterIP": "10.96.0.1", "externalIPs": ["198.51.100.1"]}),
            ),
        ] {
            assert!(trimmed(&metadata, &spec).spec.unwrap().cluster_ip.is_some(), "{metadata} {spec}");
        }
    }

    #[test]
    fn what_a_service_wants_is_the_same_without_what_was_dropped() {
        let around = Surroundings::default();
        for annotations in [json!({}), json!({"metallb.universe.tf/allow-shared-ip": "k"})] {
            let whole: Service = serde_json::from_value(json!({
                "metadata": {"name": "s", "uid": "u", "labels": {"a": "b"}, "annotations": annotations},
                "spec": {
                    "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "2001:db8::1"],
                    "ipFamilyPolicy": "PreferDualStack", "selector": {"app": "a"}, "sessionAffinity": "ClientIP",
                    "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001,
                    "internalTrafficPolicy": "Cluster", "loadBalancerSourceRanges": ["192.0.2.0/24"],
                    "ports": [{"port": 80, "nodePort": 30080, "targetPort": "http", "appProtocol": "http"}]
                }
            }))
            .unwrap();
            let mut kept = whole.clone();
            trim(&mut kept);
            assert!(
                serde_json::to_string(&kept).unwrap().len() < serde_json::to_string(&whole).unwrap().len()
            );
            assert_eq!(Desired::of(&kept, &around).unwrap(), Desired::of(&whole, &around).unwrap());
            assert_eq!(Terms::of_object(&kept), Terms::of_object(&whole));
        }
    }
}
