//! What annotations ask of a balancer: those of Hetzner's own controller, with its meaning. What is unknown, malformed or
//! contradicts something else is refused; nothing is silently left out.

use penstock_crds::{HetznerParameters, TLS_SECRET};

use super::{
    labels,
    reading::{Reading, Text, adopted, ids, read, seconds},
    spec::{Algorithm, Place, Protocol},
};
use crate::{Desired, ProviderError};

/// The size where nobody says one.
const SMALLEST: &str = "lb11";

/// How targets are asked, as annotations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Tcp,
    Http,
    Https,
}

/// What is said of health checks; the rest follows from the Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckOptions {
    pub(super) protocol: Option<Check>,
    pub(super) port: Option<u16>,
    pub(super) interval: Option<u16>,
    pub(super) timeout: Option<u16>,
    pub(super) retries: Option<u16>,
    pub(super) domain: Option<String>,
    pub(super) path: Option<String>,
}

/// All that annotations and the class's defaults say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) adopt: Option<u64>,
    pub(super) name: Option<String>,
    pub(super) load_balancer_type: String,
    pub(super) place: Option<Place>,
    pub(super) hostname: Option<String>,
    pub(super) protocol: Protocol,
    pub(super) algorithm: Algorithm,
    pub(super) proxy_protocol: bool,
    pub(super) use_private_ip: bool,
    pub(super) public: bool,
    pub(super) certificates: Vec<u64>,
    pub(super) redirect: bool,
    pub(super) sticky: bool,
    pub(super) by_nodes: bool,
    pub(super) check: CheckOptions,
}

impl Options {
    /// # Errors
    /// [`ProviderError::User`] that names the annotation, and what to change.
    pub(super) fn read(parameters: &HetznerParameters, desired: &Desired) -> Result<Self, ProviderError> {
        let mut reading = read(parameters, &desired.options);
        let protocols = [("tcp", Protocol::Tcp), ("http", Protocol::Http), ("https", Protocol::Https)];
        let protocol = protocol(&mut reading, &protocols, desired)?;
        let algorithms =
            [("round_robin", Algorithm::RoundRobin), ("least_connections", Algorithm::LeastConnections)];
        let (use_private_ip, public) = interfaces(&mut reading, parameters)?;
        let options = Self {
            adopt: adopted(&desired.options)?,
            name: reading.take("name").map(name).transpose()?,
            load_balancer_type: reading.take("type").map_or(Ok(SMALLEST.to_owned()), word)?,
            place: place(&mut reading)?,
            hostname: reading.take("hostname").map(hostname).transpose()?,
            algorithm: reading
                .take("algorithm-type")
                .map_or(Ok(Algorithm::RoundRobin), |t| t.one_of(&algorithms))?,
            proxy_protocol: flag(&mut reading, "uses-proxyprotocol")?,
            certificates: certificates(&mut reading, protocol, desired)?,
            redirect: redirect(&mut reading, protocol, desired)?,
            sticky: sticky(&mut reading, protocol)?,
            // Read by the operator, which leaves out the nodes that do not have them.
            by_nodes: node_selector(&mut reading, parameters)?,
            check: CheckOptions::read(&mut reading)?,
            protocol,
            use_private_ip,
            public,
        };
        reading.finish()?;
        Ok(options)
    }
}

impl CheckOptions {
    fn read(reading: &mut Reading<'_>) -> Result<Self, ProviderError> {
        let known = [("tcp", Check::Tcp), ("http", Check::Http), ("https", Check::Https)];
        let (domain, path) =
            (reading.take("health-check-http-domain"), reading.take("health-check-http-path"));
        let (interval, timeout) =
            (reading.take("health-check-interval"), reading.take("health-check-timeout"));
        let options = Self {
            protocol: reading.take("health-check-protocol").map(|t| t.one_of(&known)).transpose()?,
            port: reading.take("health-check-port").map(|t| t.number(1..=u16::MAX)).transpose()?,
            interval: interval.map(|text| seconds(text, 3..=60)).transpose()?,
            timeout: timeout.map(|text| seconds(text, 1..=60)).transpose()?,
            retries: reading.take("health-check-retries").map(|t| t.number(1..=u16::MAX)).transpose()?,
            domain: domain.map(|text| text.text().to_owned()),
            path: path.map(request_path).transpose()?,
        };
        let by_request = matches!(options.protocol, Some(Check::Http | Check::Https));
        if let Some(text) = domain.or(path).filter(|text| !by_request && !text.is_of_class()) {
            return Err(
                text.refuse("is for health checks by http or https: set health-check-protocol, or remove it")
            );
        }
        Ok(options)
    }
}

fn flag(reading: &mut Reading<'_>, key: &str) -> Result<bool, ProviderError> {
    reading.take(key).map_or(Ok(false), |text| text.flag())
}

fn word(text: Text<'_>) -> Result<String, ProviderError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let said = text.text();
    if said.is_empty() || !said.chars().all(plain) {
        return Err(text.wants("lower-case letters, digits and dashes, as lb11 or fsn1"));
    }
    Ok(said.to_owned())
}

fn name(text: Text<'_>) -> Result<String, ProviderError> {
    let said = text.text();
    if said.is_empty() || !labels::is_value(said) {
        return Err(text.wants("a name of at most 63 letters, digits, dashes, dots and underscores"));
    }
    Ok(said.to_owned())
}

/// It is kept in a label, which has at most 63 characters.
fn hostname(text: Text<'_>) -> Result<String, ProviderError> {
    let said = text.text();
    let lower = said.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'));
    if said.is_empty() || !lower || !labels::is_value(said) {
        return Err(text.wants("a DNS name in lower case of at most 63 characters"));
    }
    Ok(said.to_owned())
}

