//! An EndpointSlice, read once from its object and kept small: there are more endpoints than anything else.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1 as discovery;

use crate::{ObjectKey, Protocol, address::is_endpoint_address, interner::Interner, parse_ip};

/// The label that joins a slice to its Service.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Slices of headless Services carry it; no proxy forwards them.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// What a slice says of its Service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) service: Arc<ObjectKey>,
    /// A slice's ports hold for all its endpoints.
    pub(crate) ports: Box<[SlicePort]>,
    pub(crate) backends: Box<[Backend]>,
}

/// One entry of a slice's `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlicePort {
    pub(crate) name: Box<str>,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

/// One entry of a slice's `endpoints`. Its own zone is not kept: only hints say where it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) ip: IpAddr,
    /// By `nodeName`: what is local never follows from the address.
    pub(crate) node: Option<Arc<str>>,
    pub(crate) hints: Option<Arc<Hints>>,
    /// `conditions.ready`; unset means ready.
    pub(crate) ready: bool,
    /// `conditions.serving`; unset means as ready.
    pub(crate) serving: bool,
    /// `conditions.terminating`.
    pub(crate) terminating: bool,
}

/// For whom an endpoint is meant (`hints`); what is empty says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hints {
    pub(crate) zones: Vec<Arc<str>>,
    pub(crate) nodes: Vec<Arc<str>>,
}

/// What slices have in common.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    names: Interner<str>,
    hints: Interner<Hints>,
}

impl Slice {
    /// `None` for slices that no proxy forwards: without a Service, of a headless one, or of names.
    pub(crate) fn from_object(object: &discovery::EndpointSlice, words: &mut Vocabulary) -> Option<Self> {
        let labels = object.metadata.labels.as_ref()?;
        if labels.contains_key(HEADLESS_LABEL) || object.address_type == "FQDN" {
            return None;
        }
        let service = ObjectKey::new(object.metadata.namespace.clone()?, labels.get(SERVICE_NAME_LABEL)?);
        let wants_v4 = object.address_type == "IPv4";
        let endpoints = object.endpoints.iter().flatten();
        let backends = endpoints.filter_map(|endpoint| Backend::from_object(endpoint, words));
        Some(Self {
            service: Arc::new(service),
            ports: object.ports.iter().flatten().filter_map(SlicePort::from_object).collect(),
            backends: backends.filter(|b| b.ip.is_ipv4() == wants_v4).collect(),
        })
    }

    /// Whether one of its endpoints is meant for certain zones.
    pub(crate) fn has_zone_hints(&self) -> bool {
        self.backends.iter().any(|b| b.hints.as_ref().is_some_and(|hints| !hints.zones.is_empty()))
    }
}

impl SlicePort {
    fn from_object(port: &discovery::EndpointPort) -> Option<Self> {
        Some(Self {
            name: port.name.as_deref().unwrap_or_default().into(),
            protocol: port.protocol.as_deref().unwrap_or("TCP").parse().ok()?,
            number: port.port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0)?,
        })
    }
}

impl Backend {
    /// Upstream's contract: an endpoint's addresses are interchangeable and consumers use the first.
    fn from_object(endpoint: &discovery::Endpoint, words: &mut Vocabulary) -> Option<Self> {
        let ip = endpoint.addresses.first().and_then(|text| parse_ip(text))?;
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
        is_endpoint_address(ip).then(|| Self {
            ip,
            node: endpoint.node_name.as_deref().map(|name| words.name(name)),
            hints: endpoint.hints.as_ref().and_then(|hints| words.hints(hints)),
            ready,
            serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
            terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        })
    }

    /// Whether it may get connections where nobody is ready: it still serves while it terminates (KEP-1669).
    pub(crate) fn is_leaving(&self) -> bool {
        !self.ready && self.serving && self.terminating
    }

    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.node.as_deref() == Some(node)
    }
}

impl Vocabulary {
    fn name(&mut self, name: &str) -> Arc<str> {
        self.names.intern(name.into())
    }

    fn hints(&mut self, hints: &discovery::EndpointHints) -> Option<Arc<Hints>> {
        let zones = hints.for_zones.iter().flatten().map(|zone| self.name(&zone.name)).collect();
        let nodes = hints.for_nodes.iter().flatten().map(|node| self.name(&node.name)).collect();
        let hints = Hints { zones, nodes };
        (hints != Hints::default()).then(|| self.hints.intern(Arc::new(hints)))
    }
}
