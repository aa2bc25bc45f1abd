//! The way from what exists to what a Service wants: pure.
//!
//! The order: targets of what stays, so that nodes come and go while something risky waits for approval; new target
//! groups; the balancer; listeners; targets of what is new; and deletions last, after nothing refers to them. Where a
//! balancer is replaced every step of the new one is risky, so that nothing of it is built before somebody agrees.

use std::collections::BTreeSet;

use penstock_crds::AwsParameters;

use super::{
    action::Action,
    attributes::{DELETION_PROTECTION, Holder, listed},
    change::{balancer_changes, group_changes, target_changes},
    listeners::listener_steps,
    observed::{Balancer, Group, Imported, Observed},
    options::{Options, TargetType},
    reading::Pairs,
    spec::{GroupTarget, Transport},
    tags,
    wanted::{Scope, Wanted, WantedCertificate, WantedPort},
};
use crate::{Desired, Owner, Plan, ProviderError, Risk, Step};

/// # Errors
/// What the Service cannot have; [`ProviderError::NotOwned`]; a balancer that is protected from deletion.
pub(super) fn plan(
    parameters: &AwsParameters,
    owner: &Owner,
    desired: Option<&Desired>,
    observed: &Observed,
) -> Result<Plan<Action>, ProviderError> {
    observed.check_owned(parameters, owner)?;
    let Some(desired) = desired else { return removal(observed) };
    let options = Options::read(parameters, desired)?;
    let scope = Scope { parameters, owner, desired, options: &options };
    if let Some(step) = adoption(&scope, observed) {
        scope.wanted(&Observed::default())?;
        return Ok(Plan { steps: vec![step] });
    }
    let wanted = scope.wanted(observed)?;
    Planner { scope: &scope, wanted: &wanted, observed }.plan()
}

pub(super) fn step(action: Action, reason: impl Into<String>, risk: Risk) -> Step<Action> {
    let calls = match &action {
        // It and its tags are looked at, ours are added.
        Action::Adopt { .. } | Action::LookAgain {} => 3,
        _ => 1,
    };
    Step { action, reason: reason.into(), risk, calls }
}

/// Alone in its plan: what else is to be done follows from what the balancer is.
fn adoption(scope: &Scope<'_>, observed: &Observed) -> Option<Step<Action>> {
    let arn = scope.options.adopt.clone()?;
    if observed.balancers.iter().any(|balancer| balancer.arn == arn) {
        return None;
    }
    let tags = tags::ownership(scope.parameters, scope.owner, "load-balancer");
    let reason =
        "the Service's annotation names it: from now on it is changed, and deleted, with the Service";
    Some(step(Action::Adopt { arn, tags }, reason, Risk::Disruptive))
}

/// Balancers go first: they refer to the groups.
fn removal(observed: &Observed) -> Result<Plan<Action>, ProviderError> {
    let mut steps = Vec::new();
    for balancer in &observed.balancers {
        let reason = format!("the Service no longer wants its balancer ({})", balancer.dns_name);
        steps.push(delete_balancer(balancer, &balancer.attributes, reason)?);
    }
    steps.extend(observed.groups.iter().map(delete_group));
    steps.extend(observed.certificates.iter().map(delete_certificate));
    // Not before: what is approved is the same whatever is known of the rest.
    if steps.is_empty() {
        steps.extend(look_again(observed));
    }
    Ok(Plan { steps })
}

/// # Errors
/// The balancer is protected: that is somebody's will, and never overridden.
fn delete_balancer(
    balancer: &Balancer,
    attributes: &Pairs,
    reason: String,
) -> Result<Step<Action>, ProviderError> {
    let name = &balancer.spec.name;
    if attributes.get(DELETION_PROTECTION).is_some_and(|value| value == "true") {
        return Err(ProviderError::refused(format!(
            "load balancer {name:?} is protected from deletion: switch {DELETION_PROTECTION} off in AWS if it may go"
        )));
    }
    Ok(step(Action::DeleteLoadBalancer { balancer: name.clone() }, reason, Risk::Destructive))
}

