//! One action as one call.

use penstock_crds::{HETZNER_ADOPT, HetznerParameters};
use serde_json::{Value, json};

use super::{
    action::Action,
    api::{Api, Refusal},
    labels,
    observed::Balancer,
    spec::BalancerSpec,
    wire::{self, Begun},
};
use crate::{Certificate, Owner, ProviderError, reading::Pairs};

/// Carries out the steps of one Service.
pub(super) struct Applier<'a> {
    pub(super) api: &'a Api,
    pub(super) parameters: &'a HetznerParameters,
    pub(super) owner: &'a Owner,
    pub(super) certificate: Option<&'a Certificate>,
}

/// What a creation was answered.
pub(super) struct Created {
    pub(super) balancer: Balancer,
    /// Its end is still to be waited for.
    pub(super) begun: Begun,
}

impl Applier<'_> {
    /// # Errors
    /// [`ProviderError::NotOwned`] where another has the name.
    pub(super) async fn create(&self, spec: &BalancerSpec) -> Result<Created, ProviderError> {
        match self.api.create(spec).await {
            Ok((balancer, begun)) => Ok(Created { balancer, begun }),
            Err(Refusal::Said(failure)) if failure.is_duplicate() => {
                if let Some(found) = self.api.named(&spec.name).await? {
                    let what = format!("{}, which has its name,", found.place());
                    labels::check(&found.labels, self.parameters, self.owner, &what)?;
                }
                // It is ours, from a call that was not answered, or gone meanwhile.
                Err(failure.into_error("POST load_balancers"))
            }
            Err(refusal) => Err(refusal.into_error("POST load_balancers")),
        }
    }

    /// All but creation.
    pub(super) async fn apply(&self, action: &Action) -> Result<(), ProviderError> {
        match action {
            Action::Create { .. } => Ok(()),
            Action::Adopt { balancer, labels } => self.adopt(*balancer, labels).await,
            Action::UploadCertificate { name, labels, fingerprint } => {
                self.upload(name, labels, fingerprint).await
            }
            Action::DeleteCertificate { certificate } => {
                match self.api.delete_certificate(*certificate).await {
                    Err(Refusal::Said(failure)) if failure.is_not_found() => Ok(()),
                    answer => answer.map_err(|refusal| refusal.into_error("DELETE certificate")),
                }
            }
            Action::Update { balancer, name, labels } => self.api.update(*balancer, Some(name), labels).await,
            Action::Delete { balancer } => match self.api.delete(*balancer).await {
                // What is gone is gone.
                Err(Refusal::Said(failure)) if failure.is_not_found() => Ok(()),
                answer => answer.map_err(|refusal| refusal.into_error("DELETE load_balancer")),
            },
            other => match call(other) {
                Some((balancer, name, fields)) => self.api.act(balancer, name, fields).await,
                None => Ok(()),
            },
        }
    }

    async fn upload(&self, name: &str, ours: &Pairs, fingerprint: &str) -> Result<(), ProviderError> {
        let handed = self.certificate.filter(|certificate| certificate.fingerprint() == fingerprint);
        let other = || ProviderError::Conflict("the Secret has another certificate by now".to_owned());
        match self.api.upload(name, ours, handed.ok_or_else(other)?).await {
            Err(Refusal::Said(failure)) if failure.is_duplicate() => {
                if let Some(found) = self.api.certificate_named(name).await? {
                    let what = format!("certificate {name:?}, which has its name,");
                    labels::check(&found.labels, self.parameters, self.owner, &what)?;
                }
                Err(failure.into_error("POST certificates"))
            }
            answer => answer.map_err(|refusal| refusal.into_error("POST certificates")),
        }
    }

    async fn adopt(&self, id: u64, ours: &Pairs) -> Result<(), ProviderError> {
        let found = match self.api.get(id).await {
            Ok(found) => found,
            Err(Refusal::Said(failure)) if failure.is_not_found() => {
                return Err(ProviderError::refused(format!(
                    "there is no load balancer {id}: correct the annotation {HETZNER_ADOPT}"
                )));
            }
            Err(refusal) => return Err(refusal.into_error("GET load_balancer")),
        };
        labels::check_free(&found.labels, self.parameters, self.owner, &found.place())?;
        let mut labels = found.labels;
        labels.extend(ours.clone());
        self.api.update(id, None, &labels).await
    }
}

/// The balancer, the call and its body.
fn call(action: &Action) -> Option<(u64, &'static str, Value)> {
    Some(match action {
        Action::ChangeType { balancer, load_balancer_type } => {
            (*balancer, "POST change_type", json!({"load_balancer_type": load_balancer_type}))
        }
        Action::ChangeAlgorithm { balancer, algorithm } => {
            (*balancer, "POST change_algorithm", wire::algorithm(*algorithm))
        }
        Action::AttachToNetwork { balancer, network } => {
            (*balancer, "POST attach_to_network", json!({"network": network}))
        }
        Action::DetachFromNetwork { balancer, network } => {
            (*balancer, "POST detach_from_network", json!({"network": network}))
        }
        Action::EnablePublicInterface { balancer } => (*balancer, "POST enable_public_interface", json!({})),
        Action::DisablePublicInterface { balancer } => {
            (*balancer, "POST disable_public_interface", json!({}))
        }
        Action::AddService { balancer, service } => (*balancer, "POST add_service", wire::service(service)),
        Action::UpdateService { balancer, service } => {
            (*balancer, "POST update_service", wire::service(service))
        }
        Action::DeleteService { balancer, listen_port } => {
            (*balancer, "POST delete_service", json!({"listen_port": listen_port}))
        }
        Action::AddTarget { balancer, target } => (*balancer, "POST add_target", wire::target(target)),
        Action::RemoveTarget { balancer, target } => {
            (*balancer, "POST remove_target", wire::target_to_remove(target))
        }
        Action::Create { .. }
        | Action::Adopt { .. }
        | Action::Update { .. }
        | Action::Delete { .. }
        | Action::UploadCertificate { .. }
        | Action::DeleteCertificate { .. } => return None,
    })
}
