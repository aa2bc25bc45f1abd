//! What a Service means: frontends, endpoints, policies. Pure: no clock, no IO, no kube client.
//!
//! Objects go in by `apply`, `delete` and `reset`; values come out. The dataplane reads
//! [`ServiceIndex::take_changes`], the announcer reads [`Service`]s and [`EndpointIndex`].

mod address;
mod claim;
mod endpoint;
mod external_ip;
mod frontend;
mod index;
mod key;
mod node;
mod service;

pub use address::{Family, parse_ip};
pub use endpoint::{Endpoint, EndpointIndex};
pub use external_ip::{ExternalIpPolicy, ExternalIpRefusal};
pub use frontend::{Frontend, FrontendAddress, FrontendKind, Protocol};
pub use index::{Change, IndexConfig, Refusal, ServiceIndex, ServicePort};
pub use key::{ObjectKey, PortKey};
pub use node::Node;
pub use service::{Port, Service, ServiceType, TrafficPolicy};
