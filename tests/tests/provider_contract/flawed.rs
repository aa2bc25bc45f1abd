//! The suite itself: a provider with one flaw for each case, which that case must find.

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Result;
use futures::FutureExt;
use penstock_model::Protocol;
use penstock_providers::{
    Built, Capabilities, Certificate, Desired, Owner, Plan, Provider, ProviderError, Step, Sweep,
    hetzner::{Action, HetznerProvider, Observed},
};
use penstock_tests::provider_contract::{Call, Case, Damages, Foreign, Rig, Thing, Trouble, Which, run};

use crate::hetzner::HetznerRig;

/// `hetzner`, with the flaw that the case of this number finds.
#[derive(Debug)]
struct Flawed<const FLAW: usize> {
    inner: HetznerProvider,
    built_here: AtomicBool,
}

struct FlawedRig<const FLAW: usize>(HetznerRig);

fn has(flaw: usize, case: Case) -> bool {
    Case::ALL[flaw] == case
}

/// What was an error of one kind is one of another.
fn twisted(flaw: usize, error: ProviderError) -> ProviderError {
    match error {
        ProviderError::NotOwned(why) if has(flaw, Case::NotOwned) => ProviderError::refused(why),
        ProviderError::Auth(why) if has(flaw, Case::Credentials) => {
            ProviderError::Auth(format!("{why}: wrong-token"))
        }
        ProviderError::Quota { message, .. } if has(flaw, Case::Quota) => ProviderError::refused(message),
        ProviderError::Throttled(_) if has(flaw, Case::Throttle) => ProviderError::Throttled(Duration::ZERO),
        ProviderError::Retryable(why) if has(flaw, Case::Partial) => ProviderError::refused(why),
        other => other,
    }
}

impl<const FLAW: usize> Flawed<FLAW> {
    fn new(inner: HetznerProvider) -> Self {
        Self { inner, built_here: AtomicBool::new(false) }
    }
}

impl<const FLAW: usize> Provider for Flawed<FLAW> {
    type Action = Action;
    type Observed = Observed;

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Provider::capabilities(&self.inner);
        if has(FLAW, Case::Unsupported) {
            capabilities.protocols.push(Protocol::Udp);
        }
        capabilities
    }

    async fn observe(&self, owner: &Owner) -> Result<Observed, ProviderError> {
        let observed = Provider::observe(&self.inner, owner).await.map_err(|error| twisted(FLAW, error))?;
        let strange = !observed.balancers.is_empty() && !self.built_here.load(Ordering::Relaxed);
        if has(FLAW, Case::Crash) && strange {
            return Err(ProviderError::refused("this process did not build it"));
        }
        Ok(observed)
    }

    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Observed,
    ) -> Result<Plan<Action>, ProviderError> {
        let planned = Provider::plan(&self.inner, owner, desired, observed);
        let plan = planned.map_err(|error| twisted(FLAW, error))?;
        let exists = !observed.balancers.is_empty();
        let forgets = match desired {
            Some(_) => exists && has(FLAW, Case::Change),
            None => has(FLAW, Case::Delete),
        };
        Ok(if forgets { Plan::empty() } else { plan })
    }

    async fn apply(
        &self,
        owner: &Owner,
        step: &Step<Action>,
        certificate: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        self.built_here.store(true, Ordering::Relaxed);
        let applied = Provider::apply(&self.inner, owner, step, certificate).await;
        if let (Action::Create { spec }, Err(ProviderError::Retryable(_)), true) =
            (&step.action, &applied, has(FLAW, Case::Ambiguous))
        {
            let mut spec = spec.clone();
            spec.name.push('x');
            return Provider::apply(&self.inner, owner, &step.with_action(Action::Create { spec }), None)
                .await;
        }
        applied.map_err(|error| twisted(FLAW, error))
    }

    async fn sweep(&self) -> Result<Sweep, ProviderError> {
        let swept = Provider::sweep(&self.inner).await;
        if has(FLAW, Case::Drift) { Ok(Sweep::Of([].into())) } else { swept }
    }

    fn built(&self, observed: &Observed) -> Built {
        if has(FLAW, Case::Create) { Built::default() } else { Provider::built(&self.inner, observed) }
    }
}

impl<const FLAW: usize> Rig for FlawedRig<FLAW> {
    type Provider = Flawed<FLAW>;
    const REMEMBERS: bool = true;

    async fn start() -> Result<Self> {
        Ok(Self(HetznerRig::start().await?))
    }

    async fn provider(&self) -> Flawed<FLAW> {
        Flawed::new(self.0.provider().await)
    }

    async fn without_adoption(&self) -> Result<Flawed<FLAW>> {
        let allows = has(FLAW, Case::Adopt);
        Ok(Flawed::new(if allows { self.0.provider().await } else { self.0.without_adoption().await? }))
    }

    async fn intruder(&self) -> Result<(Flawed<FLAW>, &'static str)> {
        let (inner, secret) = self.0.intruder().await?;
        Ok((Flawed::new(inner), secret))
    }

    fn standing(&self) -> Vec<Thing> {
        self.0.standing()
    }

    /// One that looks again although nothing has changed.
    fn calls(&self) -> Vec<Call> {
        let mut calls = self.0.calls();
        if has(FLAW, Case::NoOp) {
            let looks = std::iter::repeat_n(Call { name: "GET".into(), changes: false }, LOOKS.next());
            calls.extend(looks);
        }
        calls
    }

    fn life() -> Vec<(&'static str, Desired)> {
        HetznerRig::life()
    }

    fn unsupported() -> Vec<(&'static str, Desired)> {
        HetznerRig::unsupported()
    }

    fn go_wrong(&self, nth: usize, which: Which, trouble: Trouble) {
        self.0.go_wrong(nth, which, trouble);
    }

    fn is_trouble_ahead(&self) -> bool {
        self.0.is_trouble_ahead()
    }

    fn exhaust(&self, exhausted: bool) {
        self.0.exhaust(exhausted);
    }

    fn foreign_kinds() -> &'static [&'static str] {
        HetznerRig::foreign_kinds()
    }

    async fn put_foreign(&self, kind: &str, owner: &Owner) -> Result<()> {
        self.0.put_foreign(kind, owner).await
    }

    async fn adoptable(&self, whose: Foreign) -> Result<Desired> {
        self.0.adoptable(whose).await
    }

    fn damages() -> Damages<Self> {
        vec![("a service is gone", |rig| HetznerRig::lose_service(&rig.0))]
    }
}

/// Counts up.
struct Looks(std::sync::atomic::AtomicUsize);

static LOOKS: Looks = Looks(std::sync::atomic::AtomicUsize::new(0));

impl Looks {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

async fn finds<const FLAW: usize>() {
    let case = Case::ALL[FLAW];
    let outcome = AssertUnwindSafe(run::<FlawedRig<FLAW>>(case)).catch_unwind().await;
    assert!(!matches!(outcome, Ok(Ok(()))), "{case} does not find the flaw that it is for");
}

/// One after the other: each panics within, which is all that the output shows of it.
#[tokio::test]
async fn each_case_finds_the_flaw_that_it_is_for() {
    finds::<0>().await;
    finds::<1>().await;
    finds::<2>().await;
    finds::<3>().await;
    finds::<4>().await;
    finds::<5>().await;
    finds::<6>().await;
    finds::<7>().await;
    finds::<8>().await;
    finds::<9>().await;
    finds::<10>().await;
    finds::<11>().await;
    finds::<12>().await;
    finds::<13>().await;
    assert_eq!(Case::ALL.len(), 14, "each case has its flaw");
}
