//! The control loop: Services, nodes, classes and pools in; plans applied; `.status.loadBalancer` out.
//!
//! Tasks: `configuration` watches classes and pools and tells the provider `pool`; `neighbourhood` watches nodes and
//! namespaces; one kube controller runs `reconcile` with at most one call at a time per Service, another looks for
//! records whose Service is gone (`orphan`); `events` publishes what users should hear. Each ends when the process is
//! told to; a Service interrupted half-way is found again by its finalizer, record and status.
//!
//! A Service whose addresses come from pools costs one write (`pool_addresses`); one whose balancer is built outside
//! the cluster has a LoadBalancer object as its record (`outside`).

mod adoption;
mod approval;
mod backoff;
mod certificates;
mod class;
mod configuration;
mod departure;
mod drift;
mod endpoints;
mod events;
mod execution;
mod external_ip_policies;
mod finding;
mod fleet;
mod installation;
mod intent;
pub mod leadership;
mod metrics;
mod neighbourhood;
mod orphan;
mod outside;
mod pool_addresses;
mod reconcile;
mod record;
mod rehearsal;
mod run;
mod shutdown;
mod status;
mod tls_secrets;
mod trim;
mod wake_list;

pub use adoption::adopt;
pub use approval::{Consent, approve_command, judgement, pending, question};
pub use certificates::Certificates;
pub use class::{ClassVerdict, Classes, Membership, is_marked, served_by};
pub use external_ip_policies::judge_external_ip_policies;
pub use finding::{Finding, Rules, findings, news as new_findings, patch as findings_patch};
pub use installation::{Faulty, Part, verify};
pub use intent::{Intent, Wanted, World, intent};
pub use record::built as recorded;
pub use run::{OperatorError, Options, run};
pub use status::{Report, Stage, patch};
