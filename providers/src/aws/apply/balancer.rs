//! Load balancers.

use aws_sdk_elasticloadbalancingv2::types as sdk;
use penstock_crds::AWS_ADOPT;

use super::{Applier, empty};
use crate::{
    ProviderError,
    aws::{
        action::Action, call_class::CallClass::Change, conversion, observed::Made, reading::Pairs,
        spec::BalancerSpec, survey::Clue, tags,
    },
};

impl Applier<'_> {
    pub(super) async fn adopt(&self, arn: &str, tags: &Pairs) -> Result<Option<Made>, ProviderError> {
        let absent = || {
            ProviderError::refused(format!(
                "there is no network load balancer {arn}: correct the annotation {AWS_ADOPT}"
            ))
        };
        let found = self.api.balancer(Some(arn.to_owned()), None).await?.pop().ok_or_else(absent)?;
        if found.vpc_id != self.parameters.vpc_id {
            return Err(ProviderError::refused(format!(
                "load balancer {arn} is in {} and not in the class's VPC: correct the annotation {AWS_ADOPT}",
                found.vpc_id
            )));
        }
        let known = self.api.tags(&[arn.to_owned()]).await?.remove(arn).unwrap_or_default();
        tags::check_free(&known, self.parameters, self.owner, &format!("load balancer {arn}"))?;
        let request = self.api.client.add_tags().resource_arns(arn).set_tags(Some(conversion::tags(tags)));
        self.api.ask("AddTags", Change, request.send()).await?;
        Ok(None)
    }

    pub(super) async fn create_balancer(&self, spec: &BalancerSpec) -> Result<Option<Made>, ProviderError> {
        let groups =
            (!spec.security_groups.is_empty()).then(|| spec.security_groups.iter().cloned().collect());
        let request = self
            .api
            .client
            .create_load_balancer()
            .name(&spec.name)
            .r#type(sdk::LoadBalancerTypeEnum::Network)
            .scheme(conversion::scheme(spec.scheme))
            .ip_address_type(conversion::ip_address_type(spec.ip_address_type))
            .set_subnet_mappings(Some(conversion::subnets(&spec.subnets)))
            .set_security_groups(groups)
            .set_tags(Some(conversion::tags(&spec.tags)));
        let answer = self.api.call("CreateLoadBalancer", Change, request.send()).await;
        let answer = self.unless_taken(answer, Clue::BalancerName(spec.name.clone())).await?;
        let made = answer.load_balancers().first().and_then(conversion::balancer);
        let made = made
            .map(|b| Some(Made { arn: b.arn, dns_name: b.dns_name, vpc_id: b.vpc_id, ..Made::default() }));
        made.ok_or_else(|| empty("CreateLoadBalancer"))
    }

    pub(super) async fn change_balancer(&self, action: &Action) -> Result<Option<Made>, ProviderError> {
        let client = &self.api.client;
        match action {
            Action::SetLoadBalancerAttributes { balancer, attributes } => {
                let pair = |(key, value)| sdk::LoadBalancerAttribute::builder().key(key).value(value).build();
                let request = client
                    .modify_load_balancer_attributes()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .set_attributes(Some(attributes.iter().map(pair).collect()));
                self.api.ask("ModifyLoadBalancerAttributes", Change, request.send()).await?;
            }
            Action::SetSubnets { balancer, subnets } => {
                let request = client
                    .set_subnets()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .set_subnet_mappings(Some(conversion::subnets(subnets)));
                self.api.ask("SetSubnets", Change, request.send()).await?;
            }
            Action::SetSecurityGroups { balancer, security_groups } => {
                let request = client
                    .set_security_groups()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .set_security_groups(Some(security_groups.iter().cloned().collect()));
                self.api.ask("SetSecurityGroups", Change, request.send()).await?;
            }
            Action::SetIpAddressType { balancer, ip_address_type } => {
                let request = client
                    .set_ip_address_type()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .ip_address_type(conversion::ip_address_type(*ip_address_type));
                self.api.ask("SetIpAddressType", Change, request.send()).await?;
            }
            Action::AddTags { resource, tags } => {
                let request = client
                    .add_tags()
                    .resource_arns(self.resource(resource)?)
                    .set_tags(Some(conversion::tags(tags)));
                self.api.ask("AddTags", Change, request.send()).await?;
            }
            other => return self.change_group(other).await,
        }
        Ok(None)
    }
}
