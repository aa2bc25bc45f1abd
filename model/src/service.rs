//! A Service, read once from its object.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;

use crate::{
    IPVS_SCHEDULER, ObjectKey, Protocol, Scheduler, SourceRanges, parse_ip, read_source_ranges,
    scheduler::{WANTED, read_scheduler},
};

/// Upstream's label that hands a Service to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// The field of an [`Unreadable`].
pub(crate) const EXTERNAL_IPS: &str = "spec.externalIPs";

/// A text in a field of addresses or ranges that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text:?} is not {wanted}")]
pub struct Unreadable {
    /// The field's path.
    pub field: &'static str,
    /// What stands there.
    pub text: String,
    /// What should.
    wanted: &'static str,
}

impl Unreadable {
    /// No IP address.
    pub(crate) fn address(field: &'static str, text: impl Into<String>) -> Self {
        Self { field, text: text.into(), wanted: "an IP address" }
    }

    /// No range.
    pub(crate) fn range(field: &'static str, text: impl Into<String>) -> Self {
        Self { field, text: text.into(), wanted: "a CIDR such as 198.51.100.0/24" }
    }

    /// No scheduler.
    pub(crate) fn scheduler(text: impl Into<String>) -> Self {
        Self { field: IPVS_SCHEDULER, text: text.into(), wanted: WANTED }
    }
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ServiceType {
    /// Reachable inside the cluster only; the default.
    ClusterIp,
    /// Also on a port of every node.
    NodePort,
    /// Also through an external balancer.
    LoadBalancer,
    /// A DNS alias: nothing to forward.
    ExternalName,
}

/// `externalTrafficPolicy`, `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TrafficPolicy {
    /// All endpoints.
    #[default]
    Cluster,
    /// Only endpoints on the node that received the packet.
    Local,
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Port {
    /// The name; empty where there is only one port without a name.
    pub name: String,
    /// The number that clients use.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The node port, where there is one.
    pub node_port: Option<u16>,
}

/// What a Service object says, as far as packets and addresses go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.uid`.
    pub uid: String,
    /// Seconds since the epoch of `metadata.creationTimestamp`: who came first.
    pub created: i64,
    /// Whether its label hands it to another proxy.
    pub of_another_proxy: bool,
    /// The type.
    pub service_type: ServiceType,
    /// `spec.clusterIPs`, without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs` that can be read.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` whose `ipMode` is `VIP`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// The ports.
    pub ports: Vec<Port>,
    /// The external traffic policy.
    pub external_policy: TrafficPolicy,
    /// The internal traffic policy.
    pub internal_policy: TrafficPolicy,
    /// A client's connections to a port go to one endpoint until it was silent for so many seconds.
    pub affinity_seconds: Option<u32>,
    /// How IPVS is to choose an endpoint, where the Service says so.
    pub scheduler: Option<Scheduler>,
    /// Who may connect to the load balancer IPs.
    pub source_ranges: SourceRanges,
    /// Where a node says whether it has an endpoint; only with external policy Local.
    pub health_check_node_port: Option<u16>,
    /// Texts in fields of addresses and ranges that are none.
    pub unreadable: Vec<Unreadable>,
}

impl Service {
    /// Reads a Service object. What cannot be read is left out and named in [`Service::unreadable`].
    #[must_use]
    pub fn from_object(object: &core::Service) -> Self {
        let spec = object.spec.as_ref();
        let mut unreadable = Vec::new();
        let (ranges, unreadable_ranges) = read_source_ranges(object);
        let scheduler = read_scheduler(object).unwrap_or_else(|named| {
            unreadable.push(named);
            None
        });
        let cluster_ips = spec.map(cluster_ip_texts).unwrap_or_default();
        let external_ips = spec.and_then(|s| s.external_ips.as_deref()).unwrap_or_default();
        Self {
            key: ObjectKey::of(&object.metadata),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            created: object.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |t| t.0.as_second()),
            of_another_proxy: object
                .metadata
                .labels
                .as_ref()
                .is_some_and(|l| l.contains_key(PROXY_NAME_LABEL)),
            service_type: service_type(spec.and_then(|s| s.type_.as_deref())),
            cluster_ips: addresses("spec.clusterIPs", &cluster_ips, &mut unreadable),
            external_ips: addresses(EXTERNAL_IPS, external_ips, &mut unreadable),
            load_balancer_ips: addresses("status.loadBalancer.ingress", &vip_texts(object), &mut unreadable),
            ports: spec
                .and_then(|s| s.ports.as_deref())
                .unwrap_or_default()
                .iter()
                .filter_map(port)
                .collect(),
            external_policy: policy(spec.and_then(|s| s.external_traffic_policy.as_deref())),
            internal_policy: policy(spec.and_then(|s| s.internal_traffic_policy.as_deref())),
            affinity_seconds: spec.and_then(affinity_seconds),
            scheduler,
            source_ranges: SourceRanges::new(&ranges, !unreadable_ranges.is_empty()),
            health_check_node_port: spec.and_then(health_check_node_port),
            unreadable: unreadable.into_iter().chain(unreadable_ranges).collect(),
        }
    }

    /// Whether a node forwards for it: not for headless Services, aliases, nor those of another proxy.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        self.service_type != ServiceType::ExternalName
            && !self.cluster_ips.is_empty()
            && !self.of_another_proxy
    }

    /// The load balancer's addresses, which a Service of another type may still carry in its status.
    pub(crate) fn requested_load_balancer_ips(&self) -> impl Iterator<Item = IpAddr> {
        let balanced = self.service_type == ServiceType::LoadBalancer;
        self.load_balancer_ips.iter().copied().filter(move |_| balanced)
    }
}

