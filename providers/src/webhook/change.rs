//! What differs between what the endpoint accepted last and what a Service wants now, for people and by risk. Pure.

use std::{collections::BTreeMap, fmt::Display, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use penstock_model::{Family, Protocol};

use super::{
    balancer::Balancer,
    spec::{HealthCheck, Spec, SpecFamily, SpecFrontend},
};
use crate::{Risk, Target};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// What changes, from what to what.
    pub(super) what: String,
    /// How much it can hurt.
    pub(super) risk: Risk,
}

/// At most this many things of a kind are named; the rest is counted.
const NAMED: usize = 8;

/// Every difference of the specs. Empty exactly when they are equal.
pub(super) fn changes(before: &Balancer, wanted: &Spec) -> Vec<Change> {
    let mut found = frontends(&before.spec.frontends, &wanted.frontends);
    found.extend(families(&before.spec.families, &wanted.families));
    found.extend(requested(before, wanted));
    found.extend(source_ranges(&before.spec.source_ranges, &wanted.source_ranges));
    found.extend(traffic(&before.spec, wanted));
    found
}

/// `TCP 80 at node port 30080`, and so on.
pub(super) fn list_frontends(frontends: &[SpecFrontend]) -> String {
    listed(frontends.iter().map(|f| format!("{} {} at node port {}", f.protocol, f.port, f.node_port)))
}

/// What differs between two lists of nodes; `None` when nothing does.
pub(super) fn targets(before: &[Target], wanted: &[Target]) -> Option<String> {
    let of = |targets: &[Target]| -> BTreeMap<String, Target> {
        targets.iter().map(|target| (target.node.clone(), target.clone())).collect()
    };
    let (old, new) = (of(before), of(wanted));
    let named = |what: &str, nodes: Vec<&String>| {
        (!nodes.is_empty()).then(|| format!("{what} {}", listed(nodes.into_iter())))
    };
    let added = named("added", new.keys().filter(|node| !old.contains_key(*node)).collect());
    let removed = named("removed", old.keys().filter(|node| !new.contains_key(*node)).collect());
    let differs = |node: &&String| old.get(*node).is_some_and(|target| new.get(*node) != Some(target));
    let changed = named("changed", new.keys().filter(differs).collect());
    let parts: Vec<String> = [added, removed, changed].into_iter().flatten().collect();
    (before != wanted).then(|| format!("nodes: {}", parts.join("; ")))
}

fn frontends(before: &[SpecFrontend], wanted: &[SpecFrontend]) -> Vec<Change> {
    let of = |frontends: &[SpecFrontend]| -> BTreeMap<(Protocol, u16), u16> {
        frontends.iter().map(|f| ((f.protocol, f.port), f.node_port)).collect()
    };
    let (old, new) = (of(before), of(wanted));
    let removed = old.keys().filter(|key| !new.contains_key(key));
    let removed = removed.map(|(protocol, port)| disruptive(format!("{protocol} {port} is removed")));
    let others = new.iter().filter_map(|((protocol, port), node_port)| {
        match old.get(&(*protocol, *port)) {
            None => Some(safe(format!("{protocol} {port} at node port {node_port} is added"))),
            Some(old) if old == node_port => None,
            // Connections through the old NodePort end when the balancer forgets it.
            Some(old) => {
                Some(disruptive(format!("{protocol} {port} moves from node port {old} to {node_port}")))
            }
        }
    });
    removed.chain(others).collect()
}

fn families(before: &[SpecFamily], wanted: &[SpecFamily]) -> Option<Change> {
    let text = |families: &[SpecFamily]| {
        let name = |f: &SpecFamily| format!("{:?}{}", f.family, if f.required { "" } else { " (optional)" });
        listed(families.iter().map(name))
    };
    let kept = |f: &SpecFamily| wanted.iter().any(|other| other.family == f.family);
    // Whoever used the address of a family that goes has to learn the other one.
    let risk = if before.iter().all(kept) { Risk::Safe } else { Risk::ReplacesAddress };
    let what = || format!("families: {} → {}", text(before), text(wanted));
    (before != wanted).then(|| Change { what: what(), risk })
}

