//! A project of Hetzner Cloud, as this cluster sees it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use penstock_crds::HetznerParameters;

use super::{
    api::Api,
    error::HetznerError,
    ledger::{Known, Ledger},
};
use crate::ProviderError;

/// The calls and what is remembered, shared by the classes that name the same project and cluster. Two of them would not
/// know of each other's changes.
#[derive(Clone)]
pub struct HetznerAccount(pub(super) Arc<Account>);

impl fmt::Debug for HetznerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HetznerAccount").finish_non_exhaustive()
    }
}

pub(super) struct Account {
    scope: HetznerParameters,
    pub(super) api: Api,
    ledger: Mutex<Ledger>,
    /// Held by who surveys: the others wait for what it finds.
    surveying: tokio::sync::Mutex<()>,
}

impl HetznerAccount {
    /// `token` is what the class's Secret holds; without one every call would fail, which is enough for plans.
    ///
    /// # Errors
    /// Parameters or a token that nothing can be called with.
    pub fn new(parameters: &HetznerParameters, token: Option<&str>) -> Result<Self, HetznerError> {
        Ok(Self::with(parameters, Api::new(parameters, token, false)?))
    }

    /// The same without limits of its own, and asking for actions without a pause: for endpoints that are prompt.
    ///
    /// # Errors
    /// As [`HetznerAccount::new`].
    pub fn without_limits(parameters: &HetznerParameters, token: Option<&str>) -> Result<Self, HetznerError> {
        Ok(Self::with(parameters, Api::new(parameters, token, true)?))
    }

    fn with(parameters: &HetznerParameters, api: Api) -> Self {
        let (scope, ledger, surveying) =
            (parameters.clone(), Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Account { scope, api, ledger, surveying }))
    }

    /// Classes of the same identity share an account.
    #[must_use]
    pub fn identity(parameters: &HetznerParameters) -> String {
        let HetznerParameters { cluster_name, endpoint_url, token_secret, .. } = parameters;
        format!("hetzner {cluster_name} {endpoint_url:?} {token_secret:?}")
    }
}

impl Account {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once for all Services; whoever comes meanwhile waits.
    pub(super) async fn survey(&self, uid: &str) -> Result<Known, ProviderError> {
        let _alone = self.surveying.lock().await;
        let known = self.ledger().known(uid);
        if known != Known::Nothing {
            return Ok(known);
        }
        let mark = self.ledger().mark();
        let found = self.api.survey(&self.scope).await?;
        let mut ledger = self.ledger();
        ledger.surveyed(mark, found);
        Ok(ledger.known(uid))
    }

    /// In bulk: a list has all that there is of a balancer.
    pub(super) async fn sweep(&self) -> Result<BTreeSet<String>, ProviderError> {
        let _alone = self.surveying.lock().await;
        let mark = self.ledger().mark();
        let found = self.api.survey(&self.scope).await?;
        Ok(self.ledger().surveyed(mark, found))
    }
}
