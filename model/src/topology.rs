//! Which endpoints connections from this node may go to, as upstream's `CategorizeEndpoints` (kube-proxy 1.36) decides
//! it, for each family by itself.

use std::{net::SocketAddr, sync::Arc};

use crate::{EndpointSet, endpoint::Endpoint, slice::Hints};

/// Where the decision is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here<'a> {
    pub(crate) node: &'a str,
    /// The node's label `topology.kubernetes.io/zone`.
    pub(crate) zone: Option<&'a str>,
}

/// The endpoints for policy Cluster and those for policy Local. Where the first has none of a family, no endpoint
/// of it can be used anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) cluster: EndpointSet,
    pub(crate) local: EndpointSet,
}

/// Chooses among a Service port's endpoints, which are in the order of their addresses.
pub(crate) fn choose(endpoints: &[Endpoint<'_>], here: Here<'_>) -> Choice {
    let (v4, v6) = endpoints.split_at(endpoints.partition_point(|e| e.address.is_ipv4()));
    let families = [v4, v6];
    Choice {
        cluster: families.iter().flat_map(|family| for_cluster(family, here)).collect(),
        local: families.iter().flat_map(|family| on_node(family, here.node)).collect(),
    }
}

/// The ready ones that hints mean for here; where none is ready, those that still serve while they terminate.
fn for_cluster(family: &[Endpoint<'_>], here: Here<'_>) -> Vec<SocketAddr> {
    let ready: Vec<&Endpoint<'_>> = family.iter().filter(|e| e.backend.ready).collect();
    if ready.is_empty() {
        return addresses(family.iter().filter(|e| e.backend.is_leaving()));
    }
    let same_node = || meant_for(&ready, here.node, |hints| &hints.nodes);
    let same_zone = || meant_for(&ready, here.zone?, |hints| &hints.zones);
    same_node().or_else(same_zone).unwrap_or_else(|| addresses(ready.iter().copied()))
}

/// Those that name us; `None` where one of them names nobody or none names us, since then its traffic would have
/// nowhere to go or the others would be left with all of it.
fn meant_for(
    ready: &[&Endpoint<'_>],
    name: &str,
    names: impl Fn(&Hints) -> &[Arc<str>],
) -> Option<Vec<SocketAddr>> {
    let mut ours = Vec::new();
    for endpoint in ready {
        let names = endpoint.backend.hints.as_deref().map(&names).filter(|names| !names.is_empty())?;
        if names.iter().any(|known| **known == *name) {
            ours.push(endpoint.address);
        }
    }
    (!ours.is_empty()).then_some(ours)
}

/// Hints do not count here; the fall-back is the node's own.
fn on_node(family: &[Endpoint<'_>], node: &str) -> Vec<SocketAddr> {
    let local = || family.iter().filter(|e| e.backend.is_on(node));
    let ready = addresses(local().filter(|e| e.backend.ready));
    if ready.is_empty() { addresses(local().filter(|e| e.backend.is_leaving())) } else { ready }
}

fn addresses<'a, 'b: 'a>(endpoints: impl Iterator<Item = &'a Endpoint<'b>>) -> Vec<SocketAddr> {
    endpoints.map(|endpoint| endpoint.address).collect()
}