fn request_path(text: Text<'_>) -> Result<String, ProviderError> {
    if text.text().starts_with('/') {
        Ok(text.text().to_owned())
    } else {
        Err(text.wants("a path that begins with /"))
    }
}

/// A Service that says one of the two means it instead of what the class says.
fn place(reading: &mut Reading<'_>) -> Result<Option<Place>, ProviderError> {
    let (location, zone) = (reading.take("location"), reading.take("network-zone"));
    match (location, zone) {
        (Some(one), Some(other)) if one.is_of_class() == other.is_of_class() => {
            Err(other.refuse("is one place and location another: remove one of the two"))
        }
        (Some(text), Some(other)) if other.is_of_class() => word(text).map(Place::Location).map(Some),
        (_, Some(text)) => word(text).map(Place::NetworkZone).map(Some),
        (Some(text), None) => word(text).map(Place::Location).map(Some),
        (None, None) => Ok(None),
    }
}

/// Whether targets are reached by the private network, and whether clients come by the public one.
fn interfaces(
    reading: &mut Reading<'_>,
    parameters: &HetznerParameters,
) -> Result<(bool, bool), ProviderError> {
    let (private, hidden) = (reading.take("use-private-ip"), reading.take("disable-public-network"));
    let yes = |text: Option<Text<'_>>| text.map_or(Ok(false), |text| text.flag());
    let (use_private_ip, disabled) = (yes(private)?, yes(hidden)?);
    let private = private.filter(|_| use_private_ip);
    let unreachable = private.or(hidden.filter(|_| disabled)).filter(|_| parameters.network_id.is_none());
    if let Some(text) = unreachable {
        return Err(
            text.refuse("needs a private network: set spec.hetzner.networkId of the class, or remove it")
        );
    }
    match hidden {
        Some(text) if disabled && !use_private_ip => {
            Err(text.refuse("leaves no way to the nodes: set use-private-ip to true as well"))
        }
        _ => Ok((use_private_ip, !disabled)),
    }
}

/// A certificate from a Secret makes it https, unless something else is said.
fn protocol(
    reading: &mut Reading<'_>,
    known: &[(&str, Protocol)],
    desired: &Desired,
) -> Result<Protocol, ProviderError> {
    let secret = desired.certificate.is_some();
    match reading.take("protocol").map(|text| text.one_of(known).map(|said| (text, said))).transpose()? {
        Some((text, Protocol::Tcp | Protocol::Http)) if secret && !text.is_of_class() => Err(text
            .refuse(format!("does without the certificate of {TLS_SECRET}: set it to https, or remove one"))),
        _ if secret => Ok(Protocol::Https),
        said => Ok(said.map_or(Protocol::Tcp, |(_, said)| said)),
    }
}

fn certificates(
    reading: &mut Reading<'_>,
    protocol: Protocol,
    desired: &Desired,
) -> Result<Vec<u64>, ProviderError> {
    match (reading.take("http-certificates"), protocol) {
        (Some(text), _) if desired.certificate.is_some() && !text.is_of_class() => {
            Err(text
                .refuse(format!("is one certificate and {TLS_SECRET} names another: remove one of the two")))
        }
        (_, Protocol::Https) if desired.certificate.is_some() => Ok(Vec::new()),
        (Some(text), Protocol::Https) => ids(text),
        (None, Protocol::Https) => Err(ProviderError::refused(
            "https needs a certificate: set the annotation http-certificates to its ID or penstock.dev/tls-secret to a Secret, or protocol to tcp or http",
        )),
        (Some(text), _) if !text.is_of_class() => {
            Err(text.refuse("is for protocol https only: set the protocol, or remove it"))
        }
        _ => Ok(Vec::new()),
    }
}

fn redirect(reading: &mut Reading<'_>, protocol: Protocol, desired: &Desired) -> Result<bool, ProviderError> {
    let Some(text) = reading.take("http-redirect-http") else { return Ok(false) };
    match (text.flag()?, protocol) {
        (true, Protocol::Https) if desired.frontends.iter().any(|f| f.port == 80) => {
            Err(text.refuse("takes port 80, which the Service has: remove one of the two"))
        }
        (true, Protocol::Https) if desired.frontends.len() > 1 => {
            Err(text
                .refuse("leads from port 80 to one port, and the Service has more: remove it, or the others"))
        }
        (true, Protocol::Tcp | Protocol::Http) if !text.is_of_class() => {
            Err(text.refuse("is for protocol https only: set the protocol, or remove it"))
        }
        (on, protocol) => Ok(on && protocol == Protocol::Https),
    }
}

fn sticky(reading: &mut Reading<'_>, protocol: Protocol) -> Result<bool, ProviderError> {
    let Some(text) = reading.take("http-sticky-sessions") else { return Ok(false) };
    match (text.flag()?, protocol) {
        (true, Protocol::Tcp) if !text.is_of_class() => {
            Err(text.refuse("is for protocols http and https: set the protocol, or remove it"))
        }
        (on, protocol) => Ok(on && protocol != Protocol::Tcp),
    }
}

fn node_selector(reading: &mut Reading<'_>, parameters: &HetznerParameters) -> Result<bool, ProviderError> {
    let Some(text) = reading.take("node-selector") else { return Ok(false) };
    text.pairs()?;
    if parameters.server_selector.is_some() {
        return Err(text.refuse(
            "chooses nodes, but the class's spec.hetzner.serverSelector does: remove one of the two",
        ));
    }
    Ok(true)
}
