//! A node with two Pods, and a client outside, each in a namespace of its own.
//!
//! ```text
//!  p1 10.244.0.2 ─┐
//!                 ├─ node 203.0.113.11 ── client 203.0.113.1
//!  p2 10.244.0.3 ─┘
//! ```
//! The client stands for everything outside: what the node does not take for a Service and routes away
//! is answered there, by "outside". It forwards nothing.

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_model::{ExternalIpPolicy, IndexConfig, ServiceIndex};
use penstock_node::nftables::TableConfig;
use serde_json::{Value, json};

use crate::{echo::serve, namespace::Namespace};

/// Where a flow starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The Pod p1.
    P1,
    /// The Pod p2.
    P2,
    /// The node itself.
    Node,
    /// The client outside.
    Client,
}

/// The namespaces.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) node: Namespace,
    pub(crate) client: Namespace,
    pub(crate) p1: Namespace,
    pub(crate) p2: Namespace,
}

impl Lab {
    /// Builds it and starts the servers.
    pub(crate) fn new() -> Self {
        let (node, client) = (Namespace::new("node"), Namespace::new("client"));
        node.sysctl("ipv4/ip_forward", "1");
        node.sysctl("ipv6/conf/all/forwarding", "1");
        // One ICMP error a second and peer is a router's courtesy; here each one is waited for.
        node.sysctl("ipv4/icmp_ratelimit", "0");
        node.sysctl("ipv6/icmp/ratelimit", "0");
        wire_client(&node, &client);
        let p1 = pod(&node, "p1", 2);
        let p2 = pod(&node, "p2", 3);
        serve(&p1, "p1", &[8080, 8443, 8053]);
        serve(&p2, "p2", &[8080, 8443, 8053]);
        // 30081 is also the node port of a Service without endpoints: it has to be refused all the same.
        serve(&node, "node", &[9090, 30081]);
        serve(&client, "outside", &[80]);
        Self { node, client, p1, p2 }
    }

    /// The namespace of a sender.
    pub(crate) fn sender(&self, sender: Sender) -> &Namespace {
        match sender {
            Sender::P1 => &self.p1,
            Sender::P2 => &self.p2,
            Sender::Node => &self.node,
            Sender::Client => &self.client,
        }
    }
}

fn wire_client(node: &Namespace, client: &Namespace) {
    node.ip(&format!("link add uplink type veth peer name uplink netns {}", client.name()));
    for (namespace, last) in [(node, "11"), (client, "1")] {
        namespace.ip(&format!("addr add 203.0.113.{last}/24 dev uplink"));
        namespace.ip(&format!("addr add 2001:db8:113::{last}/64 dev uplink nodad"));
        namespace.ip("link set uplink up");
    }
    node.ip("route add default via 203.0.113.1");
    node.ip("route add default via 2001:db8:113::1");
    let via_node = ["203.0.113.200/29", "80.11.12.10/32", "10.244.0.0/16"];
    via_node.iter().for_each(|net| client.ip(&format!("route add {net} via 203.0.113.11")));
    let via_node = ["2001:db8:113::200/120", "2001:db8:244::/48"];
    via_node.iter().for_each(|net| client.ip(&format!("route add {net} via 2001:db8:113::11")));
    // "outside" answers for every address that is nobody's.
    let outside = ["10.96.0.0/16", "80.11.12.99/32", "2001:db8:96::/112"];
    outside.iter().for_each(|net| client.ip(&format!("route add local {net} dev lo")));
}

/// A Pod behind a point-to-point link, so that all its traffic is routed by the node.
fn pod(node: &Namespace, name: &str, last: u8) -> Namespace {
    let pod = Namespace::new(name);
    node.ip(&format!("link add {name} type veth peer name eth0 netns {}", pod.name()));
    let addresses = [("10.244.0", ".", "32"), ("2001:db8:244:", ":", "128")];
    for (net, dot, bits) in addresses {
        node.ip(&format!("addr add {net}{dot}1/{bits} dev {name}"));
        pod.ip(&format!("addr add {net}{dot}{last}/{bits} dev eth0"));
    }
    node.ip(&format!("link set {name} up"));
    pod.ip("link set eth0 up");
    for (net, dot, _) in addresses {
        node.ip(&format!("route add {net}{dot}{last} dev {name}"));
        pod.ip(&format!("route add {net}{dot}1 dev eth0"));
        pod.ip(&format!("route add default via {net}{dot}1"));
    }
    pod
}

/// The index of the node, as the agent builds it.
pub(crate) fn index() -> ServiceIndex {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let reserved = nets(&["10.96.0.0/16", "2001:db8:96::/112", "10.244.0.0/16", "2001:db8:244::/48"]);
    let allowed = [(Some("d".to_owned()), "80.11.12.0/28".parse().unwrap())].into_iter().collect();
    let external_ips = ExternalIpPolicy { allowed, reserved, ..ExternalIpPolicy::default() };
    let mut index =
        ServiceIndex::new(IndexConfig { node_name: "n1".into(), external_ips, ..IndexConfig::default() });
    index.apply_node(&node_object());
    index
}

/// The Node object of the lab's node.
pub(crate) fn node_object() -> core::Node {
    read(json!({
        "metadata": {"name": "n1"},
        "status": {"addresses": [
            {"type": "InternalIP", "address": "203.0.113.11"},
            {"type": "InternalIP", "address": "2001:db8:113::11"}]}
    }))
}

/// What the backend is told of the lab's cluster.
pub(crate) fn table_config() -> TableConfig {
    let cluster_cidrs = ["10.244.0.0/16", "2001:db8:244::/48"].map(|net| net.parse().unwrap()).into();
    let service_cidrs = ["10.96.0.0/16", "2001:db8:96::/112"].map(|net| net.parse().unwrap()).into();
    TableConfig { cluster_cidrs, service_cidrs, ..TableConfig::default() }
}

/// A Service of the namespace `d`.
pub(crate) fn service(name: &str, uid: &str, spec: &Value, load_balancer_ips: &[&str]) -> core::Service {
    let ingress: Vec<Value> = load_balancer_ips.iter().map(|ip| json!({"ip": ip})).collect();
    read(json!({
        "metadata": {"name": name, "namespace": "d", "uid": uid},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress}}
    }))
}

/// A slice of a Service, of one family, with endpoints on this node.
pub(crate) fn slice(service: &str, ports: &Value, addresses: &[&str]) -> discovery::EndpointSlice {
    let here: Vec<(&str, &str)> = addresses.iter().map(|address| (*address, "n1")).collect();
    slice_on(service, ports, &here)
}

/// A slice of a Service, of one family, with endpoints and the nodes that they are said to be on.
pub(crate) fn slice_on(service: &str, ports: &Value, endpoints: &[(&str, &str)]) -> discovery::EndpointSlice {
    let family = if endpoints.iter().any(|(address, _)| address.contains(':')) { "IPv6" } else { "IPv4" };
    let endpoints: Vec<Value> =
        endpoints.iter().map(|(ip, node)| json!({"addresses": [ip], "nodeName": node})).collect();
    read(json!({
        "metadata": {
            "name": format!("{service}-{}", family.to_lowercase()), "namespace": "d",
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints
    }))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
