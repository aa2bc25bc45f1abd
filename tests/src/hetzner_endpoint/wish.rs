//! Bodies of requests, with nothing in them that the endpoint does not have.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{service::Service, target::Target};

/// Creates a balancer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Creation {
    pub(super) name: String,
    pub(super) load_balancer_type: String,
    pub(super) location: Option<String>,
    pub(super) network_zone: Option<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) public_interface: Option<bool>,
    pub(super) network: Option<u64>,
    #[serde(default)]
    pub(super) services: Vec<Service>,
    #[serde(default)]
    pub(super) targets: Vec<Target>,
}

/// How targets are chosen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Algorithm {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// Changes name and labels.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    pub(super) name: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// Uploads a certificate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upload {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) certificate: String,
    pub(super) private_key: String,
}

/// Changes the size.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Type {
    pub(super) load_balancer_type: String,
}

/// Names a network.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attachment {
    pub(super) network: u64,
}

/// Names a service.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub(super) listen_port: u16,
}

/// Says nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}
