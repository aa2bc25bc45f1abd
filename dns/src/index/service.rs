//! What a Service says of names.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1 as core;
use penstock_model::{Protocol, parse_ip};
use serde::{Deserialize, Serialize};

/// A port with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordPort {
    /// Empty where it has none.
    pub(crate) name: Box<str>,
    pub(crate) protocol: Option<Protocol>,
    /// `None` where the object names no port: there are addresses, and no SRV record.
    pub(crate) number: Option<u16>,
}

impl RecordPort {
    /// What an object without ports has.
    pub(crate) fn none() -> Self {
        Self { name: Box::default(), protocol: None, number: None }
    }

    pub(crate) fn new(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Self {
        Self {
            name: name.unwrap_or_default().into(),
            protocol: protocol.unwrap_or("TCP").parse().ok(),
            number: number.and_then(|n| u16::try_from(n).ok()),
        }
    }

    /// Whether a query for this port and protocol means it; what the query does not name matches.
    pub(crate) fn matches(&self, port: &str, protocol: &str) -> bool {
        let spoken = |p: Protocol| p.lower().eq_ignore_ascii_case(protocol);
        (port.is_empty() || self.name.eq_ignore_ascii_case(port))
            && (protocol.is_empty() || self.protocol.is_some_and(spoken))
    }
}

/// Where a Service's name leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ServiceKind {
    /// To its own addresses.
    ClusterIps(Box<[IpAddr]>),
    /// To its endpoints.
    Headless,
    /// To another name; `None` where a CNAME cannot lead to it.
    Alias(Option<Box<Name>>),
}

/// A Service, as far as names go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceRecord {
    pub(crate) kind: ServiceKind,
    pub(crate) ports: Box<[RecordPort]>,
}

impl ServiceRecord {
    pub(crate) fn from_object(object: &core::Service) -> Self {
        let spec = object.spec.as_ref();
        let ports = spec.and_then(|s| s.ports.as_deref()).unwrap_or_default();
        let named =
            ports.iter().map(|p| RecordPort::new(p.name.as_deref(), p.protocol.as_deref(), Some(p.port)));
        Self {
            kind: spec.map_or(ServiceKind::Headless, kind),
            ports: if ports.is_empty() { [RecordPort::none()].into() } else { named.collect() },
        }
    }

    pub(crate) fn cluster_ips(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = if let ServiceKind::ClusterIps(ips) = &self.kind { ips } else { [].as_slice() };
        addresses.iter().copied()
    }
}

fn kind(spec: &core::ServiceSpec) -> ServiceKind {
    if spec.type_.as_deref() == Some("ExternalName") {
        return ServiceKind::Alias(spec.external_name.as_deref().and_then(alias).map(Box::new));
    }
    let single = spec.cluster_ip.as_slice();
    let texts = spec.cluster_ips.as_deref().filter(|all| !all.is_empty()).unwrap_or(single);
    match texts.first().map(String::as_str) {
        Some("None") => ServiceKind::Headless,
        _ => ServiceKind::ClusterIps(texts.iter().filter_map(|text| parse_ip(text)).collect()),
    }
}

/// An address is no name, however it is written in the object.
fn alias(text: &str) -> Option<Name> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut name = Name::from_ascii(bare).ok()?;
    name.set_fqdn(true);
    Some(name)
}
