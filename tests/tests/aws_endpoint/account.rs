//! Clients of an endpoint, and what the tests make with them.

use aws_sdk_elasticloadbalancingv2::{
    Client, config,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Action, ActionTypeEnum, Listener, LoadBalancer, LoadBalancerTypeEnum, ProtocolEnum, Tag,
        TargetDescription, TargetGroup,
    },
};
use aws_smithy_http_client::Builder;
use penstock_tests::aws_endpoint::{ACCESS_KEY, AwsEndpoint, Clock, REGION, Settings, VPC};

/// An endpoint and a client that tries nothing twice.
pub(crate) struct Account {
    pub(crate) aws: AwsEndpoint,
    pub(crate) elb: Client,
}

impl Account {
    /// Prompt and without limits of rates; its time stands still.
    pub(crate) async fn open() -> Self {
        Self::open_with(Settings::default()).await
    }

    pub(crate) async fn open_with(settings: Settings) -> Self {
        let aws = AwsEndpoint::start_with(settings, Clock::stopped()).await.unwrap();
        let elb = client(&aws.url(), ACCESS_KEY);
        Self { aws, elb }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.aws.store().clock.advance(std::time::Duration::from_secs(seconds));
    }

    pub(crate) async fn balancer(&self, name: &str) -> LoadBalancer {
        let call = self.elb.create_load_balancer().name(name).r#type(LoadBalancerTypeEnum::Network);
        let made =
            call.subnets("subnet-a").subnets("subnet-b").tags(tag("owner", name)).send().await.unwrap();
        made.load_balancers()[0].clone()
    }

    pub(crate) async fn group(&self, name: &str) -> TargetGroup {
        let call = self.elb.create_target_group().name(name).protocol(ProtocolEnum::Tcp).port(30080);
        let made = call.vpc_id(VPC).tags(tag("owner", name)).send().await.unwrap();
        made.target_groups()[0].clone()
    }

    pub(crate) async fn listener(&self, balancer: &LoadBalancer, group: &TargetGroup, port: i32) -> Listener {
        let call = self.elb.create_listener().set_load_balancer_arn(balancer.load_balancer_arn.clone());
        let call = call.protocol(ProtocolEnum::Tcp).port(port).default_actions(forward(group));
        call.send().await.unwrap().listeners()[0].clone()
    }

    /// The state of each target, `ID PORT STATE REASON`.
    pub(crate) async fn health(&self, group: &TargetGroup) -> Vec<String> {
        let call = self.elb.describe_target_health().set_target_group_arn(group.target_group_arn.clone());
        let described = call.send().await.unwrap();
        let line = |one: &aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription| {
            let (target, health) = (one.target().unwrap(), one.target_health().unwrap());
            let reason = health.reason().map_or("-", |reason| reason.as_str());
            format!(
                "{} {} {} {reason}",
                target.id().unwrap(),
                target.port().unwrap(),
                health.state().unwrap()
            )
        };
        described.target_health_descriptions().iter().map(line).collect()
    }
}

/// A client of ELBv2 at this URL. It has no TLS: everything is on loopback.
pub(crate) fn client(url: &str, key: &str) -> Client {
    let config = config::Builder::new()
        .behavior_version(config::BehaviorVersion::latest())
        .endpoint_url(url)
        .region(config::Region::new(REGION))
        .credentials_provider(config::Credentials::new(key, "any", None, None, "test"))
        .http_client(Builder::new().build_http())
        .retry_config(config::retry::RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// The code of a refusal, or what else came of a call.
pub(crate) fn code<T, E, R>(result: Result<T, SdkError<E, R>>) -> String
where
    SdkError<E, R>: ProvideErrorMetadata,
{
    match result {
        Ok(_) => "none".to_owned(),
        Err(SdkError::DispatchFailure(_)) => "no answer".to_owned(),
        Err(error) => error.code().unwrap_or("no code").to_owned(),
    }
}

pub(crate) fn forward(group: &TargetGroup) -> Action {
    let action = Action::builder().r#type(ActionTypeEnum::Forward);
    action.set_target_group_arn(group.target_group_arn.clone()).build()
}

pub(crate) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

pub(crate) fn instance(n: u32) -> TargetDescription {
    TargetDescription::builder().id(format!("i-{n:017x}")).build()
}
