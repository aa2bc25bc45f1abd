//! The calls of the contract, each within its limits.

use penstock_crds::WebhookParameters;
use reqwest::{
    Method, RequestBuilder, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use super::{answer::Answer, error::WebhookError};
use crate::{
    Owner, ProviderError, Timeouts,
    http::{Http, Unanswered, base},
};

/// The longest answer that is read, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// Where the calls go. Shows neither token nor client.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// `{url}/v1/load-balancers`
    base: Url,
    http: Http,
}

impl Endpoint {
    pub(super) fn new(
        parameters: &WebhookParameters,
        token: Option<String>,
        timeouts: Timeouts,
    ) -> Result<Self, WebhookError> {
        let mut base = base(&parameters.url, "spec.webhook.tokenSecret")?;
        if let Ok(mut path) = base.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "load-balancers"]);
        }
        let http = Http::new(&base, token, timeouts, LONGEST_BODY)?;
        Ok(Self { base, http })
    }

    pub(super) async fn get(&self, owner: &Owner) -> Result<Answer, ProviderError> {
        let request = self.http.request(Method::GET, self.url(owner, None)?);
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
        let request = self.http.request(Method::DELETE, self.url(owner, None)?);
        self.send("DELETE", request).await
    }

    async fn put_to(&self, url: Url, body: &impl Serialize) -> Result<Answer, ProviderError> {
        let body = serde_json::to_vec(body)
            .map_err(|e| ProviderError::Retryable(format!("the request is not JSON: {e}")))?;
        let request = self.http.request(Method::PUT, url).header(CONTENT_TYPE, "application/json").body(body);
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
        let received = self.http.send(request).await.map_err(|unanswered| {
            ProviderError::Retryable(match unanswered {
                Unanswered::Failed(causes) => format!("the endpoint did not answer {call} ({causes})"),
                Unanswered::TooLong(bytes) => {
                    format!("the endpoint's answer to {call} is longer than {bytes} bytes")
                }
            })
        })?;
        let retry_after = received.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok());
        Ok(Answer { status: received.status, retry_after, body: received.body })
    }
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
}
