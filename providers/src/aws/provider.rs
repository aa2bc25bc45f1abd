//! The provider: what is known, planned, and carried out.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use penstock_crds::AwsParameters;
use penstock_model::Protocol;

use super::{
    action::Action,
    api::{Api, Calls, StaticCredentials},
    apply::Applier,
    ledger::{Known, Ledger},
    observed::Observed,
    planner, tags,
};
use crate::{Built, Capabilities, Certificate, Desired, Owner, Plan, Provider, ProviderError, Step, Sweep};

/// Listeners of one network load balancer (AWS's quota).
const MOST_PORTS: usize = 50;

/// One VPC of an account, as this cluster sees it: the calls and what is remembered, shared by the classes that name
/// the same. Two of them would not know of each other's changes.
#[derive(Clone)]
pub struct AwsAccount(Arc<Account>);

struct Account {
    scope: AwsParameters,
    api: Api,
    ledger: Mutex<Ledger>,
    /// Held by who surveys: the others wait for what it finds.
    surveying: tokio::sync::Mutex<()>,
}

/// For how long AWS may not show what was created. It gives no bound; some seconds are seen.
const LAG: Duration = Duration::from_secs(10);

/// The Services that are looked at closely in each sweep.
const TURNS: usize = 40;

/// The provider `aws`, for one class.
pub struct AwsProvider {
    parameters: AwsParameters,
    account: Arc<Account>,
}

impl fmt::Debug for AwsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsProvider").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

impl AwsAccount {
    /// What a class names. Without credentials of its own it uses what the SDK finds: environment, web identity,
    /// container or instance role. No call is made before it is needed.
    pub async fn new(parameters: &AwsParameters, credentials: Option<StaticCredentials>) -> Self {
        Self::with(parameters, Api::new(parameters, credentials).await, LAG)
    }

    /// The same without limits of its own: for endpoints that have none, and show what was created at once.
    pub async fn without_limits(parameters: &AwsParameters, credentials: Option<StaticCredentials>) -> Self {
        Self::without_limits_but_lag(parameters, credentials, Duration::ZERO).await
    }

    /// The same for endpoints that show what was created only after a while.
    pub async fn without_limits_but_lag(
        parameters: &AwsParameters,
        credentials: Option<StaticCredentials>,
        lag: Duration,
    ) -> Self {
        let mut api = Api::new(parameters, credentials).await;
        api.limited = false;
        Self::with(parameters, api, lag)
    }

    fn with(parameters: &AwsParameters, api: Api, lag: Duration) -> Self {
        let ledger = Mutex::new(Ledger::new(lag, Instant::now()));
        let (scope, surveying) = (parameters.clone(), tokio::sync::Mutex::default());
        Self(Arc::new(Account { scope, api, ledger, surveying }))
    }

    /// Classes of the same identity share an account.
    #[must_use]
    pub fn identity(parameters: &AwsParameters) -> String {
        let AwsParameters { region, vpc_id, cluster_name, endpoint_url, credentials_secret, .. } = parameters;
        format!("aws {region} {vpc_id} {cluster_name} {endpoint_url:?} {credentials_secret:?}")
    }

    /// How often each call was made since the beginning, by the API's name for it.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.api.calls()
    }
}

impl Account {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once for all Services; whoever comes meanwhile waits.
    async fn survey(&self, uid: &str) -> Result<Known, ProviderError> {
        let _alone = self.surveying.lock().await;
        let known = self.ledger().known(uid);
        if known != Known::Nothing {
            return Ok(known);
        }
        let from = Instant::now();
        let found = self.api.survey(&self.scope).await?;
        let mut ledger = self.ledger();
        ledger.surveyed(found, from);
        Ok(ledger.known(uid))
    }

    /// In bulk, but for listeners, attributes and targets, which only questions about each tell: a part of the Services
    /// has its turn each time.
    async fn sweep(&self) -> Result<BTreeSet<String>, ProviderError> {
        let _alone = self.surveying.lock().await;
        let (mark, from) = (self.ledger().mark(), Instant::now());
        let found = self.api.survey(&self.scope).await?;
        let mut ledger = self.ledger();
        let mut differ = ledger.compared(mark, &found);
        ledger.surveyed(found, from);
        differ.extend(ledger.take_turns(TURNS));
        Ok(differ)
    }
}

impl AwsProvider {
    /// The provider of a class in its account.
    #[must_use]
    pub fn new(parameters: &AwsParameters, account: &AwsAccount) -> Self {
        Self { parameters: parameters.clone(), account: Arc::clone(&account.0) }
    }

    /// For plans alone: every call would fail.
    #[must_use]
    pub fn for_planning(parameters: &AwsParameters) -> Self {
        Self::new(parameters, &AwsAccount::with(parameters, Api::without_credentials(parameters), LAG))
    }

    /// The same with other parameters: of another class in the same account.
    #[must_use]
    pub fn with_parameters(&self, parameters: &AwsParameters) -> Self {
        Self { parameters: parameters.clone(), account: Arc::clone(&self.account) }
    }

