//! The provider `aws` against the endpoint that stands for AWS: what it costs, and that it ends as wanted whichever call
//! fails.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::{Duration, Instant};

use anyhow::Result;
use penstock_crds::{AWS_PREFIX, AwsParameters};
use penstock_model::{Family, ObjectKey, Protocol};
use penstock_providers::{
    Desired, EndpointTarget, FamilyNeed, Frontend, Owner, Provider, ProviderError, Target,
    aws::{AwsAccount, AwsProvider, Observed, StaticCredentials},
};
use penstock_tests::aws_endpoint::{ACCESS_KEY, AwsEndpoint, Clock, Fault, REGION, Settings, VPC};

/// Bounds how long a broken provider is waited for.
const LIMIT: Duration = Duration::from_secs(60);

fn parameters(url: String) -> AwsParameters {
    AwsParameters {
        region: REGION.into(),
        vpc_id: VPC.into(),
        cluster_name: "blue".into(),
        internal_subnets: vec!["subnet-a".into(), "subnet-b".into()],
        public_subnets: vec!["subnet-b".into(), "subnet-c".into()],
        endpoint_url: Some(url),
        ..AwsParameters::default()
    }
}

/// As after a start: nothing is known.
async fn provider(aws: &AwsEndpoint) -> AwsProvider {
    let parameters = parameters(aws.url());
    let credentials = StaticCredentials {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: "secret".into(),
        session_token: None,
    };
    AwsProvider::new(&parameters, &AwsAccount::without_limits(&parameters, Some(credentials)).await)
}

fn owner(uid: &str) -> Owner {
    Owner { service: ObjectKey::new("shop", "web"), uid: uid.into() }
}

fn port(protocol: Protocol, port: u16, node_port: u16) -> Frontend {
    Frontend { protocol, port, node_port: Some(node_port) }
}

fn node(number: u8) -> Target {
    let id = format!("i-0123456789abcde{number:02x}");
    Target { node: id.clone(), provider_id: Some(format!("aws:///eu-central-1a/{id}")), addresses: vec![] }
}

fn desired() -> Desired {
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![port(Protocol::Tcp, 80, 30080)],
        targets: vec![node(1), node(2)],
        ..Desired::default()
    }
}

fn asks(desired: &mut Desired, key: &str, value: &str) {
    desired.options.insert(format!("{AWS_PREFIX}{key}"), value.into());
}

async fn pass(
    provider: &AwsProvider,
    owner: &Owner,
    desired: Option<&Desired>,
) -> Result<Option<Observed>, ProviderError> {
    let observed = provider.observe(owner).await?;
    let plan = provider.plan(owner, desired, &observed)?;
    for step in &plan.steps {
        provider.apply(owner, step, desired.and_then(|d| d.certificate.as_ref())).await?;
    }
    Ok(plan.is_empty().then_some(observed))
}

