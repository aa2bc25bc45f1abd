//! Parts of a balancer, and what the API takes of them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A forwarding rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the API's own words
pub struct Rule {
    pub entry_port: u16,
    pub entry_protocol: String,
    pub target_port: u16,
    pub target_protocol: String,
    #[serde(default)]
    pub certificate_id: String,
    #[serde(default)]
    pub tls_passthrough: bool,
}

/// How Droplets are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // the API's own words
pub struct HealthCheck {
    pub protocol: String,
    pub port: u16,
    pub path: String,
    pub check_interval_seconds: u16,
    pub response_timeout_seconds: u16,
    pub healthy_threshold: u16,
    pub unhealthy_threshold: u16,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            protocol: "http".to_owned(),
            port: 80,
            path: "/".to_owned(),
            check_interval_seconds: 10,
            response_timeout_seconds: 5,
            healthy_threshold: 3,
            unhealthy_threshold: 5,
        }
    }
}

impl HealthCheck {
    /// What the API shows: a connection has no path.
    pub(super) fn shown(mut self) -> Self {
        if self.protocol == "tcp" {
            self.path.clear();
        }
        self
    }

    pub(super) fn fault(&self) -> Option<&'static str> {
        let seconds = 3..=300;
        let times = 2..=10;
        let fits = ["tcp", "http", "https"].contains(&self.protocol.as_str())
            && self.port > 0
            && seconds.contains(&self.check_interval_seconds)
            && seconds.contains(&self.response_timeout_seconds)
            && times.contains(&self.healthy_threshold)
            && times.contains(&self.unhealthy_threshold)
            && (self.protocol == "tcp" || self.path.starts_with('/'));
        (!fits).then_some("health check is invalid")
    }
}

/// What is wrong with the rules, given the certificates that there are.
pub(super) fn fault(rules: &[Rule], certificates: &BTreeSet<&str>) -> Option<&'static str> {
    if rules.is_empty() {
        return Some("forwarding_rules can't be empty");
    }
    let mut entries = BTreeSet::new();
    if !rules.iter().all(|rule| entries.insert((rule.entry_port, rule.entry_protocol == "udp"))) {
        return Some("forwarding_rules have an entry port twice");
    }
    rules.iter().find_map(|rule| rule.fault(certificates))
}

impl Rule {
    fn fault(&self, certificates: &BTreeSet<&str>) -> Option<&'static str> {
        let (entry, target) = (self.entry_protocol.as_str(), self.target_protocol.as_str());
        if self.entry_port == 0 || self.target_port == 0 {
            return Some("ports must be from 1 to 65535");
        }
        if !["tcp", "udp", "http", "https", "http2"].contains(&entry) {
            return Some("entry_protocol is invalid");
        }
        if (entry == "udp" || target == "udp" || entry == "tcp" || target == "tcp") && entry != target {
            return Some("target_protocol does not fit entry_protocol");
        }
        let secure = ["https", "http2"].contains(&entry);
        let shows = !self.certificate_id.is_empty();
        if self.tls_passthrough && (!secure || target != entry || shows) {
            return Some("tls_passthrough needs the same secure protocol on both sides, and no certificate");
        }
        if secure && !self.tls_passthrough && !shows {
            return Some("a certificate is needed for a secure protocol");
        }
        if shows && (!secure || !certificates.contains(self.certificate_id.as_str())) {
            return Some("certificate_id is invalid");
        }
        None
    }
}
