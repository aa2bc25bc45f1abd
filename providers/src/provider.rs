//! The trait that every provider implements.

use std::{fmt::Debug, future::Future, net::IpAddr};

use penstock_model::ObjectKey;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Capabilities, Desired, Plan, ProviderError, Step};

/// What exists for a Service, as its status will show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The addresses, in the order of the Service's families.
    pub addresses: Vec<IpAddr>,
    /// The IPAddressPool that they came from, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// Provisions for Services. One task at a time works on a Service; `observe → plan → apply` is repeated
/// until the plan is empty.
pub trait Provider: Send + Sync + 'static {
    /// What a step does.
    type Action: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// What exists.
    type Observed: Debug + Send + Sync;

    /// What it can do at all.
    fn capabilities(&self) -> Capabilities;

    /// What exists for the Service now.
    ///
    /// # Errors
    /// As the provider's API fails.
    fn observe(
        &self,
        service: &ObjectKey,
    ) -> impl Future<Output = Result<Self::Observed, ProviderError>> + Send;

    /// The way to `desired`; `None` is the way to nothing. Does no IO.
    ///
    /// # Errors
    /// What the Service cannot have.
    fn plan(
        &self,
        desired: Option<&Desired>,
        observed: &Self::Observed,
    ) -> Result<Plan<Self::Action>, ProviderError>;

    /// Carries out one step.
    ///
    /// # Errors
    /// As the provider's API fails; [`ProviderError::Conflict`] when the step no longer fits the world.
    fn apply(
        &self,
        service: &ObjectKey,
        step: &Step<Self::Action>,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// The Service's status shows what is built and nothing older: whatever was kept back until then may be given
    /// to others. Returns whether there was anything.
    fn reported(&self, _service: &ObjectKey) -> bool {
        false
    }

    /// What the status should say.
    fn built(&self, observed: &Self::Observed) -> Built;
}
