//! Network load balancers of AWS.

use anyhow::Result;
use penstock_crds::{AWS_PREFIX, AwsParameters};
use penstock_providers::aws::{AwsAccount, AwsProvider, StaticCredentials};
use penstock_tests::{
    Fixture,
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, REGION, TargetGroup, VPC},
    aws_lab::{AwsLab, instance},
};
use serde_json::{Value, json};

use crate::cloud::{CLASS, Cloud};

const SUBNETS: [&str; 2] = ["subnet-a", "subnet-b"];

/// See the module.
pub(crate) struct Aws(AwsEndpoint);

impl Cloud for Aws {
    type Provider = AwsProvider;
    const NAME: &'static str = "AWS";
    const WAITING: &[&str] = &[];
    const CREATION: Option<usize> = Some(6);
    const START: usize = 120;
    // Listeners, attributes and health of targets stand in no list.
    const LOOK: usize = 5;

    async fn start() -> Result<Self> {
        Ok(Self(AwsEndpoint::start().await?))
    }

    async fn prepare(&self, fixture: &Fixture) -> Result<()> {
        AwsLab::class(fixture, CLASS, &self.0.url(), VPC, &SUBNETS).await
    }

    fn machine(number: u8) -> String {
        format!("aws:///{REGION}a/{}", instance(number))
    }

    fn variants() -> Vec<(&'static str, Value, Option<usize>)> {
        let cross = json!({format!("{AWS_PREFIX}cross-zone-load-balancing-enabled"): "true"});
        let mut both = cross.clone();
        let delay = "deregistration_delay.timeout_seconds=30";
        both[format!("{AWS_PREFIX}target-group-attributes")] = json!(delay);
        vec![
            ("an attribute of the balancer", cross, Self::CREATION),
            ("attributes of balancer and target group", both, Self::CREATION),
        ]
    }

    fn calls(&self) -> Vec<String> {
        self.0.store().log.calls.iter().map(|call| call.action.clone()).collect()
    }

    fn balancers(&self) -> usize {
        self.0.store().load_balancers.len()
    }

    fn ports(&self) -> Vec<u16> {
        self.0.store().listeners.values().map(|listener| listener.wish.port).collect()
    }

    fn machines(&self) -> Vec<usize> {
        let live = |group: &TargetGroup| group.targets.values().filter(|t| t.deregistered.is_none()).count();
        self.0.store().target_groups.values().map(live).collect()
    }

    fn allow(&self, balancers: usize) {
        let limits = &mut self.0.store().settings.limits;
        (limits.load_balancers, limits.target_groups) = (balancers, balancers);
    }

    async fn provider(&self) -> Result<AwsProvider> {
        let subnets = SUBNETS.map(ToOwned::to_owned).to_vec();
        let parameters = AwsParameters {
            region: REGION.into(),
            vpc_id: VPC.into(),
            cluster_name: "blue".into(),
            internal_subnets: subnets,
            endpoint_url: Some(self.0.url()),
            ..AwsParameters::default()
        };
        let credentials = StaticCredentials {
            access_key_id: ACCESS_KEY.into(),
            secret_access_key: "s3cret".into(),
            session_token: None,
        };
        let account = AwsAccount::without_limits(&parameters, Some(credentials)).await;
        Ok(AwsProvider::new(&parameters, &account))
    }
}
