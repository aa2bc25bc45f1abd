//! Load balancers of Hetzner Cloud. Every action takes two questions to end.

use anyhow::Result;
use penstock_crds::HetznerParameters;
use penstock_providers::hetzner::{HetznerAccount, HetznerProvider};
use penstock_tests::{Fixture, hetzner_endpoint::HetznerEndpoint};
use serde_json::json;

use crate::cloud::{CLASS, Cloud};

const LOCATION: &str = "fsn1";

/// See the module.
pub(crate) struct Hetzner(HetznerEndpoint);

impl Cloud for Hetzner {
    type Provider = HetznerProvider;
    const NAME: &'static str = "Hetzner Cloud";
    const WAITING: &[&str] = &["GET actions"];
    const CREATION: Option<usize> = Some(1);
    const START: usize = 25;

    async fn start() -> Result<Self> {
        let endpoint = HetznerEndpoint::start().await?;
        endpoint.store().unfinished = 2;
        Ok(Self(endpoint))
    }

    async fn prepare(&self, fixture: &Fixture) -> Result<()> {
        fixture.credentials("hetzner", &[("token", HetznerEndpoint::TOKEN)])?;
        let parameters = json!({"clusterName": "blue", "tokenSecret": "hetzner", "endpointUrl": self.0.url(),
            "defaults": {"location": LOCATION}});
        fixture.class_of(CLASS, json!({"provider": "hetzner", "hetzner": parameters})).await
    }

    fn machine(number: u8) -> String {
        format!("hcloud://{number}")
    }

    fn calls(&self) -> Vec<String> {
        self.0.store().calls.iter().map(|call| call.name.clone()).collect()
    }

    fn balancers(&self) -> usize {
        self.0.store().balancers.len()
    }

    fn ports(&self) -> Vec<u16> {
        let store = self.0.store();
        let services = store.balancers.values().flat_map(|balancer| &balancer.services);
        services.map(|service| service.listen_port).collect()
    }

    fn machines(&self) -> Vec<usize> {
        self.0.store().balancers.values().map(|balancer| balancer.targets.len()).collect()
    }

    fn allow(&self, _balancers: usize) {
        self.0.store().unfinished = 0;
    }

    async fn provider(&self) -> Result<HetznerProvider> {
        let parameters = HetznerParameters {
            cluster_name: "blue".into(),
            token_secret: "hetzner".into(),
            endpoint_url: Some(self.0.url()),
            defaults: [("location".to_owned(), LOCATION.to_owned())].into(),
            ..HetznerParameters::default()
        };
        let account = HetznerAccount::without_limits(&parameters, Some(HetznerEndpoint::TOKEN))?;
        Ok(HetznerProvider::new(&parameters, &account))
    }
}
