//! One action as one call.

mod balancer;
mod certificate;
mod group;
mod listener;
mod target;

use std::collections::BTreeSet;

use penstock_crds::AwsParameters;

use super::{
    action::Action,
    api::Api,
    call_class::CallClass::Change,
    failure::Failure,
    observed::{Made, Observed},
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
            _ => self.change_balancer(action).await,
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

/// It may have been carried out.
fn empty(call: &str) -> ProviderError {
    ProviderError::Retryable(format!("AWS's answer to {call} does not say what it made"))
}
