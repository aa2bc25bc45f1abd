//! What a `POST` or a `PUT` asks for. What is left out has its default: so a `PUT` resets it.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    refusal::Reply,
    rule::{self, HealthCheck, Rule},
};

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the API's own words
pub struct Wish {
    pub name: String,
    pub region: String,
    #[serde(default = "one")]
    pub size_unit: u16,
    #[serde(default = "round_robin")]
    pub algorithm: String,
    pub forwarding_rules: Vec<Rule>,
    #[serde(default)]
    pub health_check: HealthCheck,
    #[serde(default)]
    pub sticky_sessions: Sticky,
    #[serde(default)]
    pub firewall: Firewall,
    #[serde(default)]
    pub redirect_http_to_https: bool,
    #[serde(default)]
    pub enable_proxy_protocol: bool,
    #[serde(default)]
    pub enable_backend_keepalive: bool,
    #[serde(default = "minute")]
    pub http_idle_timeout_seconds: u16,
    #[serde(default)]
    pub disable_lets_encrypt_dns_records: bool,
    #[serde(default = "default_project")]
    pub project_id: String,
    #[serde(default)]
    pub vpc_uuid: String,
    #[serde(default = "external", rename = "network")]
    pub network: String,
    #[serde(default = "ipv4")]
    pub network_stack: String,
    #[serde(default = "regional", rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet_ids: Option<BTreeSet<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validate_only: bool,
}

/// Whether a client stays with a Droplet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the API's own words
pub struct Sticky {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_ttl_seconds: Option<u32>,
}

impl Default for Sticky {
    fn default() -> Self {
        Self { kind: "none".to_owned(), cookie_name: None, cookie_ttl_seconds: None }
    }
}

/// Who may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // the API's own words
pub struct Firewall {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

fn one() -> u16 {
    1
}

fn minute() -> u16 {
    60
}

fn round_robin() -> String {
    "round_robin".to_owned()
}

fn default_project() -> String {
    "the-default-project".to_owned()
}

fn external() -> String {
    "EXTERNAL".to_owned()
}

fn ipv4() -> String {
    "IPV4".to_owned()
}

fn regional() -> String {
    "REGIONAL".to_owned()
}

impl Wish {
    /// # Errors
    /// 422, with what is wrong.
    pub(super) fn check(&self, certificates: &BTreeSet<&str>, droplets: &BTreeSet<u64>) -> Result<(), Reply> {
        let fault = rule::fault(&self.forwarding_rules, certificates)
            .or_else(|| self.health_check.fault())
            .or_else(|| self.own_fault(droplets));
        fault.map_or(Ok(()), |fault| Err(Reply::unprocessable(fault)))
    }

    fn own_fault(&self, droplets: &BTreeSet<u64>) -> Option<&'static str> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if self.name.is_empty() || self.name.len() > 255 || !self.name.chars().all(fits) {
            return Some("name is invalid");
        }
        if self.droplet_ids.is_some() == self.tag.is_some() {
            return Some("exactly one of droplet_ids and tag must be given");
        }
        if self.droplet_ids.iter().flatten().any(|id| !droplets.contains(id)) {
            return Some("droplet_ids has a Droplet that does not exist");
        }
        if !(1..=100).contains(&self.size_unit) || !(30..=600).contains(&self.http_idle_timeout_seconds) {
            return Some("size_unit or http_idle_timeout_seconds is out of range");
        }
        let Sticky { kind, cookie_name, cookie_ttl_seconds } = &self.sticky_sessions;
        let sticky = match kind.as_str() {
            "none" => cookie_name.is_none() && cookie_ttl_seconds.is_none(),
            "cookies" => cookie_name.is_some() && cookie_ttl_seconds.is_some(),
            _ => false,
        };
        if !sticky {
            return Some("sticky_sessions is invalid");
        }
        let secure = |rule: &Rule| ["https", "http2"].contains(&rule.entry_protocol.as_str());
        if self.redirect_http_to_https && !self.forwarding_rules.iter().any(secure) {
            return Some("redirect_http_to_https needs a secure forwarding rule");
        }
        let rules = self.firewall.allow.iter().chain(&self.firewall.deny);
        rules.map(|text| is_source(text)).any(|fits| !fits).then_some("firewall is invalid")
    }
}

fn is_source(text: &str) -> bool {
    match text.split_once(':') {
        Some(("ip", address)) => address.parse::<IpAddr>().is_ok(),
        Some(("cidr", range)) => range.split_once('/').is_some_and(|(address, bits)| {
            address.parse::<IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 128)
        }),
        _ => false,
    }
}