fn delete_group(group: &Group) -> Step<Action> {
    let reason = format!("nothing sends to {} any longer", place(group));
    step(Action::DeleteTargetGroup { group: group.spec.name.clone() }, reason, Risk::Safe)
}

/// Before it is said that nothing is left, and before what has no name is made a second time.
fn look_again(observed: &Observed) -> Option<Step<Action>> {
    let reason = "AWS may not show yet what a call has made that it did not answer";
    observed.unsettled.then(|| step(Action::LookAgain {}, reason, Risk::Safe))
}

/// After the listeners that had it.
fn delete_certificate(imported: &Imported) -> Step<Action> {
    let action = Action::DeleteCertificate { arn: imported.arn.clone() };
    step(action, "no listener has what was imported any longer", Risk::Safe)
}

fn place(group: &Group) -> String {
    let kind = &group.spec.kind;
    match kind.target_type {
        TargetType::Instance => format!("{} port {} of instances", kind.protocol, kind.port),
        TargetType::Ip => format!("endpoints by {}", kind.protocol),
    }
}

/// Makes the plan of a Service that wants something.
pub(super) struct Planner<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) wanted: &'a Wanted,
    pub(super) observed: &'a Observed,
}

impl<'a> Planner<'a> {
    fn plan(&self) -> Result<Plan<Action>, ProviderError> {
        let current = self
            .observed
            .balancer(&self.wanted.balancer.name)
            .filter(|b| b.spec.scheme == self.wanted.balancer.scheme);
        if let Some(balancer) = current {
            self.check_changeable(balancer)?;
        }
        let superseded: Vec<&Balancer> =
            self.observed.balancers.iter().filter(|b| current.is_none_or(|c| c.arn != b.arn)).collect();
        let mut steps: Vec<_> = self.import().collect();
        steps.extend(self.meanwhile(current));
        let mut new = match current {
            Some(balancer) => self.changed(balancer),
            None => self.created(&superseded),
        };
        let deleted = self.deletions(&superseded)?;
        // Two of one name cannot exist.
        let collides = |b: &&Balancer| b.spec.name == self.wanted.balancer.name;
        if current.is_none() && superseded.iter().any(collides) {
            steps.extend(deleted);
            steps.append(&mut new);
        } else {
            steps.append(&mut new);
            steps.extend(deleted);
        }
        steps.extend(self.unwanted_groups().map(delete_group));
        steps.extend(self.unwanted_certificates().map(delete_certificate));
        Ok(Plan { steps })
    }

    /// A certificate whose content is another keeps its ARN, so that no listener hears of it.
    fn import(&self) -> impl Iterator<Item = Step<Action>> + use<> {
        let import = self.imported();
        let anew = import.is_some() && self.observed.certificate().is_none();
        look_again(self.observed).filter(|_| anew).into_iter().chain(import)
    }

    fn imported(&self) -> Option<Step<Action>> {
        let WantedCertificate { secret, fingerprint, tags } = self.wanted.certificate.as_ref()?;
        let held = self.observed.certificate();
        if held.is_some_and(|held| held.fingerprint.as_ref() == Some(fingerprint)) {
            return None;
        }
        let reason = match held {
            Some(_) => format!("Secret {secret} holds another certificate by now"),
            None => format!("listeners are to have the certificate of Secret {secret}"),
        };
        let arn = held.map(|held| held.arn.clone());
        // ACM takes none with what exists.
        let tags = if arn.is_some() { Pairs::new() } else { tags.clone() };
        let action = Action::ImportCertificate { arn, fingerprint: fingerprint.clone(), tags };
        Some(step(action, reason, Risk::Safe))
    }

