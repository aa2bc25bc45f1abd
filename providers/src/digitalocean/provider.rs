//! The provider: what is known, planned, and carried out.

use std::{fmt, sync::Arc, time::Instant};

use penstock_crds::DigitalOceanParameters;
use penstock_model::Protocol;

use super::{
    account::{Account, DigitalOceanAccount},
    action::Action,
    api::Calls,
    apply::Applier,
    error::DigitalOceanError,
    ledger::Doubt,
    observed::Observed,
    options, planner,
};
use crate::{
    Built, Capabilities, Certificate, Desired, Owner, Plan, Provider, ProviderError, Rehearsal, Step, Sweep,
};

/// The provider `digitalocean`, for one class.
pub struct DigitalOceanProvider {
    parameters: DigitalOceanParameters,
    account: Arc<Account>,
}

impl fmt::Debug for DigitalOceanProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigitalOceanProvider").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

impl DigitalOceanProvider {
    /// The provider of a class in its account.
    #[must_use]
    pub fn new(parameters: &DigitalOceanParameters, account: &DigitalOceanAccount) -> Self {
        Self { parameters: parameters.clone(), account: Arc::clone(&account.0) }
    }

    /// For plans alone.
    ///
    /// # Errors
    /// A URL that nothing can be called with.
    pub fn for_planning(parameters: &DigitalOceanParameters) -> Result<Self, DigitalOceanError> {
        Ok(Self::new(parameters, &DigitalOceanAccount::for_planning(parameters)?))
    }
}

impl Provider for DigitalOceanProvider {
    type Action = Action;
    type Observed = Observed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            provider: "digitalocean",
            protocols: vec![Protocol::Tcp, Protocol::Udp],
            mixed_protocols: true,
            max_ports: None,
            creates_outside: true,
            sends_to_nodes: true,
        }
    }

    async fn observe(&self, owner: &Owner) -> Result<Observed, ProviderError> {
        self.account.observe(&owner.uid).await
    }

    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Observed,
    ) -> Result<Plan<Action>, ProviderError> {
        planner::plan(&self.parameters, owner, desired, observed)
    }

    async fn apply(
        &self,
        owner: &Owner,
        step: &Step<Action>,
        certificate: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        let applier = Applier { account: &self.account, parameters: &self.parameters, owner };
        let result = applier.apply(&step.action, certificate).await;
        if let Some(doubt) = result.as_ref().err().and_then(|error| doubt(error, &step.action)) {
            self.account.ledger().doubt(&owner.uid, doubt, Instant::now());
        }
        result
    }

    async fn rehearse(&self, owner: &Owner, plan: &Plan<Action>) -> Result<Rehearsal, ProviderError> {
        Applier { account: &self.account, parameters: &self.parameters, owner }.rehearse(plan).await
    }

    async fn sweep(&self) -> Result<Sweep, ProviderError> {
        self.account.sweep().await.map(Sweep::Of)
    }

    fn calls(&self) -> Calls {
        self.account.api.calls()
    }

    fn built(&self, observed: &Observed) -> Built {
        observed.built()
    }

    fn shown(&self, desired: &Desired, built: Built) -> Built {
        match options::hostname_of(&self.parameters, desired) {
            Some(hostname) if !built.is_empty() => {
                Built { addresses: Vec::new(), hostname: Some(hostname), ..built }
            }
            _ => built,
        }
    }
}

/// Whether the call may have done something, or the world is not as it was taken for.
fn doubt(error: &ProviderError, action: &Action) -> Option<Doubt> {
    match error {
        ProviderError::Throttled(_) | ProviderError::Auth(_) | ProviderError::Quota { .. } => None,
        // It says itself that nothing was done.
        ProviderError::User { .. } if action.balancer().is_none() => None,
        _ => Some(if action.balancer().is_none() { Doubt::New } else { Doubt::Known }),
    }
}
