//! What takes its time at AWS takes it here, by a clock that the test moves on.

use std::time::Duration;

use penstock_tests::aws_endpoint::{Rate, Rates, Settings};

use crate::account::{Account, code, instance};

#[tokio::test]
async fn targets_are_initial_then_healthy_and_drain_before_they_are_gone() {
    let to_healthy = Duration::from_secs(30);
    let account = Account::open_with(Settings { to_healthy, draining: None, ..Settings::default() }).await;
    let (balancer, group) = (account.balancer("web").await, account.group("g").await);
    let call = || account.elb.register_targets().set_target_group_arn(group.target_group_arn.clone());
    let target = "i-00000000000000001 30080";
    call().targets(instance(1)).send().await.unwrap();
    assert_eq!(account.health(&group).await, [format!("{target} unused Target.NotInUse")]);
    account.listener(&balancer, &group, 80).await;
    assert_eq!(account.health(&group).await, [format!("{target} initial Elb.RegistrationInProgress")]);
    account.advance(30);
    assert_eq!(account.health(&group).await, [format!("{target} healthy -")]);
    account.aws.store().settings.unhealthy.insert("i-00000000000000001".to_owned());
    assert_eq!(account.health(&group).await, [format!("{target} unhealthy Target.FailedHealthChecks")]);

    let leave = account.elb.deregister_targets().set_target_group_arn(group.target_group_arn.clone());
    leave.targets(instance(1)).send().await.unwrap();
    account.advance(299);
    assert_eq!(account.health(&group).await, [format!("{target} draining Target.DeregistrationInProgress")]);
    account.advance(1);
    assert!(account.health(&group).await.is_empty());
    let asked = account.elb.describe_target_health().set_target_group_arn(group.target_group_arn.clone());
    let asked = asked.targets(instance(1)).send().await.unwrap();
    let health = asked.target_health_descriptions()[0].target_health().unwrap();
    assert_eq!(health.reason().unwrap().as_str(), "Target.NotRegistered");
}

#[tokio::test]
async fn a_load_balancer_gets_active_and_is_seen_late() {
    let (to_active, describe_lag) = (Duration::from_secs(120), Duration::from_secs(2));
    let account = Account::open_with(Settings { to_active, describe_lag, ..Settings::default() }).await;
    let balancer = account.balancer("web").await;
    let arn = balancer.load_balancer_arn().unwrap();
    let elb = &account.elb;
    assert!(elb.describe_load_balancers().send().await.unwrap().load_balancers().is_empty());
    let error = elb.describe_load_balancers().names("web").send().await.unwrap_err().into_service_error();
    assert!(error.is_load_balancer_not_found_exception());
    // What changes it finds it at once.
    let group = account.group("g").await;
    account.listener(&balancer, &group, 80).await;
    assert!(elb.describe_listeners().load_balancer_arn(arn).send().await.unwrap().listeners().is_empty());

    account.advance(2);
    assert_eq!(elb.describe_listeners().load_balancer_arn(arn).send().await.unwrap().listeners().len(), 1);
    let state = || async {
        let described = elb.describe_load_balancers().names("web").send().await.unwrap();
        described.load_balancers()[0].state().unwrap().code().unwrap().as_str().to_owned()
    };
    assert_eq!(state().await, "provisioning");
    account.advance(118);
    assert_eq!(state().await, "active");
}

#[tokio::test]
async fn a_target_group_is_in_use_a_little_longer() {
    let in_use_lag = Duration::from_secs(5);
    let account = Account::open_with(Settings { in_use_lag, ..Settings::default() }).await;
    let (balancer, group) = (account.balancer("web").await, account.group("g").await);
    account.listener(&balancer, &group, 80).await;
    let delete =
        || account.elb.delete_target_group().set_target_group_arn(group.target_group_arn.clone()).send();
    assert!(delete().await.unwrap_err().into_service_error().is_resource_in_use_exception());
    let gone = account.elb.delete_load_balancer().set_load_balancer_arn(balancer.load_balancer_arn.clone());
    gone.send().await.unwrap();
    assert_eq!(code(delete().await), "ResourceInUse");
    account.advance(5);
    delete().await.unwrap();
}

#[tokio::test]
async fn calls_that_come_too_fast_are_refused_by_their_class() {
    let rate = |capacity, per_second| Rate { capacity, per_second };
    let rates = Rates { describe: rate(4, 10.0), register: rate(1, 4.0), change: rate(2, 10.0) };
    let account = Account::open_with(Settings { rates: Some(rates), ..Settings::default() }).await;
    let group = account.group("g").await;
    let register = |n| {
        let call = account.elb.register_targets().set_target_group_arn(group.target_group_arn.clone());
        call.targets(instance(n)).send()
    };
    register(1).await.unwrap();
    assert_eq!(code(register(2).await), "Throttling");
    for _ in 0..4 {
        account.elb.describe_load_balancers().send().await.unwrap();
    }
    assert_eq!(code(account.elb.describe_load_balancers().send().await), "Throttling");
    account.group("h").await;
    account.aws.store().clock.advance(Duration::from_millis(250));
    register(2).await.unwrap();
    assert_eq!(code(register(3).await), "Throttling");
    assert_eq!(account.aws.store().log.refused("Throttling"), 3);
    assert_eq!(account.aws.store().target_groups.len(), 2);
}