    fn unwanted_certificates(&self) -> impl Iterator<Item = &'a Imported> {
        let kept = self.observed.certificate().filter(|_| self.wanted.certificate.is_some());
        self.observed.certificates.iter().filter(move |one| kept.is_none_or(|kept| kept.arn != one.arn))
    }

    /// What may be done to what exists before anything else, and harms nobody.
    fn meanwhile(&self, current: Option<&Balancer>) -> Vec<Step<Action>> {
        let mut steps = Vec::new();
        for port in &self.wanted.ports {
            if let Some(group) = self.observed.group(&port.group.name) {
                steps.extend(target_changes(&port.group.name, &group.targets, &port.targets));
                steps.extend(group_changes(group, port));
            }
        }
        let leaving = |group: &&Group| self.is_still_used(group, current);
        for group in self.unwanted_groups().filter(leaving) {
            steps.extend(self.kept_up(group));
        }
        // What is risky among the changes of a group waits with the rest.
        steps.sort_by_key(|step| step.risk.needs_approval());
        steps
    }

    /// A group that a listener is to be moved away from, while that may have to wait for approval.
    fn is_still_used(&self, group: &Group, current: Option<&Balancer>) -> bool {
        let of = |balancer: &Balancer| {
            let moved = |port: u16| self.wanted.ports.iter().any(|wanted| wanted.listener.port == port);
            balancer.listeners.iter().any(|l| l.spec.group == group.spec.name && moved(l.spec.port))
        };
        current.map_or_else(|| self.observed.balancers.iter().any(of), of)
    }

    /// Nodes come and go there as well.
    fn kept_up(&self, group: &Group) -> Vec<Step<Action>> {
        let port = group.spec.kind.port;
        if group.spec.kind.target_type != TargetType::Instance
            || self.scope.options.target_type != TargetType::Instance
        {
            return Vec::new();
        }
        let ids = self.scope.desired.targets.iter().filter_map(super::targets::instance_id);
        let targets: BTreeSet<GroupTarget> = ids.map(|id| GroupTarget { id: id.to_owned(), port }).collect();
        target_changes(&group.spec.name, &group.targets, &targets)
    }

    fn unwanted_groups(&self) -> impl Iterator<Item = &'a Group> {
        let wanted = |group: &&Group| self.wanted.ports.iter().any(|port| port.group.name == group.spec.name);
        self.observed.groups.iter().filter(move |group| !wanted(group))
    }

    fn changed(&self, balancer: &Balancer) -> Vec<Step<Action>> {
        let mut steps = self.new_groups(true);
        steps.extend(balancer_changes(balancer, self.wanted));
        steps.extend(listener_steps(Some(balancer), self.wanted));
        steps
    }

    fn created(&self, superseded: &[&Balancer]) -> Vec<Step<Action>> {
        let mut steps = self.new_groups(false);
        let spec = self.wanted.balancer.clone();
        let name = spec.name.clone();
        let ports: Vec<String> = self.wanted.ports.iter().map(describe).collect();
        let reason = match superseded {
            [] => format!("the Service has no balancer yet: {}", ports.join(", ")),
            _ => "AWS cannot change the scheme of a balancer: it is replaced by another".to_owned(),
        };
        // Besides, one look at the tags of all that was created: see `AwsProvider::confirm`.
        steps.push(Step { calls: 2, ..step(Action::CreateLoadBalancer { spec }, reason, Risk::Safe) });
        let attributes = Holder::Balancer.difference(&self.wanted.attributes, &Pairs::new());
        if !attributes.is_empty() {
            let reason = format!("the Service asks for {}", listed(&attributes));
            steps.push(step(
                Action::SetLoadBalancerAttributes { balancer: name, attributes },
                reason,
                Risk::Safe,
            ));
        }
        steps.extend(self.absent_groups().filter_map(group_attributes));
        steps.extend(listener_steps(None, self.wanted));
        for port in self.absent_groups() {
            steps.extend(target_changes(&port.group.name, &BTreeSet::new(), &port.targets));
        }
        if !superseded.is_empty() {
            steps.iter_mut().for_each(|step| step.risk = step.risk.max(Risk::ReplacesAddress));
        }
        steps
    }

    /// With their targets, where the balancer is there already: a listener is not moved to an empty group.
    fn new_groups(&self, with_targets: bool) -> Vec<Step<Action>> {
        let mut steps = Vec::new();
        for port in self.absent_groups() {
            let spec = port.group.clone();
            let (name, reason) = (spec.name.clone(), format!("port {} sends there", port.listener.port));
            let calls = if with_targets { 2 } else { 1 };
            steps.push(Step { calls, ..step(Action::CreateTargetGroup { spec }, reason, Risk::Safe) });
            if with_targets {
                steps.extend(group_attributes(port));
                steps.extend(target_changes(&name, &BTreeSet::new(), &port.targets));
            }
        }
        steps
    }

    fn absent_groups(&self) -> impl Iterator<Item = &'a WantedPort> {
        self.wanted.ports.iter().filter(|port| self.observed.group(&port.group.name).is_none())
    }

    fn deletions(&self, superseded: &[&Balancer]) -> Result<Vec<Step<Action>>, ProviderError> {
        let mut steps = Vec::new();
        for balancer in superseded {
            let mut attributes = balancer.attributes.clone();
            let freed = self.wanted.attributes.get(DELETION_PROTECTION).filter(|value| *value == "false");
            let name = balancer.spec.name.clone();
            if let (Some(off), Some("true")) =
                (freed, attributes.get(DELETION_PROTECTION).map(String::as_str))
            {
                let change = Pairs::from([(DELETION_PROTECTION.to_owned(), off.clone())]);
                attributes.extend(change.clone());
                let reason = "the Service asks for no protection from deletion";
                let action = Action::SetLoadBalancerAttributes { balancer: name, attributes: change };
                steps.push(step(action, reason, Risk::ReplacesAddress));
            }
            let reason = format!("another balancer takes the place of {}", balancer.dns_name);
            steps.push(delete_balancer(balancer, &attributes, reason)?);
        }
        Ok(steps)
    }

    /// # Errors
    /// What AWS cannot change of a balancer.
    fn check_changeable(&self, balancer: &Balancer) -> Result<(), ProviderError> {
        let (has, wanted) = (&balancer.spec, &self.wanted.balancer);
        let cannot = |what: &str| {
            Err(ProviderError::refused(format!(
                "AWS cannot {what}: put it back, or delete the Service and create it anew"
            )))
        };
        if balancer.vpc_id != self.scope.parameters.vpc_id {
            return cannot(&format!("move a load balancer out of {}, where it was built", balancer.vpc_id));
        }
        if has.security_groups.is_empty() && !wanted.security_groups.is_empty() {
            return cannot("give security groups to a load balancer that was built without");
        }
        let moved = wanted.subnets.iter().find(|subnet| {
            let before = has.subnets.iter().find(|other| other.id == subnet.id);
            before.is_some_and(|before| {
                before.allocation != subnet.allocation || before.private_address != subnet.private_address
            })
        });
        if let Some(subnet) = moved {
            return cannot(&format!("change the address that a load balancer has in {}", subnet.id));
        }
        if balancer.failed {
            return Err(ProviderError::Retryable(format!(
                "AWS could not build load balancer {:?}",
                has.name
            )));
        }
        Ok(())
    }
}

/// What a new group is told.
fn group_attributes(port: &WantedPort) -> Option<Step<Action>> {
    let attributes = port.holder().difference(&port.group_attributes, &Pairs::new());
    if attributes.is_empty() {
        return None;
    }
    let (group, reason) = (port.group.name.clone(), format!("the Service asks for {}", listed(&attributes)));
    Some(step(Action::SetTargetGroupAttributes { group, attributes }, reason, Risk::Safe))
}

impl WantedPort {
    /// For the attributes of its group.
    pub(super) fn holder(&self) -> Holder {
        let kind = &self.group.kind;
        let udp = matches!(kind.protocol, Transport::Udp | Transport::TcpUdp);
        Holder::Group { keeps_client_ip: udp || kind.target_type == TargetType::Instance }
    }
}

fn describe(port: &WantedPort) -> String {
    format!("{} {}", port.listener.protocol, port.listener.port)
}
