//! What `kubectl penstock plan` says, from objects alone.

#![allow(clippy::unwrap_used)] // a test may panic

mod objects;

use k8s_openapi::{api::core::v1::Service, jiff::Timestamp};
use objects::{class, objects, pool, record, served, service};
use penstock_cli::{
    forecast::{Agreement, Forecast, Outcome, forecast},
    outside_provider::outside_provider,
    plan_text::plan_text,
    scene::{Objects, Scene},
};
use serde_json::json;

async fn plan(service: &Service, objects: Objects) -> Forecast {
    forecast(service, &Scene::of(objects), outside_provider).await
}

/// The text with the hash, which follows from the plan, put as HASH.
async fn text(service: &Service, objects: Objects) -> String {
    let forecast = plan(service, objects).await;
    let text = plan_text(&forecast);
    forecast.plans.iter().fold(text, |text, plan| text.replace(&plan.hash, "HASH"))
}

#[tokio::test]
async fn a_service_without_an_address_gets_the_lowest_free_one() {
    let new = service("web", json!({}));
    let all = objects("Automatic", vec![served("old", "203.0.113.200"), new.clone()]);
    let expected = "\
Service shop/web
  class     bare-metal (provider pool)
  plan      1 step, 0 calls of the provider, hash HASH
    1. assign: addresses 203.0.113.201; pool segment
       because the Service has no address yet
       risk: safe; 0 calls
  approval  not needed
";
    assert_eq!(text(&new, all).await, expected);
}

#[tokio::test]
async fn what_is_as_it_should_be_needs_nothing() {
    let old = served("old", "203.0.113.200");
    let expected = "\
Service shop/old
  class     bare-metal (provider pool)
  has       203.0.113.200
  plan      nothing to do
";
    assert_eq!(text(&old, objects("Manual", vec![old.clone()])).await, expected);
}

#[tokio::test]
async fn an_edited_pool_moves_its_holders_and_asks_first_where_the_class_wants_it() {
    let old = served("old", "203.0.113.200");
    let mut all = objects("Manual", vec![old.clone()]);
    all.put_pool(pool("segment", json!({"addresses": ["203.0.113.210/32"]})), Timestamp::now());
    let forecast = plan(&old, all.clone()).await;
    assert_eq!(forecast.outcome, Outcome::Served);
    assert_eq!(all.pools.len(), 1);
    let hash = &forecast.plans[0].hash;
    let command =
        format!("kubectl annotate --overwrite -n shop service old penstock.dev/approved-plan={hash}");
    assert_eq!(forecast.plans[0].approval, Agreement::Needed { command: command.clone() });
    assert!(
        plan_text(&forecast).contains(&format!("approval  needed from the first risky step on: {command}"))
    );

    let mut agreed = old.clone();
    agreed.metadata.annotations.as_mut().unwrap().insert("penstock.dev/approved-plan".into(), hash.clone());
    all.put_service(agreed.clone());
    assert_eq!(plan(&agreed, all).await.plans[0].approval, Agreement::Given);
}

#[tokio::test]
async fn a_service_that_loses_its_address_is_told_so() {
    let (old, other) = (served("old", "203.0.113.200"), served("other", "203.0.113.201"));
    let mut all = objects("Automatic", vec![old.clone(), other]);
    all.put_pool(pool("segment", json!({"addresses": ["203.0.113.201/32"]})), Timestamp::now());
    let text = text(&old, all).await;
    assert!(text.contains("waits     Exhausted: no free IPv4 address in IPAddressPool segment"), "{text}");
    assert!(text.contains("1. release\n") && text.contains("risk: destructive"), "{text}");
}

#[tokio::test]
async fn who_is_not_ours_is_told_why() {
    for (spec, default, why) in [
        (
            json!({"type": "ClusterIP"}),
            true,
            "it is of type ClusterIP, and only Services of type LoadBalancer",
        ),
        (json!({"loadBalancerClass": "other.example/x"}), true, "other.example/x, which another controller"),
        (json!({}), false, "it names no class, and no LoadBalancerClass is the default"),
    ] {
        let foreign = service("web", spec);
        let mut all = objects("Automatic", vec![foreign.clone()]);
        all.classes = vec![class("bare-metal", json!({"provider": "pool", "default": default}))];
        let forecast = plan(&foreign, all).await;
        assert!(
            matches!(&forecast.outcome, Outcome::NotOurs { why: said } if said.contains(why)),
            "{forecast:?}"
        );
        assert!(plan_text(&forecast).contains("  not ours  "));
    }
}

