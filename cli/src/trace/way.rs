//! How a connection comes to a node.

use std::collections::BTreeSet;

use penstock_crds::{AnnouncedAddress, ConditionKind, LoadBalancer};
use penstock_model::{FrontendAddress, FrontendKind, ObjectKey};

use super::{Hop, Landscape, NodeView, Stage, node_view::Client, owner::Owner};
use crate::explain::Weight;

/// What there is to say, and the nodes that it may come to.
pub(super) struct Way {
    pub(super) hop: Hop,
    pub(super) nodes: BTreeSet<String>,
}

impl Way {
    fn new(weight: Weight, sentence: impl Into<String>, nodes: BTreeSet<String>) -> Self {
        Self { hop: Hop::new(Stage::Balancer, weight, sentence), nodes }
    }
}

pub(super) fn find(
    address: FrontendAddress,
    owner: &Owner,
    client: &Client,
    views: &[NodeView],
    land: &Landscape,
) -> Way {
    let all = || views.iter().map(|view| view.name.clone()).collect::<BTreeSet<_>>();
    if client.inside {
        let nodes = client.home.clone().map_or_else(all, |home| BTreeSet::from([home]));
        return from_inside(address, owner, nodes, views);
    }
    match owner.kind {
        FrontendKind::ClusterIp => {
            let why = "a ClusterIP means nothing outside the cluster: no network routes it to a node";
            Way::new(Weight::Problem, why, BTreeSet::new())
        }
        FrontendKind::NodePort => to_node(address, views),
        FrontendKind::LoadBalancer => match record(&owner.key.service, land) {
            Some(record) => by_record(record, all()),
            None => by_announcement(address, land),
        },
        FrontendKind::ExternalIp => {
            let why = "the network has to route an externalIP to a node: nobody announces it";
            Way::new(Weight::Note, why, all())
        }
    }
}

/// A node port is answered by the node that has the address; everything else by the node where the client runs.
fn from_inside(address: FrontendAddress, owner: &Owner, nodes: BTreeSet<String>, views: &[NodeView]) -> Way {
    if owner.kind == FrontendKind::NodePort {
        return to_node(address, views);
    }
    let which = Vec::from_iter(nodes.iter().map(String::as_str)).join(" or ");
    Way::new(Weight::Fine, format!("the rule of the client's own node forwards it: {which}"), nodes)
}

fn to_node(address: FrontendAddress, views: &[NodeView]) -> Way {
    let nodes: BTreeSet<String> = views
        .iter()
        .filter(|view| view.internal_ips.contains(&address.ip))
        .map(|view| view.name.clone())
        .collect();
    let which = Vec::from_iter(nodes.iter().map(String::as_str)).join(", ");
    Way::new(Weight::Fine, format!("{} is the address of node {which}", address.ip), nodes)
}

fn record<'a>(service: &ObjectKey, land: &'a Landscape) -> Option<&'a LoadBalancer> {
    land.records.iter().find(|record| ObjectKey::of(&record.metadata) == *service)
}

/// Which of the nodes a balancer outside sends to, its own health checks decide.
fn by_record(record: &LoadBalancer, nodes: BTreeSet<String>) -> Way {
    let class = &record.spec.class_name;
    let conditions = record.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let programmed = conditions.iter().find(|c| c.type_ == ConditionKind::Programmed.to_string());
    let balancer = format!("the balancer of class {class}, outside the cluster,");
    match programmed {
        Some(c) if c.status == "True" => Way::new(Weight::Fine, format!("{balancer} is programmed"), nodes),
        Some(c) => {
            let why = format!("{balancer} is not as the Service wants it: {}: {}", c.reason, c.message);
            Way::new(Weight::Note, why, nodes)
        }
        None => Way::new(Weight::Problem, format!("{balancer} is not built yet"), nodes),
    }
}

fn by_announcement(address: FrontendAddress, land: &Landscape) -> Way {
    let Some(objects) = &land.announcements else {
        let all = land.nodes.iter().filter_map(|node| node.metadata.name.clone()).collect();
        return Way::new(Weight::Note, "who announces the address is not known", all);
    };
    let text = address.ip.to_string();
    let mut told = Vec::new();
    let mut nodes = BTreeSet::new();
    for object in objects {
        let name = object.metadata.name.clone().unwrap_or_default();
        let announced = object.status.iter().flat_map(|status| &status.addresses);
        for entry in announced.filter(|entry| entry.address == text) {
            let away = if land.away.contains(&name) { ", but its announcer is away" } else { "" };
            told.push(format!("{name} {}{away}", whom(entry)));
            nodes.insert(name.clone());
        }
    }
    if told.is_empty() {
        let why = format!("no node announces {text}: kubectl penstock announcements says what each one does");
        return Way::new(Weight::Problem, why, nodes);
    }
    let doubtful = nodes.iter().all(|node| land.away.contains(node));
    let weight = if doubtful { Weight::Note } else { Weight::Fine };
    Way::new(weight, format!("{text} is announced by {}", told.join("; ")), nodes)
}

fn whom(entry: &AnnouncedAddress) -> String {
    let segments = entry.interfaces.iter().map(|interface| format!("on segment {interface}"));
    let routers = entry.peers.iter().map(|peer| format!("to router {peer}"));
    let all: Vec<String> = segments.chain(routers).collect();
    if all.is_empty() { "to nobody: it has no interface to answer on".to_owned() } else { all.join(", ") }
}
