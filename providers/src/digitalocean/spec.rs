//! What a balancer is, in the words of DigitalOcean's API.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What Penstock says of a balancer. An update sends it over everything else that the balancer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// With the mark that tells whose it is.
    pub name: String,
    /// How many machines it is made of; `None` in a wish: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_unit: Option<u16>,
    /// In order.
    pub forwarding_rules: Vec<Rule>,
    /// How Droplets are asked.
    pub health_check: HealthCheck,
    /// Whether a client stays with a Droplet.
    pub sticky_sessions: StickySessions,
    /// Who may connect.
    pub firewall: Firewall,
    /// HTTP on port 80 is sent to HTTPS on port 443.
    pub redirect_http_to_https: bool,
    /// Droplets are told of the client by the PROXY protocol.
    pub enable_proxy_protocol: bool,
    /// Connections to Droplets are kept; `None` in a wish: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_backend_keepalive: Option<bool>,
    /// How long a request may be silent, in seconds; `None` in a wish: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_idle_timeout_seconds: Option<u16>,
}

/// A port of the balancer, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// The number that clients use.
    pub entry_port: u16,
    /// `tcp`, `udp`, `http`, `https`, `http2`.
    pub entry_protocol: String,
    /// The NodePort.
    pub target_port: u16,
    /// As Droplets speak.
    pub target_protocol: String,
    /// What clients are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<String>,
    /// Droplets end TLS.
    pub tls_passthrough: bool,
}

/// How Droplets are asked whether they take traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `tcp`, `http`, `https`.
    pub protocol: String,
    /// On the Droplet.
    pub port: u16,
    /// Not with `tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Between two questions.
    pub check_interval_seconds: u16,
    /// Until no answer is a no.
    pub response_timeout_seconds: u16,
    /// So many a yes make a Droplet healthy.
    pub healthy_threshold: u16,
    /// So many a no make it unhealthy.
    pub unhealthy_threshold: u16,
}

/// Whether a client stays with a Droplet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum StickySessions {
    /// It does not.
    None,
    /// By a cookie that the balancer sets.
    Cookies {
        /// Its name.
        cookie_name: String,
        /// How long it holds.
        cookie_ttl_seconds: u32,
    },
}

/// Who may connect: `ip:…` or `cidr:…`. Where nobody is allowed by name, everybody is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// Only these.
    pub allow: BTreeSet<String>,
    /// Not these.
    pub deny: BTreeSet<String>,
}

/// What a balancer sends to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Droplets {
    /// All that have the tag.
    Tag(String),
    /// These.
    Ids(BTreeSet<u64>),
}

impl Spec {
    /// What the wish leaves open is as it is.
    pub(super) fn or_as_is(mut self, has: &Self) -> Self {
        self.size_unit = self.size_unit.or(has.size_unit);
        self.enable_backend_keepalive = self.enable_backend_keepalive.or(has.enable_backend_keepalive);
        self.http_idle_timeout_seconds = self.http_idle_timeout_seconds.or(has.http_idle_timeout_seconds);
        self
    }
}
