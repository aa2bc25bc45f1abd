//! What a network load balancer is made of, as AWS lets one ask for it.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{
    options::{CheckProtocol, IpAddressType, Scheme, TargetType},
    reading::Pairs,
};

/// A protocol of a listener or target group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// UDP.
    Udp,
    /// Both on one port.
    TcpUdp,
}

impl Transport {
    /// As the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
            Self::TcpUdp => "TCP_UDP",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A balancer but for its listeners and attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancerSpec {
    /// Its name, one of its own in an account and region.
    pub name: String,
    /// From where it can be reached.
    pub scheme: Scheme,
    /// The families of its addresses.
    pub ip_address_type: IpAddressType,
    /// Where it is.
    pub subnets: Vec<SubnetSpec>,
    /// Who may connect; none: everybody.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub security_groups: BTreeSet<String>,
    /// Ownership, and what the user adds.
    pub tags: Pairs,
}

/// A subnet, and the balancer's address there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubnetSpec {
    /// Its identity.
    pub id: String,
    /// An elastic address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<String>,
    /// An address of the subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_address: Option<String>,
}

/// What of a target group cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupKind {
    /// In what the balancer speaks with targets.
    pub protocol: Transport,
    /// Where, unless a target has a port of its own.
    pub port: u16,
    /// What targets are.
    pub target_type: TargetType,
    /// `dualstack` stands for IPv6: a group has one family.
    pub ip_address_type: IpAddressType,
}

/// A target group but for its attributes and targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSpec {
    /// Its name, one of its own in an account and region.
    pub name: String,
    /// What cannot be changed.
    #[serde(flatten)]
    pub kind: GroupKind,
    /// How targets are asked.
    pub health_check: HealthCheck,
    /// Ownership, and what the user adds.
    pub tags: Pairs,
}

/// How targets are asked whether they take traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// In what.
    pub protocol: CheckProtocol,
    /// Where; `None` where the traffic goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// For HTTP and HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// For HTTP and HTTPS: the codes that mean yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_codes: Option<String>,
    /// Seconds between two.
    pub interval: u16,
    /// Seconds until one has failed.
    pub timeout: u16,
    /// So many in a row.
    pub healthy_threshold: u16,
    /// So many in a row.
    pub unhealthy_threshold: u16,
}

/// Where connections of a group may go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupTarget {
    /// An instance or an address.
    pub id: String,
    /// There.
    pub port: u16,
}

/// Stands in a listener for the certificate that is imported for the Service, until its ARN is known.
pub(super) const IMPORTED: &str = "imported";

/// A port of a balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSpec {
    /// The number that clients use.
    pub port: u16,
    /// In what clients speak.
    pub protocol: Transport,
    /// The name of the target group.
    pub group: String,
    /// ARNs, or that which stands for what is imported; the first is for clients that name no host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Ciphers and versions; `None`: as AWS has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// `None`: no negotiation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
}
