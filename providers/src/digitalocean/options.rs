//! What annotations ask of a balancer: those of DigitalOcean's own controller, with their meaning, and the class's defaults.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use penstock_crds::{DIGITALOCEAN_ADOPT, DIGITALOCEAN_PREFIX, DigitalOceanParameters};

use super::{name::LONGEST, spec::StickySessions, tls_options::TlsOptions};
use crate::{
    Desired, ProviderError,
    reading::{Place, Reading, Text},
};

static PLACE: Place =
    Place { prefix: DIGITALOCEAN_PREFIX, defaults: "spec.digitalocean.defaults", unsupported: &UNSUPPORTED };

/// Keys of DigitalOcean's own controller that mean something we do not do.
const UNSUPPORTED: [&str; 9] = [
    "algorithm",
    "disable-lets-encrypt-dns-records",
    "http-ports",
    "http3-port",
    "network",
    "network-stack",
    "size-slug",
    "tls-cipher-policy",
    "type",
];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The balancer that is to be taken.
    pub(super) adopt: Option<String>,
    /// How the balancer's name begins.
    pub(super) name: Option<String>,
    pub(super) size_unit: Option<u16>,
    /// What clients speak on ports without TLS: `tcp` or `http`.
    pub(super) plain: &'static str,
    pub(super) tls: Option<TlsOptions>,
    pub(super) check: CheckOptions,
    pub(super) sticky_sessions: StickySessions,
    pub(super) redirect_http_to_https: bool,
    pub(super) enable_proxy_protocol: bool,
    pub(super) enable_backend_keepalive: Option<bool>,
    pub(super) http_idle_timeout_seconds: Option<u16>,
    /// `None`: not said.
    pub(super) allow: Option<BTreeSet<String>>,
    pub(super) deny: BTreeSet<String>,
    /// What the status shows instead of addresses.
    pub(super) hostname: Option<String>,
}

/// What is asked of health checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckOptions {
    pub(super) protocol: Option<&'static str>,
    /// Of the Service.
    pub(super) port: Option<u16>,
    pub(super) path: Option<String>,
    pub(super) interval: Option<u16>,
    pub(super) timeout: Option<u16>,
    pub(super) healthy: Option<u16>,
    pub(super) unhealthy: Option<u16>,
}

/// What clients speak with the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Tcp,
    Http,
    Https,
    Http2,
}

impl Options {
    /// # Errors
    /// The first annotation that is unknown, malformed, or contradicts another.
    pub(super) fn read(
        parameters: &DigitalOceanParameters,
        desired: &Desired,
    ) -> Result<Self, ProviderError> {
        let mut reading = Reading::new(&PLACE, &parameters.defaults, &desired.options);
        let known = [
            ("tcp", Speech::Tcp),
            ("http", Speech::Http),
            ("https", Speech::Https),
            ("http2", Speech::Http2),
        ];
        let protocol = reading.take("protocol");
        let speech = protocol.map(|text| text.one_of(&known)).transpose()?.unwrap_or(Speech::Tcp);
        let options = Self {
            adopt: adopted(desired)?,
            name: reading.take("name").map(readable_name).transpose()?,
            size_unit: number(&mut reading, "size-unit", 1..=100)?,
            plain: if speech == Speech::Http { "http" } else { "tcp" },
            tls: TlsOptions::read(&mut reading, desired, speech, protocol)?,
            check: CheckOptions::read(&mut reading, desired)?,
            sticky_sessions: sticky_sessions(&mut reading)?,
            redirect_http_to_https: flag(&mut reading, "redirect-http-to-https")?.unwrap_or_default(),
            enable_proxy_protocol: flag(&mut reading, "enable-proxy-protocol")?.unwrap_or_default(),
            enable_backend_keepalive: flag(&mut reading, "enable-backend-keepalive")?,
            http_idle_timeout_seconds: number(&mut reading, "http-idle-timeout-seconds", 30..=600)?,
            allow: reading.take("allow-rules").map(rules).transpose()?,
            deny: reading.take("deny-rules").map(rules).transpose()?.unwrap_or_default(),
            hostname: reading.take("hostname").map(hostname).transpose()?,
        };
        reading.finish()?;
        options.check_contradictions(desired)?;
        Ok(options)
    }

    /// What no single annotation tells.
    fn check_contradictions(&self, desired: &Desired) -> Result<(), ProviderError> {
        if self.allow.is_some() && !desired.source_ranges.is_empty() {
            return Err(ProviderError::refused(
                "both spec.loadBalancerSourceRanges and the annotation do-loadbalancer-allow-rules say who may connect: remove one of the two",
            ));
        }
        let asks_http =
            self.plain == "http" || self.tls.as_ref().is_some_and(|tls| tls.passthrough.is_none());
        if matches!(self.sticky_sessions, StickySessions::Cookies { .. }) && !asks_http {
            return Err(ProviderError::refused(
                "sticky sessions by cookie need HTTP: set the annotation do-loadbalancer-protocol to http, or add a certificate",
            ));
        }
        Ok(())
    }
}

/// What the status is to show instead of addresses, where a Service asks for it. What cannot be read is refused when it
/// is planned.
pub(super) fn hostname_of(parameters: &DigitalOceanParameters, desired: &Desired) -> Option<String> {
    let text = Reading::new(&PLACE, &parameters.defaults, &desired.options).take("hostname")?;
    hostname(text).ok()
}

fn flag(reading: &mut Reading<'_>, key: &str) -> Result<Option<bool>, ProviderError> {
    reading.take(key).map(|text| text.flag()).transpose()
}

