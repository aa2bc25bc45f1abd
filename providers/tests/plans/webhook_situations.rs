//! The plans of the provider `webhook` in named situations. To accept a change: `INSTA_UPDATE=always cargo test -p
//! penstock-providers --test plans`, and read the difference.

use penstock_model::{Family, Protocol, TrafficPolicy};
use penstock_providers::{
    AnyProvider, Desired, FamilyNeed, Frontend, Request,
    webhook::{BalancerStatus, Observed, State},
};

use crate::{
    endpoint_model::{built, desired, ip, node, owner, port, provider},
    situation::situation,
};

fn plan(name: &str, before: &Observed, wanted: Option<&Desired>) -> String {
    let any: &dyn AnyProvider = &provider();
    situation(name, any.plan(&owner(), wanted, &serde_json::to_value(before).unwrap()))
}

/// From `desired()`: TCP 80 and 443, IPv4, nodes a and b.
fn change(name: &str, change: impl FnOnce(&mut Desired)) -> String {
    plan(name, &built(&desired()), Some(&changed(change)))
}

/// To `desired()`.
fn back(name: &str, change: impl FnOnce(&mut Desired)) -> String {
    plan(name, &built(&changed(change)), Some(&desired()))
}

fn changed(change: impl FnOnce(&mut Desired)) -> Desired {
    let mut wanted = desired();
    change(&mut wanted);
    wanted
}

fn dual(wanted: &mut Desired) {
    wanted.families.push(FamilyNeed { family: Family::IPv6, required: false });
}

fn local(wanted: &mut Desired) {
    (wanted.traffic_policy, wanted.health_check_node_port) = (TrafficPolicy::Local, Some(31234));
}

fn asks(text: &str) -> impl FnOnce(&mut Desired) {
    move |wanted| wanted.request = Request { addresses: vec![ip(text)], ..Request::default() }
}

fn ranges(list: &[&str]) -> impl FnOnce(&mut Desired) {
    move |wanted| wanted.source_ranges = list.iter().map(|range| range.parse().unwrap()).collect()
}

fn in_state(change: impl FnOnce(&mut BalancerStatus)) -> Observed {
    let mut observed = built(&desired());
    change(&mut observed.balancer.as_mut().unwrap().status);
    observed
}

#[test]
fn every_situation_has_the_plan_that_was_reviewed() {
    let text = [beginning_and_end(), ports_and_traffic(), addresses(), nodes(), endpoint()].concat();
    insta::assert_snapshot!("webhook", text.join("\n"));
}

fn beginning_and_end() -> Vec<String> {
    let nothing = Observed::default();
    vec![
        plan("create", &nothing, Some(&desired())),
        plan(
            "create: policy Local, affinity",
            &nothing,
            Some(&changed(|w| {
                local(w);
                w.affinity_seconds = Some(10_800);
            })),
        ),
        plan(
            "create: without NodePorts",
            &nothing,
            Some(&changed(|w| {
                w.frontends = vec![Frontend { node_port: None, ..port(Protocol::Tcp, 80, 1) }];
            })),
        ),
        change("no change", |_| {}),
        change("no change: another order", |w| {
            w.frontends.reverse();
            w.targets.reverse();
        }),
        plan("delete", &built(&desired()), None),
        plan("delete: nothing is there", &nothing, None),
    ]
}

fn ports_and_traffic() -> Vec<String> {
    vec![
        change("port added: the other protocol", |w| w.frontends.push(port(Protocol::Udp, 443, 30444))),
        change("port removed", |w| w.frontends.truncate(1)),
        change("port replaced", |w| w.frontends[1] = port(Protocol::Tcp, 8443, 30443)),
        change("node port moved", |w| w.frontends[1].node_port = Some(30500)),
        change("policy Cluster to Local", local),
        back("policy Local to Cluster", local),
        change("affinity added", |w| w.affinity_seconds = Some(60)),
        change("source ranges narrowed", ranges(&["198.51.100.0/24"])),
        back("source ranges lifted", ranges(&["198.51.100.0/24"])),
    ]
}

fn addresses() -> Vec<String> {
    vec![
        change("address asked for: another", asks("203.0.113.9")),
        change("address asked for: the one it has", asks("203.0.113.1")),
        back("address no longer asked for", asks("203.0.113.9")),
        change("family added", dual),
        back("family removed", dual),
        change("a pool asked for", |w| w.request.pool = Some("gold".to_owned())),
    ]
}

fn nodes() -> Vec<String> {
    vec![
        change("nodes replaced", |w| w.targets = vec![node("b"), node("c")]),
        change("no node left", |w| w.targets.clear()),
        change("a node's address changed", |w| w.targets[0].addresses = vec![ip("198.51.100.9")]),
        change("node added and port removed", |w| {
            w.targets.push(node("c"));
            w.frontends.truncate(1);
        }),
    ]
}

fn endpoint() -> Vec<String> {
    let wanted = desired();
    let mut foreign = built(&wanted);
    foreign.balancer.as_mut().unwrap().owner.name = "other".to_owned();
    let failed = |status: &mut BalancerStatus| {
        (status.state, status.message) = (State::Error, "no uplink".to_owned());
    };
    vec![
        plan("unfinished", &in_state(|s| s.state = State::Provisioning), Some(&wanted)),
        plan("failed", &in_state(failed), Some(&wanted)),
        plan("failed: delete", &in_state(failed), None),
        plan("going", &in_state(|s| s.state = State::Deleting), Some(&wanted)),
        plan("active without an address", &in_state(|s| s.addresses.clear()), Some(&wanted)),
        plan("another Service's", &foreign, None),
    ]
}
