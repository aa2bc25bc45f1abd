//! What the endpoint is asked for, in the words of the contract (`docs/webhook.md`).

use std::net::IpAddr;

use ipnet::IpNet;
use penstock_model::{Family, Protocol, TrafficPolicy};
use serde::{Deserialize, Serialize};

use crate::{Desired, ProviderError};

/// What is asked for, but for the nodes. Lists are sorted, so that equal wishes are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The ports.
    pub frontends: Vec<SpecFrontend>,
    /// The families of its addresses, in the order of the Service.
    pub families: Vec<SpecFamily>,
    /// The addresses asked for; empty: any.
    pub requested_addresses: Vec<IpAddr>,
    /// Clients that may connect; empty: all.
    pub source_ranges: Vec<IpNet>,
    /// Which endpoints a node sends external traffic to.
    #[serde(with = "PolicyName")]
    pub traffic_policy: TrafficPolicy,
    /// How to find out whether a node takes traffic.
    pub health_check: HealthCheck,
    /// A client's connections go to one node for this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
}

/// A port of the balancer, and where nodes receive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecFrontend {
    /// The protocol.
    #[serde(with = "ProtocolName")]
    pub protocol: Protocol,
    /// The number that clients use.
    pub port: u16,
    /// The number that nodes use.
    pub node_port: u16,
}

/// A family that the Service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecFamily {
    /// The family.
    #[serde(with = "FamilyName")]
    pub family: Family,
    /// No address at all is better than none of this family.
    pub required: bool,
}

/// How to find out whether a node takes traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "lowercase")]
pub enum HealthCheck {
    /// It takes a TCP connection on the NodePort of each TCP frontend.
    Tcp,
    /// It answers 200.
    Http {
        /// The path.
        path: String,
        /// The port, on the node.
        port: u16,
    },
}

/// Kubernetes' spelling, which is what implementers of the contract know.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Protocol", rename_all = "UPPERCASE")]
enum ProtocolName {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Family")]
enum FamilyName {
    IPv4,
    IPv6,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TrafficPolicy")]
enum PolicyName {
    Cluster,
    Local,
}

impl Spec {
    /// # Errors
    /// A wish that the contract has no words for.
    pub(super) fn of(desired: &Desired) -> Result<Self, ProviderError> {
        if let Some(pool) = &desired.request.pool {
            return Err(ProviderError::refused(format!(
                "the Service asks for the address pool {pool:?} and provider webhook has no pools: remove the annotation"
            )));
        }
        let spec = Self {
            frontends: desired.frontends.iter().map(frontend).collect::<Result<_, _>>()?,
            families: desired.families.iter().map(family).collect(),
            requested_addresses: desired.request.addresses.clone(),
            source_ranges: desired.source_ranges.clone(),
            traffic_policy: desired.traffic_policy,
            health_check: desired.health_check_node_port.map_or(HealthCheck::Tcp, HealthCheck::healthz),
            affinity_seconds: desired.affinity_seconds,
        };
        Ok(spec.sorted())
    }

    /// The order of everything but the families means nothing, and neither do the host bits of a range.
    pub(super) fn sorted(mut self) -> Self {
        self.frontends.sort_unstable();
        self.requested_addresses.sort_unstable();
        self.source_ranges = self.source_ranges.iter().map(IpNet::trunc).collect();
        self.source_ranges.sort_unstable();
        self.source_ranges.dedup();
        self
    }
}

impl HealthCheck {
    /// What a node answers on `healthCheckNodePort` where the external traffic policy is Local.
    fn healthz(port: u16) -> Self {
        Self::Http { path: "/healthz".to_owned(), port }
    }
}

fn frontend(frontend: &crate::Frontend) -> Result<SpecFrontend, ProviderError> {
    let crate::Frontend { protocol, port, node_port } = *frontend;
    let node_port = node_port.ok_or_else(|| {
        ProviderError::refused(format!(
            "provider webhook sends to NodePorts and port {port} has none: set spec.allocateLoadBalancerNodePorts to true"
        ))
    })?;
    Ok(SpecFrontend { protocol, port, node_port })
}

fn family(need: &crate::FamilyNeed) -> SpecFamily {
    SpecFamily { family: need.family, required: need.required }
}
