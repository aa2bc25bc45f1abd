//! Plans of the provider `webhook`: what they cost, what they say, and that carrying one out leaves nothing to do.

use std::time::Duration;

use penstock_model::{Family, Protocol, TrafficPolicy};
use penstock_providers::{
    AnyProvider, Desired, FamilyNeed, Frontend, Plan, ProviderError, Request, Risk,
    webhook::{Action, BalancerStatus, Observed, State},
};
use proptest::prelude::*;
use serde_json::json;

use crate::endpoint_model::{after, built, carried_out, desired, ip, node, owner, plan, port, provider};

/// Risk and reason of each step from `desired()` to `wanted`.
fn steps(wanted: &Desired) -> Vec<(Risk, String)> {
    let plan = plan(Some(wanted), &built(&desired())).unwrap();
    assert!(plan.steps.iter().all(|step| step.calls == 1));
    plan.steps.into_iter().map(|step| (step.risk, step.reason)).collect()
}

fn one(risk: Risk, reason: &str) -> Vec<(Risk, String)> {
    vec![(risk, reason.to_owned())]
}

#[test]
fn a_plan_prints_as_json_and_says_all_that_it_will_send() {
    let wanted = Desired {
        source_ranges: vec!["198.51.100.7/24".parse().unwrap()],
        traffic_policy: TrafficPolicy::Local,
        health_check_node_port: Some(31234),
        ..desired()
    };
    let plan = plan(Some(&wanted), &Observed::default()).unwrap();
    let target = |name| json!({"node": name, "addresses": ["198.51.100.1"]});
    let spec = json!({
        "frontends": [
            {"protocol": "TCP", "port": 80, "nodePort": 30080}, {"protocol": "TCP", "port": 443, "nodePort": 30443}
        ],
        "families": [{"family": "IPv4", "required": true}], "requestedAddresses": [],
        "sourceRanges": ["198.51.100.0/24"], "trafficPolicy": "Local",
        "healthCheck": {"protocol": "http", "path": "/healthz", "port": 31234}
    });
    let step = json!({
        "action": {"create": {"spec": spec, "targets": [target("a"), target("b")]}},
        "reason": "the Service has no balancer yet: TCP 80 at node port 30080, TCP 443 at node port 30443; 2 nodes",
        "risk": "safe", "calls": 1
    });
    assert_eq!(serde_json::to_value(&plan).unwrap(), json!({"steps": [step]}));
}

#[test]
fn each_change_has_its_risk_and_says_from_what_to_what() {
    use Protocol::{Tcp, Udp};
    let ports = |frontends: &[Frontend]| steps(&Desired { frontends: frontends.to_vec(), ..desired() });
    let (http, https) = (port(Tcp, 80, 30080), port(Tcp, 443, 30443));
    let added = ports(&[http.clone(), https.clone(), port(Udp, 443, 30444)]);
    assert_eq!(added, one(Risk::Safe, "UDP 443 at node port 30444 is added"));
    assert_eq!(ports(&[https, http.clone()]), [], "an order means nothing");
    assert_eq!(ports(std::slice::from_ref(&http)), one(Risk::Disruptive, "TCP 443 is removed"));
    let moved = ports(&[http, port(Tcp, 443, 30500)]);
    assert_eq!(moved, one(Risk::Disruptive, "TCP 443 moves from node port 30443 to 30500"));

    let affinity = steps(&Desired { affinity_seconds: Some(60), ..desired() });
    assert_eq!(affinity, one(Risk::Disruptive, "affinity: none → 60 s"));
    let policy = TrafficPolicy::Local;
    let local = Desired { traffic_policy: policy, health_check_node_port: Some(31234), ..desired() };
    let reason = "traffic policy: Cluster → Local; health check: TCP → HTTP /healthz at node port 31234";
    assert_eq!(steps(&local), one(Risk::Disruptive, reason));
    let v6 = FamilyNeed { family: Family::IPv6, required: false };
    let dual = Desired { families: vec![desired().families[0], v6], ..desired() };
    assert_eq!(steps(&dual), one(Risk::Safe, "families: IPv4 → IPv4, IPv6 (optional)"));
    let back = plan(Some(&desired()), &built(&dual)).unwrap();
    assert_eq!(back.steps[0].risk, Risk::ReplacesAddress);
}

#[test]
fn an_address_that_it_has_may_be_asked_for_without_harm() {
    let asks = |text: &str| Request { addresses: vec![ip(text)], ..Request::default() };
    let wants = |text: &str| Desired { request: asks(text), ..desired() };
    assert_eq!(steps(&wants("203.0.113.1")), one(Risk::Safe, "requested addresses: any → 203.0.113.1"));
    let reason = "requested addresses: any → 203.0.113.9 (it has 203.0.113.1)";
    assert_eq!(steps(&wants("203.0.113.9")), one(Risk::ReplacesAddress, reason));
    let dropped = plan(Some(&desired()), &built(&wants("203.0.113.9"))).unwrap();
    assert_eq!(dropped.steps[0].risk, Risk::Safe);
}

