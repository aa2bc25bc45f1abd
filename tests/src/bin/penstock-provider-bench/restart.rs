//! What a provider asks when it starts beside many balancers: everything in bulk, once.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use penstock_model::{Family, ObjectKey, Protocol};
use penstock_providers::{Desired, FamilyNeed, Frontend, Owner, Plan, Provider, Target};

use crate::{
    cloud::Cloud,
    table::{Table, count},
};

/// Services that are built at the same time.
const BUILDERS: usize = 16;

/// Counts.
///
/// # Errors
/// When something cannot be built, or not all of it is seen.
pub(crate) async fn measure<C: Cloud>(services: usize) -> Result<Table> {
    let cloud = C::start().await?;
    cloud.allow(services);
    let first = cloud.provider().await?;
    let each = (0..services).map(|number| build::<C>(&first, number));
    stream::iter(each).buffer_unordered(BUILDERS).try_collect::<()>().await?;
    let found = cloud.balancers();
    ensure!(found == services, "{found} balancers were built for {services} Services");
    let before = cloud.calls().len();
    let fresh = cloud.provider().await?;
    // One that is new: all that it asks before its own steps is about the others.
    let observed = fresh.observe(&owner(services)).await?;
    ensure!(!plan::<C>(&fresh, services, &observed)?.is_empty(), "a Service that is new has a balancer");
    let calls = count(cloud.calls().into_iter().skip(before));
    let mut table = Table::new(format!("Start of the provider {} beside {services} Services", C::NAME));
    table.calls("what is asked before the first change", &calls, Some(C::START));
    let before = cloud.calls().len();
    for number in 0..services {
        let observed = fresh.observe(&owner(number)).await?;
        ensure!(plan::<C>(&fresh, number, &observed)?.is_empty(), "the start has not seen Service w{number}");
    }
    let calls = count(cloud.calls().into_iter().skip(before));
    table.calls("a look at each of the others", &calls, Some(C::LOOK * services));
    Ok(table)
}

fn owner(number: usize) -> Owner {
    Owner { service: ObjectKey::new("shop", format!("w{number}")), uid: format!("u{number}") }
}

fn plan<C: Cloud>(
    provider: &C::Provider,
    number: usize,
    observed: &<C::Provider as Provider>::Observed,
) -> Result<Plan<<C::Provider as Provider>::Action>> {
    let machine = Target { node: "n1".to_owned(), provider_id: Some(C::machine(1)), addresses: vec![] };
    let desired = Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![Frontend { protocol: Protocol::Tcp, port: 80, node_port: Some(30080) }],
        targets: vec![machine],
        ..Desired::default()
    };
    Ok(provider.plan(&owner(number), Some(&desired), observed)?)
}

async fn build<C: Cloud>(provider: &C::Provider, number: usize) -> Result<()> {
    let owner = owner(number);
    let observed = provider.observe(&owner).await?;
    for step in plan::<C>(provider, number, &observed)?.steps {
        provider.apply(&owner, &step, None).await.with_context(|| format!("build for {}", owner.service))?;
    }
    Ok(())
}
