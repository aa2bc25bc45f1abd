//! The provider `aws` against the endpoint that stands for AWS: what it costs, and what only AWS does. What holds for every
//! provider is in `provider_contract`.

#![allow(clippy::unwrap_used)] // a test may panic

use std::time::Duration;

use anyhow::Result;
use penstock_crds::AwsParameters;
use penstock_model::{Family, ObjectKey, Protocol};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Provider, Target,
    aws::{AwsAccount, AwsProvider, Observed, StaticCredentials},
};
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, Clock, Fault, REGION, Settings, VPC},
    certificate::certificates,
    provider_contract::settle,
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
    let certificate = Some(certificates()[0].clone());
    let (provider, mut wanted) = (provider(&aws).await, Desired { certificate, ..desired() });
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
