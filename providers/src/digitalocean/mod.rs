//! Load balancers of DigitalOcean, by its public API (version 2).
//!
//! Pure: `options` and `tls_options` (what annotations say), `wanted` (the balancer that follows), `planner` with `change`
//! (the way there), `observed`, `name` (whose it is), `ledger` (what is remembered), `answer` (what a refusal means), `body`
//! (JSON to and fro). The edge: `api` (every call goes through it), `account` (who looks when), `apply` (one action).
//!
//! Two things shape it. Balancers have no labels: ownership is a mark in the name, which is part of the creating call. And
//! an update replaces the whole object: it is read just before, and sent back with what is ours put over it, so that
//! nothing is reset that Penstock does not know. `docs/digitalocean.md` is for users.

mod account;
mod action;
mod answer;
mod api;
mod apply;
mod body;
mod change;
mod error;
mod health_check;
mod ledger;
mod name;
mod observed;
mod options;
mod planner;
#[cfg(test)]
mod planner_tests;
mod provider;
mod rehearse;
mod spec;
mod tls_options;
mod wanted;

pub use account::DigitalOceanAccount;
pub use action::Action;
pub use api::Calls;
pub use error::DigitalOceanError;
pub use observed::{Balancer, KnownCertificate, Observed, State};
pub use provider::DigitalOceanProvider;
pub use spec::{Droplets, Firewall, HealthCheck, Rule, Spec, StickySessions};

use penstock_crds::{DIGITALOCEAN_ADOPT, DIGITALOCEAN_PREFIX};

/// How the annotations begin that the provider reads.
pub const OPTIONS: [&str; 2] = [DIGITALOCEAN_PREFIX, DIGITALOCEAN_ADOPT];
