//! What a balancer is made of, in the words of the API. Equal wishes are equal values.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::reading::Pairs;

/// Where a balancer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// `fsn1`.
    Location(String),
    /// `eu-central`: wherever there is room.
    NetworkZone(String),
}

/// How a target is chosen for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest.
    LeastConnections,
}

/// Of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections as they are.
    #[default]
    Tcp,
    /// Requests.
    Http,
    /// Requests; TLS ends at the balancer.
    Https,
}

/// A balancer, as the call that creates it says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerSpec {
    /// In the project it is the only one of this name.
    pub name: String,
    /// Its size: `lb11`.
    pub load_balancer_type: String,
    /// Where.
    pub place: Place,
    /// Ours and the class's.
    pub labels: Pairs,
    /// How targets are chosen.
    pub algorithm: Algorithm,
    /// Whether it has public addresses.
    pub public_interface: bool,
    /// The private network that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<u64>,
    /// By port.
    pub services: Vec<ServiceSpec>,
    /// Where it sends to.
    pub targets: BTreeSet<TargetSpec>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// What it understands.
    pub protocol: Protocol,
    /// The number that clients use.
    pub listen_port: u16,
    /// The number that targets use.
    pub destination_port: u16,
    /// Targets are told the client's address first.
    pub proxyprotocol: bool,
    /// Unless it is TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,
    /// How targets are asked whether they take traffic.
    pub health_check: HealthCheck,
}

/// What only http and https have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpSpec {
    /// Identities; with https only.
    #[serde(default)]
    pub certificates: BTreeSet<u64>,
    /// Port 80 answers with where https is.
    #[serde(default)]
    pub redirect_http: bool,
    /// A cookie keeps a client at its target.
    #[serde(default)]
    pub sticky_sessions: bool,
}

/// How targets are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckProtocol {
    /// A connection.
    Tcp,
    /// A request.
    Http,
}

/// Whether a target takes traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// How it is asked.
    pub protocol: CheckProtocol,
    /// Where.
    pub port: u16,
    /// Between two questions, in seconds.
    pub interval: u16,
    /// Until an answer, in seconds.
    pub timeout: u16,
    /// Answers that fail until it is out.
    pub retries: u16,
    /// With protocol http only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
}

/// What is requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// The host; none: the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The path.
    pub path: String,
    /// Over TLS.
    #[serde(default)]
    pub tls: bool,
}

/// Where a balancer sends to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetSpec {
    /// A server.
    Server {
        /// Its identity.
        id: u64,
        /// By the private network.
        use_private_ip: bool,
    },
    /// All servers that have labels.
    LabelSelector {
        /// `key=value`, with commas.
        selector: String,
        /// By the private network.
        use_private_ip: bool,
    },
    /// An address outside the cloud: never ours.
    Ip {
        /// The address.
        ip: IpAddr,
    },
}

impl TargetSpec {
    /// Whether it is the same machine, or the same machines.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Server { id: one, .. }, Self::Server { id: two, .. }) => one == two,
            (Self::LabelSelector { selector: one, .. }, Self::LabelSelector { selector: two, .. }) => {
                one == two
            }
            (Self::Ip { ip: one }, Self::Ip { ip: two }) => one == two,
            _ => false,
        }
    }
}

impl fmt::Display for TargetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { id, .. } => write!(f, "server {id}"),
            Self::LabelSelector { selector, .. } => write!(f, "servers with {selector}"),
            Self::Ip { ip } => write!(f, "{ip}"),
        }
    }
}

impl Place {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Location(name) | Self::NetworkZone(name) => name,
        }
    }
}
