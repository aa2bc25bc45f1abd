//! The providers, each made once for the parameters that classes name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use penstock_crds::{LoadBalancerClassSpec, ProviderKind, WebhookParameters};
use penstock_providers::{AnyProvider, ProviderError, pool::PoolProvider, webhook::WebhookProvider};

/// The Secret's key that holds a bearer token.
const TOKEN: &str = "token";

/// After credentials were refused nobody tries them again for this time.
const REFUSED: Duration = Duration::from_secs(5);

/// A provider that builds outside the cluster.
pub(crate) type Outside = Arc<dyn AnyProvider>;

/// All providers.
pub(crate) struct Fleet {
    /// Addresses from pools.
    pub(crate) pool: Arc<PoolProvider>,
    client: Client,
    namespace: String,
    outside: Mutex<HashMap<String, Outside>>,
    /// Providers that nobody may call before this time, and what the last one heard who did.
    paused: Mutex<HashMap<String, (Instant, ProviderError)>>,
}

impl Fleet {
    /// Secrets are read from `namespace`, the operator's own, by name alone.
    pub(crate) fn new(client: Client, namespace: String, pool: Arc<PoolProvider>) -> Self {
        Self { pool, client, namespace, outside: Mutex::default(), paused: Mutex::default() }
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

    /// What one Service hears for all: a provider that asks to slow down, or that refuses the credentials, is left alone
    /// by the others too. Credentials are read again for the next call.
    pub(crate) fn heard(&self, class: &LoadBalancerClassSpec, error: &ProviderError, now: Instant) {
        let pause = match error {
            ProviderError::Throttled(pause) => *pause,
            ProviderError::Auth(_) => {
                self.lock().remove(&identity(class));
                REFUSED
            }
            _ => return,
        };
        self.paused().insert(identity(class), (now + pause, error.clone()));
    }

    /// What a call would hear at this time, because another has heard it.
    pub(crate) fn would_hear(&self, class: &LoadBalancerClassSpec, now: Instant) -> Option<ProviderError> {
        let mut paused = self.paused();
        paused.retain(|_, (until, _)| *until > now);
        let (until, error) = paused.get(&identity(class))?;
        Some(match error {
            ProviderError::Throttled(_) => ProviderError::Throttled(until.duration_since(now)),
            other => other.clone(),
        })
    }

    fn paused(&self) -> MutexGuard<'_, HashMap<String, (Instant, ProviderError)>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn what_one_service_hears_holds_for_all_of_the_provider_and_for_nobody_else() {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let fleet = Fleet::new(client, "ns".into(), Arc::default());
        let class = |url: &str| -> LoadBalancerClassSpec {
            serde_json::from_value(json!({"provider": "webhook", "webhook": {"url": url}})).unwrap()
        };
        let (busy, other, now) = (class("http://busy"), class("http://other"), Instant::now());
        let seconds = Duration::from_secs;
        fleet.heard(&busy, &ProviderError::Retryable("passes".into()), now);
        assert_eq!(fleet.would_hear(&busy, now), None);
        fleet.heard(&busy, &ProviderError::Throttled(seconds(10)), now);
        let left = fleet.would_hear(&busy, now + seconds(4));
        assert_eq!(left, Some(ProviderError::Throttled(seconds(6))));
        assert_eq!(fleet.would_hear(&other, now), None);
        assert_eq!(fleet.would_hear(&busy, now + seconds(10)), None);
        let refused = ProviderError::Auth("the token is refused".into());
        fleet.heard(&other, &refused, now);
        assert_eq!(fleet.would_hear(&other, now), Some(refused));
    }
}
