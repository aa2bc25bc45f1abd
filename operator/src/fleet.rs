//! The providers, each made once for the parameters that classes name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use penstock_crds::{
    AwsParameters, DigitalOceanParameters, HetznerParameters, LoadBalancerClassSpec, ProviderKind,
    WebhookParameters,
};
use penstock_providers::{
    AnyProvider, ProviderError,
    aws::{AwsAccount, AwsProvider, StaticCredentials},
    digitalocean::{DigitalOceanAccount, DigitalOceanProvider},
    hetzner::{HetznerAccount, HetznerProvider},
    pool::PoolProvider,
    webhook::WebhookProvider,
};

/// The Secret's key that holds a bearer token.
const TOKEN: &str = "token";

/// The Secret's keys that hold credentials of AWS; the last one may be missing.
const ACCESS_KEY_ID: &str = "accessKeyId";
const SECRET_ACCESS_KEY: &str = "secretAccessKey";
const SESSION_TOKEN: &str = "sessionToken";

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
    /// What providers of AWS share, by what classes have in common.
    accounts: Mutex<HashMap<String, AwsAccount>>,
    /// The same of Hetzner.
    projects: Mutex<HashMap<String, HetznerAccount>>,
    /// The same of DigitalOcean.
    ocean_accounts: Mutex<HashMap<String, DigitalOceanAccount>>,
    /// Providers that nobody may call before this time, and what the last one heard who did.
    paused: Mutex<HashMap<String, (Instant, ProviderError)>>,
}

