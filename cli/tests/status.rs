//! What `kubectl penstock status` calls well, and what not.

// A test may panic; literals read better by value.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod objects;

use anstream::adapter::strip_str;
use objects::{class, objects, pool, record, served, service};
use penstock_cli::{
    access::Gaps,
    explain::Weight,
    facts::OperatorState,
    scene::Objects,
    status::{StatusReport, status_text, survey_of},
    survey::{PartStatus, Survey, Workload, parts},
};
use serde_json::{Value, json};

/// Everything at work, with these objects.
async fn survey(objects: Objects) -> Survey {
    let workload = |kind, name: &str| Workload { kind, name: name.into(), ready: 2, wanted: 2 };
    Survey {
        operator_namespace: "penstock-system".into(),
        operator: OperatorState::Runs { holder: "operator-0".into() },
        workloads: vec![workload("Deployment", "penstock-operator"), workload("DaemonSet", "penstock-node")],
        announcements: vec![announcement(json!({"addressCount": 1,
            "peers": [{"peer": "tor", "state": "Established", "since": "2026-01-01T00:00:00Z", "prefixes": 1}]}))],
        ..survey_of(objects).await
    }
}

fn announcement(status: Value) -> penstock_crds::NodeAnnouncement {
    serde_json::from_value(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "NodeAnnouncement",
        "metadata": {"name": "n1"}, "spec": {}, "status": status}))
    .unwrap()
}

fn one_of_three() -> Objects {
    let mut all = objects("Automatic", vec![served("web", "203.0.113.200")]);
    all.pools = vec![pool("segment", json!({"addresses": ["203.0.113.200-203.0.113.202"]}))];
    all
}

fn part<'a>(parts: &'a [PartStatus], name: &str) -> &'a PartStatus {
    parts.iter().find(|part| part.part == name).unwrap()
}

#[tokio::test]
async fn all_is_well() {
    let parts = parts(&survey(one_of_three()).await);
    let report = StatusReport { well: parts.iter().all(|p| p.weight == Weight::Fine), parts };
    let expected = "\
fine     operator    operator-0 leads
fine     pods        ready: penstock-operator 2/2, penstock-node 2/2
fine     classes     all accepted
fine     services    1 of 1 Service with an address
fine     plans       none waits for approval
fine     balancers   0 outside the cluster
fine     pools       1 IPAddressPool
fine     announcers  1 of 1 node at work, 1 announced
fine     bgp         1 of 1 session established
All is well.
";
    assert_eq!(strip_str(&status_text(&report)).to_string(), expected);
}

type Change = fn(&mut Survey);

#[tokio::test]
async fn what_stands_still_or_is_missing_is_a_problem_of_its_part() {
    let cases: [(&str, Weight, &str, Change); 8] = [
        ("operator", Weight::Problem, "has not renewed Lease penstock-system/penstock-operator", |s| {
            s.operator = OperatorState::Stale { holder: "operator-0".into(), since: None };
        }),
        ("pods", Weight::Problem, "1 of 2 Pods of DaemonSet penstock-node are ready", |s| {
            s.workloads[1].ready = 1
        }),
        ("pods", Weight::Note, "neither Deployments nor DaemonSets", |s| s.workloads.clear()),
        ("announcers", Weight::Problem, "n1 is away", |s| s.absent_announcers = vec!["n1 is away".into()]),
        ("announcers", Weight::Problem, "n1: BGPPeer x: no session", |s| {
            s.announcements = vec![announcement(json!({"problems": ["BGPPeer x: no session"]}))];
        }),
        ("bgp", Weight::Problem, "the session of n1 with tor is Active: connection refused", |s| {
            let status = s.announcements[0].status.as_mut().unwrap();
            status.peers[0].state = "Active".into();
            status.peers[0].reason = Some("connection refused".into());
        }),
        ("unknown", Weight::Problem, "you may not list nodes", |s| {
            s.gaps = Gaps::default();
            s.gaps.add("nodes", "you may not list nodes".into());
        }),
        ("classes", Weight::Problem, "LoadBalancerClass b is not accepted: Invalid: no", |s| {
            s.refused_classes = vec![("b".into(), "Invalid: no".into())];
        }),
    ];
    for (name, weight, sentence, change) in cases {
        let mut survey = survey(one_of_three()).await;
        change(&mut survey);
        let parts = parts(&survey);
        let said = part(&parts, name);
        assert_eq!(said.weight, weight, "{said:?}");
        assert!(said.findings.iter().any(|f| f.sentence.contains(sentence)), "{sentence}: {said:?}");
        let others = parts.iter().filter(|part| part.part != name);
        assert!(others.into_iter().all(|part| part.weight == Weight::Fine), "{parts:?}");
    }
}

#[tokio::test]
async fn a_service_that_the_operator_has_not_come_to_is_not_served() {
    let mut all = one_of_three();
    all.services.push(service("new", json!({})));
    let parts = parts(&survey(all).await);
    let sentence = "Service shop/new has no address: the operator has not given it an address yet";
    assert_eq!(part(&parts, "services").findings[0].sentence, sentence);
}

#[tokio::test]
async fn pending_services_full_pools_and_plans_that_wait() {
    let leaving = service("web", json!({}));
    let mut all =
        objects("Manual", vec![served("one", "203.0.113.200"), served("two", "203.0.113.201"), leaving]);
    // What "two" holds is no longer in the pool: it has to move, and the class asks first.
    all.pools = vec![pool("segment", json!({"addresses": ["203.0.113.200/32", "203.0.113.202/32"]}))];
    let parts = parts(&survey(all).await);
    let services = part(&parts, "services");
    assert_eq!(
        (services.weight, services.summary.as_str()),
        (Weight::Problem, "2 of 3 Services with an address")
    );
    assert!(services.findings[0].sentence.starts_with("Service shop/web has no address: "), "{services:?}");
    assert_eq!(services.findings[0].command.as_deref(), Some("kubectl penstock why -n shop web"));
    let plans = part(&parts, "plans");
    assert!(plans.findings[0].sentence.contains("for Service shop/two waits for approval"), "{plans:?}");
}

#[tokio::test]
async fn a_nearly_full_pool_is_a_note_and_a_failed_balancer_a_problem() {
    let mut all = objects("Automatic", vec![served("one", "203.0.113.200"), served("two", "203.0.113.201")]);
    let condition = |status: &str, reason: &str| {
        json!({"conditions": [{"type": "Programmed", "status": status, "reason": reason, "message": "no\nquota",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    };
    let class = class("cloud", json!({"provider": "webhook", "webhook": {"url": "https://lb.example"}}));
    let record = |name: &str, status| record(name, &class, status);
    all.records = vec![
        record("good", condition("True", "Programmed")),
        record("bad", condition("False", "Exhausted")),
        record("asks", condition("False", "ApprovalRequired")),
    ];
    let parts = parts(&survey(all).await);
    let pools = part(&parts, "pools");
    assert_eq!(pools.weight, Weight::Note);
    assert!(pools.findings[0].sentence.starts_with("2 of 2 IPv4 addresses of"), "{pools:?}");
    let balancers = part(&parts, "balancers");
    let sentences: Vec<&str> = balancers.findings.iter().map(|f| f.sentence.as_str()).collect();
    assert_eq!(sentences, ["LoadBalancer shop/bad is not programmed: Exhausted: no"]);
}