#[test]
fn only_a_narrower_range_of_clients_breaks_connections() {
    let ranges = |list: &[&str]| Desired {
        source_ranges: list.iter().map(|range| range.parse().unwrap()).collect(),
        ..desired()
    };
    let risk = |before: &[&str], wanted: &[&str]| {
        let plan = plan(Some(&ranges(wanted)), &built(&ranges(before))).unwrap();
        plan.steps.first().map(|step| step.risk)
    };
    let (narrow, wide) = (Some(Risk::Disruptive), Some(Risk::Safe));
    assert_eq!(risk(&[], &["198.51.100.0/24"]), narrow);
    assert_eq!(risk(&["198.51.100.0/24"], &[]), wide);
    assert_eq!(risk(&["198.51.100.0/24"], &["198.51.0.0/16"]), wide);
    assert_eq!(
        risk(&["198.51.100.0/24"], &["198.51.100.0/25", "198.51.100.128/25"]),
        wide,
        "the same clients"
    );
    assert_eq!(risk(&["198.51.100.0/24"], &["198.51.100.0/25"]), narrow);
    assert_eq!(risk(&["198.51.100.0/24"], &["198.51.100.9/24"]), None, "host bits mean nothing");
}

#[test]
fn nodes_come_and_go_while_a_risky_change_waits() {
    let nodes = |names: &[&str], frontends: &[Frontend]| Desired {
        targets: names.iter().map(|name| node(name)).collect(),
        frontends: frontends.to_vec(),
        ..desired()
    };
    let both = desired().frontends;
    assert_eq!(steps(&nodes(&["b", "a"], &both)), []);
    assert_eq!(steps(&nodes(&["b", "c"], &both)), one(Risk::Safe, "nodes: added c; removed a"));

    let risky = nodes(&["a", "b", "c"], &both[..1]);
    let held = built(&desired());
    let first = plan(Some(&risky), &held).unwrap();
    assert!(
        matches!(first.harmless(), [step] if matches!(step.action, Action::SetTargets { .. })),
        "{first:?}"
    );
    let waiting = plan(Some(&risky), &after(&held, &first.harmless()[0].action)).unwrap();
    // Another node comes; the approval of what is left after the harmless step still holds.
    let more = nodes(&["a", "b", "c", "d"], &both[..1]);
    let step = plan(Some(&more), &held).unwrap();
    let later = plan(Some(&more), &after(&held, &step.harmless()[0].action)).unwrap();
    assert_eq!(waiting.hash().unwrap(), later.hash().unwrap());
}

#[test]
fn one_step_for_the_spec_has_the_highest_of_its_risks() {
    let frontends = vec![port(Protocol::Tcp, 80, 30080), port(Protocol::Tcp, 8080, 30081)];
    let reason = "TCP 443 is removed; TCP 8080 at node port 30081 is added";
    assert_eq!(steps(&Desired { frontends, ..desired() }), one(Risk::Disruptive, reason));
}

#[test]
fn the_way_to_nothing_is_destructive_and_names_what_is_lost() {
    let gone = plan(None, &built(&desired())).unwrap();
    assert_eq!(gone.steps[0].risk, Risk::Destructive);
    assert_eq!(gone.steps[0].reason, "the Service no longer wants its balancer (203.0.113.1)");
    assert!(plan(None, &Observed::default()).unwrap().is_empty());
}

/// `desired()` as built, with another status.
fn with_status(change: impl FnOnce(&mut BalancerStatus)) -> Observed {
    let mut observed = built(&desired());
    change(&mut observed.balancer.as_mut().unwrap().status);
    observed
}

#[test]
fn an_unfinished_balancer_is_waited_for_but_not_in_the_way_of_a_change() {
    let pending = |seconds| Err(ProviderError::Pending(Duration::from_secs(seconds)));
    let coming = with_status(|status| status.state = State::Provisioning);
    assert_eq!(plan(Some(&desired()), &coming), pending(2));
    let slow = with_status(|status| {
        status.state = State::Provisioning;
        status.retry_after_seconds = Some(20);
    });
    assert_eq!(plan(Some(&desired()), &slow), pending(20));
    let fixed = Desired { frontends: desired().frontends[..1].to_vec(), ..desired() };
    assert_eq!(plan(Some(&fixed), &coming).unwrap().steps.len(), 1);
    assert_eq!(plan(None, &coming).unwrap().steps.len(), 1);
    let going = with_status(|status| status.state = State::Deleting);
    assert_eq!(plan(None, &going), pending(2));
    assert_eq!(plan(Some(&desired()), &going), pending(2));
}

