//! The objects that a way follows from.

use std::collections::BTreeSet;

use ipnet::IpNet;
use k8s_openapi::api::{core::v1 as core, discovery::v1::EndpointSlice};
use penstock_crds::{ExternalIPPolicy, LoadBalancer, NodeAnnouncement};

/// All that counts.
#[derive(Clone, Debug, Default)]
pub struct Landscape {
    /// All Services.
    pub services: Vec<core::Service>,
    /// The endpoints of all Services.
    pub slices: Vec<EndpointSlice>,
    /// All nodes.
    pub nodes: Vec<core::Node>,
    /// What externalIPs are allowed.
    pub policies: Vec<ExternalIPPolicy>,
    /// The Service ranges of the API server.
    pub service_cidrs: Vec<IpNet>,
    /// What each node announces; `None` where that is not known.
    pub announcements: Option<Vec<NodeAnnouncement>>,
    /// Nodes whose announcer is away.
    pub away: BTreeSet<String>,
    /// What was built outside.
    pub records: Vec<LoadBalancer>,
    /// What is not known.
    pub notes: Vec<String>,
}
