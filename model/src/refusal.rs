//! What a Service asks for and does not get on a node.

use std::net::{IpAddr, SocketAddr};

use crate::{ExternalIpRefusal, FrontendAddress, IPVS_SCHEDULER, ObjectKey, Scheduler, Unreadable};

/// What a Service asks for and does not get on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An address field holds no address.
    #[error(transparent)]
    Unreadable(Unreadable),
    /// The admin's rules forbid it.
    #[error("externalIP {ip} {reason}")]
    ExternalIp {
        /// The address.
        ip: IpAddr,
        /// The rule.
        reason: ExternalIpRefusal,
    },
    /// A load balancer IP that would take the cluster's own traffic.
    #[error("load balancer IP {ip} {reason}")]
    LoadBalancerIp {
        /// The address.
        ip: IpAddr,
        /// The rule.
        reason: ExternalIpRefusal,
    },
    /// Another Service has it.
    #[error("{address} belongs to Service {owner}")]
    Taken {
        /// The address, protocol and port.
        address: FrontendAddress,
        /// Who has it.
        owner: ObjectKey,
    },
    /// An endpoint that would lead to another Service instead of a pod (CVE-2021-25737).
    #[error(
        "endpoint {0} is the address of a Service and gets no connections: take it out of the EndpointSlice"
    )]
    Endpoint(SocketAddr),
    /// The kernel cannot choose endpoints like that.
    #[error(
        "{IPVS_SCHEDULER}: this node's kernel has no scheduler {0} of IPVS: load the module ip_vs_{0} (modprobe ip_vs_{0}) and \
         restart penstock-node, or name another"
    )]
    Scheduler(Scheduler),
}

impl Refusal {
    /// Whether it is about how IPVS chooses an endpoint.
    #[must_use]
    pub fn is_of_scheduler(&self) -> bool {
        match self {
            Self::Scheduler(_) => true,
            Self::Unreadable(unreadable) => unreadable.field == IPVS_SCHEDULER,
            _ => false,
        }
    }
}