#[tokio::test]
async fn a_balancer_outside_is_planned_from_its_record_without_a_call() {
    let webhook = class("lab", json!({"provider": "webhook", "webhook": {"url": "http://lb.invalid"}}));
    let mut web = service("web", json!({"loadBalancerClass": "penstock.dev/lab"}));
    let mut all = objects("Automatic", vec![web.clone()]);
    all.classes.push(webhook.clone());
    let create = plan(&web, all.clone()).await;
    assert_eq!((create.plans.len(), create.plans[0].calls), (1, 1), "{create:?}");
    assert!(plan_text(&create).contains("(provider webhook)"));

    // It leaves: what the record tells of is taken down, by its own class.
    web.metadata.finalizers = Some(vec![penstock_crds::FINALIZER.to_owned()]);
    web.spec.as_mut().unwrap().type_ = Some("ClusterIP".into());
    let spec = create.plans[0].steps[0].action["create"]["spec"].clone();
    let observed = json!({"balancer": {"owner": {"namespace": "shop", "name": "web", "uid": "uid-web"},
        "spec": spec, "targets": [], "status": {"state": "active", "addresses": ["198.51.100.7"]}}});
    all.records = vec![record("web", &webhook, json!({"observed": observed}))];
    all.put_service(web.clone());
    let removal = plan(&web, all.clone()).await;
    assert_eq!(removal.outcome, Outcome::CleanedUp);
    assert_eq!(removal.plans[0].steps[0].action, json!("delete"));
    assert!(
        plan_text(&removal).contains("plan      1 step of class lab, 1 call of the provider"),
        "{}",
        plan_text(&removal)
    );

    // What the operator heard of exactly this plan is told, and of another it is not.
    let pending = |hash: &str| {
        let verdict = json!({"outcome": "Refused", "message": "no such region"});
        let plan = json!({"hash": hash, "steps": [], "verdict": verdict});
        record("web", &webhook, json!({"observed": observed, "pendingPlan": plan}))
    };
    for (hash, told) in [(removal.plans[0].hash.as_str(), true), ("another", false)] {
        all.records = vec![pending(hash)];
        let text = plan_text(&plan(&web, all.clone()).await);
        assert_eq!(text.contains("the provider would refuse it (no such region)"), told, "{text}");
    }
}

#[tokio::test]
async fn a_balancer_of_aws_is_planned_without_a_call_and_bad_annotations_are_told() {
    let aws = class(
        "cloud",
        json!({"provider": "aws", "aws": {"region": "eu-central-1", "vpcId": "vpc-1", "clusterName": "blue",
            "internalSubnets": ["subnet-a", "subnet-b"]}}),
    );
    let mut new = service("web", json!({"loadBalancerClass": "penstock.dev/cloud"}));
    let node = json!({"metadata": {"name": "n", "labels": {"role": "edge"}},
        "spec": {"providerID": "aws:///eu-central-1a/i-1"}});
    let other = json!({"metadata": {"name": "m"}, "spec": {"providerID": "aws:///eu-central-1a/i-2"}});
    let key = |key: &str| format!("{}{key}", penstock_crds::AWS_PREFIX);
    let labels = (key("target-node-labels"), "role=edge".to_owned());
    new.metadata.annotations = Some([labels.clone()].into());
    let all = |service: &Service| Objects {
        classes: vec![aws.clone()],
        nodes: [&node, &other].map(|node| serde_json::from_value(node.clone()).unwrap()).into(),
        ..objects("Manual", vec![service.clone()])
    };
    let planned = plan(&new, all(&new)).await;
    assert_eq!((planned.plans[0].provider.as_str(), planned.plans[0].calls), ("aws", 5));
    assert_eq!(planned.plans[0].approval, Agreement::NotNeeded);
    let shown = plan_text(&planned);
    assert!(shown.contains("1. createTargetGroup") && shown.contains("id i-1"), "{shown}");
    assert!(!shown.contains("i-2"), "{shown}");

    new.metadata.annotations = Some([labels, (key("shceme"), "internal".to_owned())].into());
    let Outcome::Refused { message, .. } = plan(&new, all(&new)).await.outcome else { panic!("planned") };
    assert!(message.contains("aws-load-balancer-shceme is not known"), "{message}");

    let slice = json!({
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"name": "", "protocol": "TCP", "port": 8080}]
    });
    new.metadata.annotations = Some([(key("nlb-target-type"), "ip".to_owned())].into());
    let all = Objects { slices: vec![serde_json::from_value(slice).unwrap()], ..all(&new) };
    let shown = plan_text(&plan(&new, all).await);
    assert!(shown.contains("id 10.0.0.1; port 8080"), "{shown}");
}
