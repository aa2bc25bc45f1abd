//! Where a connection goes to, as it is written: an address or a Service, and a port.

use std::{fmt, net::IpAddr, str::FromStr};

use k8s_openapi::api::core::v1 as core;
use penstock_model::{FrontendAddress, ObjectKey, Service, ServiceType, parse_ip};

use super::{Hop, Landscape, Question, Stage};
use crate::explain::Weight;

/// `ADDRESS:PORT`, `[ADDRESS]:PORT`, `SERVICE:PORT` or `NAMESPACE/SERVICE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Before the last colon.
    pub host: Host,
    /// After it.
    pub port: u16,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A Service, in the namespace of the command where it names none.
    Service(Option<String>, String),
}

/// A target that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It has no port.
    #[error("{0:?} has no port: write 203.0.113.200:80, [2001:db8::7]:80 or namespace/service:80")]
    NoPort(String),
    /// Its port is no number.
    #[error("port {0:?} is not a number from 1 to 65535")]
    Port(String),
    /// Before the port stands neither an address nor a name.
    #[error("{0:?} is neither an IP address (IPv6 in brackets) nor the name of a Service")]
    Host(String),
    /// The Service is not there.
    #[error("Service {0} does not exist")]
    NoSuchService(ObjectKey),
    /// The node is not there.
    #[error("node {0} does not exist")]
    NoSuchNode(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| TargetError::NoPort(text.to_owned()))?;
        let number = port.parse().ok().filter(|port| *port != 0);
        let port = number.ok_or_else(|| TargetError::Port(port.to_owned()))?;
        let host = read_host(host).ok_or_else(|| TargetError::Host(host.to_owned()))?;
        Ok(Self { host, port })
    }
}

/// An IPv6 address stands in brackets: without them its last part could be the port.
fn read_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return parse_ip(inner).filter(IpAddr::is_ipv6).map(Host::Address);
    }
    if let Some(address) = parse_ip(text) {
        return address.is_ipv4().then_some(Host::Address(address));
    }
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    let is_label = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    (is_label(name) && namespace.is_none_or(|text| !text.is_empty()))
        .then(|| Host::Service(namespace.map(str::to_owned), name.to_owned()))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Service(None, name) => write!(f, "{name}:{}", self.port),
            Host::Service(Some(namespace), name) => write!(f, "{namespace}/{name}:{}", self.port),
        }
    }
}

/// What a target comes to.
pub(super) enum Resolved {
    /// An address, and by what it was found if that was a name.
    Address(FrontendAddress, Option<Hop>),
    /// A Service without an address.
    Nowhere(Hop),
}

/// A Service is asked for by the address that clients outside use, where it has one.
pub(super) fn resolve(question: &Question, land: &Landscape) -> Result<Resolved, TargetError> {
    let at = |ip| FrontendAddress { ip, protocol: question.protocol, port: question.target.port };
    let (namespace, name) = match &question.target.host {
        Host::Address(address) => return Ok(Resolved::Address(at(*address), None)),
        Host::Service(namespace, name) => (namespace.as_ref().unwrap_or(&question.namespace), name),
    };
    let key = ObjectKey::new(namespace.clone(), name.clone());
    let object = land.services.iter().find(|object| ObjectKey::of(&object.metadata) == key);
    let object = object.ok_or_else(|| TargetError::NoSuchService(key.clone()))?;
    let service = Service::from_object(object);
    let has_any = service.is_forwarded() || service.of_another_proxy;
    Ok(match super::addresses(&service).next().filter(|_| has_any) {
        Some(ip) => {
            let others = "its first address counts: name another one to follow that";
            let hop = Hop::new(Stage::Client, Weight::Fine, format!("Service {key} is at {ip}; {others}"));
            Resolved::Address(at(ip), Some(hop))
        }
        None => {
            Resolved::Nowhere(Hop::new(Stage::Service, Weight::Problem, without_address(&service, object)))
        }
    })
}

/// Why a Service has none.
fn without_address(service: &Service, object: &core::Service) -> String {
    let key = &service.key;
    let spec = object.spec.as_ref();
    if service.service_type == ServiceType::ExternalName {
        let name = spec.and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
        return format!(
            "Service {key} is of type ExternalName: the DNS answers with {name}, no node forwards anything"
        );
    }
    let headless = spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
    if headless {
        return format!(
            "Service {key} is headless: the DNS answers with its endpoints' addresses, which clients connect to themselves"
        );
    }
    format!("Service {key} has no address yet")
}
