//! The calls of DigitalOcean's API, each within its limits.

use std::{collections::BTreeMap, fmt};

use penstock_crds::DigitalOceanParameters;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    answer,
    body::{self, part},
    error::DigitalOceanError,
    ledger::Listed,
    name,
};
use crate::{
    ProviderError, Timeouts,
    rest::{self, Question, Rest, Terms},
};

/// How often each call was made.
pub type Calls = BTreeMap<&'static str, u64>;

const PUBLIC: &str = "https://api.digitalocean.com";
/// Below the URL.
const VERSION: &str = "v2";
/// The most that a page has.
const PAGE: usize = 200;
/// How often a list begins anew whose length changes while it is read.
const ATTEMPTS: usize = 3;

/// 5,000 calls an hour, and 250 a minute.
static TERMS: Terms = Terms {
    cloud: "DigitalOcean",
    secret: "spec.digitalocean.tokenSecret",
    rate: (5000.0, 5000.0 / 3600.0),
    window: 3600.0,
    burst: Some((250.0, 250.0 / 60.0)),
    // A page has some 2 KiB for each balancer.
    longest: 4 * 1024 * 1024,
};

/// The kinds of things that are listed.
const BALANCERS: &str = "load_balancers";
const CERTIFICATES: &str = "certificates";