fn number(
    reading: &mut Reading<'_>,
    key: &str,
    range: std::ops::RangeInclusive<u16>,
) -> Result<Option<u16>, ProviderError> {
    reading.take(key).map(|text| text.number(range)).transpose()
}

fn adopted(desired: &Desired) -> Result<Option<String>, ProviderError> {
    let Some(id) = desired.options.get(DIGITALOCEAN_ADOPT).map(|id| id.trim()) else { return Ok(None) };
    let fits = !id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !fits {
        return Err(ProviderError::refused(format!(
            "annotation {DIGITALOCEAN_ADOPT} is {id:?}: it must be the id of a load balancer"
        )));
    }
    Ok(Some(id.to_owned()))
}

fn readable_name(text: Text<'_>) -> Result<String, ProviderError> {
    let name = text.text();
    let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    if !ends
        || name.len() > LONGEST
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    {
        return Err(text.wants(&format!(
            "at most {LONGEST} letters, digits, dots and hyphens, with a letter or digit at both ends"
        )));
    }
    Ok(name.to_owned())
}

fn hostname(text: Text<'_>) -> Result<String, ProviderError> {
    let name = text.text().to_ascii_lowercase();
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(fits)
    };
    if name.len() > 253 || name.parse::<IpAddr>().is_ok() || !name.split('.').all(label) {
        return Err(text.wants("a name in the DNS"));
    }
    Ok(name)
}

/// `ip:198.51.100.7,cidr:198.51.100.0/24`
fn rules(text: Text<'_>) -> Result<BTreeSet<String>, ProviderError> {
    let fits = |item: &&str| match item.split_once(':') {
        Some(("ip", address)) => address.parse::<IpAddr>().is_ok(),
        Some(("cidr", range)) => range.parse::<IpNet>().is_ok_and(|range| range.trunc() == range),
        _ => false,
    };
    let items = text.list()?;
    match items.iter().find(|item| !fits(item)) {
        Some(wrong) => {
            Err(text.refuse(format!("holds {wrong:?}: write ip:198.51.100.7 or cidr:198.51.100.0/24")))
        }
        None => Ok(items.into_iter().map(ToOwned::to_owned).collect()),
    }
}

fn sticky_sessions(reading: &mut Reading<'_>) -> Result<StickySessions, ProviderError> {
    let kind = reading.take("sticky-sessions-type");
    let (name, ttl) =
        (reading.take("sticky-sessions-cookie-name"), reading.take("sticky-sessions-cookie-ttl"));
    let by_cookie = kind.map(|text| text.one_of(&[("cookies", true), ("none", false)])).transpose()?;
    match (by_cookie, name, ttl) {
        (Some(true), Some(name), Some(ttl)) => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if !(2..=40).contains(&name.text().len()) || !name.text().chars().all(fits) {
                return Err(name.wants("2 to 40 letters, digits, hyphens and underscores"));
            }
            let cookie_ttl_seconds = u32::from(ttl.number(1..=34650)?);
            Ok(StickySessions::Cookies { cookie_name: name.text().to_owned(), cookie_ttl_seconds })
        }
        (Some(true), ..) => Err(ProviderError::refused(
            "sticky sessions by cookie need the annotations do-loadbalancer-sticky-sessions-cookie-name and do-loadbalancer-sticky-sessions-cookie-ttl: add them",
        )),
        (_, name, ttl) => {
            match name.or(ttl).filter(|text| !text.is_of_class()) {
                Some(text) => Err(text
                    .refuse("says nothing unless do-loadbalancer-sticky-sessions-type is cookies: add it")),
                None => Ok(StickySessions::None),
            }
        }
    }
}

impl CheckOptions {
    fn read(reading: &mut Reading<'_>, desired: &Desired) -> Result<Self, ProviderError> {
        let mut take = |key: &str| reading.take(&format!("healthcheck-{key}"));
        let (port, path, protocol) = (take("port"), take("path"), take("protocol"));
        let seconds = |text: Option<Text<'_>>| text.map(|text| text.number(3..=300)).transpose();
        let times = |text: Option<Text<'_>>| text.map(|text| text.number(2..=10)).transpose();
        let known = [("tcp", "tcp"), ("http", "http"), ("https", "https")];
        let check = Self {
            protocol: protocol.map(|text| text.one_of(&known)).transpose()?,
            port: port.map(|text| port_of(text, text.text(), desired)).transpose()?,
            path: path.map(check_path).transpose()?,
            interval: seconds(take("check-interval-seconds"))?,
            timeout: seconds(take("response-timeout-seconds"))?,
            healthy: times(take("healthy-threshold"))?,
            unhealthy: times(take("unhealthy-threshold"))?,
        };
        match path.filter(|text| !text.is_of_class()) {
            Some(text) if check.protocol == Some("tcp") => {
                Err(text.refuse("says nothing where do-loadbalancer-healthcheck-protocol is tcp: remove it"))
            }
            _ => Ok(check),
        }
    }
}

fn check_path(text: Text<'_>) -> Result<String, ProviderError> {
    let path = text.text();
    if !path.starts_with('/') || path.len() > 1024 || path.contains(char::is_whitespace) {
        return Err(text.refuse(format!("is {path:?}: a path begins with / and has no spaces")));
    }
    Ok(path.to_owned())
}

/// A port of the Service, by number or name.
pub(super) fn port_of(text: Text<'_>, item: &str, desired: &Desired) -> Result<u16, ProviderError> {
    let number = item.parse().ok().or_else(|| desired.port_names.get(item).copied());
    let known = number.filter(|port| desired.frontends.iter().any(|f| f.port == *port));
    known.ok_or_else(|| text.refuse(format!("names the port {item:?}, which the Service does not have")))
}
