//! The way from what exists to what a Service wants: pure.
//!
//! The order: Droplets first, so that nodes come and go while something risky waits for approval; then the one update that
//! carries all other changes; deletions last. A certificate is uploaded before everything else, alone in its plan, for what
//! follows needs its id; so is what a Service takes.

use std::collections::BTreeSet;

use penstock_crds::DigitalOceanParameters;

use super::{
    action::Action,
    answer::POLL,
    change::{Change, changes},
    name,
    observed::{Balancer, Observed, State},
    options::Options,
    spec::Droplets,
    wanted::{Scope, Wanted},
};
use crate::{Desired, Owner, Plan, ProviderError, Risk, Step, plan_text::count};

/// # Errors
/// What the Service cannot have; [`ProviderError::NotOwned`]; [`ProviderError::Pending`] where nothing is left to do but to
/// wait; [`ProviderError::Retryable`] where DigitalOcean could not do what it accepted.
pub(super) fn plan(
    parameters: &DigitalOceanParameters,
    owner: &Owner,
    desired: Option<&Desired>,
    observed: &Observed,
) -> Result<Plan<Action>, ProviderError> {
    observed.check_owned(parameters, owner)?;
    let Some(desired) = desired else { return Ok(removal(observed)) };
    let options = Options::read(parameters, desired)?;
    let scope = Scope { parameters, owner, desired, options: &options };
    let planner = Planner { scope: &scope, observed };
    match planner.preparation()? {
        Some(step) => Ok(Plan { steps: vec![step] }),
        None => planner.plan(),
    }
}

fn step(action: Action, reason: impl Into<String>, risk: Risk) -> Step<Action> {
    let calls = action.calls();
    Step { action, reason: reason.into(), risk, calls }
}

/// Balancers go first: they show the certificates.
fn removal(observed: &Observed) -> Plan<Action> {
    let delete = |balancer: &Balancer| {
        let addresses: Vec<String> = balancer.addresses.iter().map(ToString::to_string).collect();
        let reason = format!("the Service no longer wants its balancer ({})", addresses.join(", "));
        step(Action::Delete { id: balancer.id.clone() }, reason, Risk::Destructive)
    };
    let mut steps: Vec<Step<Action>> = observed.balancers.iter().map(delete).collect();
    steps.extend(stale_certificates(observed, None));
    Plan { steps }
}

fn stale_certificates<'a>(
    observed: &'a Observed,
    wanted: Option<&'a str>,
) -> impl Iterator<Item = Step<Action>> + 'a {
    let stale = observed.certificates.iter().filter(move |known| Some(known.name.as_str()) != wanted);
    stale.map(|known| {
        let reason = format!("nothing shows certificate {} any longer", known.name);
        step(Action::DeleteCertificate { id: known.id.clone() }, reason, Risk::Safe)
    })
}

struct Planner<'a> {
    scope: &'a Scope<'a>,
    observed: &'a Observed,
}

