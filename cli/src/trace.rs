//! Which way a connection goes: client, load balancer, node, rule, endpoint, with a verdict at each hop. Pure: what the
//! nodes do is asked of the same index by which they are programmed ([`ServiceIndex`](penstock_model::ServiceIndex)).

mod endpoints;
mod landscape;
mod node_view;
mod owner;
mod target;
mod way;

use std::net::IpAddr;

use penstock_model::{FrontendAddress, Protocol, Service, ServiceType};
use serde::Serialize;

pub use endpoints::EndpointRow;
pub use landscape::Landscape;
pub use target::{Host, Target, TargetError};

use node_view::NodeView;
use owner::Ownership;

use crate::explain::Weight;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where to.
    pub target: Target,
    /// By which protocol.
    pub protocol: Protocol,
    /// Who connects; `None` is somebody outside, or a Pod where the address means nothing outside.
    pub from: Option<IpAddr>,
    /// Only by way of this node.
    pub node: Option<String>,
    /// The namespace of a Service that is named without one.
    pub namespace: String,
}

/// Where a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Who connects.
    Client,
    /// Whose address it is.
    Service,
    /// How it comes to a node.
    Balancer,
    /// What a node's rule does with it.
    Node,
    /// Where it ends.
    Endpoint,
}

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Where.
    pub stage: Stage,
    /// On which node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A problem ends the way here.
    pub weight: Weight,
    /// What happens.
    pub sentence: String,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It comes to an endpoint, whichever way it takes.
    Arrives,
    /// On some nodes it does, on others not.
    DependsOnNode,
    /// It comes to no endpoint.
    Stops,
}

/// The way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Address, port and protocol, or what was asked for instead.
    pub target: String,
    /// How it ends.
    pub verdict: Verdict,
    /// In this order.
    pub hops: Vec<Hop>,
    /// All endpoints of the Service port, also those that get nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointRow>,
    /// What may not be as it stands here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Hop {
    fn new(stage: Stage, weight: Weight, sentence: impl Into<String>) -> Self {
        Self { stage, node: None, weight, sentence: sentence.into() }
    }

    fn on(self, node: &str) -> Self {
        Self { node: Some(node.to_owned()), ..self }
    }
}

/// Follows a connection until it ends.
///
/// # Errors
/// A node that does not exist.
pub fn trace(question: &Question, land: &Landscape) -> Result<Trace, TargetError> {
    let views = node_view::views(land);
    if let Some(node) = question.node.as_ref().filter(|name| !views.iter().any(|view| view.name == **name)) {
        return Err(TargetError::NoSuchNode(node.clone()));
    }
    let mut hops = Vec::new();
    let (address, named) = match target::resolve(question, land)? {
        target::Resolved::Address(address, hop) => (address, hop),
        target::Resolved::Nowhere(hop) => return Ok(stopped(&question.target.to_string(), vec![hop], land)),
    };
    hops.extend(named);
    let owner = match owner::find(address, &views, land) {
        Ownership::Of(owner) => owner,
        Ownership::Nobody(hop) => {
            hops.push(hop);
            return Ok(stopped(&address.to_string(), hops, land));
        }
    };
    hops.push(owner.hop());
    Ok(follow(question, address, &owner, &views, land, hops))
}

fn stopped(target: &str, hops: Vec<Hop>, land: &Landscape) -> Trace {
    let (endpoints, notes) = (Vec::new(), land.notes.clone());
    Trace { target: target.to_owned(), verdict: Verdict::Stops, hops, endpoints, notes }
}

/// From where the Service is known to the endpoints.
fn follow(
    question: &Question,
    address: FrontendAddress,
    owner: &owner::Owner,
    views: &[NodeView],
    land: &Landscape,
    mut hops: Vec<Hop>,
) -> Trace {
    let client = node_view::Client::of(question.from, owner.kind, views);
    let way = way::find(address, owner, &client, views, land);
    hops.extend(client.hop(question.from));
    hops.push(way.hop.clone());
    let mut fates = Vec::new();
    let asked = |view: &&NodeView| question.node.as_ref().is_none_or(|node| view.name == *node);
    for view in views.iter().filter(asked) {
        let on_way = way.nodes.contains(&view.name);
        if let Some(fate) = node_view::fate(view, address, &client) {
            hops.push(fate.hop(&view.name, on_way));
            fates.push((view.name.clone(), on_way, fate));
        }
    }
    let endpoints = endpoints::rows(address, owner, &fates, land);
    let verdict = verdict(way.hop.weight, &fates);
    hops.extend(endpoints::hop(verdict, &endpoints));
    Trace { target: address.to_string(), verdict, hops, endpoints, notes: land.notes.clone() }
}

/// Only nodes that the connection may come to count.
fn verdict(way: Weight, fates: &[(String, bool, node_view::NodeFate)]) -> Verdict {
    let on_way: Vec<bool> =
        fates.iter().filter(|(_, on_way, _)| *on_way).map(|(.., fate)| fate.arrives()).collect();
    match (on_way.iter().any(|arrives| *arrives), on_way.iter().all(|arrives| *arrives)) {
        (true, true) if way != Weight::Problem => Verdict::Arrives,
        (true, _) if way != Weight::Problem => Verdict::DependsOnNode,
        _ => Verdict::Stops,
    }
}

/// The addresses by which nodes may forward for a Service, those that clients outside use first. A Service of another type
/// may still carry a balancer's addresses in its status.
fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let balanced = service.service_type == ServiceType::LoadBalancer;
    let balancer = service.load_balancer_ips.iter().filter(move |_| balanced);
    balancer.chain(&service.external_ips).chain(&service.cluster_ips).copied()
}

/// The Services as the nodes read them.
fn services(land: &Landscape) -> impl Iterator<Item = Service> {
    land.services.iter().map(Service::from_object)
}