/// A wish for what it has, or for anything, moves nothing: an address stays as long as nothing asks for another.
fn requested(before: &Balancer, wanted: &Spec) -> Option<Change> {
    let (old, new) = (&before.spec.requested_addresses, &wanted.requested_addresses);
    let held = &before.status.addresses;
    let replaces =
        |ip: &IpAddr| !held.contains(ip) && held.iter().any(|other| Family::of(*other) == Family::of(*ip));
    let by_name = before.status.hostname.is_some() && held.is_empty() && !new.is_empty();
    let replaced = by_name || new.iter().any(replaces);
    let text = |ips: &[IpAddr]| if ips.is_empty() { "any".to_owned() } else { listed(ips.iter()) };
    let has = if replaced { format!(" (it has {})", address(before)) } else { String::new() };
    (old != new).then(|| Change {
        what: format!("requested addresses: {} → {}{has}", text(old), text(new)),
        risk: if replaced { Risk::ReplacesAddress } else { Risk::Safe },
    })
}

fn address(balancer: &Balancer) -> String {
    let name = || balancer.status.hostname.as_deref().unwrap_or("none").escape_debug().to_string();
    let held = &balancer.status.addresses;
    if held.is_empty() { name() } else { listed(held.iter()) }
}

fn source_ranges(before: &[IpNet], wanted: &[IpNet]) -> Option<Change> {
    let text = |ranges: &[IpNet]| if ranges.is_empty() { "all".to_owned() } else { listed(ranges.iter()) };
    let what = || format!("source ranges: {} → {}", text(before), text(wanted));
    let widened = covers(wanted, before);
    let risk = if widened { Risk::Safe } else { Risk::Disruptive };
    (before != wanted).then(|| Change { what: what(), risk })
}

/// Whether every client of `inner` is one of `outer`.
fn covers(outer: &[IpNet], inner: &[IpNet]) -> bool {
    let outer = IpNet::aggregate(&everybody_if_empty(outer));
    everybody_if_empty(inner).iter().all(|range| outer.iter().any(|other| other.contains(range)))
}

fn everybody_if_empty(ranges: &[IpNet]) -> Vec<IpNet> {
    let everybody = || vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    if ranges.is_empty() { everybody() } else { ranges.to_vec() }
}

/// Each of these may take a node, or a client's node, out of use for a moment.
fn traffic(before: &Spec, wanted: &Spec) -> Vec<Change> {
    let policy = (before.traffic_policy != wanted.traffic_policy)
        .then(|| format!("traffic policy: {:?} → {:?}", before.traffic_policy, wanted.traffic_policy));
    let (old, new) = (&before.health_check, &wanted.health_check);
    let check = (old != new).then(|| format!("health check: {} → {}", check_text(old), check_text(new)));
    let (old, new) = (before.affinity_seconds, wanted.affinity_seconds);
    let seconds = |value: Option<u32>| value.map_or("none".to_owned(), |seconds| format!("{seconds} s"));
    let affinity = (old != new).then(|| format!("affinity: {} → {}", seconds(old), seconds(new)));
    [policy, check, affinity].into_iter().flatten().map(disruptive).collect()
}

fn check_text(check: &HealthCheck) -> String {
    match check {
        HealthCheck::Tcp => "TCP".to_owned(),
        HealthCheck::Http { path, port } => format!("HTTP {} at node port {port}", path.escape_debug()),
    }
}

fn safe(what: String) -> Change {
    Change { what, risk: Risk::Safe }
}

fn disruptive(what: String) -> Change {
    Change { what, risk: Risk::Disruptive }
}

fn listed(items: impl ExactSizeIterator<Item = impl Display>) -> String {
    let more = items.len().saturating_sub(NAMED);
    let mut named: Vec<String> = items.take(NAMED).map(|item| item.to_string()).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}
