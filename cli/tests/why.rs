//! What `kubectl penstock why` explains: a table of causes.

#![allow(clippy::unwrap_used)] // a test may panic

mod objects;

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Service},
    jiff::Timestamp,
};
use objects::{class, objects, pool, record, served, service};
use penstock_cli::{
    explain::{Finding, Weight, explain},
    facts::{Facts, OperatorState, Warning, class_facts, pool_states},
    forecast::forecast,
    outside_provider::outside_provider,
    scene::{Objects, Scene, shown},
    why::{WhyReport, why_text},
};
use penstock_model::ObjectKey;
use serde_json::{Value, json};

fn runs() -> OperatorState {
    OperatorState::Runs { holder: "operator-0".into() }
}

async fn facts(service: &Service, objects: Objects, operator: OperatorState) -> Facts {
    let scene = Scene::of(objects);
    Facts {
        forecast: Some(forecast(service, &scene, outside_provider).await),
        class: class_facts(service, &scene),
        pools: pool_states(service, &scene),
        record: scene.record(service).cloned(),
        operator,
        operator_namespace: "penstock-system".into(),
        warnings: Vec::new(),
        service: service.clone(),
    }
}

async fn findings(service: &Service, objects: Objects) -> Vec<Finding> {
    explain(&facts(service, objects, runs()).await)
}

/// The finding that contains the sentence, and what it says to change.
fn find<'a>(findings: &'a [Finding], sentence: &str) -> (&'a Finding, String) {
    let found = findings.iter().find(|f| f.sentence.contains(sentence));
    let found = found.unwrap_or_else(|| panic!("{sentence:?} is not in {findings:#?}"));
    (found, found.change.as_ref().map(|c| format!("{}: {}", c.object, c.field)).unwrap_or_default())
}

fn with(spec: Value, change: impl FnOnce(&mut Objects)) -> (Service, Objects) {
    let service = service("web", spec);
    let mut all = objects("Automatic", vec![service.clone()]);
    change(&mut all);
    (service, all)
}

#[tokio::test]
async fn every_cause_has_its_sentence_its_object_and_its_field() {
    let bare = |more: Value| {
        let mut spec = json!({"provider": "pool", "default": true});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        class("bare-metal", spec)
    };
    let full = |all: &mut Objects| {
        all.pools = vec![pool("segment", json!({"addresses": ["203.0.113.200/32"]}))];
        all.services.push(served("old", "203.0.113.200"));
    };
    let pools = "IPAddressPools of namespace penstock-system: spec.addresses";
    type Case = ((Service, Objects), &'static str, &'static str);
    let cases: Vec<Case> = vec![
        (with(json!({"type": "NodePort"}), |_| {}), "it is of type NodePort", "Service shop/web: spec.type"),
        (
            with(json!({"loadBalancerClass": "a.example/b"}), |_| {}),
            "which another controller serves",
            "Service shop/web: spec.loadBalancerClass",
        ),
        (
            with(json!({}), |all| all.classes.clear()),
            "no LoadBalancerClass is the default",
            "Service shop/web: spec.loadBalancerClass, or spec.default of a LoadBalancerClass",
        ),
        (
            with(json!({"loadBalancerClass": "penstock.dev/gone"}), |_| {}),
            "NoClass: LoadBalancerClass gone does not exist: create it",
            "Service shop/web: spec.loadBalancerClass",
        ),
        (
            with(json!({"loadBalancerClass": "penstock.dev/second"}), |all| {
                let mut second = class("second", json!({"provider": "pool", "default": true}));
                second.metadata.creation_timestamp =
                    serde_json::from_value(json!("2026-02-01T00:00:00Z")).unwrap();
                all.classes.push(second);
            }),
            "LoadBalancerClass second is not accepted: LoadBalancerClass bare-metal is the default already",
            "LoadBalancerClass second: spec",
        ),
        (
            with(json!({"loadBalancerIP": "010.0.0.1"}), |_| {}),
            "RequestInvalid: ",
            "Service shop/web: spec.loadBalancerIP",
        ),
        (
            with(json!({"loadBalancerIP": "198.51.100.1"}), |_| {}),
            "RequestRefused: the Service asks for 198.51.100.1",
            "Service shop/web: spec.loadBalancerIP",
        ),
        (with(json!({}), |all| all.pools.clear()), "NoPool: there is no usable IPAddressPool", pools),
        (
            with(json!({}), |all| all.pools.clear()),
            "there is no IPAddressPool in namespace penstock-system",
            "",
        ),
        (
            with(json!({}), |all| all.pools.push(pool("bad", json!({"addresses": ["nonsense"]})))),
            "IPAddressPool penstock-system/bad is not accepted: spec.addresses: \"nonsense\" is neither",
            "IPAddressPool penstock-system/bad: spec",
        ),
        (with(json!({}), full), "Exhausted: no free IPv4 address in IPAddressPool segment", ""),
        (
            with(json!({}), full),
            "segment does not serve it: it has no free IPv4 address (1 of 1 IPv4 addresses are in use)",
            "IPAddressPool penstock-system/segment: spec.addresses",
        ),
        (
            with(json!({}), |all| {
                all.pools =
                    vec![pool("segment", json!({"addresses": ["203.0.113.0/30"], "autoAssign": false}))];
            }),
            "segment does not serve it: its spec.autoAssign is false and the Service does not ask for it",
            "IPAddressPool penstock-system/segment: spec.autoAssign",
        ),
        (
            with(json!({}), |all| {
                let pinned = json!({"addresses": ["203.0.113.0/30"],
                    "serviceAllocation": {"serviceSelectors": [{"matchLabels": {"tier": "gold"}}]}});
                all.pools = vec![pool("segment", pinned)];
            }),
            "segment does not serve it: none of its spec.serviceAllocation.serviceSelectors matches",
            "IPAddressPool penstock-system/segment: spec.serviceAllocation.serviceSelectors",
        ),
        (
            with(json!({}), |all| all.classes = vec![bare(json!({"pool": {"ipAddressPools": ["other"]}}))]),
            "IPAddressPool penstock-system/segment does not serve it: spec.pool.ipAddressPools",
            "LoadBalancerClass bare-metal: spec.pool.ipAddressPools",
        ),
    ];
    for ((service, all), sentence, change) in cases {
        let findings = findings(&service, all).await;
        assert_eq!(find(&findings, sentence).1, change, "{sentence}");
        assert!(!findings.iter().any(|f| f.weight == Weight::Fine), "{sentence}");
    }
}

