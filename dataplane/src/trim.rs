//! What is kept of an object while its list arrives: with thousands of them, what nobody looks at is most of the memory that
//! a start takes.

use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use penstock_runtime::trim_metadata;

/// Of a Service: whom it selects is the endpoint controller's business.
pub(crate) fn service(service: &mut Service) {
    metadata(&mut service.metadata);
    if let Some(spec) = &mut service.spec {
        spec.selector = None;
    }
    if let Some(status) = &mut service.status {
        status.conditions = None;
    }
}

/// Of a slice: which Pod an endpoint is, and its names.
pub(crate) fn slice(slice: &mut EndpointSlice) {
    metadata(&mut slice.metadata);
    for endpoint in slice.endpoints.iter_mut().flatten() {
        (endpoint.target_ref, endpoint.hostname, endpoint.deprecated_topology) = (None, None, None);
    }
}

fn metadata(metadata: &mut ObjectMeta) {
    trim_metadata(metadata);
    (metadata.owner_references, metadata.finalizers) = (None, None);
}

#[cfg(test)]
mod tests {
    use penstock_model::{IndexConfig, ServiceIndex};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_says_the_same() {
        let meta = |name: &str| {
            json!({
                "name": name, "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}, "managedFields": [{}],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "service.beta.kubernetes.io/load-balancer-source-ranges": "198.51.100.0/24"},
            })
        };
        let mut whole: Service = serde_json::from_value(json!({
            "metadata": meta("s"),
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "selector": {"a": "b"},
                     "ports": [{"port": 80, "name": "http"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.200"}]}, "conditions": [
                {"type": "x", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        let mut endpoints: EndpointSlice = serde_json::from_value(json!({
            "metadata": meta("s-1"), "addressType": "IPv4", "ports": [{"port": 8080, "name": "http"}],
            "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "n1", "hostname": "h", "zone": "z",
                           "hints": {"forZones": [{"name": "z"}]}, "targetRef": {"kind": "Pod", "name": "p"}}],
        }))
        .unwrap();
        let said = |service: &Service, slice: &EndpointSlice| {
            let mut index =
                ServiceIndex::new(IndexConfig { node_name: "n1".into(), ..IndexConfig::default() });
            index.apply_service(service);
            index.apply_slice(slice);
            index.take_changes()
        };
        let before = said(&whole, &endpoints);
        super::service(&mut whole);
        slice(&mut endpoints);
        assert_eq!(said(&whole, &endpoints), before);
        assert!(!before.is_empty());
        let left = json!([whole, endpoints]).to_string();
        for gone in ["managedFields", "last-applied", "selector", "conditions", "targetRef", "hostname"] {
            assert!(!left.contains(gone), "{gone} in {left}");
        }
    }
}
