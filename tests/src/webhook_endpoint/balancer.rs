//! The objects of the contract, with nothing in them that it does not have.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The body of a `PUT`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) owner: Owner,
    pub(super) spec: Spec,
    pub(super) targets: Option<Vec<Target>>,
}

/// The body of a `PUT` of the nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedTargets {
    pub(super) owner: Owner,
    pub(super) targets: Vec<Target>,
}

/// A balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Whose it is.
    pub owner: Owner,
    /// What was accepted.
    pub spec: Spec,
    /// The nodes.
    pub targets: Vec<Target>,
    /// What it was given.
    pub addresses: Vec<IpAddr>,
    /// `GET`s that still find it unfinished.
    pub unfinished: u32,
    /// It is going.
    pub deleting: bool,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// The Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The ports.
    pub frontends: Vec<Frontend>,
    /// The families.
    pub families: Vec<Family>,
    /// Addresses asked for.
    pub requested_addresses: Vec<IpAddr>,
    /// Clients.
    pub source_ranges: Vec<String>,
    /// `Cluster` or `Local`.
    pub traffic_policy: String,
    /// How to check a node.
    pub health_check: HealthCheck,
    /// Stickiness in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Frontend {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// For clients.
    pub port: u16,
    /// On nodes.
    pub node_port: u16,
}

/// A family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// It must have an address.
    pub required: bool,
}

/// How to check a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// `tcp` or `http`.
    pub protocol: String,
    /// With `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// With `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub node: String,
    /// What the cloud calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Spec {
    /// The first thing in it that the contract does not allow.
    pub(super) fn fault(&self) -> Option<String> {
        let one_of = |what: &str, text: &str, allowed: &[&str]| {
            (!allowed.contains(&text)).then(|| format!("{what} {text:?} is none of {allowed:?}"))
        };
        let check = &self.health_check;
        let http = check.protocol == "http";
        let ranges = self.source_ranges.iter().find(|range| !is_network(range));
        let ports =
            self.frontends.iter().map(|f| (&f.protocol, f.port)).collect::<std::collections::BTreeSet<_>>();
        one_of("traffic policy", &self.traffic_policy, &["Cluster", "Local"])
            .or_else(|| one_of("health check", &check.protocol, &["tcp", "http"]))
            .or_else(|| (http != check.path.is_some()).then(|| "path is for http".to_owned()))
            .or_else(|| (http != check.port.is_some()).then(|| "port is for http".to_owned()))
            .or_else(|| {
                self.frontends.iter().find_map(|f| one_of("protocol", &f.protocol, &["TCP", "UDP", "SCTP"]))
            })
            .or_else(|| self.families.iter().find_map(|f| one_of("family", &f.family, &["IPv4", "IPv6"])))
            .or_else(|| ranges.map(|range| format!("{range:?} is no network")))
            .or_else(|| (ports.len() != self.frontends.len()).then(|| "a port stands there twice".to_owned()))
            .or_else(|| ports.is_empty().then(|| "there is no port".to_owned()))
            .or_else(|| self.families.is_empty().then(|| "there is no family".to_owned()))
    }
}

fn is_network(range: &str) -> bool {
    let parts = range.split_once('/').map(|(ip, length)| (ip.parse::<IpAddr>(), length.parse::<u8>()));
    matches!(parts, Some((Ok(ip), Ok(length))) if length <= if ip.is_ipv4() { 32 } else { 128 })
}