#[tokio::test]
async fn all_fine_is_said_with_address_pool_class_and_since_when() {
    let old = served("old", "203.0.113.200");
    let findings = findings(&old, objects("Automatic", vec![old.clone()])).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].weight, Weight::Fine);
    assert_eq!(
        findings[0].sentence,
        "it has 203.0.113.200 from IPAddressPool segment, served by LoadBalancerClass bare-metal, since 2026-01-02T03:04:05Z"
    );
}

#[tokio::test]
async fn an_operator_that_does_not_run_comes_first() {
    let new = service("web", json!({}));
    let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
    let lease = |holder: &str, renewed: &str| -> Lease {
        serde_json::from_value(json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": 15,
            "renewTime": renewed}}))
        .unwrap()
    };
    assert_eq!(OperatorState::of(&lease("operator-0", "2026-01-01T00:00:46.000000Z"), now), runs());
    for (state, sentence) in [
        (OperatorState::NoLease, "no operator runs: Lease penstock-system/penstock-operator does not exist"),
        (
            OperatorState::of(&lease("a", "2026-01-01T00:00:00.000000Z"), now),
            "no operator runs: a has not renewed Lease penstock-system/penstock-operator since 2026-01-01T00:00:00Z",
        ),
        (
            OperatorState::of(&lease("", "2026-01-01T00:00:59.000000Z"), now),
            "which is vacant since 2026-01-01T00:00:59Z",
        ),
    ] {
        let facts = facts(&new, objects("Automatic", vec![new.clone()]), state).await;
        assert!(explain(&facts)[0].sentence.contains(sentence), "{:?}", explain(&facts));
    }
    let facts = facts(&new, objects("Automatic", vec![new.clone()]), runs()).await;
    let all = explain(&facts);
    let (finding, _) =
        find(&all, "the operator has not carried out its plan yet (the Service has no address yet)");
    assert_eq!(finding.weight, Weight::Problem);
}

#[tokio::test]
async fn a_plan_that_waits_names_its_command() {
    let old = served("old", "203.0.113.200");
    let mut all = objects("Manual", vec![old.clone()]);
    all.pools = vec![pool("segment", json!({"addresses": ["203.0.113.210/32"]}))];
    let findings = findings(&old, all).await;
    let (finding, _) = find(&findings, "waits for approval, as class bare-metal wants it");
    let command = finding.command.as_deref().unwrap();
    assert!(
        command.starts_with("kubectl annotate --overwrite -n shop service old penstock.dev/approved-plan=")
    );
}

