//! An account of DigitalOcean. A balancer that is new is there at the second look.

use std::collections::BTreeSet;

use anyhow::Result;
use penstock_tests::digitalocean_endpoint::{
    self as endpoint, Balancer, DigitalOceanEndpoint, REGION, Store,
};
use serde_json::{Value, json};

use crate::cloud::{Account, unmatched};

/// What holds the token.
pub(crate) const SECRET: &str = "ocean";
pub(crate) const TOKEN: &str = endpoint::TOKEN;

/// See the module.
pub(crate) struct DigitalOcean(DigitalOceanEndpoint);

impl DigitalOcean {
    pub(crate) async fn start() -> Result<Self> {
        Ok(Self(DigitalOceanEndpoint::start().await?))
    }
}

impl Account for DigitalOcean {
    fn name(&self) -> &'static str {
        "digitalocean"
    }

    fn url(&self) -> String {
        self.0.url()
    }

    fn clear(&self) {
        *self.0.store() = Store::default();
    }

    fn class(&self, url: &str) -> Value {
        let parameters =
            json!({"region": REGION, "clusterName": "chaos", "tokenSecret": SECRET, "endpointUrl": url});
        json!({"provider": "digitalocean", "digitalocean": parameters})
    }

    fn machine(&self, number: u8) -> String {
        number.to_string()
    }

    fn provider_id(&self, machine: &str) -> String {
        format!("digitalocean://{machine}")
    }

    fn balancers(&self) -> Vec<Value> {
        let store = self.0.store();
        let mut all: Vec<Value> = store.balancers.values().map(of_balancer).collect();
        all.sort_by_key(ToString::to_string);
        all
    }

    fn parts(&self) -> usize {
        self.0.store().balancers.values().map(|balancer| balancer.wish.forwarding_rules.len()).sum()
    }

    fn strays(&self, live: &BTreeSet<&str>) -> Vec<String> {
        let store = self.0.store();
        let balancers = store.balancers.values().map(|balancer| owner(&balancer.wish.name));
        let mut found = unmatched("balancer", balancers, live);
        let certificates = store.certificates.values().map(|certificate| owner(&certificate.name));
        found.extend(unmatched("certificate", certificates, live));
        found
    }

    fn is_empty(&self) -> bool {
        self.0.store().is_empty()
    }

    fn certificates(&self) -> Vec<String> {
        self.0.store().certificates.values().map(|held| held.leaf.clone()).collect()
    }
}

/// `NAME.penstock.CLUSTER.UID`, and for a certificate something more.
fn owner(name: &str) -> Option<&str> {
    let (_, mark) = name.rsplit_once(".penstock.")?;
    mark.split('.').nth(1)
}

fn of_balancer(held: &Balancer) -> Value {
    let wish = &held.wish;
    let droplets: Vec<u64> = wish.droplet_ids.iter().flatten().copied().collect();
    let mut rules: Vec<_> = wish.forwarding_rules.iter().collect();
    rules.sort_by_key(|rule| rule.entry_port);
    let listener = |rule: &endpoint::Rule| {
        let targets = droplets.iter().map(|id| format!("{id}:{}", rule.target_port));
        json!({"port": rule.entry_port, "protocol": rule.entry_protocol.to_uppercase(),
            "targets": targets.collect::<Vec<_>>()})
    };
    json!({"size": wish.size_unit, "status": held.status,
        "listeners": rules.into_iter().map(listener).collect::<Vec<_>>()})
}
