//! Whose an address is, and why it is nobody's.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use penstock_model::{FrontendAddress, FrontendKind, ObjectKey, PortKey, Service};

use super::{Hop, Landscape, NodeView, Stage, services};
use crate::explain::Weight;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The Service port that an address belongs to.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) key: PortKey,
    pub(super) kind: FrontendKind,
    /// The port's name, by which endpoints are found.
    pub(super) port_name: String,
}

/// What is known of an address.
pub(super) enum Ownership {
    /// Somebody has it.
    Of(Owner),
    /// Nobody has, and this is why.
    Nobody(Hop),
}

impl Owner {
    pub(super) fn hop(&self) -> Hop {
        let how = match self.kind {
            FrontendKind::ClusterIp => "its ClusterIP",
            FrontendKind::NodePort => "its node port on a node's address",
            FrontendKind::LoadBalancer => "the address of its load balancer",
            FrontendKind::ExternalIp => "one of its externalIPs",
        };
        let PortKey { service, port, protocol } = &self.key;
        Hop::new(
            Stage::Service,
            Weight::Fine,
            format!("Service {service} has it as {how}, port {port}/{protocol}"),
        )
    }
}

pub(super) fn find(address: FrontendAddress, views: &[NodeView], land: &Landscape) -> Ownership {
    let found = views.iter().find_map(|view| view.frontend(address));
    let Some((key, frontend)) = found else {
        return Ownership::Nobody(Hop::new(
            Stage::Service,
            Weight::Problem,
            why_nobody(address, views, land),
        ));
    };
    let service = services(land).find(|service| service.key == *key.service);
    let ports = service.map(|service| service.ports).unwrap_or_default();
    let port = ports.into_iter().find(|port| port.port == key.port && port.protocol == key.protocol);
    let port_name = port.map(|port| port.name).unwrap_or_default();
    Ownership::Of(Owner { key: key.clone(), kind: frontend.kind, port_name })
}

/// The most telling reason that applies.
fn why_nobody(address: FrontendAddress, views: &[NodeView], land: &Landscape) -> String {
    let all: Vec<Service> = services(land).collect();
    let asking: Vec<&Service> = all.iter().filter(|service| asks_for(service, address.ip)).collect();
    let foreign = asking.iter().find(|service| service.of_another_proxy);
    foreign
        .map(|service| format!("Service {} has it, but its label hands it to another proxy", service.key))
        .or_else(|| refused(address.ip, &asking, views))
        .or_else(|| unforwarded(&asking))
        .or_else(|| wrong_port(address, &asking))
        .or_else(|| proxied(address.ip, land))
        .or_else(|| node_address(address, views, &all))
        .or_else(|| endpoint(address.ip, land))
        .unwrap_or_else(|| format!("no Service has {}, and no node nor endpoint either", address.ip))
}

fn asks_for(service: &Service, ip: IpAddr) -> bool {
    super::addresses(service).any(|known| known == ip)
}

/// Headless Services and aliases may name addresses all the same.
fn unforwarded(asking: &[&Service]) -> Option<String> {
    let service = asking.iter().find(|service| !service.is_forwarded())?;
    Some(format!(
        "Service {} names it, but has no ClusterIP, and no node forwards for such a Service",
        service.key
    ))
}

/// What the nodes do not let a Service have.
fn refused(ip: IpAddr, asking: &[&Service], views: &[NodeView]) -> Option<String> {
    let text = ip.to_string();
    let names_it = |refusal: &str| refusal.split([' ', '/', ':']).any(|word| word == text);
    let of = |service: &&Service| {
        let refusals = views.first()?.index.refusals(&service.key);
        let refusal = refusals.iter().map(ToString::to_string).find(|refusal| names_it(refusal))?;
        Some(format!("Service {} asks for it and does not get it: {refusal}", service.key))
    };
    asking.iter().find_map(of)
}

fn wrong_port(address: FrontendAddress, asking: &[&Service]) -> Option<String> {
    let service = asking.first()?;
    let ports = service.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol));
    let ports = ports.collect::<Vec<_>>().join(", ");
    Some(format!(
        "Service {} has {}, but not port {}/{}: it has {ports}",
        service.key, address.ip, address.port, address.protocol
    ))
}

/// With `ipMode: Proxy` the balancer ends the connection (KEP-1860).
fn proxied(ip: IpAddr, land: &Landscape) -> Option<String> {
    let text = ip.to_string();
    let shows = |object: &&k8s_openapi::api::core::v1::Service| crate::scene::shown(object).contains(&text);
    let object = land.services.iter().find(shows)?;
    Some(format!(
        "it is the balancer of Service {}, which ends connections itself (ipMode Proxy): no node forwards it",
        ObjectKey::of(&object.metadata)
    ))
}

fn node_address(address: FrontendAddress, views: &[NodeView], all: &[Service]) -> Option<String> {
    let view = views.iter().find(|view| view.internal_ips.contains(&address.ip))?;
    let ports: BTreeSet<u16> =
        all.iter().flat_map(|s| s.ports.iter().filter_map(|port| port.node_port)).collect();
    let known = if ports.contains(&address.port) {
        "that node port answers with another protocol, or on another address of the node".to_owned()
    } else {
        format!("no Service has node port {}/{}", address.port, address.protocol)
    };
    Some(format!("it is the address of node {}, and {known}", view.name))
}

fn endpoint(ip: IpAddr, land: &Landscape) -> Option<String> {
    let text = ip.to_string();
    let holds =
        |slice: &&EndpointSlice| slice.endpoints.iter().flatten().any(|e| e.addresses.contains(&text));
    let slice = land.slices.iter().find(holds)?;
    let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
    let of = name.map(|name| {
        format!("an endpoint of Service {}/{name}", slice.metadata.namespace.as_deref().unwrap_or_default())
    });
    Some(format!(
        "it is {}: connections go straight there, and no node's rule touches them",
        of.unwrap_or_else(|| "an endpoint without a Service".to_owned())
    ))
}
