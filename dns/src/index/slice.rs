//! What an EndpointSlice says of names; kept small, since there are more endpoints than anything else.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1 as discovery;
use penstock_model::{ObjectKey, parse_ip};
use serde::{Deserialize, Serialize};

use super::service::RecordPort;

/// The label that joins a slice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The ready endpoints of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SliceRecord {
    pub(crate) service: Arc<ObjectKey>,
    pub(crate) ports: Box<[RecordPort]>,
    pub(crate) endpoints: Box<[EndpointRecord]>,
}

/// An address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndpointRecord {
    pub(crate) ip: IpAddr,
    hostname: Option<Box<str>>,
}

impl SliceRecord {
    /// `None` for a slice of no Service.
    pub(crate) fn from_object(object: &discovery::EndpointSlice) -> Option<Self> {
        let service =
            object.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL).filter(|name| !name.is_empty())?;
        let ports = object.ports.as_deref().unwrap_or_default();
        let named = ports.iter().map(|p| RecordPort::new(p.name.as_deref(), p.protocol.as_deref(), p.port));
        Some(Self {
            service: Arc::new(ObjectKey::new(object.metadata.namespace.clone()?, service)),
            ports: if ports.is_empty() { [RecordPort::none()].into() } else { named.collect() },
            endpoints: object
                .endpoints
                .iter()
                .flatten()
                .filter(|e| is_ready(e))
                .flat_map(addresses)
                .collect(),
        })
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.endpoints.iter().map(|endpoint| endpoint.ip)
    }
}

/// An unset condition means ready (as the API's own words have it). `publishNotReadyAddresses` is already in it.
fn is_ready(endpoint: &discovery::Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

fn addresses(endpoint: &discovery::Endpoint) -> impl Iterator<Item = EndpointRecord> {
    let hostname = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
    let read = endpoint.addresses.iter().filter_map(|text| parse_ip(text));
    read.map(move |ip| EndpointRecord { ip, hostname: hostname.map(Into::into) })
}

impl EndpointRecord {
    /// The label below its Service's name: the hostname, else the address with dashes.
    pub(crate) fn label(&self) -> Cow<'_, str> {
        match (&self.hostname, self.ip) {
            (Some(name), _) => Cow::Borrowed(name),
            (None, IpAddr::V4(v4)) => v4.to_string().replace('.', "-").into(),
            (None, IpAddr::V6(v6)) => dashed_v6(&v6.to_string()).into(),
        }
    }
}

/// A label may not end with a dash (RFC 1123), so `2001:db8::` becomes `2001-db8--0`.
fn dashed_v6(text: &str) -> String {
    let dashed = text.replace(':', "-");
    if dashed.ends_with('-') { dashed + "0" } else { dashed }
}