impl Fleet {
    /// Secrets are read from `namespace`, the operator's own, by name alone.
    pub(crate) fn new(client: Client, namespace: String, pool: Arc<PoolProvider>) -> Self {
        let (outside, accounts, projects, paused) =
            (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        let ocean_accounts = Mutex::default();
        Self { pool, client, namespace, outside, accounts, projects, ocean_accounts, paused }
    }

    /// The provider of a class that builds outside.
    ///
    /// # Errors
    /// Parameters or credentials that cannot be used.
    pub(crate) async fn outside(&self, class: &LoadBalancerClassSpec) -> Result<Outside, ProviderError> {
        let known = self.lock().get(&parameters(class)).cloned();
        if let Some(provider) = known {
            return Ok(provider);
        }
        let provider = self.make(class).await?;
        // Another Service may have made it meanwhile.
        Ok(self.lock().entry(parameters(class)).or_insert(provider).clone())
    }

    /// What one Service hears for all: a provider that asks to slow down, or that refuses the credentials, is left alone
    /// by the others too. Credentials are read again for the next call.
    pub(crate) fn heard(&self, class: &LoadBalancerClassSpec, error: &ProviderError, now: Instant) {
        let pause = match error {
            ProviderError::Throttled(pause) => *pause,
            ProviderError::Auth(_) => {
                self.lock().remove(&parameters(class));
                self.accounts().remove(&identity(class));
                self.projects().remove(&identity(class));
                self.ocean_accounts().remove(&identity(class));
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
            (ProviderKind::Aws, _) => {
                let none = || ProviderError::refused("the class has no spec.aws: say where its VPC is");
                let parameters = class.aws.as_ref().ok_or_else(none)?;
                let account = self.account(parameters).await?;
                Ok(Arc::new(AwsProvider::new(parameters, &account)))
            }
            (ProviderKind::Hetzner, _) => {
                let none =
                    || ProviderError::refused("the class has no spec.hetzner: name its token's Secret");
                let parameters = class.hetzner.as_ref().ok_or_else(none)?;
                Ok(Arc::new(HetznerProvider::new(parameters, &self.project(parameters).await?)))
            }
            (ProviderKind::DigitalOcean, _) => {
                let none = || ProviderError::refused("the class has no spec.digitalocean: say which region");
                let parameters = class.digitalocean.as_ref().ok_or_else(none)?;
                let account = self.ocean_account(parameters).await?;
                Ok(Arc::new(DigitalOceanProvider::new(parameters, &account)))
            }
            (ProviderKind::Pool, _) => {
                Err(ProviderError::refused("the class builds nothing outside the cluster"))
            }
        }
    }

    /// Two that know of each other's changes are one.
    async fn account(&self, parameters: &AwsParameters) -> Result<AwsAccount, ProviderError> {
        let identity = AwsAccount::identity(parameters);
        if let Some(account) = self.accounts().get(&identity) {
            return Ok(account.clone());
        }
        let credentials = self.aws_credentials(parameters).await?;
        let account = AwsAccount::new(parameters, credentials).await;
        Ok(self.accounts().entry(identity).or_insert(account).clone())
    }

    /// Two that know of each other's changes are one.
    async fn project(&self, parameters: &HetznerParameters) -> Result<HetznerAccount, ProviderError> {
        let identity = HetznerAccount::identity(parameters);
        if let Some(project) = self.projects().get(&identity) {
            return Ok(project.clone());
        }
        let name = &parameters.token_secret;
        let token = self.required(name, &self.secret(name, TOKEN).await?, TOKEN)?;
        let project = HetznerAccount::new(parameters, Some(&token));
        let project = project.map_err(|error| ProviderError::Auth(error.to_string()))?;
        Ok(self.projects().entry(identity).or_insert(project).clone())
    }

    /// Two that know of each other's changes are one.
    async fn ocean_account(
        &self,
        parameters: &DigitalOceanParameters,
    ) -> Result<DigitalOceanAccount, ProviderError> {
        let identity = DigitalOceanAccount::identity(parameters);
        if let Some(account) = self.ocean_accounts().get(&identity) {
            return Ok(account.clone());
        }
        let name = &parameters.token_secret;
        let secret = self.secret(name, TOKEN).await?;
        let account = DigitalOceanAccount::new(parameters, &self.required(name, &secret, TOKEN)?)?;
        Ok(self.ocean_accounts().entry(identity).or_insert(account).clone())
    }

    async fn aws_credentials(
        &self,
        parameters: &AwsParameters,
    ) -> Result<Option<StaticCredentials>, ProviderError> {
        let Some(name) = &parameters.credentials_secret else { return Ok(None) };
        let keys = [ACCESS_KEY_ID, SECRET_ACCESS_KEY];
        let secret = self.secret(name, &keys.join(" and ")).await?;
        let [access_key_id, secret_access_key] = keys.map(|key| self.required(name, &secret, key));
        Ok(Some(StaticCredentials {
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
            session_token: text(&secret, SESSION_TOKEN),
        }))
    }

    async fn token(&self, parameters: &WebhookParameters) -> Result<Option<String>, ProviderError> {
        let Some(name) = &parameters.token_secret else { return Ok(None) };
        let secret = self.secret(name, TOKEN).await?;
        self.required(name, &secret, TOKEN).map(Some)
    }

    fn required(&self, name: &str, secret: &Secret, key: &str) -> Result<String, ProviderError> {
        let lacking = || {
            ProviderError::Auth(format!("Secret {}/{name} has no text under the key {key}", self.namespace))
        };
        text(secret, key).ok_or_else(lacking)
    }

    /// `keys` are what has to be in it, for who creates it.
    async fn secret(&self, name: &str, keys: &str) -> Result<Secret, ProviderError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let place = format!("Secret {}/{name}", self.namespace);
        secrets.get(name).await.map_err(|error| match error {
            kube::Error::Api(answer) if answer.is_not_found() => {
                ProviderError::Auth(format!("{place} does not exist: create it with the key {keys}"))
            }
            kube::Error::Api(answer) if answer.is_forbidden() => ProviderError::Auth(format!(
                "the operator may not read {place}: add its name to operator.secretNames of the chart"
            )),
            error => ProviderError::Retryable(format!("{place} cannot be read: {error}")),
        })
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, AwsAccount>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn projects(&self) -> MutexGuard<'_, HashMap<String, HetznerAccount>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ocean_accounts(&self) -> MutexGuard<'_, HashMap<String, DigitalOceanAccount>> {
        self.ocean_accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Outside>> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the white space around it, which a Secret made from a file has more often than not.
fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    let text = String::from_utf8(bytes.0.clone()).ok()?.trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}

/// Classes with the same parameters share a provider.
fn parameters(class: &LoadBalancerClassSpec) -> String {
    match (&class.aws, &class.hetzner, &class.digitalocean) {
        (Some(parameters), ..) => format!("{} {parameters:?}", identity(class)),
        (_, Some(parameters), _) => format!("{} {parameters:?}", identity(class)),
        (.., Some(parameters)) => format!("{} {parameters:?}", identity(class)),
        (None, None, None) => identity(class),
    }
}

/// Whose calls are counted together, and whose credentials are the same.
pub(crate) fn identity(class: &LoadBalancerClassSpec) -> String {
    if let Some(parameters) = &class.aws {
        return AwsAccount::identity(parameters);
    }
    if let Some(parameters) = &class.hetzner {
        return HetznerAccount::identity(parameters);
    }
    if let Some(parameters) = &class.digitalocean {
        return DigitalOceanAccount::identity(parameters);
    }
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