impl Planner<'_> {
    /// What has to be there before anything else can be planned.
    fn preparation(&self) -> Result<Option<Step<Action>>, ProviderError> {
        // What cannot be had is refused before anything is touched.
        self.scope.wanted(None)?;
        let adopt = self.scope.options.adopt.as_ref().filter(|id| self.observed.balancer(id).is_none());
        if let Some(id) = adopt {
            let mark = name::mark(self.scope.parameters, self.scope.owner)?;
            let name = name::balancer(self.scope.options.name.as_deref(), self.scope.owner, &mark);
            let reason =
                "the Service's annotation names it: from now on it is changed, and deleted, with the Service";
            return Ok(Some(step(Action::Adopt { id: id.clone(), name }, reason, Risk::Disruptive)));
        }
        let certificate = self.certificate_name()?;
        let missing = certificate.filter(|name| self.uploaded(name).is_none());
        Ok(missing.map(|name| {
            let reason = "the Service's Secret has a certificate that DigitalOcean does not have yet";
            step(Action::UploadCertificate { name }, reason, Risk::Safe)
        }))
    }

    /// The certificate of the Service's Secret, as it is named at DigitalOcean.
    fn certificate_name(&self) -> Result<Option<String>, ProviderError> {
        let Some(certificate) = &self.scope.desired.certificate else { return Ok(None) };
        let mark = name::mark(self.scope.parameters, self.scope.owner)?;
        Ok(Some(name::certificate(&mark, certificate.fingerprint())))
    }

    fn uploaded(&self, name: &str) -> Option<&str> {
        let known = self.observed.certificates.iter().find(|known| known.name == name);
        known.map(|known| known.id.as_str())
    }

    fn plan(&self) -> Result<Plan<Action>, ProviderError> {
        let certificate = self.certificate_name()?;
        let uploaded = certificate.as_deref().and_then(|name| self.uploaded(name));
        let Wanted { spec, droplets } = self.scope.wanted(uploaded)?;
        let Some(balancer) = self.kept() else {
            let step = step(Action::Create { spec, droplets }, "the Service has no balancer", Risk::Safe);
            return Ok(Plan { steps: vec![step] });
        };
        // Nothing can be changed before it is there.
        if balancer.state == State::New {
            return Err(ProviderError::Pending(POLL));
        }
        let mut steps = droplet_steps(balancer, &droplets);
        steps.extend(update(balancer, Wanted { spec, droplets }));
        steps.extend(self.surplus(balancer));
        steps.extend(stale_certificates(self.observed, certificate.as_deref()));
        if steps.is_empty() && balancer.state == State::Errored {
            return Err(ProviderError::Retryable(format!(
                "DigitalOcean says that load balancer {} is errored: it may pass, or ask their support",
                balancer.id
            )));
        }
        Ok(Plan { steps })
    }

    /// The one that is taken, else the oldest.
    fn kept(&self) -> Option<&Balancer> {
        let adopted = self.scope.options.adopt.as_ref().and_then(|id| self.observed.balancer(id));
        adopted.or(self.observed.balancers.first())
    }

    /// What a call made whose answer never came, or what another was taken instead of.
    fn surplus(&self, kept: &Balancer) -> Vec<Step<Action>> {
        let others = self.observed.balancers.iter().filter(|balancer| balancer.id != kept.id);
        let delete = |balancer: &Balancer| {
            let reason = format!("load balancer {} carries the Service's mark too", balancer.id);
            step(Action::Delete { id: balancer.id.clone() }, reason, Risk::Destructive)
        };
        others.map(delete).collect()
    }
}

/// First those that come, then those that go. A tag needs no call.
fn droplet_steps(balancer: &Balancer, wanted: &Droplets) -> Vec<Step<Action>> {
    let (Droplets::Ids(has), Droplets::Ids(wanted)) = (&balancer.droplets, wanted) else { return Vec::new() };
    let id = || balancer.id.clone();
    let come: BTreeSet<u64> = wanted.difference(has).copied().collect();
    let go: BTreeSet<u64> = has.difference(wanted).copied().collect();
    let mut steps = Vec::new();
    if !come.is_empty() {
        let reason = format!("{} to send to", count(come.len(), "Droplet"));
        steps.push(step(Action::AddDroplets { id: id(), droplets: come }, reason, Risk::Safe));
    }
    if !go.is_empty() {
        let reason = format!("{} not to send to any longer", count(go.len(), "Droplet"));
        steps.push(step(Action::RemoveDroplets { id: id(), droplets: go }, reason, Risk::Safe));
    }
    steps
}

/// All other changes are one step, because one call carries them.
fn update(balancer: &Balancer, wanted: Wanted) -> Option<Step<Action>> {
    let spec = wanted.spec;
    // What the wish leaves open is taken from what is read just before the update, and not from what is known now.
    let mut found = changes(&balancer.spec, &spec.clone().or_as_is(&balancer.spec));
    let droplets = other_way(&balancer.droplets, wanted.droplets);
    if let Some(droplets) = &droplets {
        let reason = match droplets {
            Droplets::Tag(tag) => format!("it is to send to the Droplets with the tag {tag}"),
            Droplets::Ids(_) => "it is to send to named Droplets instead of those with a tag".to_owned(),
        };
        found.push(Change { reason, risk: Risk::Disruptive });
    }
    let risk = found.iter().map(|change| change.risk).max()?;
    let reasons: Vec<String> = found.into_iter().map(|change| change.reason).collect();
    Some(step(Action::Update { id: balancer.id.clone(), spec, droplets }, reasons.join("; "), risk))
}

/// Named Droplets that come and go are steps of their own.
fn other_way(has: &Droplets, wanted: Droplets) -> Option<Droplets> {
    let same_way = match (has, &wanted) {
        (Droplets::Tag(has), Droplets::Tag(wanted)) => has == wanted,
        (Droplets::Ids(_), Droplets::Ids(_)) => true,
        _ => false,
    };
    (!same_way).then_some(wanted)
}
