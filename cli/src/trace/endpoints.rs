//! Where a connection may end.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use penstock_model::{Family, FrontendAddress};
use serde::Serialize;

use super::{Hop, Landscape, Stage, Verdict, node_view::NodeFate, owner::Owner};
use crate::explain::Weight;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An endpoint as its slice has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointRow {
    /// Address and port.
    pub address: String,
    /// Where it runs, if that is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `ready`, `terminating` (it still serves) or `not ready`.
    pub state: &'static str,
    /// The nodes whose rule may choose it.
    pub chosen_on: Vec<String>,
}

/// Every endpoint of the Service port that has the family of the address, in order, none twice.
pub(super) fn rows(
    address: FrontendAddress,
    owner: &Owner,
    fates: &[(String, bool, NodeFate)],
    land: &Landscape,
) -> Vec<EndpointRow> {
    let family = format!("{:?}", Family::of(address.ip));
    let slices = land.slices.iter().filter(|slice| slice.address_type == family && is_of(slice, owner));
    let mut rows: Vec<EndpointRow> = slices.flat_map(|slice| of_slice(slice, owner, fates)).collect();
    rows.sort();
    rows.dedup();
    rows
}

fn is_of(slice: &EndpointSlice, owner: &Owner) -> bool {
    let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
    slice.metadata.namespace.as_deref() == Some(&*owner.key.service.namespace)
        && name.is_some_and(|name| *name == *owner.key.service.name)
}

fn of_slice(slice: &EndpointSlice, owner: &Owner, fates: &[(String, bool, NodeFate)]) -> Vec<EndpointRow> {
    let ports = slice.ports.iter().flatten();
    let protocol = owner.key.protocol.to_string();
    let ours = ports.filter(|port| {
        port.name.as_deref().unwrap_or_default() == owner.port_name
            && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    let numbers: Vec<u16> = ours.filter_map(|port| u16::try_from(port.port?).ok()).collect();
    let endpoints = slice.endpoints.iter().flatten();
    endpoints.flat_map(|endpoint| numbers.iter().filter_map(|port| row(endpoint, *port, fates))).collect()
}

fn row(endpoint: &Endpoint, port: u16, fates: &[(String, bool, NodeFate)]) -> Option<EndpointRow> {
    let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let address = SocketAddr::new(ip, port);
    let chosen = fates.iter().filter(|(_, on_way, fate)| *on_way && fate.chosen.contains(&address));
    Some(EndpointRow {
        address: address.to_string(),
        node: endpoint.node_name.clone(),
        state: state(endpoint.conditions.as_ref()),
        chosen_on: chosen.map(|(node, ..)| node.clone()).collect(),
    })
}

/// As the API documents its conditions: unset means ready, and serving as ready.
fn state(conditions: Option<&EndpointConditions>) -> &'static str {
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => "ready",
        (false, true) => "terminating",
        (false, false) => "not ready",
    }
}

/// Nothing where the way ended before.
pub(super) fn hop(verdict: Verdict, rows: &[EndpointRow]) -> Option<Hop> {
    if verdict == Verdict::Stops {
        return None;
    }
    let chosen = rows.iter().filter(|row| !row.chosen_on.is_empty());
    let named: Vec<&str> = chosen.map(|row| row.address.as_str()).collect();
    Some(Hop::new(Stage::Endpoint, Weight::Fine, format!("it ends at {}", named.join(" or "))))
}
