//! Lists come in pages, and in order.

use penstock_tests::aws_endpoint::Settings;

use crate::account::{Account, code, tag};

#[tokio::test]
async fn every_list_comes_in_pages() {
    let account = Account::open_with(Settings::default()).await;
    let elb = &account.elb;
    let first = account.balancer("lb-0").await;
    for n in 1..5 {
        account.balancer(&format!("lb-{n}")).await;
    }
    for n in 0..5 {
        let group = account.group(&format!("g-{n}")).await;
        account.listener(&first, &group, 80 + n).await;
    }
    let mut names: Vec<String> = Vec::new();
    let mut pages = elb.describe_load_balancers().page_size(2).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.load_balancers().len() <= 2);
        names.extend(page.load_balancers().iter().map(|held| held.load_balancer_name().unwrap().to_owned()));
    }
    names.sort();
    assert_eq!(names, ["lb-0", "lb-1", "lb-2", "lb-3", "lb-4"]);
    let groups = elb.describe_target_groups().page_size(2).into_paginator().items().send();
    assert_eq!(groups.collect::<Vec<_>>().await.len(), 5);
    let listeners = elb.describe_listeners().load_balancer_arn(first.load_balancer_arn().unwrap());
    assert_eq!(listeners.page_size(2).into_paginator().items().send().collect::<Vec<_>>().await.len(), 5);
    let log = &account.aws.store().log;
    assert_eq!(log.count("DescribeLoadBalancers"), 3);
    assert_eq!(log.count("DescribeTargetGroups"), 3);
    assert_eq!(log.count("DescribeListeners"), 3);
    let last = log.calls.last().unwrap();
    assert_eq!(last.parameters["PageSize"], "2");
    assert!(last.parameters.contains_key("Marker"));
}

#[tokio::test]
async fn a_page_without_a_size_is_as_large_as_aws_makes_it() {
    let account = Account::open().await;
    account.aws.store().settings.limits.page = 2;
    for n in 0..3 {
        account.group(&format!("g-{n}")).await;
    }
    let page = account.elb.describe_target_groups().send().await.unwrap();
    assert_eq!(page.target_groups().len(), 2);
    assert!(page.next_marker().is_some());
    assert_eq!(code(account.elb.describe_target_groups().page_size(3).send().await), "ValidationError");
}

#[tokio::test]
async fn tags_are_described_twenty_at_a_time() {
    let account = Account::open().await;
    let mut arns = Vec::new();
    for n in 0..21 {
        arns.push(account.group(&format!("g-{n}")).await.target_group_arn.unwrap());
    }
    let describe =
        |arns: &[String]| account.elb.describe_tags().set_resource_arns(Some(arns.to_vec())).send();
    assert_eq!(code(describe(&arns).await), "ValidationError");
    let described = describe(&arns[1..]).await.unwrap();
    assert_eq!(described.tag_descriptions().len(), 20);
    assert_eq!(described.tag_descriptions()[0].tags(), [tag("owner", "g-1")]);
}
