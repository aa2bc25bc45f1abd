//! The providers, each made once for the parameters that classes name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use penstock_crds::{LoadBalancerClassSpec, ProviderKind, WebhookParameters};
use penstock_providers::{AnyProvider, ProviderError, pool::PoolProvider, webhook::WebhookProvider};

/// The Secret's key that holds a bearer token.
const TOKEN: &str = "token";

/// A provider that builds outside the cluster.
pub(crate) type Outside = Arc<dyn AnyProvider>;

/// All providers.
pub(crate) struct Fleet {
    /// Addresses from pools.
    pub(crate) pool: Arc<PoolProvider>,
    client: Client,
    namespace: String,
    outside: Mutex<HashMap<String, Outside>>,
}

impl Fleet {
    /// Secrets are read from `namespace`, the operator's own, by name alone.
    pub(crate) fn new(client: Client, namespace: String, pool: Arc<PoolProvider>) -> Self {
        Self { pool, client, namespace, outside: Mutex::default() }
    }

    /// The provider of a class that builds outside.
    ///
    /// # Errors
    /// Parameters or credentials that cannot be used.
    pub(crate) async fn outside(&self, class: &LoadBalancerClassSpec) -> Result<Outside, ProviderError> {
        let known = self.lock().get(&identity(class)).cloned();
        if let Some(provider) = known {
            return Ok(provider);
        }
        let provider = self.make(class).await?;
        self.lock().insert(identity(class), provider.clone());
        Ok(provider)
    }

    /// Its credentials were refused: they are read again for the next call.
    pub(crate) fn forget(&self, class: &LoadBalancerClassSpec) {
        self.lock().remove(&identity(class));
    }

    async fn make(&self, class: &LoadBalancerClassSpec) -> Result<Outside, ProviderError> {
        match (class.provider, &class.webhook) {
            (ProviderKind::Webhook, Some(parameters)) => {
                let token = self.token(parameters).await?;
                let made = WebhookProvider::new(parameters, token);
                Ok(Arc::new(made.map_err(|error| ProviderError::Auth(error.to_string()))?))
            }
            (ProviderKind::Webhook, None) => {
                Err(ProviderError::refused("the class has no spec.webhook: say where the endpoint is"))
            }
            (ProviderKind::Pool, _) => {
                Err(ProviderError::refused("the class builds nothing outside the cluster"))
            }
        }
    }

    async fn token(&self, parameters: &WebhookParameters) -> Result<Option<String>, ProviderError> {
        let Some(name) = &parameters.token_secret else { return Ok(None) };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let place = format!("Secret {}/{name}", self.namespace);
        let secret = secrets.get(name).await.map_err(|error| match error {
            kube::Error::Api(answer) if answer.is_not_found() => {
                ProviderError::Auth(format!("{place} does not exist: create it with the key {TOKEN}"))
            }
            kube::Error::Api(answer) if answer.is_forbidden() => ProviderError::Auth(format!(
                "the operator may not read {place}: add its name to operator.secretNames of the chart"
            )),
            error => ProviderError::Retryable(format!("{place} cannot be read: {error}")),
        })?;
        let token =
            secret.data.and_then(|mut data| data.remove(TOKEN)).and_then(|t| String::from_utf8(t.0).ok());
        let token = token.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        token
            .map(Some)
            .ok_or_else(|| ProviderError::Auth(format!("{place} has no text under the key {TOKEN}")))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Outside>> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Classes with the same parameters share a provider.
fn identity(class: &LoadBalancerClassSpec) -> String {
    let secret = class.webhook.as_ref().and_then(|w| w.token_secret.clone()).unwrap_or_default();
    let url = class.webhook.as_ref().map(|w| w.url.clone()).unwrap_or_default();
    format!("{} {url} {secret}", class.provider)
}
