//! What a provider brings to the suite.

use std::fmt::Debug;

use anyhow::{Result, bail};
use penstock_model::ObjectKey;
use penstock_providers::{Desired, Owner, Provider};

use super::case::Case;

/// Something that stands in the double.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thing {
    /// What it is, without what differs from one creation to the next: no identity, no name with a hash.
    pub what: String,
    /// The UID of the Service that it says it belongs to.
    pub owner: Option<String>,
}

/// A call that reached the double.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// For people.
    pub name: String,
    /// Whether it is one that changes something.
    pub changes: bool,
}

/// How one call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection breaks; nothing was done.
    Lost,
    /// The connection breaks; everything was done.
    LostAfter,
    /// An answer that says to come back later; nothing was done.
    Unavailable,
    /// The same, but everything was done.
    UnavailableAfter,
    /// Too many calls; nothing was done.
    Throttled,
}

/// Which calls are counted until one goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    Any,
    /// Those that change something.
    Changes,
}

/// What can happen behind our back, by what that is.
pub type Damages<R> = Vec<(&'static str, fn(&R))>;

/// In how far something is not the Service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Another Service's.
    Others,
    /// Nobody's, as made by hand.
    Nobodys,
}

/// A provider with its double. What has a default body is for the cases that a provider cannot have.
#[allow(async_fn_in_trait)] // a test runs on one thread
pub trait Rig: Sized {
    /// The provider.
    type Provider: Provider + Debug;

    /// Whether the provider remembers what it saw, so that looking again costs nothing.
    const REMEMBERS: bool;

    /// The reason why the provider cannot have a case.
    #[must_use]
    fn except(_case: Case) -> Option<&'static str> {
        None
    }

    /// A double that has nothing.
    async fn start() -> Result<Self>;

    /// A provider that has only just started; its class allows adoption if there is such a thing.
    async fn provider(&self) -> Self::Provider;

    /// What stands.
    fn standing(&self) -> Vec<Thing>;

    /// All calls so far.
    fn calls(&self) -> Vec<Call>;

    /// What a Service wants at first, and then, each by what changes. Together every kind of change.
    fn life() -> Vec<(&'static str, Desired)>;

    /// What no Service can have of it, each by what that is.
    fn unsupported() -> Vec<(&'static str, Desired)>;

    /// The `nth` of these calls from now on (1: the next) goes wrong.
    fn go_wrong(&self, nth: usize, which: Which, trouble: Trouble) {
        panic!("the rig cannot let {which:?} {nth} end in {trouble:?}");
    }

    /// Whether what is to go wrong has not done so yet.
    fn is_trouble_ahead(&self) -> bool {
        false
    }

    /// Nothing is left to give, until it is called with `false`.
    fn exhaust(&self, _exhausted: bool) {
        panic!("the rig cannot have nothing left");
    }

    /// What may stand where the owner's would.
    #[must_use]
    fn foreign_kinds() -> &'static [&'static str] {
        &[]
    }

    /// Puts something of the kind there.
    async fn put_foreign(&self, kind: &str, _owner: &Owner) -> Result<()> {
        bail!("the rig has no {kind}");
    }

    /// Makes something that can be named for adoption, and the wish that names it.
    async fn adoptable(&self, _whose: Foreign) -> Result<Desired> {
        bail!("the rig has nothing to adopt");
    }

    /// The provider of a class that does not allow adoption.
    async fn without_adoption(&self) -> Result<Self::Provider> {
        bail!("the rig has nothing to adopt");
    }

    /// A provider with credentials that are not accepted, and the secret in them.
    async fn intruder(&self) -> Result<(Self::Provider, &'static str)> {
        bail!("the rig has no credentials");
    }

    /// What can happen behind our back to a Service that has what [`Rig::life`] begins with.
    #[must_use]
    fn damages() -> Damages<Self> {
        Vec::new()
    }
}

/// The owner of this UID.
#[must_use]
pub fn owner(uid: &str) -> Owner {
    Owner { service: ObjectKey::new("shop", format!("web-{uid}")), uid: uid.into() }
}
