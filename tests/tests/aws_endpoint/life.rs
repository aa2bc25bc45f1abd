//! What becomes of a load balancer from its creation to its end.

use aws_sdk_elasticloadbalancingv2::types::{
    IpAddressType, LoadBalancerAttribute, LoadBalancerSchemeEnum, LoadBalancerTypeEnum, ProtocolEnum,
    SubnetMapping, TargetGroupAttribute,
};
use penstock_tests::aws_endpoint::VPC;

use crate::account::{Account, code, forward, instance, tag};

#[tokio::test]
async fn a_load_balancer_lives_with_group_listener_and_targets() {
    let account = Account::open().await;
    let balancer = account.balancer("web").await;
    let arn = balancer.load_balancer_arn().unwrap();
    assert!(arn.contains(":loadbalancer/net/web/"), "{arn}");
    assert!(balancer.dns_name().unwrap().starts_with("web-"));
    assert_eq!(balancer.state().unwrap().code().unwrap().as_str(), "provisioning");

    let group = account.group("web-80").await;
    let group_arn = group.target_group_arn().unwrap();
    account.listener(&balancer, &group, 80).await;
    let register = account.elb.register_targets().target_group_arn(group_arn);
    register.targets(instance(1)).targets(instance(2)).send().await.unwrap();
    let (first, second) = ("i-00000000000000001", "i-00000000000000002");
    assert_eq!(
        account.health(&group).await,
        [format!("{first} 30080 healthy -"), format!("{second} 30080 healthy -")]
    );

    let summary = account.aws.store().summary();
    let described_as = &summary["loadBalancers"][0];
    assert_eq!(described_as["listeners"][0]["targetGroup"], "web-80");
    assert_eq!(described_as["tags"]["owner"], "web");
    assert_eq!(summary["targetGroups"][0]["targets"].as_array().unwrap().len(), 2);

    let described = account.elb.describe_load_balancers().names("web").send().await.unwrap();
    let described = &described.load_balancers()[0];
    assert_eq!(described.state().unwrap().code().unwrap().as_str(), "active");
    assert_eq!(described.scheme(), Some(&LoadBalancerSchemeEnum::InternetFacing));
    assert_eq!(described.availability_zones().len(), 2);
    let groups = account.elb.describe_target_groups().load_balancer_arn(arn).send().await.unwrap();
    assert_eq!(groups.target_groups()[0].load_balancer_arns(), [arn]);

    account.elb.deregister_targets().target_group_arn(group_arn).targets(instance(1)).send().await.unwrap();
    assert_eq!(account.health(&group).await, [format!("{second} 30080 healthy -")]);
    account.elb.delete_load_balancer().load_balancer_arn(arn).send().await.unwrap();
    assert!(account.aws.store().listeners.is_empty(), "listeners go with their load balancer");
    account.elb.delete_target_group().target_group_arn(group_arn).send().await.unwrap();
    assert!(account.aws.store().is_empty());
    assert_eq!(account.aws.store().log.changes(), 7);
}

#[tokio::test]
async fn creating_again_is_no_error_unless_something_differs() {
    let account = Account::open().await;
    let (first, again) = (account.balancer("web").await, account.balancer("web").await);
    assert_eq!(first.load_balancer_arn(), again.load_balancer_arn());
    let other = account.elb.create_load_balancer().name("web").r#type(LoadBalancerTypeEnum::Network);
    let other = other.subnets("subnet-a").send().await;
    assert!(other.unwrap_err().into_service_error().is_duplicate_load_balancer_name_exception());

    // Tags are no settings: whose it is shows only who looks.
    let taken = account.elb.create_load_balancer().name("web").r#type(LoadBalancerTypeEnum::Network);
    let taken =
        taken.subnets("subnet-a").subnets("subnet-b").tags(tag("owner", "another")).send().await.unwrap();
    assert_eq!(taken.load_balancers()[0].load_balancer_arn(), first.load_balancer_arn());
    let tags =
        account.elb.describe_tags().set_resource_arns(first.load_balancer_arn.clone().map(|arn| vec![arn]));
    assert_eq!(tags.send().await.unwrap().tag_descriptions()[0].tags(), [tag("owner", "web")]);

    let (group, same) = (account.group("web-80").await, account.group("web-80").await);
    assert_eq!(group.target_group_arn(), same.target_group_arn());
    let other =
        account.elb.create_target_group().name("web-80").protocol(ProtocolEnum::Tcp).port(1).vpc_id(VPC);
    let error = other.send().await.unwrap_err().into_service_error();
    assert!(error.is_duplicate_target_group_name_exception());
    let (listener, same) =
        (account.listener(&first, &group, 80).await, account.listener(&first, &group, 80).await);
    assert_eq!(listener.listener_arn(), same.listener_arn());
}

