//! What a Service means: frontends, endpoints, policies. Pure: no clock, no IO, no kube client.
//!
//! Objects go in by `apply`, `delete` and `reset`; values come out. The dataplane reads
//! [`ServiceIndex::take_changes`], the announcer reads [`Service`]s and [`EndpointIndex`].

mod address;
mod cidr_set;
mod claim;
mod endpoint;
mod external_ip;
mod external_name;
mod frontend;
mod index;
mod key;
mod node;
mod service;
mod source_range;

pub use address::{Family, parse_ip};
pub use cidr_set::CidrSet;
pub use endpoint::{Endpoint, EndpointIndex};
pub use external_ip::{ExternalIpAllowList, ExternalIpPolicy, ExternalIpRefusal};
pub use external_name::{ExternalNameError, check_external_name};
pub use frontend::{Frontend, FrontendAddress, FrontendKind, Protocol};
pub use index::{Change, IndexConfig, Refusal, ServiceIndex, ServicePort};
pub use key::{ObjectKey, PortKey};
pub use node::Node;
pub use service::{Port, Service, ServiceType, TrafficPolicy, Unreadable};
pub use source_range::{SOURCE_RANGES, SourceRanges, Sources, read_source_ranges};
