//! What exists for a Service, and what becomes of it by a step. The latter is how the provider keeps its memory after a
//! call, and what tests plan against: pure.

use std::{collections::BTreeSet, net::IpAddr};

use penstock_crds::{HetznerParameters, ProviderResource};
use serde::{Deserialize, Serialize};

use super::{
    action::Action,
    labels,
    spec::{Algorithm, ServiceSpec, TargetSpec},
};
use crate::{Built, IpMode, Owner, ProviderError, reading::Pairs};

/// What carries the Service's labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Never more than one, unless somebody copied labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancers: Vec<Balancer>,
    /// Uploaded from the Secret that the Service names; two while one takes the place of the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<OwnCertificate>,
}

/// A certificate that was uploaded for the Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCertificate {
    /// Its identity.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Ours, with the beginning of its fingerprint.
    pub labels: Pairs,
}

/// A balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balancer {
    /// Its identity.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Ours and others'.
    pub labels: Pairs,
    /// Its size.
    pub load_balancer_type: String,
    /// Where it is.
    pub location: String,
    /// Where that is.
    pub network_zone: String,
    /// How targets are chosen.
    pub algorithm: Algorithm,
    /// Whether it has public addresses.
    pub public_interface: bool,
    /// The public addresses.
    pub addresses: Vec<IpAddr>,
    /// The private networks that it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// Nobody may delete it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
    /// By port.
    pub services: Vec<ServiceSpec>,
    /// Where it sends to.
    pub targets: BTreeSet<TargetSpec>,
}

/// A private network that a balancer is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its identity.
    pub id: u64,
    /// The balancer's address there; `None`: it has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
}

impl Balancer {
    /// What clients can connect to.
    pub(super) fn reachable(&self) -> Vec<IpAddr> {
        if self.public_interface {
            return self.addresses.clone();
        }
        self.networks.iter().filter_map(|network| network.ip).collect()
    }

    /// `load balancer "k8s-…" (123)`.
    pub(super) fn place(&self) -> String {
        format!("load balancer {:?} ({})", self.name, self.id)
    }
}

impl Observed {
    /// # Errors
    /// [`ProviderError::NotOwned`] when it is not this Service's.
    pub(super) fn check_owned(
        &self,
        parameters: &HetznerParameters,
        owner: &Owner,
    ) -> Result<(), ProviderError> {
        self.balancers.iter().try_for_each(|b| labels::check(&b.labels, parameters, owner, &b.place()))?;
        self.certificates.iter().try_for_each(|certificate| {
            labels::check(
                &certificate.labels,
                parameters,
                owner,
                &format!("certificate {:?}", certificate.name),
            )
        })
    }

    /// Somebody may switch a protection off by hand so that we can go on, and an address may come later than a balancer.
    pub(super) fn may_change_by_itself(&self) -> bool {
        self.balancers.iter().any(|balancer| balancer.protected || balancer.reachable().is_empty())
    }

    pub(super) fn built(&self) -> Built {
        let Some(balancer) = self.balancers.first() else { return Built::default() };
        let hostname = balancer.labels.get(labels::HOSTNAME).cloned();
        Built {
            // One of both: clients that know the name are to use it.
            addresses: if hostname.is_some() { Vec::new() } else { balancer.reachable() },
            hostname,
            ip_mode: IpMode::Proxy,
            resources: std::iter::once(("LoadBalancer", balancer.id))
                .chain(self.certificates.iter().map(|certificate| ("Certificate", certificate.id)))
                .map(|(kind, id)| ProviderResource { kind: kind.to_owned(), id: id.to_string() })
                .collect(),
            ..Built::default()
        }
    }

    /// What there is after a step that succeeded; `made` is what the API says of a balancer that it created.
    pub fn take(&mut self, action: &Action, made: Option<Balancer>) {
        match action {
            Action::Create { .. } => self.balancers.extend(made),
            Action::Delete { balancer } => self.balancers.retain(|b| b.id != *balancer),
            // What it is made of has to be looked at.
            Action::Adopt { .. } | Action::UploadCertificate { .. } => {}
            Action::DeleteCertificate { certificate } => {
                self.certificates.retain(|held| held.id != *certificate);
            }
            Action::Update { balancer, .. }
            | Action::ChangeType { balancer, .. }
            | Action::ChangeAlgorithm { balancer, .. }
            | Action::AttachToNetwork { balancer, .. }
            | Action::DetachFromNetwork { balancer, .. }
            | Action::EnablePublicInterface { balancer }
            | Action::DisablePublicInterface { balancer }
            | Action::AddService { balancer, .. }
            | Action::UpdateService { balancer, .. }
            | Action::DeleteService { balancer, .. }
            | Action::AddTarget { balancer, .. }
            | Action::RemoveTarget { balancer, .. } => {
                if let Some(balancer) = self.balancers.iter_mut().find(|b| b.id == *balancer) {
                    balancer.change(action);
                }
            }
        }
    }
}

impl Balancer {
    fn change(&mut self, action: &Action) {
        match action {
            Action::Update { name, labels, .. } => {
                self.name.clone_from(name);
                self.labels.clone_from(labels);
            }
            Action::ChangeType { load_balancer_type, .. } => {
                self.load_balancer_type.clone_from(load_balancer_type);
            }
            Action::ChangeAlgorithm { algorithm, .. } => self.algorithm = *algorithm,
            Action::AttachToNetwork { network, .. } => self.networks.push(Network { id: *network, ip: None }),
            Action::DetachFromNetwork { network, .. } => self.networks.retain(|n| n.id != *network),
            Action::EnablePublicInterface { .. } => self.public_interface = true,
            Action::DisablePublicInterface { .. } => self.public_interface = false,
            Action::AddService { service, .. } => {
                self.services.push(service.clone());
                self.services.sort_by_key(|service| service.listen_port);
            }
            Action::UpdateService { service, .. } => {
                let port = service.listen_port;
                if let Some(held) = self.services.iter_mut().find(|held| held.listen_port == port) {
                    held.clone_from(service);
                }
            }
            Action::DeleteService { listen_port, .. } => {
                self.services.retain(|service| service.listen_port != *listen_port);
            }
            Action::AddTarget { target, .. } => drop(self.targets.insert(target.clone())),
            Action::RemoveTarget { target, .. } => self.targets.retain(|held| !held.is_same(target)),
            Action::Create { .. }
            | Action::Adopt { .. }
            | Action::Delete { .. }
            | Action::UploadCertificate { .. }
            | Action::DeleteCertificate { .. } => {}
        }
    }
}
