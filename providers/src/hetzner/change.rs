//! What has to be done to a balancer that exists.
//!
//! The order: targets that come and go, so that they do while something risky waits for approval; a larger size before
//! what needs it; interfaces; services that come, those that change, those that go, unless there is no room for both; and
//! a smaller size last.

use std::collections::BTreeSet;

use super::{
    action::Action,
    observed::Balancer,
    planner::step,
    spec::{BalancerSpec, Place, Protocol, ServiceSpec, TargetSpec},
    wanted::{most_services, most_targets},
};
use crate::{ProviderError, Risk, Step};

/// # Errors
/// What Hetzner cannot change of a balancer.
pub(super) fn changes(
    balancer: &Balancer,
    wanted: &BalancerSpec,
) -> Result<Vec<Step<Action>>, ProviderError> {
    check_place(balancer, wanted)?;
    let (larger, smaller) = size(balancer, wanted);
    let interfaces = interfaces(balancer, wanted);
    // By a private network nobody is reached before there is one.
    let (first, later): (Vec<_>, Vec<_>) = targets(balancer, wanted)
        .into_iter()
        .partition(|step| !needs_network(&step.action) || interfaces.is_empty());
    let mut first = first;
    // Some of them are risky; those that are not come before.
    first.sort_by_key(|step| step.risk.needs_approval());
    let cramped = most_targets(&balancer.load_balancer_type).is_some_and(|most| wanted.targets.len() > most);
    let mut steps = Vec::new();
    let larger = if cramped {
        steps.extend(larger);
        None
    } else {
        larger
    };
    steps.extend(first);
    steps.extend(update(balancer, wanted));
    steps.extend(larger);
    steps.extend(interfaces);
    steps.extend(later);
    steps.extend(algorithm(balancer, wanted));
    steps.extend(services(balancer, wanted));
    steps.extend(smaller);
    Ok(steps)
}

/// Protocols are not Kubernetes' here.
pub(super) fn shown(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Http => "http",
        Protocol::Https => "https",
    }
}

fn needs_network(action: &Action) -> bool {
    let private = |target: &TargetSpec| match target {
        TargetSpec::Server { use_private_ip, .. } | TargetSpec::LabelSelector { use_private_ip, .. } => {
            *use_private_ip
        }
        TargetSpec::Ip { .. } => false,
    };
    matches!(action, Action::AddTarget { target, .. } | Action::RemoveTarget { target, .. } if private(target))
}

fn check_place(balancer: &Balancer, wanted: &BalancerSpec) -> Result<(), ProviderError> {
    let is = match &wanted.place {
        Place::Location(name) => (name, &balancer.location),
        Place::NetworkZone(name) => (name, &balancer.network_zone),
    };
    if is.0 == is.1 {
        return Ok(());
    }
    Err(ProviderError::refused(format!(
        "Hetzner cannot move a load balancer from {} to {}: put the place back, or delete the Service and create it anew",
        is.1,
        wanted.place.name()
    )))
}

/// Labels that others add, as tools for costs do, stay. Ours that are no longer wanted go.
fn update(balancer: &Balancer, wanted: &BalancerSpec) -> Option<Step<Action>> {
    let kept = |key: &String| !key.starts_with("penstock.dev/") || wanted.labels.contains_key(key);
    let mut labels = balancer.labels.clone();
    labels.retain(|key, _| kept(key));
    labels.extend(wanted.labels.clone());
    let mut differ = Vec::new();
    if balancer.name != wanted.name {
        differ.push(format!("the name is to be {:?}", wanted.name));
    }
    if balancer.labels != labels {
        let keys: BTreeSet<&String> = balancer.labels.keys().chain(labels.keys()).collect();
        let other = keys.into_iter().filter(|key| balancer.labels.get(*key) != labels.get(*key));
        differ.push(format!("labels differ: {}", other.cloned().collect::<Vec<_>>().join(", ")));
    }
    let action = Action::Update { balancer: balancer.id, name: wanted.name.clone(), labels };
    (!differ.is_empty()).then(|| step(action, differ.join("; "), Risk::Safe))
}

/// One that grows does so first, one that shrinks last.
fn size(balancer: &Balancer, wanted: &BalancerSpec) -> (Option<Step<Action>>, Option<Step<Action>>) {
    let (has, name) = (&balancer.load_balancer_type, &wanted.load_balancer_type);
    if has == name {
        return (None, None);
    }
    let action = Action::ChangeType { balancer: balancer.id, load_balancer_type: name.clone() };
    let change = Some(step(action, format!("type {has} is to be {name}"), Risk::Disruptive));
    let shrinks = most_services(name) < most_services(has) && most_services(name).is_some();
    if shrinks { (None, change) } else { (change, None) }
}

fn algorithm(balancer: &Balancer, wanted: &BalancerSpec) -> Option<Step<Action>> {
    let action = Action::ChangeAlgorithm { balancer: balancer.id, algorithm: wanted.algorithm };
    (balancer.algorithm != wanted.algorithm)
        .then(|| step(action, "another algorithm is asked for", Risk::Safe))
}

