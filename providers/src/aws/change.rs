//! What has to be done to balancers and target groups that exist and stay.

use std::collections::BTreeSet;

use super::{
    action::Action,
    attributes::{Holder, PRESERVE_CLIENT_IP, PROXY_PROTOCOL, listed},
    observed::{Balancer, Group},
    options::IpAddressType,
    planner::step,
    reading::Pairs,
    spec::GroupTarget,
    wanted::{Wanted, WantedPort},
};
use crate::{Risk, Step, plan_text::count};

/// What one call takes.
const CHUNK: usize = 200;

/// First those that come, then those that go.
pub(super) fn target_changes(
    group: &str,
    has: &BTreeSet<GroupTarget>,
    wanted: &BTreeSet<GroupTarget>,
) -> Vec<Step<Action>> {
    let of = |targets: Vec<GroupTarget>, verb: &str, make: fn(String, BTreeSet<GroupTarget>) -> Action| {
        let step_of = |chunk: &[GroupTarget]| {
            let reason = format!("{} {verb}", count(chunk.len(), "target"));
            step(make(group.to_owned(), chunk.iter().cloned().collect()), reason, Risk::Safe)
        };
        targets.chunks(CHUNK).map(step_of).collect::<Vec<_>>()
    };
    let come = of(wanted.difference(has).cloned().collect(), "to send to", |group, targets| {
        Action::Register { group, targets }
    });
    let go = of(has.difference(wanted).cloned().collect(), "not to send to any longer", |group, targets| {
        Action::Deregister { group, targets }
    });
    come.into_iter().chain(go).collect()
}

pub(super) fn group_changes(group: &Group, port: &WantedPort) -> Vec<Step<Action>> {
    let name = group.spec.name.clone();
    let mut steps = Vec::new();
    steps.extend(tag_changes(&name, &group.spec.tags, &port.group.tags));
    if group.spec.health_check != port.group.health_check {
        let health_check = port.group.health_check.clone();
        let reason = format!("the health check of port {} is another", port.listener.port);
        steps.push(step(Action::ModifyHealthCheck { group: name.clone(), health_check }, reason, Risk::Safe));
    }
    let attributes = port.holder().difference(&port.group_attributes, &group.attributes);
    if !attributes.is_empty() {
        // Endpoints must learn to read what comes before the first byte, or to do without it.
        let seen = [PRESERVE_CLIENT_IP, PROXY_PROTOCOL].iter().any(|key| attributes.contains_key(*key));
        let risk = if seen { Risk::Disruptive } else { Risk::Safe };
        let reason = format!("port {} is to have {}", port.listener.port, listed(&attributes));
        steps.push(step(Action::SetTargetGroupAttributes { group: name, attributes }, reason, risk));
    }
    steps
}

pub(super) fn balancer_changes(balancer: &Balancer, wanted: &Wanted) -> Vec<Step<Action>> {
    let (has, spec) = (&balancer.spec, &wanted.balancer);
    let name = || spec.name.clone();
    let mut steps = Vec::new();
    steps.extend(tag_changes(&spec.name, &has.tags, &spec.tags));
    let attributes = Holder::Balancer.difference(&wanted.attributes, &balancer.attributes);
    if !attributes.is_empty() {
        let reason = format!("the balancer is to have {}", listed(&attributes));
        steps.push(step(
            Action::SetLoadBalancerAttributes { balancer: name(), attributes },
            reason,
            Risk::Safe,
        ));
    }
    if has.security_groups != spec.security_groups {
        let security_groups = spec.security_groups.clone();
        let action = Action::SetSecurityGroups { balancer: name(), security_groups };
        steps.push(step(action, "other security groups are asked for", Risk::Disruptive));
    }
    if has.subnets != spec.subnets {
        let kept = |id: &String| spec.subnets.iter().any(|subnet| subnet.id == *id);
        let gone = has.subnets.iter().any(|subnet| !kept(&subnet.id));
        let risk = if gone { Risk::Disruptive } else { Risk::Safe };
        let action = Action::SetSubnets { balancer: name(), subnets: spec.subnets.clone() };
        steps.push(step(action, "other subnets are asked for", risk));
    }
    if has.ip_address_type != spec.ip_address_type {
        let (reason, risk) = match spec.ip_address_type {
            IpAddressType::Dualstack => ("IPv6 is asked for", Risk::Safe),
            IpAddressType::Ipv4 => ("IPv6 is not asked for any longer", Risk::Disruptive),
        };
        let action = Action::SetIpAddressType { balancer: name(), ip_address_type: spec.ip_address_type };
        steps.push(step(action, reason, risk));
    }
    steps
}

/// Tags that others add, as tools for costs do, stay; so does one that the Service no longer asks for.
fn tag_changes(resource: &str, has: &Pairs, wanted: &Pairs) -> Option<Step<Action>> {
    let missing = wanted.iter().filter(|(key, value)| has.get(*key) != Some(value));
    let tags: Pairs = missing.map(|(key, value)| (key.clone(), value.clone())).collect();
    if tags.is_empty() {
        return None;
    }
    let reason = format!("tags differ: {}", tags.keys().cloned().collect::<Vec<_>>().join(", "));
    let action = Action::AddTags { resource: resource.to_owned(), tags };
    Some(step(action, reason, Risk::Safe))
}
