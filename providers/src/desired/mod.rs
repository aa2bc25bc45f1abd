//! What a Service wants from a provider, read once from its object.

mod certificate;
mod endpoint_target;
mod request;

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use penstock_crds::{ALLOW_SHARED_IP, ALLOW_SHARED_IP_METALLB, ALLOW_SHARED_IP_METALLB_OLD};
use penstock_model::{
    EndpointIndex, Family, Node, Protocol, Service, TrafficPolicy, Unreadable, read_source_ranges,
};
use serde::{Deserialize, Serialize};

pub use certificate::{Certificate, CertificateError, fingerprint_of_pem};
pub use endpoint_target::EndpointTarget;
pub use request::Request;

/// A port of the balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Frontend {
    /// The protocol.
    pub protocol: Protocol,
    /// The number that clients use.
    pub port: u16,
    /// Where nodes receive it, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
}

/// A family that the Service has, and whether it can do without an address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyNeed {
    /// The family.
    pub family: Family,
    /// No address at all is better than none of this family.
    pub required: bool,
}

/// Leave to have the same address as other Services: with the same key, without a port in common, and all with
/// external traffic policy Cluster or with the same selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sharing {
    /// What the Services have to agree on.
    pub key: String,
    /// The external traffic policy.
    pub traffic_policy: TrafficPolicy,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
}

/// A node that can receive traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The node's name.
    pub node: String,
    /// `spec.providerID`: what the cloud calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// Its InternalIPs.
    pub addresses: Vec<IpAddr>,
}

/// By what pools choose Services. A change of it is no change of what was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The Service's namespace.
    pub namespace: String,
    /// That namespace's labels.
    pub namespace_labels: BTreeMap<String, String>,
    /// The Service's labels.
    pub labels: BTreeMap<String, String>,
}

/// What is around a Service and counts for what it wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The pools that its class allows; empty for all.
    pub class_pools: &'a [String],
    /// The labels of its namespace.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// The nodes that may receive traffic, for a provider that sends to them.
    pub targets: &'a [Target],
    /// All endpoints, for a provider that sends to those of this Service without the nodes' help.
    pub endpoints: Option<&'a EndpointIndex>,
    /// How the annotations begin that the provider itself reads.
    pub options: &'a [&'a str],
    /// What the Secret holds that the Service names for TLS.
    pub certificate: Option<&'a Certificate>,
}

/// What a Service wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// The families, in the Service's order.
    pub families: Vec<FamilyNeed>,
    /// The ports.
    pub frontends: Vec<Frontend>,
    /// The addresses asked for.
    pub request: Request,
    /// With whom it may share them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// Clients that may connect; empty: all.
    pub source_ranges: Vec<IpNet>,
    /// Which nodes' endpoints get external traffic.
    pub traffic_policy: TrafficPolicy,
    /// Where a node says by HTTP `/healthz` whether it has an endpoint; with policy Local only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_node_port: Option<u16>,
    /// A client's connections go to one endpoint for this many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// The nodes to send to, by name.
    pub targets: Vec<Target>,
    /// The endpoints to send to, for a provider that does so; in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<EndpointTarget>>,
    /// Annotations that the provider itself reads.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// The numbers of the ports that have a name: annotations may name them. Empty for a provider that reads none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port_names: BTreeMap<String, u16>,
    /// With what the balancer ends TLS. Its key is for [`crate::Provider::apply`] alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// By what pools choose it.
    #[serde(skip)]
    pub selection: Selection,
}

