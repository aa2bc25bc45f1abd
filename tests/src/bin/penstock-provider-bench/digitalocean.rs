//! Load balancers of DigitalOcean. One that is new is there at the second look.

use std::collections::BTreeSet;

use anyhow::Result;
use penstock_crds::DigitalOceanParameters;
use penstock_providers::{
    Timeouts,
    digitalocean::{DigitalOceanAccount, DigitalOceanProvider},
};
use penstock_tests::{
    Fixture,
    digitalocean_endpoint::{DigitalOceanEndpoint, REGION, TOKEN},
};
use serde_json::json;

use crate::cloud::{CLASS, Cloud};

/// See the module.
pub(crate) struct DigitalOcean(DigitalOceanEndpoint);

impl Cloud for DigitalOcean {
    type Provider = DigitalOceanProvider;
    const NAME: &'static str = "DigitalOcean";
    const WAITING: &[&str] = &[];
    const CREATION: Option<usize> = None;
    const START: usize = 10;

    async fn start() -> Result<Self> {
        Ok(Self(DigitalOceanEndpoint::start().await?))
    }

    async fn prepare(&self, fixture: &Fixture) -> Result<()> {
        fixture.credentials("ocean", &[("token", TOKEN)])?;
        let parameters = json!({"region": REGION, "clusterName": "blue", "tokenSecret": "ocean",
            "endpointUrl": self.0.url()});
        fixture.class_of(CLASS, json!({"provider": "digitalocean", "digitalocean": parameters})).await
    }

    fn machine(number: u8) -> String {
        format!("digitalocean://{number}")
    }

    fn calls(&self) -> Vec<String> {
        let lines = self.0.store().since(0);
        lines.into_iter().map(|line| line.replace("/v2/", "")).collect()
    }

    fn balancers(&self) -> usize {
        self.0.store().balancers.len()
    }

    fn ports(&self) -> Vec<u16> {
        let store = self.0.store();
        let rules = store.balancers.values().flat_map(|balancer| &balancer.wish.forwarding_rules);
        rules.map(|rule| rule.entry_port).collect()
    }

    fn machines(&self) -> Vec<usize> {
        let store = self.0.store();
        let droplets = store.balancers.values().map(|balancer| &balancer.wish.droplet_ids);
        droplets.map(|ids| ids.as_ref().map_or(0, BTreeSet::len)).collect()
    }

    fn allow(&self, balancers: usize) {
        let mut store = self.0.store();
        (store.limit, store.looks_until_active) = (balancers, 0);
    }

    async fn provider(&self) -> Result<DigitalOceanProvider> {
        let parameters = DigitalOceanParameters {
            region: REGION.into(),
            cluster_name: "blue".into(),
            token_secret: "ocean".into(),
            endpoint_url: Some(self.0.url()),
            ..DigitalOceanParameters::default()
        };
        let account = DigitalOceanAccount::without_limits(&parameters, TOKEN, Timeouts::default())?;
        Ok(DigitalOceanProvider::new(&parameters, &account))
    }
}
