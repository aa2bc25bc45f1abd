//! The provider: what is known, planned, and carried out.

use std::{collections::BTreeMap, fmt, sync::Arc};

use penstock_crds::HetznerParameters;
use penstock_model::Protocol;

use super::{
    account::{Account, HetznerAccount},
    action::Action,
    apply::Applier,
    error::HetznerError,
    ledger::Known,
    observed::Observed,
    planner,
};
use crate::{Built, Capabilities, Certificate, Desired, Owner, Plan, Provider, ProviderError, Step, Sweep};

/// The provider `hetzner`, for one class.
pub struct HetznerProvider {
    parameters: HetznerParameters,
    account: Arc<Account>,
}

impl fmt::Debug for HetznerProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HetznerProvider").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

impl HetznerProvider {
    /// The provider of a class in its account.
    #[must_use]
    pub fn new(parameters: &HetznerParameters, account: &HetznerAccount) -> Self {
        Self { parameters: parameters.clone(), account: Arc::clone(&account.0) }
    }

    /// For plans alone: every call would fail.
    ///
    /// # Errors
    /// Parameters that nothing can be called with.
    pub fn for_planning(parameters: &HetznerParameters) -> Result<Self, HetznerError> {
        Ok(Self::new(parameters, &HetznerAccount::new(parameters, None)?))
    }

    /// The same with other parameters: of another class in the same account.
    #[must_use]
    pub fn with_parameters(&self, parameters: &HetznerParameters) -> Self {
        Self { parameters: parameters.clone(), account: Arc::clone(&self.account) }
    }

    async fn carry_out(
        &self,
        owner: &Owner,
        action: &Action,
        certificate: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        let Account { api, .. } = self.account.as_ref();
        let applier = Applier { api, parameters: &self.parameters, owner, certificate };
        if let Action::Create { spec } = action {
            let created = applier.create(spec).await?;
            // From now on it exists, whatever becomes of the rest.
            self.account.ledger().take(&owner.uid, action, Some(created.balancer));
            return api.end("POST load_balancers", created.begun).await;
        }
        applier.apply(action).await?;
        let mut ledger = self.account.ledger();
        match action {
            // What it is made of, or what address it got there, has to be looked at.
            Action::Adopt { .. }
            | Action::UploadCertificate { .. }
            | Action::AttachToNetwork { .. }
            | Action::EnablePublicInterface { .. } => {
                ledger.take(&owner.uid, action, None);
                ledger.doubt(&owner.uid);
            }
            _ => ledger.take(&owner.uid, action, None),
        }
        Ok(())
    }
}

impl Provider for HetznerProvider {
    type Action = Action;
    type Observed = Observed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            provider: "hetzner",
            protocols: vec![Protocol::Tcp],
            mixed_protocols: false,
            // It depends on the balancer's type.
            max_ports: None,
            creates_outside: true,
            sends_to_nodes: true,
        }
    }

    async fn observe(&self, owner: &Owner) -> Result<Observed, ProviderError> {
        let uid = &owner.uid;
        let known = self.account.ledger().known(uid);
        let known = if known == Known::Nothing { self.account.survey(uid).await? } else { known };
        match known {
            Known::Whole(observed) if !observed.may_change_by_itself() => return Ok(observed),
            Known::Whole(_) | Known::Doubtful => {}
            Known::Nothing => return Err(ProviderError::Retryable("Hetzner was not surveyed".to_owned())),
        }
        let observed = self.account.api.look(&self.parameters, uid).await?;
        self.account.ledger().learn(uid, observed.clone());
        Ok(observed)
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
        self.account.ledger().last(&owner.uid).check_owned(&self.parameters, owner)?;
        let done = self.carry_out(owner, &step.action, certificate).await;
        if done.as_ref().is_err_and(leaves_doubt) {
            self.account.ledger().doubt(&owner.uid);
        }
        done
    }

    async fn sweep(&self) -> Result<Sweep, ProviderError> {
        self.account.sweep().await.map(Sweep::Of)
    }

    fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.account.api.calls()
    }

    fn built(&self, observed: &Observed) -> Built {
        observed.built()
    }
}

/// Whether the call may have done something, or the world is not as it was taken for.
fn leaves_doubt(error: &ProviderError) -> bool {
    !matches!(error, ProviderError::Auth(_) | ProviderError::Quota { .. })
}
