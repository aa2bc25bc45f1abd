//! Calls that go wrong when they are told to, and callers that are nobody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, Fault},
    fault_proxy::{Call, CallFault, FaultProxy, Plan, Upstream},
};

use crate::account::{Account, client, code, tag};

#[tokio::test]
async fn each_fault_leaves_what_it_says() {
    let account = Account::open().await;
    let create = |name: &str| {
        let call = account.elb.create_target_group().name(name).port(80).vpc_id("vpc-0a");
        call.protocol(aws_sdk_elasticloadbalancingv2::types::ProtocolEnum::Tcp).send()
    };
    let cases = [
        (Fault::throttled(), "Throttling", false),
        (Fault::Refused(503, "ServiceUnavailable".to_owned()), "ServiceUnavailable", false),
        (Fault::Committed(500, "InternalFailure".to_owned()), "InternalFailure", true),
        (Fault::DroppedBefore, "no answer", false),
        (Fault::DroppedAfter, "no answer", true),
    ];
    for (n, (fault, expected, done)) in cases.into_iter().enumerate() {
        let name = format!("g-{n}");
        account.aws.store().fail("CreateTargetGroup", 1, fault.clone());
        assert_eq!(code(create(&name).await), expected, "{fault:?}");
        let there = account.aws.store().target_groups.values().any(|held| held.name == name);
        assert_eq!(there, done, "{fault:?}");
        create(&name).await.unwrap();
        assert!(!account.aws.store().faults_left());
    }
    assert_eq!(account.aws.store().target_groups.len(), 5);
}

#[tokio::test]
async fn the_nth_call_is_hit_and_the_log_says_so() {
    let account = Account::open().await;
    account.aws.store().fail("DescribeTags", 2, Fault::throttled());
    account.aws.store().fail_any(4, Fault::DroppedAfter);
    let arn = account.group("g").await.target_group_arn.unwrap();
    let describe = || account.elb.describe_tags().resource_arns(&arn).send();
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(code(describe().await));
    }
    assert_eq!(codes, ["none", "Throttling", "no answer", "none"]);
    let store = account.aws.store();
    let expected =
        ["CreateTargetGroup", "DescribeTags", "DescribeTags Throttling", "DescribeTags", "DescribeTags"];
    store.log.assert_since(0, &expected);
    assert_eq!(store.log.calls[3].status, 0);
    assert_eq!(store.log.counts()["DescribeTags"], 4);
}

#[tokio::test]
async fn a_late_answer_is_late_and_right() {
    let account = Account::open().await;
    let delay = Duration::from_millis(300);
    account.aws.store().fail("DescribeLoadBalancers", 1, Fault::Delayed(delay));
    let begin = Instant::now();
    account.elb.describe_load_balancers().send().await.unwrap();
    assert!(begin.elapsed() >= delay);
}

#[tokio::test]
async fn the_wrong_key_is_refused_and_nothing_is_done() {
    let account = Account::open().await;
    let stranger = client(&account.aws.url(), "AKIASOMEBODYELSE0001");
    assert_eq!(code(stranger.describe_load_balancers().send().await), "InvalidClientTokenId");
    let arn = account.group("g").await.target_group_arn.unwrap();
    let refused = stranger.delete_target_group().target_group_arn(&arn).send().await;
    assert_eq!(code(refused), "InvalidClientTokenId");
    account.elb.add_tags().resource_arns(&arn).tags(tag("a", "b")).send().await.unwrap();
}

#[tokio::test]
async fn a_proxy_in_front_names_calls_by_their_actions() {
    let account = Account::open().await;
    let upstream = Upstream::http(account.aws.url().parse().unwrap());
    let proxy = FaultProxy::start(upstream, Arc::new(|| {})).await.unwrap();
    let elb = client(&proxy.url(), ACCESS_KEY);
    let arn = account.group("g").await.target_group_arn.unwrap();
    let call = Call { method: "POST".into(), path: "/AddTags".into(), occurrence: 2 };
    let cases = [
        (CallFault::TooManyRequests, "Throttling", false),
        (CallFault::Conflict, "ServiceUnavailable", false),
        (CallFault::ErrorCommitted, "InternalFailure", true),
        (CallFault::LostReply, "no answer", true),
    ];
    for (n, (fault, expected, done)) in cases.into_iter().enumerate() {
        proxy.begin(Plan::OneCall(call.clone(), fault));
        let key = format!("key-{n}");
        elb.describe_tags().resource_arns(&arn).send().await.unwrap();
        elb.add_tags().resource_arns(&arn).tags(tag("first", "")).send().await.unwrap();
        let second = elb.add_tags().resource_arns(&arn).tags(tag(&key, "")).send().await;
        assert_eq!(code(second), expected, "{fault}");
        assert_eq!(account.aws.store().target_groups[&arn].tags.contains_key(&key), done, "{fault}");
        let numbers: Vec<_> = proxy.log().iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [None, Some(1), Some(2)], "describes are no writes");
    }
}