#[tokio::test]
async fn everything_that_can_be_changed_changes() {
    let account = Account::open().await;
    let (balancer, group, next) =
        (account.balancer("web").await, account.group("g-1").await, account.group("g-2").await);
    let listener = account.listener(&balancer, &group, 80).await;
    let arn = balancer.load_balancer_arn().unwrap();
    let elb = &account.elb;

    let protect = LoadBalancerAttribute::builder().key("deletion_protection.enabled");
    let set = elb.modify_load_balancer_attributes().load_balancer_arn(arn);
    set.attributes(protect.clone().value("true").build()).send().await.unwrap();
    let refused = elb.delete_load_balancer().load_balancer_arn(arn).send().await.unwrap_err();
    assert!(refused.into_service_error().is_operation_not_permitted_exception());
    let all = elb.describe_load_balancer_attributes().load_balancer_arn(arn).send().await.unwrap();
    assert!(all.attributes().contains(&protect.clone().value("true").build()));
    assert_eq!(all.attributes().len(), 9);

    let delay =
        TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value("10").build();
    let set = elb.modify_target_group_attributes().set_target_group_arn(group.target_group_arn.clone());
    assert!(set.attributes(delay.clone()).send().await.unwrap().attributes().contains(&delay));

    let set = elb.modify_target_group().set_target_group_arn(group.target_group_arn.clone());
    let set = set
        .health_check_protocol(ProtocolEnum::Http)
        .health_check_path("/healthz")
        .health_check_port("31000");
    let changed = set.send().await.unwrap();
    let changed = &changed.target_groups()[0];
    assert_eq!((changed.health_check_path(), changed.health_check_port()), (Some("/healthz"), Some("31000")));
    assert_eq!(changed.matcher().unwrap().http_code(), Some("200-399"));

    let move_on = elb.modify_listener().set_listener_arn(listener.listener_arn.clone());
    move_on.port(81).default_actions(forward(&next)).send().await.unwrap();
    elb.delete_target_group().set_target_group_arn(group.target_group_arn.clone()).send().await.unwrap();

    elb.set_subnets().load_balancer_arn(arn).subnets("subnet-c").send().await.unwrap();
    elb.set_ip_address_type()
        .load_balancer_arn(arn)
        .ip_address_type(IpAddressType::Dualstack)
        .send()
        .await
        .unwrap();
    let now = elb.describe_load_balancers().load_balancer_arns(arn).send().await.unwrap();
    assert_eq!(now.load_balancers()[0].availability_zones()[0].subnet_id(), Some("subnet-c"));
    assert_eq!(now.load_balancers()[0].ip_address_type(), Some(&IpAddressType::Dualstack));

    elb.add_tags().resource_arns(arn).tags(tag("a", "b")).send().await.unwrap();
    elb.remove_tags().resource_arns(arn).tag_keys("owner").send().await.unwrap();
    let tags = elb.describe_tags().resource_arns(arn).send().await.unwrap();
    assert_eq!(tags.tag_descriptions()[0].tags(), [tag("a", "b")]);
}

#[tokio::test]
async fn addresses_belong_to_one_load_balancer() {
    let account = Account::open().await;
    let mapped = |name: &str, id: &str| {
        let call = account.elb.create_load_balancer().name(name).r#type(LoadBalancerTypeEnum::Network);
        call.subnet_mappings(SubnetMapping::builder().subnet_id("subnet-a").allocation_id(id).build()).send()
    };
    let made = mapped("a", "eipalloc-1").await.unwrap();
    let addresses = made.load_balancers()[0].availability_zones()[0].load_balancer_addresses();
    assert_eq!(addresses[0].ip_address(), Some("203.0.113.1"));
    assert_eq!(code(mapped("b", "eipalloc-1").await), "ResourceInUse");
    assert_eq!(code(mapped("b", "eipalloc-9").await), "AllocationIdNotFound");
    mapped("b", "eipalloc-2").await.unwrap();
}

#[tokio::test]
async fn security_groups_are_for_those_that_began_with_some() {
    let account = Account::open().await;
    let without = account.balancer("without").await;
    let set = |balancer: &aws_sdk_elasticloadbalancingv2::types::LoadBalancer, groups: &[&str]| {
        let call =
            account.elb.set_security_groups().set_load_balancer_arn(balancer.load_balancer_arn.clone());
        call.set_security_groups(Some(groups.iter().map(|group| (*group).to_owned()).collect())).send()
    };
    assert_eq!(code(set(&without, &["sg-1"]).await), "InvalidConfigurationRequest");
    let with = account.elb.create_load_balancer().name("with").r#type(LoadBalancerTypeEnum::Network);
    let with =
        with.subnets("subnet-a").security_groups("sg-1").send().await.unwrap().load_balancers()[0].clone();
    assert_eq!(set(&with, &["sg-2"]).await.unwrap().security_group_ids(), ["sg-2"]);
    assert_eq!(code(set(&with, &[]).await), "InvalidConfigurationRequest");
    assert_eq!(code(set(&with, &["sg-9"]).await), "InvalidSecurityGroup");
}
