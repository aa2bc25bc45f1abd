//! What a Service of the table is: a description in the table's words, and the objects that it becomes.

use serde_json::{Value, json};

use crate::flows::frontend::{Addresses, Way, texts};
use crate::flows::place::{Family, Pod, Protocol};
use crate::topology::{CLIENT, Pair, Place};

/// The namespace of all objects.
pub const NAMESPACE: &str = "flows";

/// What everything listens on that answers; the second is for ports that lead elsewhere.
pub const TARGET: u16 = 8080;
/// The other port that everything listens on.
pub const OTHER_TARGET: u16 = 8081;

/// Who is behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A Pod.
    Pod(Pod),
    /// The first node's own network.
    Node1,
    /// A host outside the cluster.
    Outside,
}

impl Host {
    /// The name that it answers with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod(pod) => pod.name(),
            Self::Node1 => Place::Node1.name(),
            Self::Outside => "outside",
        }
    }

    fn addresses(self) -> Pair {
        match self {
            Self::Pod(pod) => pod.addresses(),
            Self::Node1 => Place::Node1.addresses(),
            Self::Outside => CLIENT,
        }
    }
}

impl From<Pod> for Host {
    fn from(pod: Pod) -> Self {
        Self::Pod(pod)
    }
}

/// An endpoint of a slice.
#[derive(Debug, Clone)]
pub struct Endpoint {
    host: Host,
    node: Option<Place>,
    conditions: Value,
    hints: Value,
}

impl Endpoint {
    /// A ready endpoint, with its own node's name.
    pub fn ready(host: impl Into<Host>) -> Self {
        let host = host.into();
        let node = match host {
            Host::Pod(pod) => Some(pod.node()),
            Host::Node1 => Some(Place::Node1),
            Host::Outside => None,
        };
        Self { host, node, conditions: json!({ "ready": true }), hints: Value::Null }
    }

    /// With other conditions.
    pub fn conditions(self, conditions: Value) -> Self {
        Self { conditions, ..self }
    }

    /// Being deleted, and still serving or not.
    pub fn terminating(self, serving: bool) -> Self {
        self.conditions(json!({ "ready": false, "serving": serving, "terminating": true }))
    }

    /// For these zones only.
    pub fn for_zones(self, zones: &[&str]) -> Self {
        let zones: Vec<Value> = zones.iter().map(|zone| json!({ "name": zone })).collect();
        self.hint("forZones", &zones)
    }

    /// For this node only.
    pub fn for_node(self, node: Place) -> Self {
        self.hint("forNodes", &[json!({ "name": node.name() })])
    }

    /// With another node's name, or none.
    pub fn on(self, node: Option<Place>) -> Self {
        Self { node, ..self }
    }

    fn hint(mut self, kind: &str, value: &[Value]) -> Self {
        if self.hints.is_null() {
            self.hints = json!({});
        }
        self.hints[kind] = json!(value);
        self
    }

    fn object(&self, family: Family) -> Value {
        let mut object = json!({
            "addresses": [family.of(self.host.addresses()).to_string()],
            "conditions": self.conditions,
            "hints": self.hints,
        });
        if let Some(node) = self.node {
            object["nodeName"] = json!(node.name());
        }
        object
    }
}

/// One of a Service's slices, which exists once for each family.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Names of the Service's ports that lead to another target here than [`Port::target`].
    pub targets: Vec<(&'static str, u16)>,
    /// Further labels.
    pub labels: Vec<(&'static str, &'static str)>,
}

impl From<Vec<Endpoint>> for Slice {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, targets: Vec::new(), labels: Vec::new() }
    }
}

/// A port of a Service.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Its name.
    pub name: &'static str,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number at the Service's addresses.
    pub number: u16,
    /// Where its endpoints listen.
    pub target: u16,
}

/// A Service with its slices. The default has every kind of frontend, both families, and port 80 by TCP and by UDP.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its families, the first first.
    pub families: Vec<Family>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Whether external traffic stays on the node that it came to.
    pub external_local: bool,
    /// Whether internal traffic stays on its node.
    pub internal_local: bool,
    /// For how many seconds a client stays with an endpoint.
    pub affinity: Option<u32>,
    /// `loadBalancerSourceRanges`.
    pub source_ranges: Vec<&'static str>,
    /// The ways of its load balancer addresses and externalIPs.
    pub ways: Vec<Way>,
    /// Annotations.
    pub annotations: Vec<(&'static str, &'static str)>,
    /// Its load balancer's `ipMode`.
    pub ip_mode: &'static str,
    /// Whether its ClusterIPs are where a host outside has them too.
    pub cluster_ips_outside: bool,
    /// Further labels.
    pub labels: Vec<(&'static str, &'static str)>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// Its slices.
    pub slices: Vec<Slice>,
}

impl Default for Service {
    fn default() -> Self {
        let port = |name, protocol| Port { name, protocol, number: 80, target: TARGET };
        Self {
            families: Family::BOTH.to_vec(),
            ports: vec![port("tcp", Protocol::Tcp), port("udp", Protocol::Udp)],
            external_local: false,
            internal_local: false,
            affinity: None,
            source_ranges: Vec::new(),
            ways: Way::NODES.to_vec(),
            ip_mode: "VIP",
            cluster_ips_outside: false,
            annotations: Vec::new(),
            labels: Vec::new(),
            publish_not_ready: false,
            slices: Vec::new(),
        }
    }
}

impl Service {
    /// The default Service with one slice of these endpoints.
    pub fn of(endpoints: Vec<Endpoint>) -> Self {
        Self { slices: vec![endpoints.into()], ..Self::default() }
    }

    /// The default Service with one slice of ready Pods.
    pub fn ready(pods: &[Pod]) -> Self {
        Self::of(pods.iter().map(|pod| Endpoint::ready(*pod)).collect())
    }

