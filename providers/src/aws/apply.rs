//! One action as one call.

mod certificate;
mod target;

use std::{collections::BTreeSet, error::Error, future::Future};

use aws_sdk_elasticloadbalancingv2::{
    error::{ProvideErrorMetadata, SdkError},
    types as sdk,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use penstock_crds::{AWS_ADOPT, AwsParameters};

use super::{
    action::Action,
    api::Api,
    call_class::CallClass::{self, Change},
    conversion,
    failure::Failure,
    observed::{Made, Observed},
    options::CheckProtocol,
    spec::{BalancerSpec, GroupSpec, HealthCheck, ListenerSpec},
    survey::Clue,
    tags,
};
use crate::{Certificate, Owner, ProviderError};

/// Something that a step is about is not known.
fn unknown(what: &str, name: &str) -> ProviderError {
    ProviderError::NotFound(format!("there is no {what} {name:?}: planning again"))
}

impl Action {
    /// Whether AWS may have answered with something that is not ours.
    pub(super) fn creates(&self) -> bool {
        matches!(self, Self::CreateLoadBalancer { .. } | Self::CreateTargetGroup { .. })
    }

    /// What the call may have made although nobody knows how it ended.
    pub(super) fn clues(&self) -> BTreeSet<Clue> {
        match self {
            Self::CreateLoadBalancer { spec } => BTreeSet::from([Clue::BalancerName(spec.name.clone())]),
            Self::CreateTargetGroup { spec } => BTreeSet::from([Clue::GroupName(spec.name.clone())]),
            Self::ImportCertificate { arn: None, .. } => BTreeSet::from([Clue::AnyCertificate]),
            Self::Adopt { arn, .. } => BTreeSet::from([Clue::BalancerArn(arn.clone())]),
            _ => BTreeSet::new(),
        }
    }
}

/// Carries out the steps of one Service.
pub(super) struct Applier<'a> {
    pub(super) api: &'a Api,
    pub(super) parameters: &'a AwsParameters,
    pub(super) owner: &'a Owner,
    /// Says which identity a name has.
    pub(super) observed: &'a Observed,
    /// What a step imports.
    pub(super) certificate: Option<&'a Certificate>,
}

