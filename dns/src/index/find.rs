//! What a request finds: addresses, ports and aliases, before they become records.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use penstock_model::ObjectKey;

use super::{
    PodNames, RecordIndex,
    pods::address_of,
    request::{Branch, Part, Request},
    service::{RecordPort, ServiceKind},
    slice::EndpointRecord,
};

/// The name does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing;

/// One address and port, or another name. A Service with two addresses and three ports is six of them.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) host: Host<'a>,
    /// `None` where there is none to name.
    pub(crate) port: Option<u16>,
    /// The labels left of the domain of the name that has the address.
    pub(crate) owner: Owner<'a>,
}

/// Where a name leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Host<'a> {
    Address(IpAddr),
    Alias(&'a Name),
}

/// Whose name has the address. Spelled out only for SRV and NS records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'a> {
    Service(&'a ObjectKey),
    Endpoint(&'a ObjectKey, &'a EndpointRecord),
    Pod { namespace: &'a str, label: &'a str },
    NameServer,
}

impl Owner<'_> {
    /// Its labels, the leftmost first.
    pub(crate) fn labels(&self) -> Vec<String> {
        match self {
            Self::Service(key) => vec![key.name.clone(), key.namespace.clone(), "svc".into()],
            Self::Endpoint(key, endpoint) => {
                let label = endpoint.label().into_owned();
                vec![label, key.name.clone(), key.namespace.clone(), "svc".into()]
            }
            Self::Pod { namespace, label } => vec![(*label).into(), (*namespace).into(), "pod".into()],
            Self::NameServer => vec!["ns".into(), "dns".into()],
        }
    }
}

impl RecordIndex {
    /// What the request finds; nothing where the name exists without records.
    pub(crate) fn find<'a>(&'a self, request: &'a Request) -> Result<Vec<Found<'a>>, Missing> {
        match request {
            Request::Unknown => Err(Missing),
            Request::Node => Ok(Vec::new()),
            Request::NameServer => Ok(self.name_servers()),
            Request::Namespace(Branch::Pod, _) if self.config.pod_names == PodNames::Disabled => Err(Missing),
            Request::Namespace(_, namespace) => self.check_namespace(namespace).map(|()| Vec::new()),
            Request::Pod { namespace, label } => self.find_pod(namespace, label),
            Request::Service { namespace, service, part } => {
                self.check_namespace(namespace)?;
                self.find_service(&ObjectKey::new(namespace, service), part)
            }
        }
    }

    fn check_namespace(&self, namespace: &str) -> Result<(), Missing> {
        if self.namespaces.contains(namespace) { Ok(()) } else { Err(Missing) }
    }

    fn find_pod<'a>(&'a self, namespace: &'a str, label: &'a str) -> Result<Vec<Found<'a>>, Missing> {
        self.check_namespace(namespace)?;
        let ip = address_of(label).ok_or(Missing)?;
        let count = match self.config.pod_names {
            PodNames::Disabled => 0,
            PodNames::Insecure => 1,
            PodNames::Verified => self.pods.count(namespace, ip),
        };
        // CoreDNS answers SRV with port 0.
        let found = Found { host: Host::Address(ip), port: Some(0), owner: Owner::Pod { namespace, label } };
        if count == 0 { Err(Missing) } else { Ok(vec![found; count]) }
    }

    fn find_service(&self, key: &ObjectKey, part: &Part) -> Result<Vec<Found<'_>>, Missing> {
        let (key, service) = self.services.get_key_value(key).ok_or(Missing)?;
        match (&service.kind, part) {
            (ServiceKind::Alias(Some(name)), Part::Whole) => {
                Ok(vec![Found { host: Host::Alias(name), port: None, owner: Owner::Service(key) }])
            }
            (ServiceKind::Alias(_), _) => Err(Missing),
            (ServiceKind::ClusterIps(ips), Part::Whole | Part::Port { .. }) => {
                cluster_ips(key, ips, &service.ports, part)
            }
            (ServiceKind::Headless, _) | (ServiceKind::ClusterIps(_), Part::Endpoint(_)) => {
                let found = self.find_endpoints(key, part);
                if found.is_empty() { Err(Missing) } else { Ok(found) }
            }
        }
    }

    pub(super) fn find_endpoints(&self, key: &ObjectKey, part: &Part) -> Vec<Found<'_>> {
        let (port, protocol) = part.port();
        let mut all = Vec::new();
        for slice in self.slices_of(key) {
            let ports = || slice.ports.iter().filter(|p| p.matches(port, protocol));
            let wanted =
                |e: &&EndpointRecord| part.endpoint().is_none_or(|w| e.label().eq_ignore_ascii_case(w));
            for endpoint in slice.endpoints.iter().filter(wanted) {
                let (host, owner) = (Host::Address(endpoint.ip), Owner::Endpoint(&slice.service, endpoint));
                all.extend(ports().map(|port| Found { host, port: port.number, owner }));
            }
        }
        all
    }

    /// The addresses of the Services that this server is an endpoint of, else its own.
    pub(crate) fn name_servers(&self) -> Vec<Found<'_>> {
        let own = &self.config.own_addresses;
        let slices =
            || own.iter().flat_map(|ip| self.endpoint_ips.at(*ip)).filter_map(|key| self.slices.get(key));
        if slices().next().is_none() {
            let found =
                |ip: &IpAddr| Found { host: Host::Address(*ip), port: None, owner: Owner::NameServer };
            return own.iter().map(found).collect();
        }
        slices()
            .flat_map(|slice| self.find_service(&slice.service, &Part::Whole).unwrap_or_default())
            .collect()
    }
}

fn cluster_ips<'a>(
    key: &'a ObjectKey,
    ips: &'a [IpAddr],
    ports: &'a [RecordPort],
    part: &Part,
) -> Result<Vec<Found<'a>>, Missing> {
    let (port, protocol) = part.port();
    let mut matching = ports.iter().filter(|p| p.matches(port, protocol)).peekable();
    matching.peek().ok_or(Missing)?;
    let owner = Owner::Service(key);
    let of_port = |port: &'a RecordPort| {
        ips.iter().map(move |ip| Found { host: Host::Address(*ip), port: port.number, owner })
    };
    Ok(matching.flat_map(of_port).collect())
}
