//! What a node must do for one port of a Service.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{EndpointSet, Frontend, PortKey, Scheduler, SourceRanges, TrafficPolicy};

/// What a node must do for one Service port. What it means for a frontend, [`ServicePort::treatment`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServicePort {
    /// Where it answers, in order.
    pub frontends: Vec<Frontend>,
    /// Where connections go with policy Cluster. None of a family means that there is none anywhere.
    pub cluster: EndpointSet,
    /// Those on this node that connections may go to. They need not be in `cluster`, as when hints lead away from
    /// here or the only ones here terminate; with a policy Local they are what it may choose from.
    pub local: EndpointSet,
    /// `internalTrafficPolicy`.
    pub internal_policy: TrafficPolicy,
    /// `externalTrafficPolicy`.
    pub external_policy: TrafficPolicy,
    /// A client's connections go to one endpoint until it was silent for so many seconds, whichever frontend it uses.
    pub affinity_seconds: Option<u32>,
    /// How IPVS is to choose an endpoint; `None` is as the node does by default. Others choose at random.
    pub scheduler: Option<Scheduler>,
    /// Who may connect to the load balancer IPs.
    pub source_ranges: SourceRanges,
}

impl ServicePort {
    /// The addresses of this node whose connections to themselves need another source: the endpoint would answer
    /// itself directly otherwise.
    #[must_use]
    pub fn hairpins(&self) -> BTreeSet<IpAddr> {
        self.local.iter().map(|endpoint| endpoint.ip()).collect()
    }

    /// All endpoints that some connection may go to, in order.
    #[must_use]
    pub fn reachable(&self) -> BTreeSet<SocketAddr> {
        self.cluster.iter().chain(self.local.iter()).collect()
    }

    /// Whether some frontend keeps connections on this node.
    pub(crate) fn prefers_local(&self) -> bool {
        self.frontends.iter().any(|frontend| {
            let policy =
                if frontend.kind.is_external() { self.external_policy } else { self.internal_policy };
            policy == TrafficPolicy::Local
        })
    }
}

/// One Service port that differs from what was said of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The port.
    pub key: PortKey,
    /// What it needs now; `None` when it is gone. Shared with the index, so that keeping it costs nothing.
    pub desired: Option<Arc<ServicePort>>,
}