#[test]
fn what_the_endpoint_could_not_do_or_did_wrong_is_told() {
    let told = |observed: &Observed| match plan(Some(&desired()), observed).unwrap_err() {
        ProviderError::Retryable(message) => message,
        other => panic!("{other:?}"),
    };
    let broken = with_status(|status| {
        status.state = State::Error;
        status.message = "no uplink\n\u{1b}[31m".into();
    });
    assert_eq!(told(&broken), "the endpoint could not build the balancer: no uplink\\n\\u{1b}[31m");
    assert!(plan(None, &broken).unwrap().steps.len() == 1, "it can still be deleted");
    let empty = with_status(|status| status.addresses.clear());
    assert!(told(&empty).contains("active, with neither an address nor a hostname"));
}

#[test]
fn what_is_another_services_is_not_touched() {
    let mut observed = built(&desired());
    observed.balancer.as_mut().unwrap().owner.name = "other".into();
    for wanted in [None, Some(&desired())] {
        assert!(matches!(plan(wanted, &observed), Err(ProviderError::NotOwned(_))));
    }
}

#[test]
fn a_wish_without_words_in_the_contract_is_refused() {
    let request = Request { pool: Some("gold".into()), ..Request::default() };
    let error = plan(Some(&Desired { request, ..desired() }), &Observed::default()).unwrap_err();
    assert!(error.to_string().contains("webhook has no pools: remove the annotation"), "{error}");
    let frontends = vec![Frontend { node_port: None, ..port(Protocol::Tcp, 80, 1) }];
    let error = plan(Some(&Desired { frontends, ..desired() }), &Observed::default()).unwrap_err();
    assert!(error.to_string().contains("spec.allocateLoadBalancerNodePorts"), "{error}");
}

prop_compose! {
    fn any_desired()(
        dual in 0..3_u8,
        ports in proptest::collection::btree_map((0..3_u8, 1..5_u16), 30000..30003_u16, 1..4),
        request in proptest::option::of(1..4_u8),
        ranges in proptest::collection::btree_set((0..4_u8, 22..26_u8), 0..3),
        local in proptest::option::of(31000..31002_u16),
        affinity_seconds in proptest::option::of(1..3_u32),
        nodes in proptest::collection::btree_set(0..5_u8, 0..4),
    ) -> Desired {
        let (v4, v6) = (Family::IPv4, Family::IPv6);
        let families = [vec![v4], vec![v4, v6], vec![v6, v4]][usize::from(dual)].clone();
        let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let range = |(net, length): (u8, u8)| format!("10.0.{net}.0/{length}").parse().unwrap();
        Desired {
            families: families.into_iter().map(|family| FamilyNeed { family, required: true }).collect(),
            frontends: ports.into_iter().map(|((p, n), to)| port(protocols[usize::from(p)], n, to)).collect(),
            request: Request {
                addresses: request.into_iter().map(|n| ip(&format!("203.0.113.{n}"))).collect(),
                ..Request::default()
            },
            source_ranges: ranges.into_iter().map(range).collect(),
            traffic_policy: if local.is_some() { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
            health_check_node_port: local,
            affinity_seconds,
            targets: nodes.into_iter().map(|n| node(&format!("node-{n}"))).collect(),
            ..Desired::default()
        }
    }
}

fn turned(desired: &Desired) -> Desired {
    let mut turned = desired.clone();
    turned.frontends.reverse();
    turned.source_ranges.reverse();
    turned.targets.reverse();
    turned
}

proptest! {
    #[test]
    fn nothing_is_left_to_do_after_a_plan(before in any_desired(), wanted in any_desired()) {
        let held = built(&before);
        let made = plan(Some(&wanted), &held).unwrap();
        prop_assert_eq!(made.is_empty(), built(&wanted).balancer.map(|b| (b.spec, b.targets))
            == held.balancer.clone().map(|b| (b.spec, b.targets)), "an empty plan is for equal wishes");
        prop_assert!(plan(Some(&wanted), &carried_out(&made, &held)).unwrap().is_empty());
        prop_assert!(plan(None, &carried_out(&made, &held)).unwrap().steps.len() == 1);
    }

    #[test]
    fn no_step_is_too_many(before in any_desired(), wanted in any_desired()) {
        let held = built(&before);
        let made = plan(Some(&wanted), &held).unwrap();
        prop_assert!(made.calls() <= 2);
        for left_out in 0..made.steps.len() {
            let mut steps = made.steps.clone();
            steps.remove(left_out);
            let rest = carried_out(&Plan { steps }, &held);
            prop_assert!(!plan(Some(&wanted), &rest).unwrap().is_empty());
        }
    }

    #[test]
    fn a_plan_depends_on_what_is_wanted_and_nothing_else(before in any_desired(), wanted in any_desired()) {
        let held = built(&before);
        let made = plan(Some(&wanted), &held).unwrap();
        prop_assert_eq!(&made, &plan(Some(&turned(&wanted)), &held).unwrap());
        // From the record, as JSON, it is the same plan.
        let any: &dyn AnyProvider = &provider();
        let erased = any.plan(&owner(), Some(&wanted), &serde_json::to_value(&held).unwrap()).unwrap();
        prop_assert_eq!(made.hash().unwrap(), erased.hash().unwrap());
    }
}