#[tokio::test]
async fn a_provider_that_fails_is_quoted_and_its_secret_named() {
    let webhook =
        json!({"provider": "webhook", "webhook": {"url": "http://lb.invalid", "tokenSecret": "lab-token"}});
    let webhook = class("lab", webhook);
    let (web, mut all) = with(json!({"loadBalancerClass": "penstock.dev/lab"}), |_| {});
    all.classes.push(webhook.clone());
    let said = |reason: &str| {
        json!({"conditions": [{"type": "Programmed", "status": "False", "reason": reason,
            "message": "401 Unauthorized", "lastTransitionTime": "2026-01-02T03:04:05Z"}]})
    };
    for (reason, change) in [
        ("InvalidCredentials", "Secret penstock-system/lab-token: data.token"),
        ("ProviderFailed", "LoadBalancerClass lab: spec"),
    ] {
        all.records = vec![record("web", &webhook, said(reason))];
        let findings = findings(&web, all.clone()).await;
        let sentence = format!("the provider of class lab says: 401 Unauthorized ({reason})");
        assert_eq!(find(&findings, &sentence).1, change);
    }
}

#[tokio::test]
async fn a_deletion_names_what_it_waits_for() {
    let mut old = served("old", "203.0.113.200");
    old.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-03T00:00:00Z")).unwrap();
    old.metadata.finalizers.as_mut().unwrap().push("other.example/x".into());
    let findings = findings(&old, objects("Automatic", vec![old.clone()])).await;
    let since = "it is being deleted since 2026-01-03T00:00:00Z and waits for finalizer";
    find(
        &findings,
        &format!("{since} penstock.dev/load-balancer-cleanup: the operator (operator-0) has to take back"),
    );
    let (_, change) =
        find(&findings, &format!("{since} other.example/x, which another controller has to remove"));
    assert_eq!(change, "Service shop/old: metadata.finalizers");
}

#[tokio::test]
async fn refused_external_ips_are_told_whatever_the_type() {
    let mut web = service("web", json!({"type": "ClusterIP"}));
    web.status = serde_json::from_value(json!({"conditions": [{"type": "penstock.dev/ExternalIPsAccepted",
        "status": "False", "reason": "ExternalIPsRefused", "message": "198.51.100.1 is not allowed",
        "lastTransitionTime": "2026-01-02T03:04:05Z"}]}))
    .unwrap();
    let findings = findings(&web, objects("Automatic", vec![web.clone()])).await;
    let (_, change) = find(&findings, "some of its externalIPs are not served: 198.51.100.1 is not allowed");
    assert_eq!(change, "Service shop/web: spec.externalIPs, or spec.cidrs of an ExternalIPPolicy");
}

#[tokio::test]
async fn without_classes_and_pools_the_services_own_condition_counts() {
    let mut web = service("web", json!({}));
    web.status = serde_json::from_value(json!({"conditions": [{"type": "LoadBalancerProvisioning",
        "status": "True", "reason": "Exhausted", "message": "no free IPv4 address in IPAddressPool a",
        "lastTransitionTime": "2026-01-02T03:04:05Z"}]}))
    .unwrap();
    let mut facts = facts(&web, Objects::default(), OperatorState::Unknown).await;
    facts.forecast = None;
    find(&explain(&facts), "Exhausted: no free IPv4 address in IPAddressPool a");
}

#[tokio::test]
async fn the_text_is_aligned() {
    let (web, all) = with(json!({"loadBalancerIP": "198.51.100.1"}), |_| {});
    let facts = facts(&web, all, runs()).await;
    let report = WhyReport {
        service: ObjectKey::of(&web.metadata),
        has: shown(&web),
        findings: explain(&facts),
        warnings: vec![Warning {
            time: Some("2026-01-02T03:04:05Z".into()),
            reason: "AllocationFailed".into(),
            message: "no".into(),
            count: 3,
        }],
        notes: Vec::new(),
    };
    let expected = "\
Service shop/web: no address
  1. problem  RequestRefused: the Service asks for 198.51.100.1, which is in no IPAddressPool that it may use
     change   Service shop/web: spec.loadBalancerIP
  2. note     IPAddressPool penstock-system/segment does not serve it: the Service asks for 198.51.100.1, which is not in its spec.addresses
     change   Service shop/web: spec.loadBalancerIP
Last warnings, newest first:
  2026-01-02T03:04:05Z  AllocationFailed (3 times): no
";
    assert_eq!(why_text(&report), expected);
}
