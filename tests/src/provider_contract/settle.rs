//! What the operator does with a provider, again and again.

use std::time::{Duration, Instant};

use penstock_providers::{Desired, Owner, Provider, ProviderError};

use super::rig::Rig;

/// Bounds how long a broken provider is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two attempts. Doubles have no rates of their own here, and what is to be waited for passes at once.
const PAUSE: Duration = Duration::from_millis(5);

/// One pass: observe, plan, apply. Returns what there is if nothing was left to do.
///
/// # Errors
/// As the provider fails.
pub async fn pass<P: Provider>(
    provider: &P,
    owner: &Owner,
    desired: Option<&Desired>,
) -> Result<Option<P::Observed>, ProviderError> {
    if let Some(desired) = desired {
        provider.capabilities().check(desired)?;
    }
    let observed = provider.observe(owner).await?;
    let plan = provider.plan(owner, desired, &observed)?;
    for step in &plan.steps {
        provider.apply(owner, step, desired.and_then(|desired| desired.certificate.as_ref())).await?;
    }
    Ok(plan.is_empty().then_some(observed))
}

/// Passes until nothing is left to do, over every failure that may pass.
///
/// # Errors
/// What does not pass by itself, or has not within a minute.
pub async fn settle<P: Provider>(
    provider: &P,
    owner: &Owner,
    desired: Option<&Desired>,
) -> Result<P::Observed, ProviderError> {
    let begun = Instant::now();
    loop {
        // The calls of some SDKs are large, and each is on the stack once for every level otherwise.
        match Box::pin(pass(provider, owner, desired)).await {
            Ok(Some(observed)) => return Ok(observed),
            Ok(None) if begun.elapsed() > LIMIT => {
                return Err(ProviderError::Retryable("it does not come to an end".to_owned()));
            }
            Ok(None) => {}
            Err(error) if !passes(&error) || begun.elapsed() > LIMIT => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn passes(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Pending(_)
            | ProviderError::Throttled(_)
            | ProviderError::Retryable(_)
            | ProviderError::Conflict(_)
            | ProviderError::NotFound(_)
    )
}

/// What a provider sees that has only just started; it finds nothing to do.
///
/// # Errors
/// As the provider fails.
pub async fn seen_anew<R: Rig>(
    rig: &R,
    owner: &Owner,
    desired: &Desired,
) -> Result<<R::Provider as Provider>::Observed, ProviderError> {
    let fresh = rig.provider().await;
    let observed = fresh.observe(owner).await?;
    let plan = fresh.plan(owner, Some(desired), &observed)?;
    assert!(plan.is_empty(), "who starts anew wants to change something: {plan:?}");
    Ok(observed)
}