fn interfaces(balancer: &Balancer, wanted: &BalancerSpec) -> Vec<Step<Action>> {
    let id = balancer.id;
    let mut steps = Vec::new();
    let other = balancer.networks.iter().filter(|network| Some(network.id) != wanted.network);
    for network in other {
        let action = Action::DetachFromNetwork { balancer: id, network: network.id };
        steps.push(step(action, format!("network {} is not the class's", network.id), Risk::Disruptive));
    }
    if let Some(network) = wanted.network.filter(|id| !balancer.networks.iter().any(|n| n.id == *id)) {
        let reason = format!("network {network} is the class's");
        steps.push(step(Action::AttachToNetwork { balancer: id, network }, reason, Risk::Safe));
    }
    match (balancer.public_interface, wanted.public_interface) {
        (false, true) => {
            let reason = "public addresses are asked for";
            steps.push(step(Action::EnablePublicInterface { balancer: id }, reason, Risk::ReplacesAddress));
        }
        (true, false) => {
            let reason = "public addresses are not asked for any longer";
            steps.push(step(Action::DisablePublicInterface { balancer: id }, reason, Risk::ReplacesAddress));
        }
        _ => {}
    }
    steps
}

/// First those that come, then those that go, unless there is no room for both; one that is to be reached in another way goes first.
fn targets(balancer: &Balancer, wanted: &BalancerSpec) -> Vec<Step<Action>> {
    let id = balancer.id;
    let (has, wants) = (&balancer.targets, &wanted.targets);
    let add = |target: &TargetSpec, risk| {
        let reason = format!("{target} to send to");
        step(Action::AddTarget { balancer: id, target: target.clone() }, reason, risk)
    };
    let remove = |target: &TargetSpec, reason: String, risk| {
        step(Action::RemoveTarget { balancer: id, target: target.clone() }, reason, risk)
    };
    let moved = |target: &&TargetSpec| has.iter().any(|held| held.is_same(target));
    let (turned, new): (Vec<_>, Vec<_>) = wants.difference(has).partition(moved);
    let gone = has.difference(wants).filter(|held| !wants.iter().any(|target| target.is_same(held)));
    let come: Vec<Step<Action>> = new.into_iter().map(|target| add(target, Risk::Safe)).collect();
    let go: Vec<Step<Action>> = gone
        .map(|held| {
            // What others may have added by hand carries traffic.
            let risk = if matches!(held, TargetSpec::Ip { .. }) { Risk::Disruptive } else { Risk::Safe };
            remove(held, format!("{held} not to send to any longer"), risk)
        })
        .collect();
    let most = most_targets(&wanted.load_balancer_type).unwrap_or(usize::MAX);
    let crowded = has.len() + come.len() > most;
    let mut steps: Vec<Step<Action>> =
        if crowded { [go, come] } else { [come, go] }.into_iter().flatten().collect();
    for target in turned {
        let reason = format!("{target} is to be reached by the other network");
        steps.push(remove(target, reason, Risk::Disruptive));
        steps.push(add(target, Risk::Disruptive));
    }
    steps
}

fn services(balancer: &Balancer, wanted: &BalancerSpec) -> Vec<Step<Action>> {
    let id = balancer.id;
    let of =
        |services: &'_ [ServiceSpec], port: u16| services.iter().find(|s| s.listen_port == port).cloned();
    let come: Vec<Step<Action>> = wanted
        .services
        .iter()
        .filter(|service| of(&balancer.services, service.listen_port).is_none())
        .map(|service| {
            let reason = format!("{} {} is added", shown(service.protocol), service.listen_port);
            step(Action::AddService { balancer: id, service: service.clone() }, reason, Risk::Safe)
        })
        .collect();
    let change = wanted.services.iter().filter_map(|service| {
        let held = of(&balancer.services, service.listen_port).filter(|held| held != service)?;
        let (reason, risk) = difference(&held, service);
        Some(step(Action::UpdateService { balancer: id, service: service.clone() }, reason, risk))
    });
    let go =
        balancer.services.iter().filter(|s| of(&wanted.services, s.listen_port).is_none()).map(|service| {
            let reason = format!("{} {} is removed", shown(service.protocol), service.listen_port);
            let action = Action::DeleteService { balancer: id, listen_port: service.listen_port };
            step(action, reason, Risk::Disruptive)
        });
    let (change, go): (Vec<_>, Vec<_>) = (change.collect(), go.collect());
    let most = most_services(&wanted.load_balancer_type).unwrap_or(usize::MAX);
    // https that answers on port 80 as well cannot come beside what is there.
    let takes_80 = takes_80(&balancer.services) || takes_80(&wanted.services);
    let crowded = balancer.services.len() + come.len() > most || takes_80;
    let parts = if crowded { [go, change, come] } else { [come, change, go] };
    parts.into_iter().flatten().collect()
}

fn takes_80(services: &[ServiceSpec]) -> bool {
    services.iter().any(|service| service.http.as_ref().is_some_and(|http| http.redirect_http))
}

fn difference(held: &ServiceSpec, wanted: &ServiceSpec) -> (String, Risk) {
    let port = wanted.listen_port;
    if held.destination_port != wanted.destination_port {
        let (old, new) = (held.destination_port, wanted.destination_port);
        return (format!("port {port} moves from node port {old} to {new}"), Risk::Disruptive);
    }
    if (held.protocol, held.proxyprotocol) != (wanted.protocol, wanted.proxyprotocol) {
        return (format!("port {port} is to speak another protocol"), Risk::Disruptive);
    }
    if held.http != wanted.http {
        return (format!("port {port} is to have other certificates or http options"), Risk::Safe);
    }
    (format!("the health check of port {port} is another"), Risk::Safe)
}
