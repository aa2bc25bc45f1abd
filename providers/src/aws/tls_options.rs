//! What annotations say of TLS and of health checks.

use penstock_crds::TLS_SECRET;

use super::{
    options::{CheckOptions, CheckProtocol, TlsOptions},
    reading::{Reading, Text},
    spec::IMPORTED,
};
use crate::{Desired, ProviderError};

const ALPN: [&str; 5] = ["None", "HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred"];

impl TlsOptions {
    /// # Errors
    /// As [`super::options::Options::read`].
    pub(super) fn read(reading: &mut Reading<'_>, desired: &Desired) -> Result<Option<Self>, ProviderError> {
        let (certificates, ports) = (reading.take("ssl-cert"), reading.take("ssl-ports"));
        let (policy, backend) = (reading.take("ssl-negotiation-policy"), reading.take("backend-protocol"));
        let alpn = reading.take("alpn-policy");
        let to_targets = backend.map(|text| text.one_of(&[("ssl", true), ("tcp", false)])).transpose()?;
        let policy_name = policy.map(|text| text.text().to_owned());
        if policy_name.as_deref() == Some("") {
            return Err(ProviderError::refused("annotation ssl-negotiation-policy is empty: remove it"));
        }
        let certificates = match (certificates, &desired.certificate) {
            (Some(text), Some(_)) if !text.is_of_class() => {
                return Err(text.refuse(format!(
                    "names a certificate, and so does the annotation {TLS_SECRET}: remove one of the two"
                )));
            }
            // The Service is asked before the class.
            (_, Some(_)) => Some(vec![IMPORTED.to_owned()]),
            (certificates, None) => certificates.map(arns).transpose()?,
        };
        let Some(certificates) = certificates else {
            // The class may have defaults for those who ask for TLS.
            let idle = [ports, policy, alpn, backend.filter(|_| to_targets == Some(true))];
            return match idle.into_iter().flatten().find(|text| !text.is_of_class()) {
                Some(text) => Err(text.refuse(format!(
                    "says nothing without the annotation ssl-cert or {TLS_SECRET}: add one of the two"
                ))),
                None => Ok(None),
            };
        };
        Ok(Some(Self {
            certificates,
            ports: ports.map(|text| listed_ports(text, desired)).transpose()?.flatten(),
            policy: policy_name,
            to_targets: to_targets.unwrap_or(false),
            alpn: alpn.map(alpn_policy).transpose()?.flatten(),
        }))
    }

    /// Whether clients of the port speak TLS with the balancer.
    pub(super) fn covers(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }
}

fn arns(text: Text<'_>) -> Result<Vec<String>, ProviderError> {
    let items = text.list()?;
    let arn = |item: &&str| item.starts_with("arn:") && (item.contains(":acm:") || item.contains(":iam:"));
    match items.iter().find(|item| !arn(item)) {
        Some(wrong) => Err(text.refuse(format!("holds {wrong:?}, which is not the ARN of a certificate"))),
        None => Ok(items.into_iter().map(ToOwned::to_owned).collect()),
    }
}

/// By number or name; `None` for all.
fn listed_ports(text: Text<'_>, desired: &Desired) -> Result<Option<Vec<u16>>, ProviderError> {
    if text.text() == "*" {
        return Ok(None);
    }
    let read = |item: &str| {
        let number = item.parse().ok().or_else(|| desired.port_names.get(item).copied());
        let known = number.filter(|port| desired.frontends.iter().any(|f| f.port == *port));
        known.ok_or_else(|| text.refuse(format!("names the port {item:?}, which the Service does not have")))
    };
    text.list()?.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// `None` is as if nothing was said.
fn alpn_policy(text: Text<'_>) -> Result<Option<String>, ProviderError> {
    let known = ALPN.map(|name| (name, name));
    Ok(Some(text.one_of(&known)?).filter(|name| *name != "None").map(ToOwned::to_owned))
}

impl CheckOptions {
    /// # Errors
    /// As [`super::options::Options::read`].
    pub(super) fn read(reading: &mut Reading<'_>) -> Result<Self, ProviderError> {
        use CheckProtocol::{Http, Https, Tcp};
        let mut take = |key: &str| reading.take(&format!("healthcheck-{key}"));
        let known =
            [("tcp", Tcp), ("http", Http), ("https", Https), ("TCP", Tcp), ("HTTP", Http), ("HTTPS", Https)];
        let protocol = take("protocol").map(|text| text.one_of(&known)).transpose()?;
        let (path, codes) = (take("path"), take("success-codes"));
        if let (Some(Tcp), Some(text)) = (protocol, path.or(codes).filter(|t| !t.is_of_class())) {
            return Err(
                text.refuse("says nothing where the annotation healthcheck-protocol is tcp: remove it")
            );
        }
        let (interval_text, timeout_text) = (take("interval"), take("timeout"));
        let interval = interval_text.map(|text| text.number(5..=300)).transpose()?;
        let timeout = timeout_text.map(|text| text.number(2..=120)).transpose()?;
        Ok(Self {
            protocol,
            port: take("port").map(check_port).transpose()?,
            path: path.map(check_path).transpose()?,
            interval,
            timeout,
            healthy: take("healthy-threshold").map(|text| text.number(2..=10)).transpose()?,
            unhealthy: take("unhealthy-threshold").map(|text| text.number(2..=10)).transpose()?,
            success_codes: codes.map(success_codes).transpose()?,
        })
    }
}

/// `None`: the traffic's.
fn check_port(text: Text<'_>) -> Result<Option<u16>, ProviderError> {
    if text.text() == "traffic-port" {
        return Ok(None);
    }
    let read = text.number(1..=u16::MAX).map(Some);
    read.map_err(|_| {
        text.refuse(format!("is {:?}: it must be traffic-port or a number of a port", text.text()))
    })
}

fn check_path(text: Text<'_>) -> Result<String, ProviderError> {
    let path = text.text();
    if !path.starts_with('/') || path.len() > 1024 || path.contains(char::is_whitespace) {
        return Err(text.refuse(format!("is {path:?}: a path begins with / and has no spaces")));
    }
    Ok(path.to_owned())
}

/// `200`, `200-399`, `200,202`.
fn success_codes(text: Text<'_>) -> Result<String, ProviderError> {
    let code = |part: &str| part.parse().is_ok_and(|code: u16| (200..=599).contains(&code));
    let fits = |part: &str| {
        part.split_once('-').map_or(code(part), |(low, high)| code(low) && code(high) && low <= high)
    };
    let codes = text.text();
    if codes.split(',').all(|part| fits(part.trim())) {
        return Ok(codes.replace(' ', ""));
    }
    Err(text.refuse(format!("is {codes:?}: it must be codes such as 200, 200-399 or 200,202")))
}
