//! Services of a balancer: its ports.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the fields of the API
pub struct Service {
    pub protocol: String,
    pub listen_port: u16,
    pub destination_port: u16,
    #[serde(default)]
    pub proxyprotocol: bool,
    #[serde(default)]
    pub http: Option<Http>,
    pub health_check: HealthCheck,
}

/// What only http and https have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the fields of the API
pub struct Http {
    #[serde(default = "cookie_name")]
    pub cookie_name: String,
    #[serde(default = "cookie_lifetime")]
    pub cookie_lifetime: u32,
    #[serde(default)]
    pub certificates: BTreeSet<u64>,
    #[serde(default)]
    pub redirect_http: bool,
    #[serde(default)]
    pub sticky_sessions: bool,
}

fn cookie_name() -> String {
    "HCLBSTICKY".to_owned()
}

fn cookie_lifetime() -> u32 {
    300
}

/// How targets are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the fields of the API
pub struct HealthCheck {
    pub protocol: String,
    pub port: u16,
    pub interval: u16,
    pub timeout: u16,
    pub retries: u16,
    #[serde(default)]
    pub http: Option<HttpCheck>,
}

/// What is requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the fields of the API
pub struct HttpCheck {
    #[serde(default)]
    pub domain: Option<String>,
    pub path: String,
    #[serde(default)]
    pub response: Option<String>,
    #[serde(default = "status_codes")]
    pub status_codes: Vec<String>,
    #[serde(default)]
    pub tls: bool,
}

fn status_codes() -> Vec<String> {
    vec!["2??".to_owned(), "3??".to_owned()]
}

impl Service {
    /// The ports that it takes.
    pub(super) fn ports(&self) -> Vec<u16> {
        let redirects = self.http.as_ref().is_some_and(|http| http.redirect_http);
        if redirects { vec![self.listen_port, 80] } else { vec![self.listen_port] }
    }

    /// What makes no sense for itself.
    pub(super) fn check(&self, certificates: &BTreeSet<u64>) -> Result<(), Error> {
        let wrong = |field: &str, what: &str| Err(Error::invalid(field, what));
        if !matches!(self.protocol.as_str(), "tcp" | "http" | "https") {
            return wrong("protocol", "must be tcp, http or https");
        }
        if self.listen_port == 0 || self.destination_port == 0 {
            return wrong("listen_port", "must be between 1 and 65535");
        }
        match (&self.http, self.protocol.as_str()) {
            (Some(_), "tcp") => return wrong("http", "only with http and https"),
            (Some(http), "http") if !http.certificates.is_empty() || http.redirect_http => {
                return wrong("http.certificates", "only with https");
            }
            (http, "https") => {
                let named = http.as_ref().map(|http| http.certificates.clone()).unwrap_or_default();
                if named.is_empty() || !named.is_subset(certificates) {
                    return wrong("http.certificates", "must be certificates of the project");
                }
            }
            _ => {}
        }
        self.health_check.check()
    }
}

impl HealthCheck {
    fn check(&self) -> Result<(), Error> {
        let wrong = |field: &str, what: &str| Err(Error::invalid(field, what));
        match (self.protocol.as_str(), &self.http) {
            ("tcp", Some(_)) => return wrong("health_check.http", "only with http"),
            ("http", None) => return wrong("health_check.http", "is missing"),
            ("http", Some(http)) if !http.path.starts_with('/') => {
                return wrong("health_check.http.path", "must begin with /");
            }
            ("tcp" | "http", _) => {}
            _ => return wrong("health_check.protocol", "must be tcp or http"),
        }
        if !(3..=60).contains(&self.interval) || !(1..=60).contains(&self.timeout) {
            return wrong("health_check.interval", "must be between 3 and 60");
        }
        if self.timeout > self.interval || self.retries == 0 || self.port == 0 {
            return wrong("health_check.timeout", "must not be more than the interval");
        }
        Ok(())
    }
}
