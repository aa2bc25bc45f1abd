//! One account, as this cluster sees it: the calls and what is remembered, shared by the classes that name the same. Two of
//! them would not know of each other's changes.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use penstock_crds::DigitalOceanParameters;

use super::{
    api::{Api, Calls},
    body,
    error::DigitalOceanError,
    ledger::{Known, Ledger},
    name,
    observed::Observed,
};
use crate::{ProviderError, Timeouts};

/// For how long nobody looks again at a balancer that is being built.
const FRESH: Duration = Duration::from_secs(3);

/// An account of DigitalOcean.
#[derive(Clone)]
pub struct DigitalOceanAccount(pub(super) Arc<Account>);

pub(super) struct Account {
    pub(super) api: Api,
    ledger: Mutex<Ledger>,
    /// Held by who lists: the others wait for what it finds.
    listing: tokio::sync::Mutex<()>,
    fresh: Duration,
}

impl fmt::Debug for DigitalOceanAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigitalOceanAccount").finish_non_exhaustive()
    }
}

impl DigitalOceanAccount {
    /// What a class names, with the token that its Secret holds. No call is made before it is needed.
    ///
    /// # Errors
    /// A URL or token that nothing can be called with.
    pub fn new(parameters: &DigitalOceanParameters, token: &str) -> Result<Self, DigitalOceanError> {
        Self::with(parameters, Some(token), Timeouts::default(), FRESH, true)
    }

    /// The same without limits and pauses of its own: for endpoints that have none.
    ///
    /// # Errors
    /// As [`DigitalOceanAccount::new`].
    pub fn without_limits(
        parameters: &DigitalOceanParameters,
        token: &str,
        timeouts: Timeouts,
    ) -> Result<Self, DigitalOceanError> {
        Self::with(parameters, Some(token), timeouts, Duration::ZERO, false)
    }

    /// For plans alone: every call would be refused.
    ///
    /// # Errors
    /// As [`DigitalOceanAccount::new`].
    pub fn for_planning(parameters: &DigitalOceanParameters) -> Result<Self, DigitalOceanError> {
        Self::with(parameters, None, Timeouts::default(), FRESH, true)
    }

    fn with(
        parameters: &DigitalOceanParameters,
        token: Option<&str>,
        timeouts: Timeouts,
        fresh: Duration,
        limited: bool,
    ) -> Result<Self, DigitalOceanError> {
        let api = Api::new(parameters, token, timeouts, limited)?;
        let ledger = Mutex::new(Ledger::new(name::cluster(parameters)));
        Ok(Self(Arc::new(Account { api, ledger, listing: tokio::sync::Mutex::default(), fresh })))
    }

    /// Classes of the same identity share an account.
    #[must_use]
    pub fn identity(parameters: &DigitalOceanParameters) -> String {
        let DigitalOceanParameters { cluster_name, token_secret, endpoint_url, .. } = parameters;
        format!("digitalocean {cluster_name} {endpoint_url:?} {token_secret}")
    }

    /// How often each call was made since the beginning.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.api.calls()
    }
}

impl Account {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is of a Service, with as few questions as it takes.
    pub(super) async fn observe(&self, uid: &str) -> Result<Observed, ProviderError> {
        let known = self.ledger().known(uid, Instant::now(), self.fresh);
        match known {
            Known::Whole(observed) => return Ok(observed),
            Known::Look(ids) => self.look(uid, &ids).await?,
            Known::List => self.list_for(uid).await?,
        }
        Ok(self.ledger().last(uid))
    }

    async fn look(&self, uid: &str, ids: &BTreeSet<String>) -> Result<(), ProviderError> {
        let mut balancers = Vec::new();
        for id in ids {
            if let Some(raw) = self.api.get(id).await? {
                balancers.push(body::balancer(&raw)?);
            }
        }
        self.ledger().learn(uid, balancers, Instant::now());
        Ok(())
    }

    /// Once for all Services: who comes meanwhile needs no list of his own if this one told what he wants to know, or waits
    /// for the next one, which is one for all of them.
    async fn list_for(&self, uid: &str) -> Result<(), ProviderError> {
        let begun = self.ledger().lists_begun();
        let _alone = self.listing.lock().await;
        let (told, known) = {
            let ledger = self.ledger();
            (ledger.listed_since(begun), ledger.known(uid, Instant::now(), self.fresh))
        };
        if told || known != Known::List {
            return Ok(());
        }
        self.list().await.map(|_| ())
    }

    /// Returns the Services of which a list shows something that was not known.
    pub(super) async fn sweep(&self) -> Result<BTreeSet<String>, ProviderError> {
        let _alone = self.listing.lock().await;
        self.list().await
    }

    /// By who holds `listing`.
    async fn list(&self) -> Result<BTreeSet<String>, ProviderError> {
        let listing = self.ledger().begin_list();
        let listed = self.api.list().await?;
        Ok(self.ledger().listed(listing, listed, Instant::now()))
    }
}
