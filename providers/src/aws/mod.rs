//! Network load balancers of AWS, by the API of Elastic Load Balancing (version 2).
//!
//! Pure: `reading` and `options` (what annotations say), `wanted` (what follows for balancer, listeners and groups),
//! `planner` with `change` and `listeners` (the way there), `observed` (what a step makes of what exists), `ledger` (what
//! is remembered), `call_class` (what is counted together). The edge: `api` (every call goes through it), `survey` and `certificate_survey` (reads), `apply`
//! (one action, one call), `conversion` and `failure` (the SDK's types and errors).
//!
//! After one survey in bulk the provider knows what exists by what its own calls answered, so that a Service that changes
//! costs the calls of its steps and no others. `docs/aws.md` is for users.

mod action;
mod api;
mod apply;
mod attributes;
mod call_class;
mod certificate_survey;
mod change;
mod conversion;
mod failure;
mod health_check;
mod ledger;
mod listeners;
mod name;
mod observed;
mod options;
mod planner;
mod provider;
mod reading;
mod spec;
mod survey;
mod tags;
mod targets;
mod tls_options;
mod wanted;

pub use action::Action;
pub use api::{Calls, StaticCredentials};
pub use observed::{Balancer, Group, Imported, Listener, Made, Observed};
pub use options::{CheckProtocol, IpAddressType, Scheme, TargetType};
pub use provider::{AwsAccount, AwsProvider};
pub use reading::Pairs;
pub use spec::{
    BalancerSpec, GroupKind, GroupSpec, GroupTarget, HealthCheck, ListenerSpec, SubnetSpec, Transport,
};

use penstock_crds::{AWS_ADOPT, AWS_PREFIX, AwsParameters};

/// How the annotations begin that the provider reads.
pub const OPTIONS: [&str; 2] = [AWS_PREFIX, AWS_ADOPT];

/// Whether balancers of a Service with these annotations send to its endpoints, and not to nodes. What cannot be read is
/// refused when it is planned.
#[must_use]
pub fn sends_to_endpoints(parameters: &AwsParameters, annotations: &Pairs) -> bool {
    options::target_type_of(parameters, annotations) == TargetType::Ip
}

/// The labels that nodes must have to be targets of a Service with these annotations; empty: any. What cannot be read is
/// refused when it is planned.
#[must_use]
pub fn node_labels(parameters: &AwsParameters, annotations: &Pairs) -> Pairs {
    let text = reading::read(parameters, annotations).take("target-node-labels");
    text.and_then(|text| text.pairs().ok()).unwrap_or_default()
}