/// Passes until nothing is left to do, over every failure that may pass.
async fn settle(
    provider: &AwsProvider,
    owner: &Owner,
    desired: Option<&Desired>,
) -> Result<Observed, ProviderError> {
    let begun = Instant::now();
    loop {
        match pass(provider, owner, desired).await {
            Ok(Some(observed)) => return Ok(observed),
            Ok(None) => {}
            Err(error) if error.is_terminal() || begun.elapsed() > LIMIT => return Err(error),
            // The endpoint has no limits here, and nothing is to be waited for but what it says itself.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// What a provider sees that has only just started.
async fn seen_anew(aws: &AwsEndpoint, owner: &Owner, desired: &Desired) -> Observed {
    let fresh = provider(aws).await;
    let observed = fresh.observe(owner).await.unwrap();
    let plan = fresh.plan(owner, Some(desired), &observed).unwrap();
    assert!(plan.is_empty(), "{plan:?}");
    observed
}

#[tokio::test]
async fn a_balancer_costs_the_calls_of_its_steps_and_nothing_while_nothing_changes() -> Result<()> {
    let aws = AwsEndpoint::start().await?;
    let (aws_provider, mut wanted) = (provider(&aws).await, desired());
    settle(&aws_provider, &owner("u1"), Some(&wanted)).await?;
    let first = aws.store().log.total();
    settle(&aws_provider, &owner("u2"), Some(&wanted)).await?;
    let five =
        ["CreateTargetGroup", "CreateLoadBalancer", "DescribeTags", "CreateListener", "RegisterTargets"];
    assert_eq!(aws.store().log.since(first), five);
    assert_eq!(first, 7, "and before the first one two pages of what there is");
    assert_eq!(aws_provider.calls().values().sum::<u64>(), 12);

    let before = aws.store().log.total();
    settle(&aws_provider, &owner("u2"), Some(&wanted)).await?;
    aws.store().log.assert_since(before, &[]);
    wanted.targets.push(node(3));
    settle(&aws_provider, &owner("u2"), Some(&wanted)).await?;
    aws.store().log.assert_since(before, &["RegisterTargets"]);
    seen_anew(&aws, &owner("u2"), &wanted).await;

    settle(&aws_provider, &owner("u1"), None).await?;
    settle(&aws_provider, &owner("u2"), None).await?;
    assert!(aws.store().is_empty());
    Ok(())
}

/// Balancers and target groups.
fn held(aws: &AwsEndpoint) -> (usize, usize) {
    let store = aws.store();
    (store.load_balancers.len(), store.target_groups.len())
}

/// A life in which everything changes once.
fn life() -> Vec<Desired> {
    let mut all = vec![desired()];
    let mut next = |change: fn(&mut Desired)| {
        let mut wanted = all.last().unwrap().clone();
        change(&mut wanted);
        all.push(wanted);
    };
    next(|w| w.targets = vec![node(2), node(3)]);
    next(|w| {
        w.frontends.push(port(Protocol::Udp, 53, 30053));
        asks(w, "cross-zone-load-balancing-enabled", "true");
        asks(w, "target-group-attributes", "deregistration_delay.timeout_seconds=30");
        asks(w, "additional-resource-tags", "team=shop");
        asks(w, "listener-attributes.TCP-80", "tcp.idle_timeout.seconds=60");
    });
    next(|w| {
        w.frontends[0].node_port = Some(30090);
        asks(w, "healthcheck-interval", "30");
        asks(w, "subnets", "subnet-a,subnet-b,subnet-c");
        w.options.remove(&format!("{AWS_PREFIX}cross-zone-load-balancing-enabled"));
    });
    next(|w| {
        w.frontends.truncate(1);
        w.options.remove(&format!("{AWS_PREFIX}subnets"));
        asks(w, "scheme", "internet-facing");
        asks(w, "nlb-target-type", "ip");
        let address = "10.0.0.10".parse().unwrap();
        w.endpoints =
            Some(vec![EndpointTarget { protocol: Protocol::Tcp, port: 80, address, target_port: 8080 }]);
    });
    all
}

#[tokio::test]
async fn each_change_is_carried_out_and_seen_so_by_who_starts_anew() -> Result<()> {
    let aws = AwsEndpoint::start().await?;
    let provider = provider(&aws).await;
    for wanted in life() {
        settle(&provider, &owner("u1"), Some(&wanted)).await?;
        let observed = seen_anew(&aws, &owner("u1"), &wanted).await;
        assert_eq!(aws.store().load_balancers.len(), 1);
        assert_eq!(aws.store().target_groups.len(), wanted.frontends.len());
        assert_eq!(observed.balancers[0].listeners.len(), wanted.frontends.len());
    }
    settle(&provider, &owner("u1"), None).await?;
    assert!(aws.store().is_empty());
    Ok(())
}

#[tokio::test]
async fn whichever_call_fails_it_ends_as_wanted_and_nothing_is_left() -> Result<()> {
    let faults = [
        Fault::DroppedBefore,
        Fault::DroppedAfter,
        Fault::Refused(500, "InternalFailure".into()),
        Fault::Committed(503, "ServiceUnavailable".into()),
        Fault::throttled(),
    ];
    for fault in faults {
        for nth in 1.. {
            let aws = AwsEndpoint::start().await?;
            let provider = provider(&aws).await;
            aws.store().fail_any(nth, fault.clone());
            for wanted in life() {
                settle(&provider, &owner("u1"), Some(&wanted)).await?;
            }
            assert_eq!(held(&aws), (1, 1), "{fault:?} {nth}");
            if !aws.store().faults_left() {
                seen_anew(&aws, &owner("u1"), life().last().unwrap()).await;
            }
            settle(&provider, &owner("u1"), None).await?;
            assert!(aws.store().is_empty(), "{fault:?} {nth}: {:?}", aws.store().log.since(0));
            if aws.store().faults_left() {
                assert!(nth > 30, "the life has more calls than {nth}");
                break;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_starts_anew_after_a_crash_finds_what_was_begun_and_takes_it_down() -> Result<()> {
    let steps = {
        let aws = AwsEndpoint::start().await?;
        let provider = provider(&aws).await;
        let observed = provider.observe(&owner("u1")).await?;
        provider.plan(&owner("u1"), Some(&desired()), &observed)?.steps
    };
    for done in 0..=steps.len() {
        for finishes in [true, false] {
            let aws = AwsEndpoint::start().await?;
            let crashed = provider(&aws).await;
            crashed.observe(&owner("u1")).await?;
            for step in &steps[..done] {
                crashed.apply(&owner("u1"), step, None).await?;
            }
            let next = provider(&aws).await;
            if finishes {
                settle(&next, &owner("u1"), Some(&desired())).await?;
                assert_eq!(held(&aws), (1, 1));
            }
            settle(&next, &owner("u1"), None).await?;
            assert!(aws.store().is_empty(), "after {done} steps: {}", aws.store().summary());
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_somebody_elses_under_our_names_is_left_alone() -> Result<()> {
    // AWS answers the creation of what exists with it, so that the tags are all that tells.
    for of_group in [false, true] {
        let aws = AwsEndpoint::start().await?;
        settle(&provider(&aws).await, &owner("u1"), Some(&desired())).await?;
        let strangers = |aws: &AwsEndpoint| {
            let mut store = aws.store();
            store.listeners.clear();
            let tags = ("penstock.dev/service-uid".to_owned(), "another".to_owned());
            if of_group {
                store.load_balancers.clear();
                let group = store.target_groups.values_mut().next().unwrap();
                group.targets.clear();
                group.tags = [tags].into();
            } else {
                store.target_groups.clear();
                store.load_balancers.values_mut().next().unwrap().tags = [tags].into();
            }
        };
        strangers(&aws);
        let provider = provider(&aws).await;
        let refused = settle(&provider, &owner("u1"), Some(&desired())).await.unwrap_err();
        assert!(matches!(refused, ProviderError::NotOwned(_)), "{refused:?}");
        assert!(aws.store().listeners.is_empty());
        assert!(aws.store().target_groups.values().all(|group| !of_group || group.targets.is_empty()));
        settle(&provider, &owner("u1"), None).await?;
        assert_eq!(held(&aws), if of_group { (0, 1) } else { (1, 0) });
    }
    Ok(())
}

#[tokio::test]
async fn what_aws_does_not_show_yet_is_waited_for() -> Result<()> {
    let lag = Duration::from_millis(300);
    let settings = Settings { describe_lag: lag, in_use_lag: lag, ..Settings::default() };
    let aws = AwsEndpoint::start_with(settings, Clock::running()).await?;
    let provider = provider(&aws).await;
    aws.store().fail("CreateLoadBalancer", 1, Fault::DroppedAfter);
    for wanted in life() {
        settle(&provider, &owner("u1"), Some(&wanted)).await?;
    }
    assert_eq!(aws.store().load_balancers.len(), 1);
    settle(&provider, &owner("u1"), None).await?;
    assert!(aws.store().is_empty(), "{}", aws.store().summary());
    Ok(())
}

#[tokio::test]
async fn a_sweep_names_who_lost_something_and_a_survey_of_many_is_in_bulk() -> Result<()> {
    let aws = AwsEndpoint::start().await?;
    let first = provider(&aws).await;
    for number in 0..25 {
        settle(&first, &owner(&format!("u{number:02}")), Some(&desired())).await?;
    }
    let before = aws.store().log.total();
    let fresh = provider(&aws).await;
    seen_anew(&aws, &owner("u07"), &desired()).await;
    let counts =
        |action: &str| aws.store().log.calls.iter().skip(before).filter(|c| c.action == action).count();
    assert_eq!(counts("DescribeLoadBalancers") + counts("DescribeTargetGroups"), 2);
    assert_eq!(counts("DescribeTags"), 3, "50 ARNs, 20 at a time");
    fresh.sweep().await?;
    let arn = {
        let store = aws.store();
        let found = store.load_balancers.iter().find(|(_, b)| b.tags["penstock.dev/service-uid"] == "u13");
        found.unwrap().0.clone()
    };
    aws.store().load_balancers.remove(&arn);
    aws.store().listeners.retain(|_, listener| listener.load_balancer != arn);
    let penstock_providers::Sweep::Of(differ) = first.sweep().await? else { panic!("each") };
    assert!(differ.contains("u13"));
    settle(&first, &owner("u13"), Some(&desired())).await?;
    assert_eq!(aws.store().load_balancers.len(), 25);
    Ok(())
}
