//! What a provider does where something goes wrong.

use std::time::Duration;

use anyhow::Result;
use penstock_providers::{Desired, Provider, ProviderError, Sweep};

use super::{
    cases::{calm, first, things},
    rig::{Rig, Trouble, Which, owner},
    settle::{pass, seen_anew, settle},
};

pub(super) async fn drift<R: Rig>() -> Result<()> {
    assert!(!R::damages().is_empty());
    let wanted = first::<R>();
    let expected = calm::<R>(&wanted).await?;
    for (what, damage) in R::damages() {
        let (rig, me) = (R::start().await?, owner("u1"));
        let provider = rig.provider().await;
        settle(&provider, &me, Some(&wanted)).await?;
        damage(&rig);
        let found = provider.sweep().await?;
        assert!(found == Sweep::Each || matches!(&found, Sweep::Of(uids) if uids.contains("u1")), "{what}");
        let observed = provider.observe(&me).await?;
        let plan = provider.plan(&me, Some(&wanted), &observed)?;
        assert!(!plan.is_empty(), "{what}: nothing to repair in {observed:?}");
        settle(&provider, &me, Some(&wanted)).await?;
        seen_anew(&rig, &me, &wanted).await?;
        assert_eq!(things(&rig), expected, "{what}");
    }
    Ok(())
}

pub(super) async fn quota<R: Rig>() -> Result<()> {
    let (rig, me, wanted) = (R::start().await?, owner("u1"), first::<R>());
    let provider = rig.provider().await;
    rig.exhaust(true);
    let full = settle(&provider, &me, Some(&wanted)).await;
    assert!(matches!(full, Err(ProviderError::Quota { .. })), "{full:?}");
    settle(&provider, &me, None).await?;
    assert_eq!(rig.standing(), []);
    rig.exhaust(false);
    settle(&provider, &me, Some(&wanted)).await?;
    assert_eq!(things(&rig), calm::<R>(&wanted).await?);
    Ok(())
}

pub(super) async fn throttle<R: Rig>() -> Result<()> {
    let (rig, me, wanted) = (R::start().await?, owner("u1"), first::<R>());
    let provider = rig.provider().await;
    rig.go_wrong(1, Which::Any, Trouble::Throttled);
    match pass(&provider, &me, Some(&wanted)).await {
        Err(ProviderError::Throttled(pause)) => assert!(pause > Duration::ZERO),
        other => panic!("{other:?}"),
    }
    Box::pin(whichever::<R>(Which::Any, Trouble::Throttled)).await
}

pub(super) async fn ambiguous<R: Rig>() -> Result<()> {
    Box::pin(whichever::<R>(Which::Changes, Trouble::LostAfter)).await?;
    Box::pin(whichever::<R>(Which::Changes, Trouble::UnavailableAfter)).await
}

pub(super) async fn partial<R: Rig>() -> Result<()> {
    Box::pin(whichever::<R>(Which::Any, Trouble::Lost)).await?;
    Box::pin(whichever::<R>(Which::Any, Trouble::Unavailable)).await
}

/// A whole life for each call of it, which goes wrong.
async fn whichever<R: Rig>(which: Which, trouble: Trouble) -> Result<()> {
    let life: Vec<Desired> = R::life().into_iter().map(|(_, wanted)| wanted).collect();
    let Some(last) = life.last() else { panic!("a life has a beginning") };
    let expected = calm::<R>(last).await?;
    for nth in 1.. {
        let (rig, me) = (R::start().await?, owner("u1"));
        let provider = rig.provider().await;
        rig.go_wrong(nth, which, trouble);
        for wanted in &life {
            settle(&provider, &me, Some(wanted)).await?;
        }
        assert_eq!(things(&rig), expected, "{trouble:?} of call {nth}");
        if !rig.is_trouble_ahead() {
            seen_anew(&rig, &me, last).await?;
        }
        settle(&provider, &me, None).await?;
        assert_eq!(rig.standing(), [], "{trouble:?} of call {nth}: {:?}", rig.calls());
        if rig.is_trouble_ahead() {
            assert!(nth > life.len(), "a life has more calls than {nth}");
            break;
        }
    }
    Ok(())
}

/// From nothing, from one wish to another, and to nothing.
pub(super) async fn crash<R: Rig>() -> Result<()> {
    let life = R::life();
    let (first, last) = (&life[0].1, &life[life.len() - 1].1);
    for (from, to) in [(None, Some(first)), (Some(first), Some(last)), (Some(last), None)] {
        let expected = match to {
            Some(to) => calm::<R>(to).await?,
            None => Vec::new(),
        };
        let mut done = 0;
        while Box::pin(crashed::<R>(from, to, done, &expected)).await? {
            done += 1;
        }
        assert!(done > 0, "there is nothing between {from:?} and {to:?}");
    }
    Ok(())
}

/// A crash after so many steps. Returns whether there were more.
async fn crashed<R: Rig>(
    from: Option<&Desired>,
    to: Option<&Desired>,
    done: usize,
    expected: &[String],
) -> Result<bool> {
    let (mut more, me) = (false, owner("u1"));
    for goes_on in [true, false] {
        let rig = R::start().await?;
        settle(&rig.provider().await, &me, from).await?;
        let certificate = to.and_then(|to| to.certificate.as_ref());
        let crashing = rig.provider().await;
        let observed = crashing.observe(&me).await?;
        let plan = crashing.plan(&me, to, &observed)?;
        more = done < plan.steps.len();
        for step in plan.steps.iter().take(done) {
            // One that is still under way was begun.
            match crashing.apply(&me, step, certificate).await {
                Ok(()) | Err(ProviderError::Pending(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let next = rig.provider().await;
        if goes_on {
            settle(&next, &me, to).await?;
            assert_eq!(things(&rig), expected, "after {done} steps");
        }
        settle(&next, &me, None).await?;
        assert_eq!(rig.standing(), [], "after {done} steps");
    }
    Ok(more)
}
