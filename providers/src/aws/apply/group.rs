//! Target groups.

use aws_sdk_elasticloadbalancingv2::types as sdk;

use super::{Applier, empty};
use crate::{
    ProviderError,
    aws::{
        action::Action,
        call_class::CallClass::Change,
        conversion,
        observed::Made,
        options::CheckProtocol,
        spec::{GroupSpec, HealthCheck},
        survey::Clue,
    },
};

impl Applier<'_> {
    pub(super) async fn create_group(&self, spec: &GroupSpec) -> Result<Option<Made>, ProviderError> {
        let GroupSpec { name, kind, health_check, tags } = spec;
        let HealthCheck { path, interval, timeout, .. } = health_check;
        let request = self
            .api
            .client
            .create_target_group()
            .name(name)
            .protocol(conversion::protocol(kind.protocol))
            .port(i32::from(kind.port))
            .vpc_id(&self.parameters.vpc_id)
            .target_type(conversion::target_type(kind.target_type))
            .ip_address_type(conversion::group_family(kind.ip_address_type))
            .health_check_protocol(conversion::check_protocol(health_check.protocol))
            .health_check_port(check_port(health_check))
            .set_health_check_path(path.clone())
            .set_matcher(matcher(health_check))
            .health_check_interval_seconds(i32::from(*interval))
            .health_check_timeout_seconds(i32::from(*timeout))
            .healthy_threshold_count(i32::from(health_check.healthy_threshold))
            .unhealthy_threshold_count(i32::from(health_check.unhealthy_threshold))
            .set_tags(Some(conversion::tags(tags)));
        let answer = self.api.call("CreateTargetGroup", Change, request.send()).await;
        let answer = self.unless_taken(answer, Clue::GroupName(name.clone())).await?;
        let made = answer.target_groups().first().and_then(conversion::group);
        made.map(|g| Some(Made { arn: g.arn, vpc_id: g.vpc_id, ..Made::default() }))
            .ok_or_else(|| empty("CreateTargetGroup"))
    }

    pub(super) async fn change_group(&self, action: &Action) -> Result<Option<Made>, ProviderError> {
        match action {
            Action::SetTargetGroupAttributes { group, attributes } => {
                let pair = |(key, value)| sdk::TargetGroupAttribute::builder().key(key).value(value).build();
                let request = self
                    .api
                    .client
                    .modify_target_group_attributes()
                    .target_group_arn(self.group(group)?)
                    .set_attributes(Some(attributes.iter().map(pair).collect()));
                self.api.ask("ModifyTargetGroupAttributes", Change, request.send()).await?;
            }
            Action::ModifyHealthCheck { group, health_check } => {
                let request = self
                    .api
                    .client
                    .modify_target_group()
                    .target_group_arn(self.group(group)?)
                    .health_check_protocol(conversion::check_protocol(health_check.protocol))
                    .health_check_port(check_port(health_check))
                    .set_health_check_path(health_check.path.clone())
                    .set_matcher(matcher(health_check))
                    .health_check_interval_seconds(i32::from(health_check.interval))
                    .health_check_timeout_seconds(i32::from(health_check.timeout))
                    .healthy_threshold_count(i32::from(health_check.healthy_threshold))
                    .unhealthy_threshold_count(i32::from(health_check.unhealthy_threshold));
                self.api.ask("ModifyTargetGroup", Change, request.send()).await?;
            }
            other => return Err(ProviderError::Conflict(format!("{other:?} is not about a target group"))),
        }
        Ok(None)
    }
}

fn check_port(check: &HealthCheck) -> String {
    check.port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string())
}

fn matcher(check: &HealthCheck) -> Option<sdk::Matcher> {
    let codes = check.success_codes.as_ref().filter(|_| check.protocol != CheckProtocol::Tcp)?;
    Some(sdk::Matcher::builder().http_code(codes).build())
}
