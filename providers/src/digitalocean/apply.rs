//! One step, carried out. What its answer says is remembered by who asked.

use std::{collections::BTreeSet, time::Instant};

use penstock_crds::DigitalOceanParameters;
use serde_json::{Value, json};

use super::{
    account::Account,
    action::Action,
    body::{self, balancer},
    name,
    observed::{Observed, State},
    spec::{Droplets, Spec},
};
use crate::{Certificate, Owner, ProviderError};

pub(super) struct Applier<'a> {
    pub(super) account: &'a Account,
    pub(super) parameters: &'a DigitalOceanParameters,
    pub(super) owner: &'a Owner,
}

impl Applier<'_> {
    pub(super) async fn apply(
        &self,
        action: &Action,
        certificate: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        let api = &self.account.api;
        match action {
            Action::Adopt { id, name } => self.adopt(id, name).await,
            Action::UploadCertificate { name } => self.upload(name, certificate).await,
            Action::Create { spec, droplets } => {
                let made = api.create(&body::creation(self.parameters, spec, droplets)?).await?;
                self.take(&made)
            }
            Action::Update { id, spec, droplets } => self.update(id, spec, droplets.as_ref()).await,
            Action::AddDroplets { id, droplets } => {
                api.add_droplets(id, &json!({"droplet_ids": droplets})).await?;
                self.droplets(id, |has| has.extend(droplets));
                Ok(())
            }
            Action::RemoveDroplets { id, droplets } => {
                api.remove_droplets(id, &json!({"droplet_ids": droplets})).await?;
                self.droplets(id, |has| has.retain(|droplet| !droplets.contains(droplet)));
                Ok(())
            }
            Action::Delete { id } => {
                self.check_known(id)?;
                api.delete(id).await?;
                self.remember(|observed| observed.forget(id));
                Ok(())
            }
            Action::DeleteCertificate { id } => {
                api.delete_certificate(id).await?;
                self.remember(|observed| observed.forget(id));
                Ok(())
            }
        }
    }

    /// The mark is the only thing of it that changes.
    async fn adopt(&self, id: &str, name: &str) -> Result<(), ProviderError> {
        let made = self.account.api.update(id, &self.adopted(id, name).await?).await?;
        self.take(&made)
    }

    /// It as it will be.
    pub(super) async fn adopted(&self, id: &str, name: &str) -> Result<Value, ProviderError> {
        let absent = || ProviderError::refused(format!("there is no load balancer {id} that could be taken"));
        let raw = self.account.api.get(id).await?.ok_or_else(absent)?;
        let has = balancer(&raw)?;
        if name::owner_of(&has.spec.name).is_some_and(|_| has.spec.name != name) {
            return Err(ProviderError::NotOwned(format!(
                "load balancer {id} is named {:?}, which is another Service's: it is left alone",
                has.spec.name
            )));
        }
        // Also of a kind that spans regions and has none.
        if has.region != self.parameters.region {
            return Err(ProviderError::NotOwned(format!(
                "load balancer {id} is not in region {}: it is left alone",
                self.parameters.region
            )));
        }
        body::renamed(&raw, name)
    }

    async fn upload(&self, name: &str, certificate: Option<&Certificate>) -> Result<(), ProviderError> {
        let changed = || ProviderError::Conflict("the Service's Secret has changed meanwhile".to_owned());
        let certificate = certificate.ok_or_else(changed)?;
        let mark = name::mark(self.parameters, self.owner)?;
        if name::certificate(&mark, certificate.fingerprint()) != name {
            return Err(changed());
        }
        let mut wanted = json!({"name": name, "type": "custom", "private_key": certificate.key_pem(),
            "leaf_certificate": certificate.leaf_pem()});
        if let Some(issuers) = certificate.issuers_pem() {
            wanted["certificate_chain"] = json!(issuers);
        }
        let made = body::certificate(&self.account.api.upload_certificate(&wanted).await?)?;
        self.remember(|observed| {
            observed.certificates.push(made);
            observed.sort();
        });
        Ok(())
    }

    /// It is read just before: what somebody changed since it was last seen is not undone, unless it is ours.
    async fn update(&self, id: &str, spec: &Spec, droplets: Option<&Droplets>) -> Result<(), ProviderError> {
        let made = self.account.api.update(id, &self.updated(id, spec, droplets).await?).await?;
        self.take(&made)
    }

    /// It as it will be.
    pub(super) async fn updated(
        &self,
        id: &str,
        spec: &Spec,
        droplets: Option<&Droplets>,
    ) -> Result<Value, ProviderError> {
        self.check_known(id)?;
        let gone = || ProviderError::NotFound(format!("load balancer {id} is gone"));
        let raw = self.account.api.get(id).await?.ok_or_else(gone)?;
        let has = balancer(&raw)?;
        Observed { balancers: vec![has.clone()], certificates: vec![] }
            .check_owned(self.parameters, self.owner)?;
        if has.state == State::New {
            return Err(ProviderError::Conflict(format!(
                "load balancer {id} is being changed by somebody else"
            )));
        }
        body::update(&raw, spec, droplets)
    }

    /// A plan may be older than what is known.
    fn check_known(&self, id: &str) -> Result<(), ProviderError> {
        let last = self.account.ledger().last(&self.owner.uid);
        last.check_owned(self.parameters, self.owner)?;
        last.balancer(id)
            .map(|_| ())
            .ok_or_else(|| ProviderError::Conflict(format!("load balancer {id} is not known any longer")))
    }

    fn take(&self, raw: &Value) -> Result<(), ProviderError> {
        let made = balancer(raw)?;
        self.remember(|observed| observed.take(made));
        Ok(())
    }

    fn droplets(&self, id: &str, change: impl FnOnce(&mut BTreeSet<u64>)) {
        self.remember(|observed| {
            let has = observed.balancers.iter_mut().find(|balancer| balancer.id == id);
            if let Some(Droplets::Ids(ids)) = has.map(|balancer| &mut balancer.droplets) {
                change(ids);
            }
        });
    }

    fn remember(&self, change: impl FnOnce(&mut Observed)) {
        self.account.ledger().take(&self.owner.uid, Instant::now(), change);
    }
}
