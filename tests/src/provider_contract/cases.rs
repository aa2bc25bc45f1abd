//! What a provider does where nothing goes wrong, and what it refuses.

use anyhow::Result;
use penstock_providers::{Desired, Plan, Provider, ProviderError, Rehearsal};

use super::{
    rig::{Foreign, Rig, Thing, owner},
    settle::{pass, seen_anew, settle},
};

/// What a Service wants at first.
pub(super) fn first<R: Rig>() -> Desired {
    R::life().swap_remove(0).1
}

/// What stands after a wish was built at once, without trouble.
pub(super) async fn calm<R: Rig>(wanted: &Desired) -> Result<Vec<String>> {
    let rig = R::start().await?;
    settle(&rig.provider().await, &owner("u1"), Some(wanted)).await?;
    Ok(things(&rig))
}

/// What stands, all of it one Service's.
pub(super) fn things<R: Rig>(rig: &R) -> Vec<String> {
    let standing = rig.standing();
    let ours = |thing: &Thing| thing.owner.as_deref() == Some("u1");
    assert!(standing.iter().all(ours), "not all of it is the Service's: {standing:?}");
    let mut whats: Vec<String> = standing.into_iter().map(|thing| thing.what).collect();
    whats.sort_unstable();
    whats
}

fn sorted(mut things: Vec<Thing>) -> Vec<Thing> {
    things.sort_unstable();
    things
}

pub(super) async fn create<R: Rig>() -> Result<()> {
    let rig = R::start().await?;
    let (provider, me, wanted) = (rig.provider().await, owner("u1"), first::<R>());
    let nothing = provider.observe(&me).await?;
    let plan = provider.plan(&me, Some(&wanted), &nothing)?;
    assert!(!plan.is_empty() && plan == provider.plan(&me, Some(&wanted), &nothing)?, "{plan:?}");
    let json: Plan<serde_json::Value> = serde_json::from_value(serde_json::to_value(&plan)?)?;
    assert_eq!(json.hash()?, plan.hash()?, "a plan is the same as JSON");
    let observed = settle(&provider, &me, Some(&wanted)).await?;
    assert!(!provider.built(&observed).is_empty(), "nothing to connect to: {observed:?}");
    assert!(!things(&rig).is_empty());
    let seen = seen_anew(&rig, &me, &wanted).await?;
    assert_eq!(provider.built(&seen), provider.built(&observed));
    Ok(())
}

pub(super) async fn no_op<R: Rig>() -> Result<()> {
    let rig = R::start().await?;
    let (provider, me, wanted) = (rig.provider().await, owner("u1"), first::<R>());
    let observed = settle(&provider, &me, Some(&wanted)).await?;
    let before = rig.calls().len();
    let recorded = serde_json::from_value(serde_json::to_value(&observed)?)?;
    let plan = provider.plan(&me, Some(&wanted), &recorded)?;
    assert!(plan.is_empty(), "by what was recorded there is something to do: {plan:?}");
    assert_eq!(rig.calls().len(), before, "a plan makes no call");
    assert!(pass(&provider, &me, Some(&wanted)).await?.is_some());
    let made = rig.calls().split_off(before);
    assert!(made.iter().all(|call| !call.changes && !R::REMEMBERS), "{made:?}");
    Ok(())
}

pub(super) async fn change<R: Rig>() -> Result<()> {
    let rig = R::start().await?;
    let (provider, me) = (rig.provider().await, owner("u1"));
    for (number, (what, wanted)) in R::life().into_iter().enumerate() {
        let observed = provider.observe(&me).await?;
        let plan = provider.plan(&me, Some(&wanted), &observed)?;
        assert!(!plan.is_empty(), "{what} is no change");
        let before = sorted(rig.standing());
        let said = provider.rehearse(&me, &plan).await?;
        assert!(!matches!(said, Rehearsal::Refused(_)), "{what}: {said:?}");
        assert_eq!(sorted(rig.standing()), before, "a rehearsal changes nothing");
        settle(&provider, &me, Some(&wanted)).await?;
        seen_anew(&rig, &me, &wanted).await?;
        assert_eq!(things(&rig), calm::<R>(&wanted).await?, "after change {number}: {what}");
    }
    Ok(())
}

