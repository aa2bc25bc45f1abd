//! The only place that asks the provider `pool`: what it would do, and what each pool says.

use std::{collections::BTreeMap, net::IpAddr};

use penstock_model::{Family, ObjectKey};
use penstock_providers::{
    AnyProvider, Desired, Owner, Plan, ProviderError,
    pool::{PoolProvider, PoolUsage, Rejection},
};
use serde_json::Value;

/// What the provider `pool` would do for a Service.
#[derive(Debug)]
pub(crate) struct PoolAnswer {
    /// The way there; where the Service is refused, the way to nothing unless it may keep what it holds.
    pub(crate) plan: Plan<Value>,
    /// Why the Service does not get what it wants.
    pub(crate) refused: Option<ProviderError>,
}

/// As the operator decides (`operator::pool_addresses`): a wish that cannot be met leaves the Service what it holds
/// unless its pool speaks against that; where there is nothing to be had it may not keep what it holds.
pub(crate) async fn ask(
    pool: &PoolProvider,
    owner: &Owner,
    wish: Result<&Desired, ProviderError>,
) -> Result<PoolAnswer, ProviderError> {
    let observed = AnyProvider::observe(pool, owner).await?;
    let desired = wish.as_ref().ok().copied();
    let planned = wish.and_then(|desired| {
        AnyProvider::capabilities(pool).check(desired)?;
        AnyProvider::plan(pool, owner, Some(desired), &observed)
    });
    match planned {
        Ok(plan) => Ok(PoolAnswer { plan, refused: None }),
        Err(error @ ProviderError::User { .. }) if pool.may_keep(&owner.service, desired) => {
            Ok(PoolAnswer { plan: Plan::empty(), refused: Some(error) })
        }
        Err(error @ (ProviderError::User { .. } | ProviderError::Quota { .. })) => {
            let plan = AnyProvider::plan(pool, owner, None, &observed)?;
            Ok(PoolAnswer { plan, refused: Some(error) })
        }
        Err(error) => Err(error),
    }
}

/// The way to nothing.
pub(crate) async fn ask_to_release(pool: &PoolProvider, owner: &Owner) -> Result<Plan<Value>, ProviderError> {
    let observed = AnyProvider::observe(pool, owner).await?;
    AnyProvider::plan(pool, owner, None, &observed)
}

/// Carries a plan out in memory, so that the next Service is not promised the same address.
pub(crate) async fn play(pool: &PoolProvider, owner: &Owner, plan: &Plan<Value>) {
    for step in &plan.steps {
        // A step that no longer fits is planned anew by the operator; here it changes nothing.
        let _ = AnyProvider::apply(pool, owner, step, None).await;
    }
    pool.reported(&owner.service);
}

/// Why one pool gives a Service nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRefusal {
    /// A sentence about "it", the pool.
    pub why: String,
    /// The field to change: of the pool, the class or the Service.
    pub field: RefusalField,
    /// Whether the pool is one of those that the Service takes from: it is only that there is nothing for it.
    pub wanted: bool,
}

/// Whose field has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalField {
    /// The pool's.
    Pool(&'static str),
    /// The class's.
    Class(&'static str),
    /// What the Service asks for.
    Request,
}

/// What each pool in use would give the Service if it had nothing, or why not, in the order of looking.
pub(crate) fn consider(
    pool: &PoolProvider,
    service: &ObjectKey,
    desired: &Desired,
) -> Vec<(String, Result<(), PoolRefusal>)> {
    let usage: BTreeMap<String, PoolUsage> = pool.usage().into_iter().collect();
    let said = pool.consider(service, desired).into_iter();
    let verdict = |name: &str, answer: Result<Vec<IpAddr>, Rejection>| {
        answer.map(|_| ()).map_err(|why| refusal(&why, usage.get(name).copied().unwrap_or_default()))
    };
    said.map(|(name, answer)| (name.clone(), verdict(&name, answer))).collect()
}

fn refusal(why: &Rejection, usage: PoolUsage) -> PoolRefusal {
    let field = match why {
        Rejection::NotOfClass => RefusalField::Class("spec.pool.ipAddressPools"),
        Rejection::OtherPoolAsked(_) | Rejection::OtherAddressAsked(_) | Rejection::Taken(_) => {
            RefusalField::Request
        }
        Rejection::NotAutomatic => RefusalField::Pool("spec.autoAssign"),
        Rejection::Namespace(_) => RefusalField::Pool("spec.serviceAllocation.namespaces"),
        Rejection::ServiceLabels => RefusalField::Pool("spec.serviceAllocation.serviceSelectors"),
        Rejection::LacksFamilies(_) | Rejection::Exhausted(_) => RefusalField::Pool("spec.addresses"),
    };
    let in_use = match why {
        Rejection::Exhausted(families) => counts(families, usage),
        _ => String::new(),
    };
    let wanted = matches!(why, Rejection::LacksFamilies(_) | Rejection::Exhausted(_) | Rejection::Taken(_));
    PoolRefusal { why: format!("{why}{in_use}"), field, wanted }
}

/// How many of a pool's addresses are in use, of the families that are wanted.
fn counts(families: &[Family], usage: PoolUsage) -> String {
    let count = |family: &Family| match family {
        Family::IPv4 => (usage.assigned_v4, usage.available_v4),
        Family::IPv6 => (usage.assigned_v6, usage.available_v6),
    };
    let text = |family: &Family| {
        let (assigned, free) = count(family);
        format!("{assigned} of {} {family:?} addresses are in use", assigned.saturating_add(free))
    };
    format!(" ({})", families.iter().map(text).collect::<Vec<_>>().join(", "))
}
