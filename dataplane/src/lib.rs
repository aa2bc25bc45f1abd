//! Forwards Services on the node.
//!
//! One task does everything: [`Agent::run`] merges what the API server says into the pure
//! [`ServiceIndex`](penstock_model::ServiceIndex) and hands the changes that follow to a [`Backend`], one
//! folder of which knows how a kernel is told ([`nftables`], [`iptables`]). Which one it is, [`mode`] decides at the start.

mod agent;
mod announced;
mod announcer_link;
mod backend;
mod child;
mod conntrack;
mod event;
mod external_ip_policies;
mod flags;
mod foreign_rules;
mod freed_memory;
pub mod health_check;
mod health_report;
mod http_port;
pub mod iptables;
pub mod ipvs;
mod kernel_chains;
mod kube_proxy_metrics;
mod legacy_iptables;
mod metrics;
pub mod mode;
mod netfilter;
pub mod nftables;
mod node_port_addresses;
mod node_servers;
pub mod node_state;
mod progress;
pub mod proxy_health;
mod refusal_log;
mod repair;
mod service_cidrs;
mod service_events;
mod stale_flow_queue;
mod trim;

pub use agent::{Agent, HealthChecks};
pub use announced::Announced;
pub use announcer_link::AnnouncerLink;
pub use backend::{Applied, ApplyError, Backend, Programmed};
pub use conntrack::{Conntrack, StaleFlows};
pub use event::{Event, Piece, events};
pub use flags::Flags;
pub use foreign_rules::ForeignRules;
pub use freed_memory::keep_in_one_arena;
pub use kernel_chains::KernelChains;
pub use kube_proxy_metrics::{KubeProxyMetrics, Sync};
pub use metrics::Metrics;
pub use netfilter::{NetfilterError, NetworkNamespace, Refusal};
pub use node_port_addresses::{NodePortAddress, NodePortAddressError, node_port_addresses};
pub use node_servers::{BindAddress, NodeServers};
pub use progress::Progress;
pub use proxy_health::ProxyHealth;
pub use service_events::ServiceEvents;
pub use stale_flow_queue::{ForgetFlows, StaleFlowQueue};
