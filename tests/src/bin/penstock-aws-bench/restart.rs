//! What the provider asks when it starts beside many balancers: a snapshot in bulk.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use penstock_crds::AwsParameters;
use penstock_model::{Family, ObjectKey, Protocol};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Provider, Target,
    aws::{AwsAccount, AwsProvider, StaticCredentials},
};
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, REGION, VPC},
    aws_lab::instance,
};

use crate::table::{Calls, Table};

/// What the snapshot of 1,000 Services may cost.
const GOAL: usize = 120;

/// Counts.
///
/// # Errors
/// When something cannot be built, or the snapshot is not of all.
pub(crate) async fn measure(services: usize) -> Result<Table> {
    let aws = AwsEndpoint::start().await?;
    {
        let mut store = aws.store();
        let limits = &mut store.settings.limits;
        (limits.load_balancers, limits.target_groups) = (services, services);
    }
    let first = Arc::new(provider(&aws).await);
    let each = (0..services).map(|number| build(first.clone(), number));
    stream::iter(each).buffer_unordered(16).try_collect::<()>().await?;
    let before = aws.store().log.total();
    // One that is new: all that it asks before its own steps is the snapshot.
    let observed = provider(&aws).await.observe(&owner(services)).await?;
    ensure!(observed.balancers.is_empty(), "a Service that is new has a balancer");
    let mut calls = Calls::new();
    for call in aws.store().log.calls.iter().skip(before) {
        *calls.entry(call.action.clone()).or_default() += 1;
    }
    let seen = calls.get("DescribeTags").copied().unwrap_or_default();
    ensure!(seen * 20 >= 2 * services, "the snapshot looked at the tags of fewer than there are");
    let mut table = Table::new(format!("Start of the provider beside {services} Services"));
    table.calls("the snapshot, before the first change", &calls, Some(GOAL));
    Ok(table)
}

async fn provider(aws: &AwsEndpoint) -> AwsProvider {
    let parameters = AwsParameters {
        region: REGION.into(),
        vpc_id: VPC.into(),
        cluster_name: "blue".into(),
        internal_subnets: vec!["subnet-a".into(), "subnet-b".into()],
        endpoint_url: Some(aws.url()),
        ..AwsParameters::default()
    };
    let credentials = StaticCredentials {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: "s3cret".into(),
        session_token: None,
    };
    AwsProvider::new(&parameters, &AwsAccount::without_limits(&parameters, Some(credentials)).await)
}

fn owner(number: usize) -> Owner {
    Owner { service: ObjectKey::new("shop", format!("w{number}")), uid: format!("u{number}") }
}

async fn build(provider: Arc<AwsProvider>, number: usize) -> Result<()> {
    let id = instance(1);
    let provider_id = Some(format!("aws:///{REGION}a/{id}"));
    let desired = Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![Frontend { protocol: Protocol::Tcp, port: 80, node_port: Some(30080) }],
        targets: vec![Target { node: id, provider_id, addresses: vec![] }],
        ..Desired::default()
    };
    let owner = owner(number);
    let observed = provider.observe(&owner).await?;
    for step in provider.plan(&owner, Some(&desired), &observed)?.steps {
        provider.apply(&owner, &step, None).await.with_context(|| format!("build for {}", owner.service))?;
    }
    Ok(())
}
