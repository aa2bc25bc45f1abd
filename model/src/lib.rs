//! What a Service means: frontends, endpoints, policies. Pure: no clock, no IO, no kube client.
//!
//! Objects go in by `apply`, `delete` and `reset`; values come out. The dataplane reads what differs from
//! [`ServiceIndex::take_changes`], [`ServiceIndex::take_health_changes`] and [`ServiceIndex::take_stale_flows`], and
//! what becomes of a connection from [`ServicePort::treatment`]; the announcer reads [`Service`]s and [`EndpointIndex`].

mod address;
mod cidr_set;
mod claim;
mod endpoint;
mod endpoint_set;
mod environment;
mod external_ip;
mod external_name;
mod flow;
mod frontend;
mod health_check;
mod index;
mod interest;
mod interner;
mod key;
mod node;
mod node_table;
mod refusal;
mod route;
mod said;
mod scheduler;
mod service;
mod service_port;
mod slice;
mod source_range;
mod standing;
mod topology;

pub use address::{Family, parse_ip};
pub use cidr_set::CidrSet;
pub use endpoint::EndpointIndex;
pub use endpoint_set::EndpointSet;
pub use environment::{ServiceEnvironment, service_environment};
pub use external_ip::{ExternalIpAllowList, ExternalIpPolicy, ExternalIpRefusal};
pub use external_name::{ExternalNameError, check_external_name};
pub use flow::Flow;
pub use frontend::{Frontend, FrontendAddress, FrontendKind, Protocol, UnknownProtocol};
pub use health_check::{HealthChange, HealthCheck};
pub use index::{IndexConfig, ServiceIndex};
pub use key::{ObjectKey, PortKey};
pub use node::Node;
pub use refusal::Refusal;
pub use route::{Fate, Masquerade, Others, Route, Scope, Sender, Treatment};
pub use scheduler::{IPVS_SCHEDULER, Scheduler, UnknownScheduler};
pub use service::{Port, Service, ServiceType, TrafficPolicy, Unreadable};
pub use service_port::{Change, ServicePort};
pub use source_range::{SOURCE_RANGES, SourceRanges, Sources, read_source_ranges};
pub use standing::Standing;
