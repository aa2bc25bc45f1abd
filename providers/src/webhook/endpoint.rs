//! The calls of the contract, each within its limits.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use penstock_crds::WebhookParameters;
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use serde::Serialize;

use super::{
    answer::{Answer, shown},
    error::WebhookError,
};
use crate::{Owner, ProviderError};

/// The longest answer that is read, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until there is a connection, with TLS.
    pub connect: Duration,
    /// From the first byte sent to the last byte received.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(30) }
    }
}

/// Where the calls go. Shows neither token nor client.
pub(super) struct Endpoint {
    /// `{url}/v1/load-balancers`
    base: Url,
    client: Client,
    token: Option<String>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn new(
        parameters: &WebhookParameters,
        token: Option<String>,
        timeouts: Timeouts,
    ) -> Result<Self, WebhookError> {
        let base = base(&parameters.url)?;
        // A Secret made from a file ends with a line break more often than not.
        let token = token.map(|token| token.trim().to_owned());
        let client = Client::builder()
            .tls_backend_preconfigured(tls(&base)?)
            .default_headers(headers(token.as_deref())?)
            .redirect(redirect::Policy::none())
            // The operator decides about retries.
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("penstock/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.request)
            .build()
            .map_err(|e| WebhookError::Client(e.to_string()))?;
        Ok(Self { base, client, token })
    }

    pub(super) async fn get(&self, owner: &Owner) -> Result<Answer, ProviderError> {
        let request = self.client.request(Method::GET, self.url(owner, None)?);
        self.send("GET", request).await
    }

    pub(super) async fn put(&self, owner: &Owner, body: &impl Serialize) -> Result<Answer, ProviderError> {
        self.put_to(self.url(owner, None)?, body).await
    }

    pub(super) async fn put_targets(
        &self,
        owner: &Owner,
        body: &impl Serialize,
    ) -> Result<Answer, ProviderError> {
        self.put_to(self.url(owner, Some("targets"))?, body).await
    }

    pub(super) async fn delete(&self, owner: &Owner) -> Result<Answer, ProviderError> {
        let request = self.client.request(Method::DELETE, self.url(owner, None)?);
        self.send("DELETE", request).await
    }

    async fn put_to(&self, url: Url, body: &impl Serialize) -> Result<Answer, ProviderError> {
        let body = serde_json::to_vec(body)
            .map_err(|e| ProviderError::Retryable(format!("the request is not JSON: {e}")))?;
        let request =
            self.client.request(Method::PUT, url).header(CONTENT_TYPE, "application/json").body(body);
        self.send("PUT", request).await
    }

    /// The API server makes UIDs. Anything else than letters, digits and dashes could lead to another path.
    fn url(&self, owner: &Owner, below: Option<&str>) -> Result<Url, ProviderError> {
        let uid = &owner.uid;
        if uid.is_empty() || !uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(ProviderError::refused(format!("{uid:?} is no UID of a Service")));
        }
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(uid).extend(below);
        }
        Ok(url)
    }

    async fn send(&self, call: &str, request: RequestBuilder) -> Result<Answer, ProviderError> {
        let failed = |e: reqwest::Error| self.unreachable(call, e);
        let response = request.send().await.map_err(failed)?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = read(response).await.map_err(failed)?.ok_or_else(|| {
            ProviderError::Retryable(format!(
                "the endpoint's answer to {call} is longer than {LONGEST_BODY} bytes"
            ))
        })?;
        Ok(Answer { status, retry_after, body: self.without_token(body) })
    }

    /// An endpoint that says which token it refuses must not make us print it.
    fn without_token(&self, body: Vec<u8>) -> Vec<u8> {
        match (&self.token, String::from_utf8(body)) {
            (Some(token), Ok(text)) => text.replace(token, "[token]").into_bytes(),
            (None, Ok(text)) => text.into_bytes(),
            (_, Err(_)) => Vec::new(),
        }
    }

    /// The cause says most ("connection refused"); the URL stands in the class.
    fn unreachable(&self, call: &str, error: reqwest::Error) -> ProviderError {
        let late = if error.is_timeout() { "too late, " } else { "" };
        let error = error.without_url();
        let mut causes = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            causes = format!("{causes}: {cause}");
            next = cause.source();
        }
        ProviderError::Retryable(format!("the endpoint did not answer {call} ({late}{})", shown(&causes)))
    }
}

