//! The way from what exists to what a Service wants: pure. One call creates all of a balancer; one that exists is changed
//! by what differs and by nothing else.

use std::time::Duration;

use penstock_crds::{HETZNER_ADOPT, HetznerParameters};

use super::{
    action::Action,
    change::changes,
    labels, name,
    observed::{Balancer, Observed, OwnCertificate},
    options::Options,
    spec::BalancerSpec,
    wanted::Scope,
};
use crate::{Certificate, Desired, Owner, Plan, ProviderError, Risk, Step};

/// When to look again for an address.
const UNADDRESSED: Duration = Duration::from_secs(2);

/// # Errors
/// What the Service cannot have; [`ProviderError::NotOwned`]; a balancer that is protected from deletion;
/// [`ProviderError::Pending`] where nothing is left to do but to wait for an address.
pub(super) fn plan(
    parameters: &HetznerParameters,
    owner: &Owner,
    desired: Option<&Desired>,
    observed: &Observed,
) -> Result<Plan<Action>, ProviderError> {
    observed.check_owned(parameters, owner)?;
    let current = only(observed)?;
    let Some(desired) = desired else { return removal(current, observed) };
    let options = Options::read(parameters, desired)?;
    let own = desired.certificate.as_ref().map(|wanted| (wanted, uploaded(observed, wanted.fingerprint())));
    let certificate = own.and_then(|(_, found)| found.map(|found| found.id));
    let scope = Scope { parameters, owner, desired, options: &options, certificate };
    let wanted = scope.wanted(current)?;
    if let Some((certificate, None)) = own {
        return Ok(Plan { steps: vec![upload(&scope, certificate)] });
    }
    let mut steps = match (options.adopt, current) {
        (Some(id), None) => vec![adoption(&scope, id)],
        (Some(id), Some(balancer)) if balancer.id != id => {
            return Err(ProviderError::refused(format!(
                "annotation {HETZNER_ADOPT} names {id}, and the Service has {}: remove the annotation, or delete the Service and create it anew",
                balancer.place()
            )));
        }
        (None, None) => vec![creation(wanted)],
        (_, Some(balancer)) => changes(balancer, &wanted)?,
    };
    let left = observed.certificates.iter().filter(|held| Some(held.id) != certificate);
    steps.extend(left.map(forget));
    if steps.is_empty() && current.is_some_and(|balancer| balancer.reachable().is_empty()) {
        return Err(ProviderError::Pending(UNADDRESSED));
    }
    Ok(Plan { steps })
}

fn uploaded<'a>(observed: &'a Observed, fingerprint: &str) -> Option<&'a OwnCertificate> {
    let fits = |held: &&OwnCertificate| {
        held.labels.get(labels::FINGERPRINT).is_some_and(|said| said == labels::short(fingerprint))
    };
    observed.certificates.iter().find(fits)
}

/// Alone in its plan: what refers to it needs its identity.
fn upload(scope: &Scope<'_>, certificate: &Certificate) -> Step<Action> {
    let fingerprint = certificate.fingerprint().to_owned();
    let mut labels = labels::ownership(scope.parameters, scope.owner);
    labels.insert(labels::FINGERPRINT.to_owned(), labels::short(&fingerprint).to_owned());
    let name = name::certificate(scope.parameters, scope.owner, &fingerprint);
    let reason = format!("the certificate of Secret {} is not at Hetzner yet", certificate.secret());
    step(Action::UploadCertificate { name, labels, fingerprint }, reason, Risk::Safe)
}

fn forget(held: &OwnCertificate) -> Step<Action> {
    let reason = format!("certificate {:?} is not needed any longer", held.name);
    step(Action::DeleteCertificate { certificate: held.id }, reason, Risk::Safe)
}

pub(super) fn step(action: Action, reason: impl Into<String>, risk: Risk) -> Step<Action> {
    // An adopted one is looked at first.
    let calls = if matches!(action, Action::Adopt { .. }) { 2 } else { 1 };
    Step { action, reason: reason.into(), risk, calls }
}

/// # Errors
/// Names are unique, so that we never build two: somebody gave another one our labels.
fn only(observed: &Observed) -> Result<Option<&Balancer>, ProviderError> {
    match observed.balancers.as_slice() {
        [] => Ok(None),
        [balancer] => Ok(Some(balancer)),
        [one, two, ..] => Err(ProviderError::refused(format!(
            "{} and {} both carry the Service's labels: remove those of the one that is not the Service's",
            one.place(),
            two.place()
        ))),
    }
}

/// Alone in its plan: what else is to be done follows from what the balancer is.
fn adoption(scope: &Scope<'_>, balancer: u64) -> Step<Action> {
    let labels = labels::ownership(scope.parameters, scope.owner);
    let reason =
        "the Service's annotation names it: from now on it is changed, and deleted, with the Service";
    step(Action::Adopt { balancer, labels }, reason, Risk::Disruptive)
}

fn creation(spec: BalancerSpec) -> Step<Action> {
    let ports: Vec<String> = spec
        .services
        .iter()
        .map(|s| format!("{} {}", super::change::shown(s.protocol), s.listen_port))
        .collect();
    let targets = crate::plan_text::count(spec.targets.len(), "target");
    let reason = format!("the Service has no balancer yet: {}; {targets}", ports.join(", "));
    step(Action::Create { spec }, reason, Risk::Safe)
}

/// # Errors
/// The balancer is protected: that is somebody's will, and never overridden.
fn removal(current: Option<&Balancer>, observed: &Observed) -> Result<Plan<Action>, ProviderError> {
    let certificates = observed.certificates.iter().map(forget);
    let Some(balancer) = current else { return Ok(Plan { steps: certificates.collect() }) };
    if balancer.protected {
        return Err(ProviderError::refused(format!(
            "{} is protected from deletion: switch the protection off at Hetzner if it may go",
            balancer.place()
        )));
    }
    let held: Vec<String> = balancer.addresses.iter().map(ToString::to_string).collect();
    let reason = format!("the Service no longer wants its balancer ({})", held.join(", "));
    let delete = step(Action::Delete { balancer: balancer.id }, reason, Risk::Destructive);
    Ok(Plan { steps: std::iter::once(delete).chain(certificates).collect() })
}
