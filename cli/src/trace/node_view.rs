//! What each node makes of a connection.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use penstock_model::{
    Change, Family, Fate, Frontend, FrontendAddress, FrontendKind, IndexConfig, Node, PortKey, Scope, Sender,
    ServiceIndex, ServicePort, Sources, TrafficPolicy,
};

use super::{Hop, Landscape, Stage};
use crate::explain::Weight;

/// A node, and what it is programmed by.
pub(super) struct NodeView {
    pub(super) name: String,
    pub(super) internal_ips: Vec<IpAddr>,
    pub(super) index: ServiceIndex,
    pod_cidrs: Vec<IpNet>,
    ports: Vec<Change>,
}

/// Every node's, in the order of names. Node ports are taken to answer at primary addresses, as is the default.
pub(super) fn views(land: &Landscape) -> Vec<NodeView> {
    let mut views: Vec<NodeView> = land.nodes.iter().map(|node| view(node, land)).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

fn view(object: &k8s_openapi::api::core::v1::Node, land: &Landscape) -> NodeView {
    let node = Node::from_object(object);
    let grants = land.policies.iter().filter_map(|policy| policy.spec.grants().ok()).flatten();
    let mut config = IndexConfig { node_name: node.name.clone(), ..IndexConfig::default() };
    config.external_ips.allowed = grants.collect();
    config.external_ips.reserved = land.nodes.iter().flat_map(pod_cidrs).collect();
    let mut index = ServiceIndex::new(config);
    drop(index.take_service_cidrs(land.service_cidrs.clone()));
    index.reset_nodes(&land.nodes);
    index.reset_services(&land.services);
    index.reset_slices(&land.slices);
    let ports = index.all();
    NodeView { name: node.name, internal_ips: node.internal_ips, pod_cidrs: pod_cidrs(object), index, ports }
}

fn pod_cidrs(node: &k8s_openapi::api::core::v1::Node) -> Vec<IpNet> {
    let texts = node.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default();
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

impl NodeView {
    /// The port that answers there, and as what.
    pub(super) fn frontend(&self, address: FrontendAddress) -> Option<(&PortKey, Frontend)> {
        self.port(address).map(|(key, _, frontend)| (key, frontend))
    }

    fn port(&self, address: FrontendAddress) -> Option<(&PortKey, &ServicePort, Frontend)> {
        self.ports.iter().find_map(|change| {
            let port = change.desired.as_deref()?;
            let frontend = port.frontends.iter().find(|frontend| frontend.address == address)?;
            Some((&change.key, port, *frontend))
        })
    }

    fn is_home_of(&self, ip: IpAddr) -> bool {
        self.internal_ips.contains(&ip) || self.pod_cidrs.iter().any(|net| net.contains(&ip))
    }
}

/// Who connects.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Where that is known.
    pub(super) ip: Option<IpAddr>,
    /// The node that it runs on, or is.
    pub(super) home: Option<String>,
    is_node: bool,
    /// Whether the node where the connection begins forwards it.
    pub(super) inside: bool,
}

impl Client {
    /// Somebody whose address is one of a node or of its Pods is inside. Nobody in particular is outside, except where
    /// the address means nothing there.
    pub(super) fn of(from: Option<IpAddr>, kind: FrontendKind, views: &[NodeView]) -> Self {
        let home = from.and_then(|ip| views.iter().find(|view| view.is_home_of(ip)));
        let is_node = from.is_some_and(|ip| home.is_some_and(|view| view.internal_ips.contains(&ip)));
        let inside = home.is_some() || from.is_none() && kind == FrontendKind::ClusterIp;
        Self { ip: from, home: home.map(|view| view.name.clone()), is_node, inside }
    }

    /// Nothing where nobody in particular connects.
    pub(super) fn hop(&self, from: Option<IpAddr>) -> Option<Hop> {
        let ip = from?;
        let who = match (&self.home, self.is_node) {
            (Some(node), true) => format!("{ip} is node {node}"),
            (Some(node), false) => format!("{ip} is a Pod on node {node}, by the node's spec.podCIDRs"),
            (None, _) => {
                format!("{ip} is outside the cluster: no node has it, nor a Pod by the nodes' spec.podCIDRs")
            }
        };
        Some(Hop::new(Stage::Client, Weight::Fine, who))
    }

    fn sender(&self, node: &str) -> Sender {
        match (self.inside, self.is_node) {
            (true, false) => Sender::Pod,
            (true, true) if self.home.as_deref() == Some(node) => Sender::Node,
            _ => Sender::Outside,
        }
    }
}

/// What a node does.
#[derive(Clone, Debug)]
pub(super) struct NodeFate {
    excluded: bool,
    open_question: Option<String>,
    fate: Fate,
    policy: TrafficPolicy,
    /// To which it may go.
    pub(super) chosen: Vec<SocketAddr>,
    affinity_seconds: Option<u32>,
}

/// Nothing on a node that has no rule for the address.
pub(super) fn fate(view: &NodeView, address: FrontendAddress, client: &Client) -> Option<NodeFate> {
    let (_, port, frontend) = view.port(address)?;
    let treatment = port.treatment(&frontend);
    let excluded = client.ip.is_some_and(|ip| !treatment.sources.admit(ip));
    let fate = treatment.route.fate(client.sender(&view.name));
    let family = Family::of(address.ip);
    let chosen = match fate {
        Fate::Sent { scope: Scope::Cluster, .. } if !excluded => port.cluster.of(family).to_vec(),
        Fate::Sent { scope: Scope::Local, .. } if !excluded => port.local.of(family).to_vec(),
        _ => Vec::new(),
    };
    let policy = if frontend.kind.is_external() { port.external_policy } else { port.internal_policy };
    let open_question = client.ip.is_none().then(|| ranges(treatment.sources)).flatten();
    let affinity_seconds = port.affinity_seconds;
    Some(NodeFate { excluded, open_question, fate, policy, chosen, affinity_seconds })
}

fn ranges(sources: &Sources) -> Option<String> {
    match sources {
        Sources::All => None,
        Sources::Only(nets) if nets.is_empty() => Some("nobody: its source ranges cannot be read".to_owned()),
        Sources::Only(nets) => Some(nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl NodeFate {
    pub(super) fn arrives(&self) -> bool {
        !self.chosen.is_empty()
    }

    /// A node that the connection does not come to is worth a note at most.
    pub(super) fn hop(&self, node: &str, on_way: bool) -> Hop {
        let weight = match (self.arrives(), on_way) {
            (true, true) => Weight::Fine,
            (false, true) => Weight::Problem,
            (_, false) => Weight::Note,
        };
        let aside = if on_way { "" } else { " (it does not come by here)" };
        Hop::new(Stage::Node, weight, format!("{}{aside}", self.rule())).on(node)
    }

    /// What the rule does, and why.
    fn rule(&self) -> String {
        let policy = match self.policy {
            TrafficPolicy::Cluster => "policy Cluster",
            TrafficPolicy::Local => "policy Local",
        };
        if self.excluded {
            return "DROP: the Service's source ranges do not admit the client".to_owned();
        }
        let ranges =
            self.open_question.as_ref().map(|nets| format!("; only from {nets} (--from says whether)"));
        let ranges = ranges.unwrap_or_default();
        match self.fate {
            Fate::Rejected => format!("REJECT: the Service has no endpoint that is ready{ranges}"),
            Fate::Dropped => format!("DROP: {policy}, and no endpoint is on this node{ranges}"),
            Fate::Sent { scope, masqueraded } => {
                let which = match scope {
                    Scope::Cluster => "of the cluster's",
                    Scope::Local => "of this node's",
                };
                let source = if masqueraded { "its source becomes the node's" } else { "its source stays" };
                let sticky = self.affinity_seconds.map(|s| format!("; a client stays with one for {s} s"));
                let number = self.chosen.len();
                format!(
                    "DNAT to one {which} {number}: {policy}; {source}{}{ranges}",
                    sticky.unwrap_or_default()
                )
            }
        }
    }
}
