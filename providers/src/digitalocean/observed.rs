//! What exists for a Service.

use std::net::IpAddr;

use penstock_crds::{DigitalOceanParameters, ProviderResource};
use serde::{Deserialize, Serialize};

use super::{
    name,
    spec::{Droplets, Spec},
};
use crate::{Built, IpMode, Owner, ProviderError};

/// What carries the Service's mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Usually one. The oldest is first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancers: Vec<Balancer>,
    /// Those that were uploaded for it, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<KnownCertificate>,
}

/// A balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Balancer {
    /// Its identity.
    pub id: String,
    /// Where it is.
    pub region: String,
    /// The network that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_uuid: Option<String>,
    /// How far it is.
    pub state: State,
    /// None yet while it is new.
    pub addresses: Vec<IpAddr>,
    /// What it sends to.
    pub droplets: Droplets,
    /// When it was made, by DigitalOcean's clock.
    pub created_at: String,
    /// What it is.
    pub spec: Spec,
}

/// How far a balancer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Being built.
    New,
    /// There.
    Active,
    /// DigitalOcean gave up.
    Errored,
}

/// A certificate that was uploaded; nobody can read it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KnownCertificate {
    /// With the mark, and the beginning of the fingerprint.
    pub name: String,
    /// Its identity.
    pub id: String,
}

impl State {
    /// What is neither of the others is on its way to one of them.
    pub(super) fn of(status: &str) -> Self {
        match status {
            "active" => Self::Active,
            "errored" => Self::Errored,
            _ => Self::New,
        }
    }
}

impl Observed {
    /// # Errors
    /// [`ProviderError::NotOwned`] where something is not this Service's.
    pub(super) fn check_owned(
        &self,
        parameters: &DigitalOceanParameters,
        owner: &Owner,
    ) -> Result<(), ProviderError> {
        let cluster = name::cluster(parameters);
        for balancer in &self.balancers {
            let Balancer { id, region, spec, .. } = balancer;
            let of = name::owner_of(&spec.name);
            if of.is_some_and(|of| of != (cluster.as_str(), owner.uid.as_str())) {
                return Err(ProviderError::NotOwned(format!(
                    "load balancer {id} is named {:?}, which is the name of another Service's: it is left alone",
                    spec.name
                )));
            }
            // Ours never moves: the region of a class cannot be changed.
            if *region != parameters.region {
                return Err(ProviderError::NotOwned(format!(
                    "load balancer {id} carries this Service's mark in region {region} and the class builds in {}: it is left alone until it is renamed or deleted",
                    parameters.region
                )));
            }
        }
        Ok(())
    }

    pub(super) fn balancer(&self, id: &str) -> Option<&Balancer> {
        self.balancers.iter().find(|balancer| balancer.id == id)
    }

    /// It becomes ready, or is put right by hand, without a call of ours.
    pub(super) fn may_change_by_itself(&self) -> bool {
        self.balancers.iter().any(|balancer| balancer.state != State::Active)
    }

    /// Instead of what it was, or besides.
    pub(super) fn take(&mut self, balancer: Balancer) {
        self.forget(&balancer.id);
        self.balancers.push(balancer);
        self.sort();
    }

    /// A balancer or a certificate.
    pub(super) fn forget(&mut self, id: &str) {
        self.balancers.retain(|balancer| balancer.id != id);
        self.certificates.retain(|certificate| certificate.id != id);
    }

    /// In the one order that equal things have.
    pub(super) fn sort(&mut self) {
        self.balancers.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        self.certificates.sort_unstable();
    }

    pub(super) fn built(&self) -> Built {
        let resource = |kind: &str, id: &str| ProviderResource { kind: kind.to_owned(), id: id.to_owned() };
        let balancers = self.balancers.iter().map(|b| resource("LoadBalancer", &b.id));
        let certificates = self.certificates.iter().map(|c| resource("Certificate", &c.id));
        Built {
            addresses: self.balancers.first().map(|b| b.addresses.clone()).unwrap_or_default(),
            ip_mode: IpMode::Proxy,
            resources: balancers.chain(certificates).collect(),
            ..Built::default()
        }
    }
}
