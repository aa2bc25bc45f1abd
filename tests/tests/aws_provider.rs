//! The provider `aws` against the endpoint that stands for AWS: what it costs, and what only AWS does. What holds for every
//! provider is in `provider_contract`.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::Duration;

use anyhow::Result;
use penstock_crds::AwsParameters;
use penstock_model::{Family, ObjectKey, Protocol};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Provider, ProviderError, Target,
    aws::{AwsAccount, AwsProvider, Observed, StaticCredentials},
};
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, Clock, Fault, REGION, Settings, VPC},
    certificate::certificates,
    provider_contract::{pass, settle},
};

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
    provider_with_lag(aws, Duration::ZERO).await
}

/// One that takes so long until AWS shows what was created.
async fn provider_with_lag(aws: &AwsEndpoint, lag: Duration) -> AwsProvider {
    let parameters = parameters(aws.url());
    let credentials = StaticCredentials {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: "secret".into(),
        session_token: None,
    };
    let account = AwsAccount::without_limits_but_lag(&parameters, Some(credentials), lag).await;
    AwsProvider::new(&parameters, &account)
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

fn with_tls() -> Desired {
    Desired { certificate: Some(certificates()[0].clone()), ..desired() }
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
    assert_eq!(first, 8, "and before the first one three pages of what there is");
    assert_eq!(aws_provider.calls().values().sum::<u64>(), 13);

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

#[tokio::test]
async fn what_aws_does_not_show_yet_is_waited_for() -> Result<()> {
    let lag = Duration::from_millis(300);
    let settings = Settings { describe_lag: lag, in_use_lag: lag, ..Settings::default() };
    let aws = AwsEndpoint::start_with(settings, Clock::running()).await?;
    let provider = provider(&aws).await;
    aws.store().fail("CreateLoadBalancer", 1, Fault::DroppedAfter);
    let mut more = desired();
    more.frontends.push(port(Protocol::Udp, 53, 30053));
    for wanted in [desired(), more] {
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

#[tokio::test]
async fn a_certificate_that_is_rotated_is_one_call_and_no_listener_hears_of_it() -> Result<()> {
    let aws = AwsEndpoint::start().await?;
    let (provider, mut wanted) = (provider(&aws).await, with_tls());
    settle(&provider, &owner("u1"), Some(&wanted)).await?;
    let before = aws.store().log.total();
    wanted.certificate = Some(certificates()[1].clone());
    let observed = settle(&provider, &owner("u1"), Some(&wanted)).await?;
    aws.store().log.assert_since(before, &["ImportCertificate"]);
    let imported: Vec<_> = aws.store().certificates.values().cloned().collect();
    assert_eq!((imported.len(), imported[0].imports), (1, 2));
    assert_eq!(imported[0].tags["penstock.dev/service-uid"], "u1");
    assert_eq!(observed.balancers[0].listeners[0].spec.certificates, [observed.certificates[0].arn.clone()]);
    seen_anew(&aws, &owner("u1"), &wanted).await;

    // Whoever imported something else under its ARN is noticed when it is looked at again.
    aws.store().certificates.values_mut().for_each(|held| held.pem = certificates()[0].leaf_pem());
    provider.sweep().await?;
    settle(&provider, &owner("u1"), Some(&wanted)).await?;
    assert_eq!(aws.store().certificates.values().map(|held| held.imports).collect::<Vec<_>>(), [3]);
    settle(&provider, &owner("u1"), None).await?;
    assert!(aws.store().is_empty());
    Ok(())
}

/// So long AWS does not show what was created, here.
const UNSEEN: Duration = Duration::from_millis(300);

async fn aws_that_lags() -> Result<AwsEndpoint> {
    let settings = Settings { describe_lag: UNSEEN, ..Settings::default() };
    AwsEndpoint::start_with(settings, Clock::running()).await
}

const CREATIONS: [&str; 4] =
    ["ImportCertificate", "CreateTargetGroup", "CreateLoadBalancer", "CreateListener"];

#[tokio::test]
async fn what_a_call_without_an_answer_made_and_aws_does_not_show_yet_goes_with_its_service() -> Result<()> {
    for call in CREATIONS {
        let aws = aws_that_lags().await?;
        let provider = provider_with_lag(&aws, 2 * UNSEEN).await;
        aws.store().fail(call, 1, Fault::DroppedAfter);
        let begun = async {
            while aws.store().faults_left() {
                let _ = pass(&provider, &owner("u1"), Some(&with_tls())).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), begun).await?;
        settle(&provider, &owner("u1"), None).await?;
        assert!(aws.store().is_empty(), "{call}: {}", aws.store().summary());
    }
    Ok(())
}

#[tokio::test]
async fn what_a_crash_left_and_aws_does_not_show_yet_goes_with_its_service() -> Result<()> {
    for call in CREATIONS {
        let aws = aws_that_lags().await?;
        let crashed = provider(&aws).await;
        let observed = crashed.observe(&owner("u1")).await?;
        for step in crashed.plan(&owner("u1"), Some(&with_tls()), &observed)?.steps {
            crashed.apply(&owner("u1"), &step, with_tls().certificate.as_ref()).await?;
            if aws.store().log.count(call) > 0 {
                break;
            }
        }
        let next = provider_with_lag(&aws, 2 * UNSEEN).await;
        settle(&next, &owner("u1"), None).await?;
        assert!(aws.store().is_empty(), "{call}: {}", aws.store().summary());
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_imported_twice_because_aws_does_not_show_it_yet() -> Result<()> {
    let aws = aws_that_lags().await?;
    let provider = provider_with_lag(&aws, 2 * UNSEEN).await;
    aws.store().fail("ImportCertificate", 1, Fault::DroppedAfter);
    settle(&provider, &owner("u1"), Some(&with_tls())).await?;
    assert_eq!(aws.store().log.count("ImportCertificate"), 1);
    assert_eq!(aws.store().certificates.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_dead_instance_keeps_no_other_from_its_connections_and_is_named() -> Result<()> {
    let aws = AwsEndpoint::start().await?;
    let provider = provider(&aws).await;
    let wanted = Desired { targets: (0..200).map(node).collect(), ..desired() };
    let id = |number: u8| format!("i-0123456789abcde{number:02x}");
    aws.store().world.instances = Some((0..200).filter(|number| *number != 77).map(id).collect());
    assert!(pass(&provider, &owner("u1"), Some(&wanted)).await?.is_none());
    let taken = aws.store().target_groups.values().next().unwrap().targets.len();
    assert_eq!((taken, aws.store().log.count("RegisterTargets")), (199, 17));
    let refused = pass(&provider, &owner("u1"), Some(&wanted)).await.unwrap_err();
    let message = refused.to_string();
    assert!(matches!(refused, ProviderError::Retryable(_)) && message.contains(&id(77)), "{message}");
    assert!(!message.contains(&id(76)), "{message}");
    // Somebody is told, and it is tried again; meanwhile it may have come up, or its node may be gone.
    aws.store().world.instances = None;
    settle(&provider, &owner("u1"), Some(&wanted)).await?;
    assert_eq!(aws.store().target_groups.values().next().unwrap().targets.len(), 200);
    Ok(())
}
