//! A project of Hetzner Cloud. Every action takes two requests to end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use penstock_tests::hetzner_endpoint::{Balancer, HetznerEndpoint, Service};
use serde_json::{Value, json};

use crate::cloud::{Account, unmatched};

/// What holds the token.
pub(crate) const SECRET: &str = "hetzner";
pub(crate) const TOKEN: &str = HetznerEndpoint::TOKEN;
const SERVICE_UID: &str = "penstock.dev/service-uid";
/// Requests until an action has ended.
const UNFINISHED: u32 = 2;

/// See the module.
pub(crate) struct Hetzner(HetznerEndpoint);

impl Hetzner {
    pub(crate) async fn start() -> Result<Self> {
        Ok(Self(HetznerEndpoint::start().await?))
    }
}

impl Account for Hetzner {
    fn name(&self) -> &'static str {
        "hetzner"
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }

    fn clear(&self) {
        let mut store = self.0.store();
        store.clear();
        store.unfinished = UNFINISHED;
    }

    fn class(&self, url: &str) -> Value {
        let parameters = json!({"clusterName": "chaos", "tokenSecret": SECRET, "endpointUrl": format!("{url}/v1"),
            "defaults": {"location": "fsn1"}});
        json!({"provider": "hetzner", "hetzner": parameters})
    }

    fn machine(&self, number: u8) -> String {
        number.to_string()
    }

    fn provider_id(&self, machine: &str) -> String {
        format!("hcloud://{machine}")
    }

    fn balancers(&self) -> Vec<Value> {
        let store = self.0.store();
        let mut all: Vec<Value> = store.balancers.values().map(of_balancer).collect();
        all.sort_by_key(ToString::to_string);
        all
    }

    fn parts(&self) -> usize {
        self.0.store().balancers.values().map(|balancer| balancer.services.len()).sum()
    }

    fn strays(&self, live: &BTreeSet<&str>) -> Vec<String> {
        let store = self.0.store();
        let owner = |labels: &BTreeMap<String, String>| labels.get(SERVICE_UID).cloned();
        let balancers: Vec<_> = store.balancers.values().map(|held| owner(&held.labels)).collect();
        let certificates: Vec<_> = store.uploaded.values().map(|held| owner(&held.labels)).collect();
        let mut found = unmatched("balancer", balancers.iter().map(Option::as_deref), live);
        found.extend(unmatched("certificate", certificates.iter().map(Option::as_deref), live));
        found
    }

    fn is_empty(&self) -> bool {
        let store = self.0.store();
        store.balancers.is_empty() && store.uploaded.is_empty()
    }

    fn certificates(&self) -> Vec<String> {
        self.0.store().uploaded.values().map(|held| held.certificate.clone()).collect()
    }
}

fn of_balancer(held: &Balancer) -> Value {
    let mut servers: Vec<u64> = held.targets.iter().filter_map(|t| t.server.as_ref().map(|s| s.id)).collect();
    servers.sort_unstable();
    let mut services: Vec<_> = held.services.iter().collect();
    services.sort_by_key(|service| service.listen_port);
    let listener = |service: &Service| {
        let targets = servers.iter().map(|id| format!("{id}:{}", service.destination_port));
        json!({"port": service.listen_port, "protocol": service.protocol.to_uppercase(),
            "targets": targets.collect::<Vec<_>>()})
    };
    json!({"type": held.load_balancer_type, "algorithm": held.algorithm,
        "listeners": services.into_iter().map(listener).collect::<Vec<_>>()})
}