    /// AWS answers the creation of what exists under the name, with the same settings, as if it had created it, whoever
    /// owns it (aws-load-balancer-controller 2533, 3027). One look at the tags of all that was created, before anything
    /// else is done with it.
    ///
    /// # Errors
    /// [`ProviderError::NotOwned`].
    async fn confirm(&self, owner: &Owner) -> Result<(), ProviderError> {
        let unconfirmed = self.account.ledger().unconfirmed(&owner.uid);
        if unconfirmed.is_empty() {
            return Ok(());
        }
        let tags = self.account.api.tags_of_new(&unconfirmed).await?;
        let (mut ours, mut foreign, mut first) = (BTreeSet::new(), BTreeSet::new(), None);
        for (arn, said) in tags {
            match tags::check(&said, &self.parameters, owner, &format!("{arn}, which has its name,")) {
                Ok(()) => ours.insert(arn),
                Err(error) => {
                    first.get_or_insert(error);
                    foreign.insert(arn)
                }
            };
        }
        let mut ledger = self.account.ledger();
        ledger.confirm(&owner.uid, &ours);
        ledger.disown(&owner.uid, &foreign);
        first.map_or(Ok(()), Err)
    }

    /// What is known, or else asked for.
    async fn look(&self, uid: &str) -> Result<Observed, ProviderError> {
        let from = Instant::now();
        let known = self.account.ledger().known(uid);
        let known = if known == Known::Nothing { self.account.survey(uid).await? } else { known };
        let observed = match known {
            Known::Whole(observed) if !observed.may_change_by_itself() => return Ok(observed),
            Known::Whole(_) => {
                let clues = self.account.ledger().clues(uid);
                self.account.api.look(&self.parameters, uid, clues).await?
            }
            Known::Nothing => return Err(ProviderError::Retryable("AWS was not surveyed".to_owned())),
            Known::Outline(mut observed) => {
                self.account.api.complete(&mut observed).await?;
                observed
            }
            Known::Doubtful(clues) => self.account.api.look(&self.parameters, uid, clues).await?,
        };
        self.account.ledger().learn(uid, observed.clone(), from);
        Ok(observed)
    }

    /// # Errors
    /// Always: [`ProviderError::Pending`] while AWS may not show everything yet, and then [`ProviderError::Conflict`], as
    /// the rest of the plan follows from what there is.
    fn look_again(&self, uid: &str) -> Result<(), ProviderError> {
        let mut ledger = self.account.ledger();
        match ledger.unsettled(uid, Instant::now()) {
            Some(wait) if !wait.is_zero() => Err(ProviderError::Pending(wait)),
            _ => {
                ledger.look_again(uid);
                Err(ProviderError::Conflict(
                    "AWS shows by now what was created: it is asked again".to_owned(),
                ))
            }
        }
    }
}

impl Provider for AwsProvider {
    type Action = Action;
    type Observed = Observed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            provider: "aws",
            protocols: vec![Protocol::Tcp, Protocol::Udp],
            mixed_protocols: true,
            max_ports: Some(MOST_PORTS),
            creates_outside: true,
            sends_to_nodes: true,
        }
    }

    async fn observe(&self, owner: &Owner) -> Result<Observed, ProviderError> {
        let observed = self.look(&owner.uid).await?;
        let unsettled = self.account.ledger().unsettled(&owner.uid, Instant::now()).is_some();
        Ok(Observed { unsettled, ..observed })
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
        let (uid, action) = (&owner.uid, &step.action);
        if matches!(action, Action::LookAgain {}) {
            return self.look_again(uid);
        }
        if !action.creates() {
            self.confirm(owner).await?;
        }
        let observed = self.account.ledger().last(uid);
        observed.check_owned(&self.parameters, owner)?;
        let applier = Applier {
            api: &self.account.api,
            parameters: &self.parameters,
            owner,
            observed: &observed,
            certificate,
        };
        let result = applier.apply(action).await;
        let mut ledger = self.account.ledger();
        match result {
            // What it is made of has to be looked at.
            Ok(_) if matches!(action, Action::Adopt { .. }) => {
                ledger.doubt(uid, action.clues(), Instant::now())
            }
            Ok(made) => ledger.take(uid, action, made, Instant::now()),
            Err(error) => {
                let now = Instant::now();
                if leaves_doubt(&error) {
                    ledger.doubt(uid, action.clues(), now);
                } else if matches!(error, ProviderError::Pending(_))
                    && ledger.unsettled(uid, now) == Some(Duration::ZERO)
                {
                    // What is still in use may be so by something that was not shown.
                    ledger.look_again(uid);
                }
                return Err(error);
            }
        }
        Ok(())
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
}

/// Whether the call may have done something, or the world is not as it was taken for.
fn leaves_doubt(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Retryable(_) | ProviderError::Conflict(_) | ProviderError::NotFound(_))
}
