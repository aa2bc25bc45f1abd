//! Load balancers of Hetzner Cloud.
//!
//! Pure: `reading` and `options` (what annotations say), `wanted` (what follows for the balancer), `planner` with `change`
//! (the way there), `observed` (what a step makes of what exists), `ledger` (what is remembered). The edge: `api` (every
//! call), `wire` (JSON of answers), `failure` (what an error means), `apply` (one action, one call and the wait for its
//! end), `account` and `provider`.
//!
//! One call builds a whole balancer, so that a plan names it by its identity from then on. After one survey in bulk the
//! provider knows what exists by what its own calls did, so that a Service that changes costs the calls of its steps.
//! `docs/hetzner.md` is for users.

mod account;
mod action;
mod api;
mod apply;
mod change;
mod error;
mod failure;
mod labels;
mod ledger;
mod name;
mod observed;
mod options;
mod planner;
mod provider;
mod reading;
mod spec;
mod wanted;
mod wire;

pub use account::HetznerAccount;
pub use action::Action;
pub use error::HetznerError;
pub use observed::{Balancer, Network, Observed, OwnCertificate};
pub use provider::HetznerProvider;
pub use spec::{
    Algorithm, BalancerSpec, CheckProtocol, HealthCheck, HttpCheck, HttpSpec, Place, Protocol, ServiceSpec,
    TargetSpec,
};

use penstock_crds::{HETZNER_ADOPT, HETZNER_PREFIX, HetznerParameters};

use crate::reading::Pairs;

/// How the annotations begin that the provider reads.
pub const OPTIONS: [&str; 2] = [HETZNER_PREFIX, HETZNER_ADOPT];

/// The labels that nodes must have to be targets of a Service with these annotations; empty: any. What cannot be read is
/// refused when it is planned.
#[must_use]
pub fn node_labels(parameters: &HetznerParameters, annotations: &Pairs) -> Pairs {
    let text = reading::read(parameters, annotations).take("node-selector");
    text.and_then(|text| text.pairs().ok()).unwrap_or_default()
}