    /// The port of this protocol and number, and its node port.
    pub fn port(&self, addresses: Addresses, protocol: Protocol, number: u16) -> Option<u16> {
        let place = self.ports.iter().position(|port| port.protocol == protocol && port.number == number)?;
        Some(addresses.node_port(place))
    }

    /// The Service object, without its status.
    pub fn object(&self, name: &str, addresses: Addresses) -> Value {
        let external_ips: Vec<String> =
            self.ways.iter().flat_map(|way| texts(addresses.external_ip(*way), &self.families)).collect();
        let cluster_ips =
            if self.cluster_ips_outside { addresses.cluster_ips_outside() } else { addresses.cluster_ips() };
        let cluster_ips = texts(cluster_ips, &self.families);
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": labels(&self.labels),
                "annotations": labels(&self.annotations),
            },
            "spec": {
                "type": "LoadBalancer",
                // Nobody's: this table plays the load balancer.
                "loadBalancerClass": "flows.penstock.dev/table",
                "ipFamilyPolicy": if self.families.len() > 1 { "RequireDualStack" } else { "SingleStack" },
                "ipFamilies": self.families.iter().map(|family| family.api_name()).collect::<Vec<_>>(),
                "clusterIP": cluster_ips.first(),
                "clusterIPs": cluster_ips,
                "externalIPs": external_ips,
                "externalTrafficPolicy": policy(self.external_local),
                // Left to the API server, it might take a node port of a case that comes later.
                "healthCheckNodePort": self.external_local.then(|| addresses.health_check_node_port()),
                "internalTrafficPolicy": policy(self.internal_local),
                "sessionAffinity": if self.affinity.is_some() { "ClientIP" } else { "None" },
                "sessionAffinityConfig": self.affinity.map(|seconds| json!({ "clientIP": { "timeoutSeconds": seconds } })),
                "loadBalancerSourceRanges": self.source_ranges,
                "publishNotReadyAddresses": self.publish_not_ready,
                "ports": self.port_objects(addresses),
            },
        })
    }

    fn port_objects(&self, addresses: Addresses) -> Vec<Value> {
        let port = |(place, port): (usize, &Port)| {
            json!({
                "name": port.name,
                "protocol": port.protocol.api_name(),
                "port": port.number,
                "targetPort": port.target,
                "nodePort": addresses.node_port(place),
            })
        };
        self.ports.iter().enumerate().map(port).collect()
    }

    /// What a load balancer writes into its status.
    pub fn status(&self, addresses: Addresses) -> Value {
        let ips = self.ways.iter().flat_map(|way| texts(addresses.load_balancer(*way), &self.families));
        let ingress: Vec<Value> = ips.map(|ip| json!({ "ip": ip, "ipMode": self.ip_mode })).collect();
        json!({ "status": { "loadBalancer": { "ingress": ingress } } })
    }

    /// Its slices, each once for each of its families.
    pub fn slice_objects(&self, name: &str) -> Vec<Value> {
        let numbered = self.slices.iter().enumerate();
        let both = numbered.flat_map(|slice| self.families.iter().map(move |family| (slice, *family)));
        both.map(|((number, slice), family)| self.slice_object(name, number, slice, family)).collect()
    }

    fn slice_object(&self, name: &str, number: usize, slice: &Slice, family: Family) -> Value {
        let mut labels = labels(&slice.labels);
        labels["kubernetes.io/service-name"] = json!(name);
        labels["endpointslice.kubernetes.io/managed-by"] = json!("flows.penstock.dev");
        let target = |port: &Port| {
            let other = slice.targets.iter().find(|(name, _)| *name == port.name);
            other.map_or(port.target, |(_, target)| *target)
        };
        let port = |port: &Port| json!({ "name": port.name, "protocol": port.protocol.api_name(), "port": target(port) });
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{name}-{number}-{}", family.api_name().to_lowercase()),
                "namespace": NAMESPACE,
                "labels": labels,
            },
            "addressType": family.api_name(),
            "ports": self.ports.iter().map(port).collect::<Vec<_>>(),
            "endpoints": slice.endpoints.iter().map(|endpoint| endpoint.object(family)).collect::<Vec<_>>(),
        })
    }
}

fn policy(local: bool) -> &'static str {
    if local { "Local" } else { "Cluster" }
}

fn labels(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service as ServiceObject;
    use k8s_openapi::api::discovery::v1::EndpointSlice;

    #[test]
    fn a_service_becomes_one_object_and_a_slice_for_each_family() {
        let service = Service::ready(&[Pod::A1, Pod::B1]);
        let object: ServiceObject = serde_json::from_value(service.object("web", Addresses(3))).unwrap();
        let spec = object.spec.unwrap();
        assert_eq!(spec.cluster_ips.unwrap(), ["10.96.1.3", "2001:db8:96::103"]);
        assert_eq!(spec.external_ips.unwrap().len(), 4);
        let slices = service.slice_objects("web");
        assert_eq!(slices.len(), 2);
        let slice: EndpointSlice = serde_json::from_value(slices[1].clone()).unwrap();
        assert_eq!(slice.address_type, "IPv6");
        assert_eq!(slice.endpoints.unwrap()[1].node_name.as_deref(), Some("n2"));
    }

    #[test]
    fn hints_of_both_kinds_stand_beside_each_other() {
        let endpoint = Endpoint::ready(Pod::A1).for_zones(&["a"]).for_node(Place::Node1);
        let hints = &endpoint.object(Family::V4)["hints"];
        assert_eq!(hints["forZones"][0]["name"], "a");
        assert_eq!(hints["forNodes"][0]["name"], "n1");
    }
}