/// The API with its token, which it shows to nobody.
pub(super) struct Api(Rest);

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// # Errors
    /// Parameters or a token that nothing can be called with.
    pub(super) fn new(
        parameters: &DigitalOceanParameters,
        token: Option<&str>,
        timeouts: Timeouts,
        limited: bool,
    ) -> Result<Self, DigitalOceanError> {
        let url = parameters.endpoint_url.as_deref().unwrap_or(PUBLIC);
        Ok(Self(Rest::new(&TERMS, url, token, timeouts, limited)?))
    }

    /// What was called since the beginning, by name.
    pub(super) fn calls(&self) -> Calls {
        self.0.calls()
    }

    /// Everything, in pages.
    pub(super) async fn list(&self) -> Result<Listed, ProviderError> {
        let (balancers, pages) = self.all("ListLoadBalancers", BALANCERS).await?;
        let (certificates, _) = self.all("ListCertificates", CERTIFICATES).await?;
        let balancers = readable(&balancers, body::balancer)?;
        let certificates = readable(&certificates, body::certificate)?;
        Ok(Listed { balancers, certificates, pages })
    }

    /// Something that is deleted meanwhile moves the rest to earlier pages: what stood at the border of two would not be
    /// seen, and built again. A list whose length changes begins anew.
    async fn all(&self, call: &'static str, kind: &str) -> Result<(Vec<Value>, usize), ProviderError> {
        for _ in 0..ATTEMPTS {
            if let Some(all) = self.try_all(call, kind).await? {
                return Ok(all);
            }
        }
        Err(ProviderError::Retryable(format!("{kind} come and go faster than they can be listed")))
    }

    async fn try_all(
        &self,
        call: &'static str,
        kind: &str,
    ) -> Result<Option<(Vec<Value>, usize)>, ProviderError> {
        let (mut all, mut total) = (Vec::new(), None);
        for page in 1.. {
            let query = [("page", page.to_string()), ("per_page", PAGE.to_string())];
            let answer = self.call(call, Method::GET, &[kind], &query, None).await?;
            all.extend(part(&answer, kind)?.as_array().cloned().unwrap_or_default());
            let said = answer["meta"]["total"].as_u64();
            if *total.get_or_insert(said) != said {
                return Ok(None);
            }
            if answer["links"]["pages"]["next"].is_null() {
                let whole = said.is_none_or(|said| said == all.len() as u64);
                return Ok(whole.then_some((all, page)));
            }
        }
        Ok(None)
    }

    /// `None`: there is none.
    pub(super) async fn get(&self, id: &str) -> Result<Option<Value>, ProviderError> {
        match self.call("GetLoadBalancer", Method::GET, &[BALANCERS, id], &[], None).await {
            Ok(answer) => Ok(Some(part(&answer, "load_balancer")?.clone())),
            Err(ProviderError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create(&self, wanted: &Value) -> Result<Value, ProviderError> {
        let answer = self.call("CreateLoadBalancer", Method::POST, &[BALANCERS], &[], Some(wanted)).await?;
        Ok(part(&answer, "load_balancer")?.clone())
    }

    pub(super) async fn update(&self, id: &str, wanted: &Value) -> Result<Value, ProviderError> {
        let answer =
            self.call("UpdateLoadBalancer", Method::PUT, &[BALANCERS, id], &[], Some(wanted)).await?;
        Ok(part(&answer, "load_balancer")?.clone())
    }

    /// As [`Api::update`], for what asks to be validated only. What it answers to that is not described, but its status.
    pub(super) async fn validate(&self, id: &str, wanted: &Value) -> Result<(), ProviderError> {
        let path = [BALANCERS, id];
        self.call("ValidateLoadBalancer", Method::PUT, &path, &[], Some(wanted)).await.map(|_| ())
    }

    pub(super) async fn delete(&self, id: &str) -> Result<(), ProviderError> {
        let answer = self.call("DeleteLoadBalancer", Method::DELETE, &[BALANCERS, id], &[], None).await;
        answer.map_or_else(gone, Ok).map(|_| ())
    }

    pub(super) async fn add_droplets(&self, id: &str, wanted: &Value) -> Result<(), ProviderError> {
        let path = [BALANCERS, id, "droplets"];
        self.call("AddDroplets", Method::POST, &path, &[], Some(wanted)).await.map(|_| ())
    }

    pub(super) async fn remove_droplets(&self, id: &str, wanted: &Value) -> Result<(), ProviderError> {
        let path = [BALANCERS, id, "droplets"];
        self.call("RemoveDroplets", Method::DELETE, &path, &[], Some(wanted)).await.map(|_| ())
    }

    pub(super) async fn upload_certificate(&self, wanted: &Value) -> Result<Value, ProviderError> {
        let answer = self.call("CreateCertificate", Method::POST, &[CERTIFICATES], &[], Some(wanted)).await?;
        Ok(part(&answer, "certificate")?.clone())
    }

    pub(super) async fn delete_certificate(&self, id: &str) -> Result<(), ProviderError> {
        let answer = self.call("DeleteCertificate", Method::DELETE, &[CERTIFICATES, id], &[], None).await;
        answer.map_or_else(gone, Ok).map(|_| ())
    }

    /// Makes a call when it is its turn.
    async fn call(
        &self,
        name: &'static str,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        wanted: Option<&Value>,
    ) -> Result<Value, ProviderError> {
        let path = [&[VERSION], path].concat();
        let body = wanted.map(rest::body).transpose()?.flatten();
        let received = self.0.ask(Question { name, method, path: &path, query, body }).await?;
        if !received.status.is_success() {
            return Err(answer::failure(name, &received));
        }
        if received.body.is_empty() { Ok(json!({})) } else { received.read(TERMS.cloud, name) }
    }
}

/// What is gone already is as good as deleted.
fn gone(error: ProviderError) -> Result<Value, ProviderError> {
    if matches!(error, ProviderError::NotFound(_)) { Ok(json!({})) } else { Err(error) }
}

/// What others have may be of a kind that cannot be read. What carries a mark must be: it would be built again.
fn readable<T>(
    values: &[Value],
    read: fn(&Value) -> Result<T, ProviderError>,
) -> Result<Vec<T>, ProviderError> {
    let marked = |value: &Value| value["name"].as_str().is_some_and(|name| name::owner_of(name).is_some());
    let read = |value| match read(value) {
        Err(error) if marked(value) => Some(Err(error)),
        read => read.ok().map(Ok),
    };
    values.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_or_token_is_refused_in_one_sentence_without_the_token() {
        let api = |url: Option<&str>, token: Option<&str>| {
            let endpoint_url = url.map(ToOwned::to_owned);
            let parameters = DigitalOceanParameters { endpoint_url, ..DigitalOceanParameters::default() };
            Api::new(&parameters, token, Timeouts::default(), true)
        };
        let error = api(Some("https://user:s3cret@api.example"), None).unwrap_err().to_string();
        assert!(error.contains("spec.digitalocean.tokenSecret") && !error.contains("s3cret"), "{error}");
        assert_eq!(api(None, Some("s3cr t")).unwrap_err(), DigitalOceanError::Token);
        assert!(!format!("{:?}", api(None, Some("s3cret")).unwrap()).contains("s3cret"));
    }
}
