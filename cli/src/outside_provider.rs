//! Providers that build outside the cluster, made for planning alone: a plan from what the record says needs no call
//! and so no credentials.

use std::sync::Arc;

use penstock_crds::{LoadBalancerClassSpec, ProviderKind};
use penstock_providers::{
    AnyProvider, ProviderError, aws::AwsProvider, digitalocean::DigitalOceanProvider,
    hetzner::HetznerProvider, webhook::WebhookProvider,
};

/// How the provider of a class is made.
pub type MakeProvider = fn(&LoadBalancerClassSpec) -> Result<Arc<dyn AnyProvider>, ProviderError>;

/// The provider of a class, without credentials.
///
/// # Errors
/// Parameters that it cannot be made from.
pub fn outside_provider(class: &LoadBalancerClassSpec) -> Result<Arc<dyn AnyProvider>, ProviderError> {
    match (class.provider, &class.webhook) {
        (ProviderKind::Webhook, Some(parameters)) => match WebhookProvider::new(parameters, None) {
            Ok(provider) => Ok(Arc::new(provider)),
            Err(error) => Err(ProviderError::refused(error.to_string())),
        },
        (ProviderKind::Webhook, None) => {
            Err(ProviderError::refused("the class has no spec.webhook: say where the endpoint is"))
        }
        (ProviderKind::Aws, _) => match &class.aws {
            Some(parameters) => Ok(Arc::new(AwsProvider::for_planning(parameters))),
            None => Err(ProviderError::refused("the class has no spec.aws: say where its VPC is")),
        },
        (ProviderKind::Hetzner, _) => match class.hetzner.as_ref().map(HetznerProvider::for_planning) {
            Some(Ok(provider)) => Ok(Arc::new(provider)),
            Some(Err(error)) => Err(ProviderError::refused(error.to_string())),
            None => Err(ProviderError::refused("the class has no spec.hetzner: name its token's Secret")),
        },
        (ProviderKind::DigitalOcean, _) => match &class.digitalocean {
            Some(parameters) => Ok(Arc::new(DigitalOceanProvider::for_planning(parameters)?)),
            None => Err(ProviderError::refused("the class has no spec.digitalocean: say which region")),
        },
        (ProviderKind::Pool, _) => {
            Err(ProviderError::refused("the provider pool builds nothing outside the cluster"))
        }
    }
}
