//! What exists for a Service, and what becomes of it by a step. The latter is how the provider keeps its memory after a
//! call, and what tests plan against: pure.

use std::collections::BTreeSet;

use penstock_crds::{AwsParameters, ProviderResource};
use serde::{Deserialize, Serialize};

use super::{
    action::Action,
    attributes::DELETION_PROTECTION,
    reading::Pairs,
    spec::{BalancerSpec, GroupSpec, GroupTarget, IMPORTED, ListenerSpec, SubnetSpec},
    tags,
};
use crate::{Built, IpMode, Owner, ProviderError};

/// What carries the Service's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Usually one; two while one replaces the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancers: Vec<Balancer>,
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// What was imported into ACM; more than one where nobody knew how an import had ended. By ARN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Imported>,
    /// A call whose end nobody knows, or who worked before a start, may have made what AWS does not show yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsettled: bool,
}

/// A certificate in ACM that was made of the Service's Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Its identity.
    pub arn: String,
    /// Ownership, and what the user adds.
    pub tags: Pairs,
    /// As [`crate::Certificate::fingerprint`]; `None`: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// A balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Balancer {
    /// Its identity.
    pub arn: String,
    /// Its name in the DNS.
    pub dns_name: String,
    /// Where it is.
    pub vpc_id: String,
    /// What it is.
    #[serde(flatten)]
    pub spec: BalancerSpec,
    /// Those that are not as by default, at least.
    pub attributes: Pairs,
    /// By port.
    pub listeners: Vec<Listener>,
    /// AWS gave up on building it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its identity.
    pub arn: String,
    /// What it is.
    #[serde(flatten)]
    pub spec: ListenerSpec,
    /// Those that are not as by default, at least; `None`: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Pairs>,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its identity.
    pub arn: String,
    /// Where it is.
    pub vpc_id: String,
    /// What it is.
    #[serde(flatten)]
    pub spec: GroupSpec,
    /// Those that are not as by default, at least.
    pub attributes: Pairs,
    /// Without those on their way out.
    pub targets: BTreeSet<GroupTarget>,
}

/// What the answer to a step said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// The identity of what was created.
    pub arn: String,
    /// Of a balancer.
    pub dns_name: String,
    /// Of balancers and target groups.
    pub vpc_id: String,
    /// Of the targets that were to be registered: those that AWS does not take.
    pub refused: BTreeSet<GroupTarget>,
}

impl Observed {
    /// # Errors
    /// [`ProviderError::NotOwned`] when anything of it is not this Service's.
    pub(super) fn check_owned(&self, parameters: &AwsParameters, owner: &Owner) -> Result<(), ProviderError> {
        for Balancer { spec, .. } in &self.balancers {
            tags::check(&spec.tags, parameters, owner, &format!("load balancer {:?}", spec.name))?;
        }
        for Group { spec, .. } in &self.groups {
            tags::check(&spec.tags, parameters, owner, &format!("target group {:?}", spec.name))?;
        }
        for Imported { arn, tags, .. } in &self.certificates {
            tags::check(tags, parameters, owner, &format!("certificate {arn}"))?;
        }
        Ok(())
    }

    /// Somebody may switch a protection off by hand so that we can go on, and AWS may build what it could not.
    pub(super) fn may_change_by_itself(&self) -> bool {
        let protected = |b: &Balancer| b.attributes.get(DELETION_PROTECTION).is_some_and(|on| on == "true");
        self.balancers.iter().any(|balancer| balancer.failed || protected(balancer))
    }

    pub(super) fn balancer(&self, name: &str) -> Option<&Balancer> {
        self.balancers.iter().find(|balancer| balancer.spec.name == name)
    }