/// `None`: longer than the limit.
async fn read(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_BODY {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// The rules of the CRD, again: a class stored before a rule existed must not be misread.
fn base(url: &str) -> Result<Url, WebhookError> {
    let mut base = Url::parse(url).map_err(|e| WebhookError::Url(format!("cannot be read: {e}")))?;
    let wrong = |what: &str| Err(WebhookError::Url(what.to_owned()));
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
        return wrong("must be http:// or https:// with a host");
    }
    // It would be shown wherever the class is; the token is for that.
    if !base.username().is_empty() || base.password().is_some() {
        return wrong("holds credentials: put a token into a Secret and name it in spec.webhook.tokenSecret");
    }
    if base.query().is_some() || base.fragment().is_some() {
        return wrong("has a query or a fragment: remove what follows the path");
    }
    if let Ok(mut path) = base.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "load-balancers"]);
    }
    Ok(base)
}

fn headers(token: Option<&str>) -> Result<HeaderMap, WebhookError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let Some(token) = token else { return Ok(headers) };
    let printable = |c: char| c.is_ascii_graphic();
    if token.is_empty() || !token.chars().all(printable) {
        return Err(WebhookError::Token);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| WebhookError::Token)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// With ring, as the rest of Penstock has it, and the system's certificate authorities. Without TLS none are needed,
/// and a machine may have none.
fn tls(base: &Url) -> Result<ClientConfig, WebhookError> {
    let failed = |e: rustls::Error| WebhookError::Tls(e.to_string());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let config = match base.scheme() {
        "https" => config.with_platform_verifier().map_err(failed)?,
        _ => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, token: Option<&str>) -> Result<Endpoint, WebhookError> {
        let parameters = WebhookParameters { url: url.into(), token_secret: None };
        Endpoint::new(&parameters, token.map(ToOwned::to_owned), Timeouts::default())
    }

    fn owner(uid: &str) -> Owner {
        Owner { service: penstock_model::ObjectKey::new("d", "s"), uid: uid.into() }
    }

    #[test]
    fn paths_are_added_to_the_url() {
        for url in ["http://lb.example/a/b", "http://lb.example/a/b/"] {
            let endpoint = endpoint(url, None).unwrap();
            let of = |below| endpoint.url(&owner("1-a"), below).unwrap().to_string();
            assert_eq!(of(None), "http://lb.example/a/b/v1/load-balancers/1-a");
            assert_eq!(of(Some("targets")), "http://lb.example/a/b/v1/load-balancers/1-a/targets");
        }
        let bare = endpoint("http://lb.example", None).unwrap();
        assert_eq!(bare.base.as_str(), "http://lb.example/v1/load-balancers");
        for uid in ["", "..", ".", "a/b", "a%2fb", "a?b"] {
            assert!(bare.url(&owner(uid), None).is_err(), "{uid}");
        }
    }

    #[test]
    fn a_wrong_url_or_token_is_refused_in_one_sentence() {
        for (url, sentence) in [
            ("", "cannot be read"),
            ("lb.example", "cannot be read"),
            ("ftp://lb.example", "must be http:// or https://"),
            ("http://user:secret@lb.example", "spec.webhook.tokenSecret"),
            ("http://lb.example/?a=b", "has a query"),
            ("http://lb.example/#a", "has a query or a fragment"),
        ] {
            let error = endpoint(url, None).unwrap_err().to_string();
            assert!(error.contains(sentence) && !error.contains("secret@"), "{url}: {error}");
        }
        for token in ["", " \n", "a b", "ä", "a\nb"] {
            let error = endpoint("http://lb.example", Some(token)).unwrap_err();
            assert!(matches!(error, WebhookError::Token), "{token:?}");
        }
        assert!(endpoint("http://lb.example", Some("token\n")).is_ok());
    }

    #[test]
    fn nobody_sees_the_token() {
        let endpoint = endpoint("http://lb.example", Some("s3cret")).unwrap();
        let debug = format!("{endpoint:?} {:?}", endpoint.client);
        assert!(!debug.contains("s3cret"), "{debug}");
        assert_eq!(endpoint.without_token(b"bad token s3cret".to_vec()), b"bad token [token]");
    }

    #[test]
    fn https_needs_no_provider_of_cryptography_that_a_process_installs() {
        assert!(endpoint("https://lb.example", None).is_ok());
    }
}
