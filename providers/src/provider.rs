//! The trait that every provider implements.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    future::Future,
    net::IpAddr,
};

use penstock_crds::ProviderResource;
use penstock_model::ObjectKey;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Capabilities, Certificate, Desired, Plan, ProviderError, Rehearsal, Step};

/// Whose balancer it is. Names and ownership tags of everything built outside follow from this alone, so that a
/// crash at any moment is found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The Service.
    pub service: ObjectKey,
    /// Its UID: another Service of the same name is another owner.
    pub uid: String,
}

/// How traffic to an address reaches the nodes (KEP-1860).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpMode {
    /// Packets arrive with the address as their destination: nodes forward it themselves.
    #[default]
    #[serde(rename = "VIP")]
    Vip,
    /// The balancer sends to the nodes' own addresses: nodes must not take the address for theirs.
    Proxy,
}

/// What exists for a Service, as its status will show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The addresses, in the order of the Service's families.
    pub addresses: Vec<IpAddr>,
    /// The balancer's name in the DNS, where it has no fixed address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// For all addresses.
    #[serde(default)]
    pub ip_mode: IpMode,
    /// The IPAddressPool that they came from, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The provider's objects, for the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ProviderResource>,
}

impl Built {
    /// Whether clients have nothing to connect to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.hostname.is_none()
    }
}

/// What a look at everything that a provider has came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// It cannot look at everything at once: each Service is to be observed.
    Each,
    /// The UIDs of the Services that are worth a look: something of them differs, or it is their turn.
    Of(BTreeSet<String>),
}

/// Provisions for Services. One task at a time works on a Service; `observe → plan → apply` is repeated
/// until the plan is empty.
pub trait Provider: Send + Sync + 'static {
    /// What a step does.
    type Action: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// What exists; the default is nothing. It is what the record keeps.
    type Observed: Debug + Default + Serialize + DeserializeOwned + Send + Sync;

    /// What it can do at all.
    fn capabilities(&self) -> Capabilities;

    /// What exists for the Service now.
    ///
    /// # Errors
    /// As the provider's API fails.
    fn observe(&self, owner: &Owner) -> impl Future<Output = Result<Self::Observed, ProviderError>> + Send;

    /// The way to `desired`; `None` is the way to nothing. Does no IO.
    ///
    /// # Errors
    /// What the Service cannot have.
    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Self::Observed,
    ) -> Result<Plan<Self::Action>, ProviderError>;

    /// Carries out one step. A plan has no secrets: what a step needs of [`Desired::certificate`] is `certificate`.
    ///
    /// # Errors
    /// As the provider's API fails; [`ProviderError::Conflict`] when the step no longer fits the world.
    fn apply(
        &self,
        owner: &Owner,
        step: &Step<Self::Action>,
        certificate: Option<&Certificate>,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Asks the API whether it would carry out a plan that waits for approval, and changes nothing. Most have no such
    /// question.
    ///
    /// # Errors
    /// As the provider's API fails: then nothing is known.
    fn rehearse(
        &self,
        _owner: &Owner,
        _plan: &Plan<Self::Action>,
    ) -> impl Future<Output = Result<Rehearsal, ProviderError>> + Send {
        async { Ok(Rehearsal::NotOffered) }
    }

    /// Looks for what is no longer as it was left, in as few calls as the API allows.
    ///
    /// # Errors
    /// As the provider's API fails.
    fn sweep(&self) -> impl Future<Output = Result<Sweep, ProviderError>> + Send {
        async { Ok(Sweep::Each) }
    }

    /// How often each call of its API was made since it began, for the metrics; empty where nobody counts.
    fn calls(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }

    /// What the status should say.
    fn built(&self, observed: &Self::Observed) -> Built;

    /// The same as the Service wants it shown: some ask for a name of their own instead of addresses.
    fn shown(&self, _desired: &Desired, built: Built) -> Built {
        built
    }
}