fn cluster_ip_texts(spec: &core::ServiceSpec) -> Vec<String> {
    let all = spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip]));
    all.unwrap_or_default().into_iter().filter(|ip| ip != "None" && !ip.is_empty()).collect()
}

/// The load balancer's addresses that a node must forward itself. With `ipMode: Proxy` the balancer
/// terminates connections and in-cluster traffic has to go through it (KEP-1860).
fn vip_texts(object: &core::Service) -> Vec<String> {
    let balancer = object.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default();
    let vips = ingress.iter().filter(|i| i.ip_mode.as_deref().is_none_or(|mode| mode == "VIP"));
    vips.filter_map(|i| i.ip.clone()).collect()
}

fn addresses(field: &'static str, texts: &[String], unreadable: &mut Vec<Unreadable>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for text in texts {
        match parse_ip(text) {
            Some(ip) if !found.contains(&ip) => found.push(ip),
            Some(_) => {}
            None => unreadable.push(Unreadable::address(field, text)),
        }
    }
    found
}

fn port(port: &core::ServicePort) -> Option<Port> {
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        port: u16::try_from(port.port).ok().filter(|p| *p != 0)?,
        protocol: port.protocol.as_deref().unwrap_or("TCP").parse().ok()?,
        node_port: port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0),
    })
}

/// `sessionAffinity: ClientIP`; the API server fills in the time-out, upstream's default is three hours.
fn affinity_seconds(spec: &core::ServiceSpec) -> Option<u32> {
    const DEFAULT: u32 = 10_800;
    let affinity = spec.session_affinity.as_deref().filter(|kind| *kind == "ClientIP");
    let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    let seconds = config.and_then(|c| c.timeout_seconds).and_then(|s| u32::try_from(s).ok());
    affinity.map(|_| seconds.filter(|s| *s > 0).unwrap_or(DEFAULT))
}

/// The API server keeps the number while the policy is Cluster; nobody answers there then.
fn health_check_node_port(spec: &core::ServiceSpec) -> Option<u16> {
    let local = policy(spec.external_traffic_policy.as_deref()) == TrafficPolicy::Local;
    let port = spec.health_check_node_port.filter(|port| local && *port > 0)?;
    u16::try_from(port).ok()
}

fn service_type(text: Option<&str>) -> ServiceType {
    match text {
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        _ => ServiceType::ClusterIp,
    }
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Service {
        Service::from_object(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_proxy_mode_balancer_is_not_forwarded_by_the_node() {
        let service = read(json!({
            "metadata": {"name": "s", "namespace": "d"},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.7"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [
                {"ip": "203.0.113.200"}, {"ip": "203.0.113.201", "ipMode": "Proxy"}, {"hostname": "x.example"}]}}
        }));
        assert_eq!(service.load_balancer_ips, vec![IpAddr::from([203, 0, 113, 200])]);
    }

    #[test]
    fn headless_alias_and_foreign_services_are_not_forwarded() {
        let spec = |spec: serde_json::Value| read(json!({"metadata": {"name": "s"}, "spec": spec}));
        assert!(spec(json!({"clusterIP": "10.96.0.7"})).is_forwarded());
        assert!(!spec(json!({"clusterIP": "None", "clusterIPs": ["None"]})).is_forwarded());
        assert!(!spec(json!({"type": "ExternalName", "externalName": "a.example"})).is_forwarded());
        let mut foreign = spec(json!({"clusterIP": "10.96.0.7"}));
        foreign.of_another_proxy = true;
        assert!(!foreign.is_forwarded());
    }

    #[test]
    fn unreadable_addresses_are_named_and_the_others_kept() {
        let service = read(json!({
            "metadata": {"name": "s"},
            "spec": {"clusterIP": "10.96.0.7", "externalIPs": ["080.11.12.10", "80.11.12.10"]}
        }));
        assert_eq!(service.external_ips, vec![IpAddr::from([80, 11, 12, 10])]);
        assert_eq!(service.unreadable, [Unreadable::address(EXTERNAL_IPS, "080.11.12.10")]);
    }

    #[test]
    fn affinity_has_the_time_that_the_api_server_wrote_or_three_hours() {
        let seconds =
            |spec: serde_json::Value| read(json!({"metadata": {"name": "s"}, "spec": spec})).affinity_seconds;
        let config = |seconds: i32| json!({"clientIP": {"timeoutSeconds": seconds}});
        assert_eq!(
            seconds(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config(5)})),
            Some(5)
        );
        assert_eq!(
            seconds(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config(-5)})),
            Some(10_800)
        );
        assert_eq!(seconds(json!({"sessionAffinity": "ClientIP"})), Some(10_800));
        assert_eq!(seconds(json!({"sessionAffinity": "None", "sessionAffinityConfig": config(5)})), None);
    }

    #[test]
    fn nobody_answers_at_a_health_check_node_port_with_policy_cluster() {
        let port = |policy: &str, port: i32| {
            let spec = json!({"externalTrafficPolicy": policy, "healthCheckNodePort": port});
            read(json!({"metadata": {"name": "s"}, "spec": spec})).health_check_node_port
        };
        assert_eq!(port("Local", 31234), Some(31234));
        assert_eq!([port("Cluster", 31234), port("Local", 0), port("Local", 70000)], [None; 3]);
    }
}
