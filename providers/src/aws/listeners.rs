//! What has to be done to the listeners of a balancer.

use super::{
    action::Action,
    attributes::{Holder, listed},
    observed::{Balancer, Listener},
    planner::step,
    reading::Pairs,
    spec::{ListenerSpec, Transport},
    wanted::{Wanted, WantedPort},
};
use crate::{Risk, Step};

/// First those that come and change, then those that go. `None`: the balancer is new.
pub(super) fn listener_steps(balancer: Option<&Balancer>, wanted: &Wanted) -> Vec<Step<Action>> {
    let name = &wanted.balancer.name;
    let existing = balancer.map(|b| b.listeners.as_slice()).unwrap_or_default();
    let mut steps = Vec::new();
    for port in &wanted.ports {
        match existing.iter().find(|listener| listener.spec.port == port.listener.port) {
            None => steps.extend(created(name, port, balancer.is_some())),
            Some(listener) => steps.extend(changed(name, listener, port)),
        }
    }
    let unwanted = |l: &&Listener| !wanted.ports.iter().any(|port| port.listener.port == l.spec.port);
    for listener in existing.iter().filter(unwanted) {
        let ListenerSpec { port, protocol, .. } = listener.spec;
        let reason = format!("the Service no longer has {protocol} {port}");
        steps.push(step(Action::DeleteListener { balancer: name.clone(), port }, reason, Risk::Disruptive));
    }
    steps
}

fn created(balancer: &str, port: &WantedPort, later: bool) -> Vec<Step<Action>> {
    let spec = port.listener.clone();
    let more = if later { " as well" } else { "" };
    let reason = format!("the Service has {} {}{more}", spec.protocol, spec.port);
    let action = Action::CreateListener { balancer: balancer.to_owned(), spec: spec.clone() };
    let mut steps = vec![step(action, reason, Risk::Safe)];
    steps.extend(certificates(balancer, &spec, spec.certificates.get(..1).unwrap_or_default()));
    steps.extend(attributes(balancer, port, Some(&Pairs::new())));
    steps
}

fn changed(balancer: &str, listener: &Listener, port: &WantedPort) -> Vec<Step<Action>> {
    let (has, wanted) = (&listener.spec, &port.listener);
    let mut steps = Vec::new();
    let reasons = differences(has, wanted);
    if !reasons.is_empty() {
        let risk =
            if reasons.iter().all(|(_, risk)| *risk == Risk::Safe) { Risk::Safe } else { Risk::Disruptive };
        let texts: Vec<String> = reasons.into_iter().map(|(text, _)| text).collect();
        // What the Service says nothing of stays.
        let policy =
            wanted.policy.clone().or_else(|| has.policy.clone().filter(|_| wanted.protocol == has.protocol));
        let spec = ListenerSpec { policy, ..wanted.clone() };
        let action = Action::ModifyListener { balancer: balancer.to_owned(), spec };
        steps.push(step(action, texts.join("; "), risk));
    }
    let mut known = has.certificates.clone();
    if known.first() != wanted.certificates.first() {
        known =
            wanted.certificates.first().into_iter().chain(has.certificates.iter().skip(1)).cloned().collect();
    }
    steps.extend(certificates(balancer, wanted, &known));
    steps.extend(attributes(balancer, port, listener.attributes.as_ref()));
    steps
}

fn differences(has: &ListenerSpec, wanted: &ListenerSpec) -> Vec<(String, Risk)> {
    let port = wanted.port;
    let mut found = Vec::new();
    if has.protocol != wanted.protocol {
        found.push((
            format!("port {port} is {} and no longer {}", wanted.protocol, has.protocol),
            Risk::Disruptive,
        ));
    }
    if has.group != wanted.group {
        found.push((format!("port {port} sends to another target group"), Risk::Disruptive));
    }
    if has.certificates.first() != wanted.certificates.first() && !wanted.certificates.is_empty() {
        found.push((format!("port {port} has another certificate"), Risk::Safe));
    }
    if wanted.policy.is_some() && has.policy != wanted.policy {
        found.push((format!("port {port} has another negotiation policy"), Risk::Disruptive));
    }
    if has.alpn != wanted.alpn {
        found.push((format!("port {port} has another ALPN policy"), Risk::Disruptive));
    }
    found
}

/// Those after the first: what is missing comes before what is too much goes.
fn certificates(balancer: &str, wanted: &ListenerSpec, known: &[String]) -> Vec<Step<Action>> {
    let (balancer, port) = (balancer.to_owned(), wanted.port);
    // Without TLS there is none, and AWS drops them with the protocol.
    if wanted.certificates.is_empty() {
        return Vec::new();
    }
    let without = |list: &[String], others: &[String]| -> Vec<String> {
        list.iter().filter(|arn| !others.contains(arn)).cloned().collect()
    };
    let (add, remove) = (without(&wanted.certificates, known), without(known, &wanted.certificates));
    let mut steps = Vec::new();
    if !add.is_empty() {
        let action = Action::AddCertificates { balancer: balancer.clone(), port, certificates: add };
        steps.push(step(action, format!("port {port} has more certificates"), Risk::Safe));
    }
    if !remove.is_empty() {
        let action = Action::RemoveCertificates { balancer, port, certificates: remove };
        steps.push(step(action, format!("port {port} has fewer certificates"), Risk::Disruptive));
    }
    steps
}

/// Looked at only where somebody asks for something, or did.
fn attributes(balancer: &str, port: &WantedPort, has: Option<&Pairs>) -> Option<Step<Action>> {
    let none = Pairs::new();
    // AWS has none of listeners with TLS, and refuses to put back what there was before.
    if port.listener.protocol == Transport::Tls && port.listener_attributes.is_empty() {
        return None;
    }
    let attributes = Holder::Listener.difference(&port.listener_attributes, has.unwrap_or(&none));
    if attributes.is_empty() {
        return None;
    }
    let reason = format!("port {} is to have {}", port.listener.port, listed(&attributes));
    let (balancer, port) = (balancer.to_owned(), port.listener.port);
    Some(step(Action::SetListenerAttributes { balancer, port, attributes }, reason, Risk::Safe))
}
