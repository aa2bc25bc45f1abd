//! The calls of the API, one after the other as the buckets allow, each counted.

use std::{
    collections::BTreeMap,
    error::Error,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, default_provider::credentials::DefaultCredentialsChain,
    provider_config::ProviderConfig,
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_elasticloadbalancingv2::{
    Client,
    config::SharedHttpClient,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use penstock_crds::AwsParameters;

use super::{call_class::CallClass, failure::Failure, reading::Pairs};
use crate::{ProviderError, bucket::Bucket};

/// Until there is a connection, with TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// From the first byte sent to the last byte received.
const REQUEST: Duration = Duration::from_secs(30);

/// Calls by the API's name for them.
pub type Calls = BTreeMap<&'static str, u64>;

/// What the operator calls AWS with; none: as the SDK finds them (environment, web identity, container, instance).
#[derive(Clone)]
pub struct StaticCredentials {
    /// The identity, which is no secret.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// Of credentials that last for a while.
    pub session_token: Option<String>,
}

/// Where calls go.
pub(super) struct Api {
    pub(super) client: Client,
    pub(super) acm: aws_sdk_acm::Client,
    buckets: Mutex<[Bucket; 4]>,
    calls: Mutex<Calls>,
    /// Of certificates of the account, by ARN, whosever they are. They are set when one is imported: each is asked for
    /// its own once, for ACM tells those of one at a time.
    pub(super) certificate_tags: Mutex<BTreeMap<String, Pairs>>,
    /// Whether calls wait for their turn.
    pub(super) limited: bool,
}

impl Api {
    /// Asks for no credentials before the first call.
    pub(super) async fn new(parameters: &AwsParameters, credentials: Option<StaticCredentials>) -> Self {
        let http = http_client();
        let region = Region::new(parameters.region.clone());
        let provider = match credentials {
            Some(fixed) => SharedCredentialsProvider::new(fixed.for_sdk()),
            None => SharedCredentialsProvider::new(chain(region.clone(), http.clone()).await),
        };
        Self::with(&config(parameters, region, http, Some(provider)))
    }

    /// For plans: every call would fail.
    pub(super) fn without_credentials(parameters: &AwsParameters) -> Self {
        let region = Region::new(parameters.region.clone());
        Self::with(&config(parameters, region, http_client(), None))
    }

    fn with(config: &SdkConfig) -> Self {
        let now = Instant::now();
        let buckets = Mutex::new(CallClass::ALL.map(|class| Bucket::new(class.limits(), now)));
        let (client, acm) = (Client::new(config), aws_sdk_acm::Client::new(config));
        let (calls, certificate_tags) = (Mutex::default(), Mutex::default());
        Self { client, acm, buckets, calls, certificate_tags, limited: true }
    }

    /// What was called since the beginning, by name.
    pub(super) fn calls(&self) -> Calls {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a call when it is its turn.
    pub(super) async fn call<T, E>(
        &self,
        name: &'static str,
        class: CallClass,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let wait = self.buckets()[class as usize].take(Instant::now());
        if self.limited && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        match answer.await {
            Ok(answer) => {
                self.buckets()[class as usize].succeeded();
                Ok(answer)
            }
            Err(error) => Err(Failure::of(name, &error)),
        }
    }

    /// The same, where a failure has no meaning of its own.
    pub(super) async fn ask<T, E>(
        &self,
        name: &'static str,
        class: CallClass,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, ProviderError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.call(name, class, answer).await.map_err(|failure| self.error(class, failure))
    }

    /// What a failure means; after it was one of too many calls, everybody of its kind waits.
    pub(super) fn error(&self, class: CallClass, failure: Failure) -> ProviderError {
        let pause = if failure.is_throttling() {
            self.buckets()[class as usize].throttled(Instant::now())
        } else {
            Duration::ZERO
        };
        failure.into_error(pause)
    }

    fn buckets(&self) -> MutexGuard<'_, [Bucket; 4]> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StaticCredentials {
    fn for_sdk(self) -> Credentials {
        let Self { access_key_id, secret_access_key, session_token } = self;
        Credentials::new(access_key_id, secret_access_key, session_token, None, "penstock")
    }
}

/// With ring, as the rest of Penstock has it, and the system's certificate authorities.
fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

async fn chain(region: Region, http: SharedHttpClient) -> DefaultCredentialsChain {
    let provider = ProviderConfig::default().with_region(Some(region.clone())).with_http_client(http);
    DefaultCredentialsChain::builder().region(region).configure(provider).build().await
}

/// The operator decides about retries.
fn config(
    parameters: &AwsParameters,
    region: Region,
    http: SharedHttpClient,
    credentials: Option<SharedCredentialsProvider>,
) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(REQUEST).build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(region)
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    config.set_endpoint_url(parameters.endpoint_url.clone()).set_credentials_provider(credentials);
    config.build()
}