pub(super) async fn delete<R: Rig>() -> Result<()> {
    let rig = R::start().await?;
    let (provider, wanted) = (rig.provider().await, first::<R>());
    for uid in ["u1", "u2"] {
        settle(&provider, &owner(uid), Some(&wanted)).await?;
    }
    settle(&provider, &owner("u1"), None).await?;
    let left = rig.standing();
    assert!(!left.is_empty() && left.iter().all(|t| t.owner.as_deref() == Some("u2")), "{left:?}");
    seen_anew(&rig, &owner("u2"), &wanted).await?;
    settle(&provider, &owner("u1"), None).await?;
    settle(&rig.provider().await, &owner("u2"), None).await?;
    assert_eq!(rig.standing(), []);
    Ok(())
}

pub(super) async fn adopt<R: Rig>() -> Result<()> {
    let rig = R::start().await?;
    let wanted = rig.adoptable(Foreign::Nobodys).await?;
    let found = sorted(rig.standing());
    // Nobody takes what is not named, and names are not enough where the class says no.
    settle(&rig.provider().await, &owner("u2"), Some(&first::<R>())).await?;
    settle(&rig.provider().await, &owner("u2"), None).await?;
    let refused = settle(&rig.without_adoption().await?, &owner("u1"), Some(&wanted)).await;
    assert!(matches!(refused, Err(ProviderError::User { .. })), "{refused:?}");
    assert_eq!(sorted(rig.standing()), found);
    let provider = rig.provider().await;
    settle(&provider, &owner("u1"), Some(&wanted)).await?;
    seen_anew(&rig, &owner("u1"), &wanted).await?;
    things(&rig);
    settle(&provider, &owner("u1"), None).await?;
    assert_eq!(rig.standing(), [], "what was adopted goes with its Service");

    let rig = R::start().await?;
    let wanted = rig.adoptable(Foreign::Others).await?;
    let found = sorted(rig.standing());
    let refused = settle(&rig.provider().await, &owner("u1"), Some(&wanted)).await;
    assert!(matches!(refused, Err(ProviderError::NotOwned(_))), "{refused:?}");
    assert_eq!(sorted(rig.standing()), found);
    Ok(())
}

pub(super) async fn not_owned<R: Rig>() -> Result<()> {
    assert!(!R::foreign_kinds().is_empty());
    for kind in R::foreign_kinds() {
        let (rig, me, wanted) = (R::start().await?, owner("u1"), first::<R>());
        rig.put_foreign(kind, &me).await?;
        let foreign = |rig: &R| {
            let all = rig.standing().into_iter();
            sorted(all.filter(|thing| thing.owner.as_deref() != Some("u1")).collect())
        };
        let before = foreign(&rig);
        let provider = rig.provider().await;
        let refused = settle(&provider, &me, Some(&wanted)).await;
        assert!(matches!(refused, Err(ProviderError::NotOwned(_))), "{kind}: {refused:?}");
        assert_eq!(foreign(&rig), before, "{kind}");
        // There is nothing of ours, or it says again that it touches nothing.
        let removed = settle(&provider, &me, None).await;
        assert!(matches!(removed, Ok(_) | Err(ProviderError::NotOwned(_))), "{kind}: {removed:?}");
        assert_eq!(foreign(&rig), before, "{kind}");
    }
    Ok(())
}

pub(super) async fn unsupported<R: Rig>() -> Result<()> {
    let rig = R::start().await?;
    let (provider, nothing) = (rig.provider().await, <R::Provider as Provider>::Observed::default());
    assert!(!R::unsupported().is_empty());
    for (what, wanted) in R::unsupported() {
        let possible = provider.capabilities().check(&wanted);
        let planned =
            possible.and_then(|()| provider.plan(&owner("u1"), Some(&wanted), &nothing).map(|_| ()));
        let Err(ProviderError::User { message, .. }) = planned else { panic!("{what}: {planned:?}") };
        assert!(!message.contains('\n') && message.contains(' '), "{what}: {message}");
        let refused = settle(&provider, &owner("u1"), Some(&wanted)).await;
        assert!(matches!(refused, Err(ProviderError::User { .. })), "{what}: {refused:?}");
    }
    assert!(!rig.calls().iter().any(|call| call.changes), "{:?}", rig.calls());
    assert_eq!(rig.standing(), []);
    Ok(())
}

pub(super) async fn credentials<R: Rig>() -> Result<()> {
    let rig = R::start().await?;
    let (provider, secret) = rig.intruder().await?;
    let refused = settle(&provider, &owner("u1"), Some(&first::<R>())).await;
    let Err(error @ ProviderError::Auth(_)) = refused else { panic!("{refused:?}") };
    let shown = format!("{error} {error:?} {provider:?}");
    assert!(!shown.contains(secret), "{shown}");
    assert_eq!(rig.standing(), []);
    Ok(())
}