impl Applier<'_> {
    pub(super) async fn apply(&self, action: &Action) -> Result<Made, ProviderError> {
        match action {
            Action::Adopt { arn, tags } => self.adopt(arn, tags).await,
            Action::ImportCertificate { arn, fingerprint, tags } => {
                self.import_certificate(arn.as_deref(), fingerprint, tags).await
            }
            Action::DeleteCertificate { arn } => self.delete_certificate(arn).await,
            Action::CreateTargetGroup { spec } => self.create_group(spec).await,
            Action::CreateLoadBalancer { spec } => self.create_balancer(spec).await,
            Action::CreateListener { balancer, spec } => self.create_listener(balancer, spec).await,
            Action::Register { group, targets } => self.register(group, targets).await,
            Action::Deregister { group, targets } => self.deregister(group, targets).await,
            Action::DeleteListener { .. }
            | Action::DeleteLoadBalancer { .. }
            | Action::DeleteTargetGroup { .. } => self.delete(action).await,
            Action::ModifyListener { .. }
            | Action::AddCertificates { .. }
            | Action::RemoveCertificates { .. }
            | Action::SetListenerAttributes { .. } => self.change_listener(action).await,
            _ => self.change(action).await,
        }
        .map(Option::unwrap_or_default)
    }

    fn balancer(&self, name: &str) -> Result<&str, ProviderError> {
        let found = self.observed.balancer(name).map(|balancer| balancer.arn.as_str());
        found.ok_or_else(|| unknown("load balancer", name))
    }

    fn group(&self, name: &str) -> Result<&str, ProviderError> {
        let found = self.observed.group(name).map(|group| group.arn.as_str());
        found.ok_or_else(|| unknown("target group", name))
    }

    fn listener(&self, balancer: &str, port: u16) -> Result<&str, ProviderError> {
        let found = self.observed.listener(balancer, port).map(|listener| listener.arn.as_str());
        found.ok_or_else(|| unknown("listener", &format!("{balancer}:{port}")))
    }

    /// A balancer or target group of this name.
    fn resource(&self, name: &str) -> Result<&str, ProviderError> {
        self.balancer(name).or_else(|_| self.group(name))
    }

    async fn send<T, E>(
        &self,
        name: &'static str,
        class: CallClass,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, ProviderError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.api.call(name, class, answer).await.map_err(|failure| self.api.error(class, failure))
    }

    async fn adopt(&self, arn: &str, tags: &super::reading::Pairs) -> Result<Option<Made>, ProviderError> {
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
        self.send("AddTags", Change, request.send()).await?;
        Ok(None)
    }

    async fn create_group(&self, spec: &GroupSpec) -> Result<Option<Made>, ProviderError> {
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

    async fn create_balancer(&self, spec: &BalancerSpec) -> Result<Option<Made>, ProviderError> {
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

    /// A name that is taken is ours after a call whose end nobody knows, or somebody else's.
    async fn unless_taken<T>(&self, answer: Result<T, Failure>, clue: Clue) -> Result<T, ProviderError> {
        let failure = match answer {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let (duplicate, error) = (failure.is_duplicate(), self.api.error(Change, failure));
        if !duplicate {
            return Err(error);
        }
        let (what, name, found) = match clue {
            Clue::BalancerName(name) | Clue::BalancerArn(name) => {
                let found = self.api.balancer(None, Some(name.clone())).await?;
                ("load balancer", name, found.into_iter().map(|balancer| balancer.arn).next())
            }
            Clue::CertificateArn(_) | Clue::AnyCertificate => return Err(error),
            Clue::GroupName(name) | Clue::GroupArn(name) => {
                let found = self.api.group(None, Some(name.clone())).await?;
                ("target group", name, found.into_iter().map(|group| group.arn).next())
            }
        };
        // What was created just now may not be shown yet.
        let Some(arn) = found else { return Err(ProviderError::Retryable(error.to_string())) };
        let tags = self.api.tags(std::slice::from_ref(&arn)).await?.remove(&arn).unwrap_or_default();
        tags::check(&tags, self.parameters, self.owner, &format!("{what} {name:?}"))?;
        Err(error)
    }

    async fn create_listener(
        &self,
        balancer: &str,
        spec: &ListenerSpec,
    ) -> Result<Option<Made>, ProviderError> {
        let spec = &self.observed.resolved(spec);
        let first = spec.certificates.first().map(|arn| conversion::certificates(std::slice::from_ref(arn)));
        let request = self
            .api
            .client
            .create_listener()
            .load_balancer_arn(self.balancer(balancer)?)
            .protocol(conversion::protocol(spec.protocol))
            .port(i32::from(spec.port))
            .set_certificates(first)
            .set_ssl_policy(spec.policy.clone())
            .set_alpn_policy(spec.alpn.clone().map(|policy| vec![policy]))
            .default_actions(conversion::forward(self.group(&spec.group)?));
        let answer = self.send("CreateListener", Change, request.send()).await?;
        let made = answer.listeners().first().and_then(|listener| listener.listener_arn.clone());
        let made = made.map(|arn| Some(Made { arn, ..Made::default() }));
        made.ok_or_else(|| empty("CreateListener"))
    }

    async fn change_listener(&self, action: &Action) -> Result<Option<Made>, ProviderError> {
        let client = &self.api.client;
        match action {
            Action::ModifyListener { balancer, spec } => {
                let spec = &self.observed.resolved(spec);
                let first =
                    spec.certificates.first().map(|arn| conversion::certificates(std::slice::from_ref(arn)));
                // What was negotiated before goes only if it is said.
                let alpn =
                    first.is_some().then(|| vec![spec.alpn.clone().unwrap_or_else(|| "None".to_owned())]);
                let request = client
                    .modify_listener()
                    .listener_arn(self.listener(balancer, spec.port)?)
                    .protocol(conversion::protocol(spec.protocol))
                    .port(i32::from(spec.port))
                    .set_certificates(first)
                    .set_ssl_policy(spec.policy.clone())
                    .set_alpn_policy(alpn)
                    .default_actions(conversion::forward(self.group(&spec.group)?));
                self.send("ModifyListener", Change, request.send()).await?;
            }
            Action::AddCertificates { balancer, port, certificates } => {
                let request = client
                    .add_listener_certificates()
                    .listener_arn(self.listener(balancer, *port)?)
                    .set_certificates(Some(conversion::certificates(certificates)));
                self.send("AddListenerCertificates", Change, request.send()).await?;
            }
            Action::RemoveCertificates { balancer, port, certificates } => {
                let request = client
                    .remove_listener_certificates()
                    .listener_arn(self.listener(balancer, *port)?)
                    .set_certificates(Some(conversion::certificates(certificates)));
                self.send("RemoveListenerCertificates", Change, request.send()).await?;
            }
            Action::SetListenerAttributes { balancer, port, attributes } => {
                let pair = |(key, value)| sdk::ListenerAttribute::builder().key(key).value(value).build();
                let request = client
                    .modify_listener_attributes()
                    .listener_arn(self.listener(balancer, *port)?)
                    .set_attributes(Some(attributes.iter().map(pair).collect()));
                self.send("ModifyListenerAttributes", Change, request.send()).await?;
            }
            other => return Err(ProviderError::Conflict(format!("{other:?} is not about a listener"))),
        }
        Ok(None)
    }

    async fn change(&self, action: &Action) -> Result<Option<Made>, ProviderError> {
        let client = &self.api.client;
        match action {
            Action::SetLoadBalancerAttributes { balancer, attributes } => {
                let pair = |(key, value)| sdk::LoadBalancerAttribute::builder().key(key).value(value).build();
                let request = client
                    .modify_load_balancer_attributes()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .set_attributes(Some(attributes.iter().map(pair).collect()));
                self.send("ModifyLoadBalancerAttributes", Change, request.send()).await?;
            }
            Action::SetSubnets { balancer, subnets } => {
                let request = client
                    .set_subnets()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .set_subnet_mappings(Some(conversion::subnets(subnets)));
                self.send("SetSubnets", Change, request.send()).await?;
            }
            Action::SetSecurityGroups { balancer, security_groups } => {
                let request = client
                    .set_security_groups()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .set_security_groups(Some(security_groups.iter().cloned().collect()));
                self.send("SetSecurityGroups", Change, request.send()).await?;
            }
            Action::SetIpAddressType { balancer, ip_address_type } => {
                let request = client
                    .set_ip_address_type()
                    .load_balancer_arn(self.balancer(balancer)?)
                    .ip_address_type(conversion::ip_address_type(*ip_address_type));
                self.send("SetIpAddressType", Change, request.send()).await?;
            }
            Action::AddTags { resource, tags } => {
                let request = client
                    .add_tags()
                    .resource_arns(self.resource(resource)?)
                    .set_tags(Some(conversion::tags(tags)));
                self.send("AddTags", Change, request.send()).await?;
            }
            other => return self.change_group(other).await,
        }
        Ok(None)
    }

    async fn change_group(&self, action: &Action) -> Result<Option<Made>, ProviderError> {
        match action {
            Action::SetTargetGroupAttributes { group, attributes } => {
                let pair = |(key, value)| sdk::TargetGroupAttribute::builder().key(key).value(value).build();
                let request = self
                    .api
                    .client
                    .modify_target_group_attributes()
                    .target_group_arn(self.group(group)?)
                    .set_attributes(Some(attributes.iter().map(pair).collect()));
                self.send("ModifyTargetGroupAttributes", Change, request.send()).await?;
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
                self.send("ModifyTargetGroup", Change, request.send()).await?;
            }
            other => return Err(ProviderError::Conflict(format!("{other:?} is not about a target group"))),
        }
        Ok(None)
    }

    /// What is gone already is as wanted.
    async fn delete(&self, action: &Action) -> Result<Option<Made>, ProviderError> {
        let client = &self.api.client;
        let gone = match action {
            Action::DeleteListener { balancer, port } => {
                let request = client.delete_listener().listener_arn(self.listener(balancer, *port)?);
                self.api.call("DeleteListener", Change, request.send()).await.map(|_| ())
            }
            Action::DeleteLoadBalancer { balancer } => {
                let request = client.delete_load_balancer().load_balancer_arn(self.balancer(balancer)?);
                self.api.call("DeleteLoadBalancer", Change, request.send()).await.map(|_| ())
            }
            Action::DeleteTargetGroup { group } => {
                let request = client.delete_target_group().target_group_arn(self.group(group)?);
                self.api.call("DeleteTargetGroup", Change, request.send()).await.map(|_| ())
            }
            other => return Err(ProviderError::Conflict(format!("{other:?} deletes nothing"))),
        };
        match gone {
            Err(failure) if failure.is_not_found() => Ok(None),
            other => other.map(|()| None).map_err(|failure| self.api.error(Change, failure)),
        }
    }
}

fn check_port(check: &HealthCheck) -> String {
    check.port.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string())
}

fn matcher(check: &HealthCheck) -> Option<sdk::Matcher> {
    let codes = check.success_codes.as_ref().filter(|_| check.protocol != CheckProtocol::Tcp)?;
    Some(sdk::Matcher::builder().http_code(codes).build())
}

/// It may have been carried out.
fn empty(call: &str) -> ProviderError {
    ProviderError::Retryable(format!("AWS's answer to {call} does not say what it made"))
}