    pub(super) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.spec.name == name)
    }

    pub(super) fn listener(&self, balancer: &str, port: u16) -> Option<&Listener> {
        self.balancer(balancer)?.listeners.iter().find(|listener| listener.spec.port == port)
    }

    /// The certificate that listeners have or are to have; others of the Service are left over.
    pub(super) fn certificate(&self) -> Option<&Imported> {
        let listeners = || self.balancers.iter().flat_map(|balancer| &balancer.listeners);
        let used =
            |one: &&Imported| listeners().any(|listener| listener.spec.certificates.contains(&one.arn));
        self.certificates.iter().find(used).or(self.certificates.first())
    }

    /// With the ARN of what was imported.
    pub(super) fn resolved(&self, spec: &ListenerSpec) -> ListenerSpec {
        let arn = |name: &String| match self.certificate() {
            Some(imported) if name == IMPORTED => imported.arn.clone(),
            _ => name.clone(),
        };
        ListenerSpec { certificates: spec.certificates.iter().map(arn).collect(), ..spec.clone() }
    }

    /// In the one order that equal things have.
    pub(super) fn sort(&mut self) {
        self.balancers.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        self.groups.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        self.certificates.sort_by(|a, b| a.arn.cmp(&b.arn));
        for balancer in &mut self.balancers {
            balancer.spec.subnets.sort_unstable();
            balancer.listeners.sort_by_key(|listener| listener.spec.port);
        }
    }

    pub(super) fn built(&self) -> Built {
        let resource = |kind: &str, id: &str| ProviderResource { kind: kind.to_owned(), id: id.to_owned() };
        let balancers = self.balancers.iter().map(|b| resource("LoadBalancer", &b.arn));
        let groups = self.groups.iter().map(|g| resource("TargetGroup", &g.arn));
        let certificates = self.certificates.iter().map(|c| resource("Certificate", &c.arn));
        // A balancer without listeners is not finished. Of two the one that has them is meant.
        let finished = self.balancers.iter().find(|balancer| !balancer.listeners.is_empty());
        let named = finished.or(self.balancers.first());
        Built {
            hostname: named.map(|balancer| balancer.dns_name.to_lowercase()),
            ip_mode: IpMode::Proxy,
            resources: balancers.chain(groups).chain(certificates).collect(),
            ..Built::default()
        }
    }

    /// What there is after a step that succeeded.
    pub fn take(&mut self, action: &Action, made: Made) {
        match action {
            Action::Adopt { .. } => {}
            Action::LookAgain {} => self.unsettled = false,
            Action::CreateTargetGroup { spec } => self.add_group(spec, made),
            Action::CreateLoadBalancer { spec } => self.add_balancer(spec, made),
            Action::ImportCertificate { arn, fingerprint, tags } => {
                self.import(arn.as_ref().unwrap_or(&made.arn), fingerprint, tags)
            }
            Action::DeleteCertificate { arn } => self.certificates.retain(|one| one.arn != *arn),
            Action::CreateListener { balancer, spec } => {
                let spec = first_certificate(&self.resolved(spec));
                let listener = Listener { arn: made.arn, spec, attributes: Some(Pairs::new()) };
                self.change_balancer(balancer, |b| b.listeners.push(listener));
            }
            Action::DeleteListener { balancer, port } => {
                self.change_balancer(balancer, |b| b.listeners.retain(|l| l.spec.port != *port));
            }
            Action::DeleteLoadBalancer { balancer } => {
                self.balancers.retain(|b| b.spec.name != *balancer);
            }
            Action::DeleteTargetGroup { group } => self.groups.retain(|g| g.spec.name != *group),
            other => self.modify(other, &made),
        }
        self.sort();
    }

    fn modify(&mut self, action: &Action, made: &Made) {
        match action {
            Action::ModifyListener { balancer, spec } => {
                let spec = self.resolved(spec);
                self.change_listener(balancer, spec.port, |l| {
                    // Without TLS there is none.
                    let kept = if spec.certificates.is_empty() { usize::MAX } else { 1 };
                    let others = l.spec.certificates.iter().skip(kept).cloned();
                    let certificates = spec.certificates.first().cloned().into_iter().chain(others).collect();
                    l.spec = ListenerSpec { certificates, ..spec.clone() };
                });
            }
            Action::AddCertificates { balancer, port, certificates } => {
                self.change_listener(balancer, *port, |l| l.spec.certificates.extend(certificates.clone()));
            }
            Action::RemoveCertificates { balancer, port, certificates } => {
                self.change_listener(balancer, *port, |l| {
                    l.spec.certificates.retain(|arn| !certificates.contains(arn));
                });
            }
            Action::SetListenerAttributes { balancer, port, attributes } => {
                self.change_listener(balancer, *port, |l| {
                    l.attributes.get_or_insert_default().extend(attributes.clone());
                });
            }
            Action::SetLoadBalancerAttributes { balancer, attributes } => {
                self.change_balancer(balancer, |b| b.attributes.extend(attributes.clone()));
            }
            Action::SetSubnets { balancer, subnets } => {
                self.change_balancer(balancer, |b| b.spec.subnets.clone_from(subnets));
            }
            Action::SetSecurityGroups { balancer, security_groups } => {
                self.change_balancer(balancer, |b| b.spec.security_groups.clone_from(security_groups));
            }
            Action::SetIpAddressType { balancer, ip_address_type } => {
                self.change_balancer(balancer, |b| b.spec.ip_address_type = *ip_address_type);
            }
            other => self.modify_group(other, made),
        }
    }

    fn modify_group(&mut self, action: &Action, made: &Made) {
        match action {
            Action::ModifyHealthCheck { group, health_check } => {
                self.change_group(group, |g| g.spec.health_check.clone_from(health_check));
            }
            Action::SetTargetGroupAttributes { group, attributes } => {
                self.change_group(group, |g| g.attributes.extend(attributes.clone()));
            }
            Action::Register { group, targets } => {
                let taken = targets.difference(&made.refused).cloned();
                self.change_group(group, |g| g.targets.extend(taken));
            }
            Action::Deregister { group, targets } => {
                self.change_group(group, |g| g.targets.retain(|target| !targets.contains(target)));
            }
            Action::AddTags { resource, tags } => {
                self.change_balancer(resource, |b| b.spec.tags.extend(tags.clone()));
                self.change_group(resource, |g| g.spec.tags.extend(tags.clone()));
            }
            _ => {}
        }
    }

    /// Anew, or in the place of what the certificate held.
    fn import(&mut self, arn: &str, fingerprint: &str, tags: &Pairs) {
        let fingerprint = Some(fingerprint.to_owned());
        match self.certificates.iter_mut().find(|one| one.arn == arn) {
            Some(held) => held.fingerprint = fingerprint,
            None => self.certificates.push(Imported { arn: arn.to_owned(), tags: tags.clone(), fingerprint }),
        }
    }

    fn add_group(&mut self, spec: &GroupSpec, made: Made) {
        let (attributes, targets) = (Pairs::new(), BTreeSet::new());
        self.groups.push(Group {
            arn: made.arn,
            vpc_id: made.vpc_id,
            spec: spec.clone(),
            attributes,
            targets,
        });
    }

    fn add_balancer(&mut self, spec: &BalancerSpec, made: Made) {
        let Made { arn, dns_name, vpc_id, .. } = made;
        let (attributes, listeners) = (Pairs::new(), Vec::new());
        let spec = spec.clone();
        self.balancers.push(Balancer { arn, dns_name, vpc_id, spec, attributes, listeners, failed: false });
    }

    fn change_balancer(&mut self, name: &str, change: impl FnOnce(&mut Balancer)) {
        if let Some(balancer) = self.balancers.iter_mut().find(|b| b.spec.name == name) {
            change(balancer);
        }
    }

    fn change_listener(&mut self, balancer: &str, port: u16, change: impl FnOnce(&mut Listener)) {
        self.change_balancer(balancer, |b| {
            if let Some(listener) = b.listeners.iter_mut().find(|l| l.spec.port == port) {
                change(listener);
            }
        });
    }

    fn change_group(&mut self, name: &str, change: impl FnOnce(&mut Group)) {
        if let Some(group) = self.groups.iter_mut().find(|g| g.spec.name == name) {
            change(group);
        }
    }
}

/// A listener is created with one; others are added.
fn first_certificate(spec: &ListenerSpec) -> ListenerSpec {
    ListenerSpec { certificates: spec.certificates.first().cloned().into_iter().collect(), ..spec.clone() }
}

impl SubnetSpec {
    /// Without an address of its own.
    pub(super) fn plain(id: &str) -> Self {
        Self { id: id.to_owned(), allocation: None, private_address: None }
    }
}
