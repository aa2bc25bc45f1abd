//! The provider trait, the plan, and one folder per provider.
//!
//! A provider turns what a Service needs ([`Desired`]) into an external balancer or address. Its decisions
//! are [`Provider::plan`]: pure, ordered, printable as JSON. Its IO is [`Provider::observe`] and
//! [`Provider::apply`], one small resumable step at a time.

mod any;
pub mod aws;
mod bucket;
mod capability;
mod desired;
pub mod digitalocean;
mod error;
pub mod hetzner;
mod http;
mod plan;
pub mod plan_text;
mod polling;
pub mod pool;
mod provider;
mod reading;
mod rehearsal;
mod rest;
mod shown_text;
pub mod webhook;

pub use any::{Answer, AnyProvider};
pub use capability::Capabilities;
pub use desired::{
    Certificate, CertificateError, Desired, DesiredError, EndpointTarget, FamilyNeed, Frontend, Request,
    Selection, Sharing, Surroundings, Target, fingerprint_of_pem,
};
pub use error::ProviderError;
pub use http::Timeouts;
pub use plan::{Plan, Risk, Step, fingerprint};
pub use provider::{Built, IpMode, Owner, Provider, Sweep};
pub use rehearsal::Rehearsal;