/// A wish that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesiredError {
    /// A requested address cannot be read.
    #[error("{field} holds {text:?}, which is not an IP address")]
    Address {
        /// The field or annotation.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// A source range cannot be read.
    #[error("{field} holds {text:?}, which is not a CIDR such as 198.51.100.0/24")]
    SourceRange {
        /// The field or annotation.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// Both an address and a pool are asked for.
    #[error("the Service asks for the pool {pool:?} and for an address: remove one of the two")]
    PoolAndAddress {
        /// The pool.
        pool: String,
    },
    /// The address is asked for in two ways that differ.
    #[error("{first} and {second} ask for different addresses: remove one of the two")]
    TwoRequests {
        /// One field or annotation.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Two addresses of one family.
    #[error("the Service asks for two {0:?} addresses: it can have one of each family")]
    OneFamilyTwice(Family),
}

impl Desired {
    /// Reads what a Service wants.
    ///
    /// # Errors
    /// A wish that contradicts itself.
    pub fn of(object: &core::Service, around: &Surroundings<'_>) -> Result<Self, DesiredError> {
        let service = Service::from_object(object);
        Ok(Self {
            families: families(object, &service),
            frontends: service.ports.iter().map(frontend).collect(),
            request: Request::of(object, around.class_pools)?,
            sharing: sharing(object, &service),
            source_ranges: source_ranges(object)?,
            traffic_policy: service.external_policy,
            health_check_node_port: service.health_check_node_port,
            affinity_seconds: service.affinity_seconds,
            targets: around.targets.to_vec(),
            endpoints: around.endpoints.map(|index| EndpointTarget::all(&service, index)),
            options: options(object, around.options),
            port_names: if around.options.is_empty() { BTreeMap::new() } else { port_names(&service) },
            certificate: around.certificate.cloned(),
            selection: selection(object, service.key.namespace, around),
        })
    }
}

/// Every annotation whose key begins so.
fn options(object: &core::Service, prefixes: &[&str]) -> BTreeMap<String, String> {
    let annotations = object.metadata.annotations.iter().flatten();
    let read = annotations.filter(|(key, _)| prefixes.iter().any(|prefix| key.starts_with(prefix)));
    read.map(|(key, text)| (key.clone(), text.clone())).collect()
}

fn port_names(service: &Service) -> BTreeMap<String, u16> {
    let named = service.ports.iter().filter(|port| !port.name.is_empty());
    named.map(|port| (port.name.clone(), port.port)).collect()
}

fn frontend(port: &penstock_model::Port) -> Frontend {
    Frontend { protocol: port.protocol, port: port.port, node_port: port.node_port }
}

fn selection(object: &core::Service, namespace: String, around: &Surroundings<'_>) -> Selection {
    Selection {
        namespace,
        namespace_labels: around.namespace_labels.cloned().unwrap_or_default(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
    }
}

pub(crate) fn sharing(object: &core::Service, service: &Service) -> Option<Sharing> {
    let (_, key) =
        annotation(object, &[ALLOW_SHARED_IP, ALLOW_SHARED_IP_METALLB, ALLOW_SHARED_IP_METALLB_OLD])?;
    let selector = object.spec.as_ref().and_then(|s| s.selector.clone()).unwrap_or_default();
    let sharing = Sharing { key: key.to_owned(), traffic_policy: service.external_policy, selector };
    Some(sharing).filter(|s| !s.key.is_empty())
}

/// A provider is not told half of what was meant.
fn source_ranges(object: &core::Service) -> Result<Vec<IpNet>, DesiredError> {
    let (ranges, unreadable) = read_source_ranges(object);
    match unreadable.into_iter().next() {
        Some(Unreadable { field, text, .. }) => Err(DesiredError::SourceRange { field, text }),
        None => Ok(ranges),
    }
}

impl Target {
    /// The node, if it may receive external traffic at all: not one that is going, is excluded by label, or is about
    /// to be removed by the cluster autoscaler. Readiness is not looked at, as upstream (KEP-3458).
    #[must_use]
    pub fn of(object: &core::Node) -> Option<Self> {
        const AUTOSCALER: &str = "ToBeDeletedByClusterAutoscaler";
        let node = Node::from_object(object);
        let spec = object.spec.as_ref();
        let mut taints = spec.and_then(|s| s.taints.as_deref()).unwrap_or_default().iter();
        let going = object.metadata.deletion_timestamp.is_some() || taints.any(|t| t.key == AUTOSCALER);
        let target = Self {
            node: node.name.clone(),
            provider_id: spec.and_then(|s| s.provider_id.clone()),
            addresses: node.internal_ips.clone(),
        };
        Some(target).filter(|_| !going && !node.excluded_from_load_balancers())
    }
}

/// The families follow the ClusterIPs. With `RequireDualStack` both are needed; with `PreferDualStack` the
/// second may be missing; an only family is always needed.
fn families(object: &core::Service, service: &Service) -> Vec<FamilyNeed> {
    let policy = object.spec.as_ref().and_then(|s| s.ip_family_policy.as_deref());
    let single = service.cluster_ips.len() < 2;
    let required = single || policy == Some("RequireDualStack");
    service.cluster_ips.iter().map(|ip| FamilyNeed { family: Family::of(*ip), required }).collect()
}

fn annotation<'a>(object: &'a core::Service, keys: &[&'static str]) -> Option<(&'static str, &'a str)> {
    let annotations = object.metadata.annotations.as_ref()?;
    keys.iter().find_map(|key| annotations.get(*key).map(|text| (*key, text.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn desired(annotations: &Value, spec: &Value) -> Result<Desired, DesiredError> {
        let object =
            json!({"metadata": {"name": "s", "namespace": "d", "annotations": annotations}, "spec": spec});
        Desired::of(&serde_json::from_value(object).unwrap(), &Surroundings::default())
    }

    #[test]
    fn families_follow_the_cluster_ips_and_the_policy() {
        let dual = |policy: &str| {
            let spec = json!({"clusterIPs": ["10.96.0.7", "2001:db8:96::7"], "ipFamilyPolicy": policy});
            desired(&json!({}), &spec).unwrap().families
        };
        let need = |family, required| FamilyNeed { family, required };
        assert_eq!(dual("RequireDualStack"), [need(Family::IPv4, true), need(Family::IPv6, true)]);
        assert_eq!(dual("PreferDualStack"), [need(Family::IPv4, false), need(Family::IPv6, false)]);
        let single = desired(&json!({}), &json!({"clusterIPs": ["2001:db8:96::7"]})).unwrap();
        assert_eq!(single.families, [need(Family::IPv6, true)]);
    }

    #[test]
    fn what_a_provider_has_to_know_is_read_from_the_fields() {
        let spec = json!({
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 31234, "sessionAffinity": "ClientIP",
            "selector": {"app": "a"}, "ports": [{"port": 80, "nodePort": 30080}]
        });
        let wanted = desired(&json!({ALLOW_SHARED_IP_METALLB: "key"}), &spec).unwrap();
        assert_eq!(wanted.health_check_node_port, Some(31234));
        assert_eq!(wanted.affinity_seconds, Some(10_800));
        assert_eq!(wanted.sharing.unwrap().selector["app"], "a");
        assert_eq!(wanted.frontends[0].node_port, Some(30080));
    }

    #[test]
    fn source_ranges_that_can_be_read_in_part_only_are_refused() {
        let ranges = |texts: &[&str]| desired(&json!({}), &json!({"loadBalancerSourceRanges": texts}));
        assert_eq!(
            ranges(&[" 198.51.100.7/24"]).unwrap().source_ranges,
            ["198.51.100.0/24".parse().unwrap()]
        );
        let error = ranges(&["198.51.100.0/24", "nonsense"]).unwrap_err().to_string();
        let sentence = "holds \"nonsense\", which is not a CIDR such as 198.51.100.0/24";
        assert_eq!(error, format!("spec.loadBalancerSourceRanges {sentence}"));
    }

    #[test]
    fn nodes_on_their_way_out_are_no_targets() {
        let target = |metadata: &Value, spec: &Value| {
            let node = json!({"metadata": metadata, "spec": spec});
            Target::of(&serde_json::from_value(node).unwrap())
        };
        const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
        let unschedulable = json!({"providerID": "x:///1", "unschedulable": true});
        let kept = target(&json!({"name": "n"}), &unschedulable).unwrap();
        assert_eq!(kept.provider_id.as_deref(), Some("x:///1"));
        assert_eq!(target(&json!({"name": "n", "labels": {LABEL: ""}}), &json!({})), None);
        let tainted = json!({"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]});
        assert_eq!(target(&json!({"name": "n"}), &tainted), None);
        let leaving = json!({"name": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(target(&leaving, &json!({})), None);
    }
}
