//! HTTP as providers without an SDK speak it: with time-outs and bounded bodies, without redirects, retries and proxies,
//! and so that nobody sees the token.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::shown_text::shown;

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

/// Why nothing can be called; each but the token's ends a sentence that begins with the field of the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HttpError {
    Url(String),
    Token,
    Tls(String),
    Client(String),
}

/// A client with its token. Shows neither.
pub(crate) struct Http {
    client: Client,
    token: Option<String>,
    longest: usize,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// An answer, whatever it says.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// No answer that could be read. What was asked for may have been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The causes, in one line.
    Failed(String),
    /// It has more than so many bytes.
    TooLong(usize),
}

impl Http {
    /// For calls below `base`; of answers at most `longest` bytes are read.
    pub(crate) fn new(
        base: &Url,
        token: Option<String>,
        timeouts: Timeouts,
        longest: usize,
    ) -> Result<Self, HttpError> {
        // A Secret made from a file ends with a line break more often than not.
        let token = token.map(|token| token.trim().to_owned());
        let client = Client::builder()
            .tls_backend_preconfigured(tls(base)?)
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
            .map_err(|e| HttpError::Client(e.to_string()))?;
        Ok(Self { client, token, longest })
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Received, Unanswered> {
        let response = request.send().await.map_err(unanswered)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read(response, self.longest).await.map_err(unanswered)?;
        let body = body.ok_or(Unanswered::TooLong(self.longest))?;
        Ok(Received { status, headers, body: self.without_token(body) })
    }

    /// An endpoint that says which token it refuses must not make us print it.
    fn without_token(&self, body: Vec<u8>) -> Vec<u8> {
        match (&self.token, String::from_utf8(body)) {
            (Some(token), Ok(text)) => text.replace(token, "[token]").into_bytes(),
            (None, Ok(text)) => text.into_bytes(),
            (_, Err(_)) => Vec::new(),
        }
    }
}

/// The cause says most ("connection refused"); the URL stands in the class.
fn unanswered(error: reqwest::Error) -> Unanswered {
    let late = if error.is_timeout() { "too late, " } else { "" };
    let error = error.without_url();
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        causes = format!("{causes}: {cause}");
        next = cause.source();
    }
    Unanswered::Failed(format!("{late}{}", shown(&causes)))
}

/// `None`: longer than the limit.
async fn read(mut response: Response, longest: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > longest {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The header as a number; it may have decimals.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    let number: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    Some(number).filter(|number| number.is_finite() && *number >= 0.0)
}

/// The rules of the CRD, again: a class stored before a rule existed must not be misread. `secret` is the field that
/// names the Secret with the token.
pub(crate) fn base(url: &str, secret: &str) -> Result<Url, HttpError> {
    let base = Url::parse(url).map_err(|e| HttpError::Url(format!("cannot be read: {e}")))?;
    let wrong = |what: String| Err(HttpError::Url(what));
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
        return wrong("must be http:// or https:// with a host".to_owned());
    }
    // It would be shown wherever the class is; the token is for that.
    if !base.username().is_empty() || base.password().is_some() {
        return wrong(format!("holds credentials: put a token into a Secret and name it in {secret}"));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return wrong("has a query or a fragment: remove what follows the path".to_owned());
    }
    Ok(base)
}

fn headers(token: Option<&str>) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let Some(token) = token else { return Ok(headers) };
    let printable = |c: char| c.is_ascii_graphic();
    if token.is_empty() || !token.chars().all(printable) {
        return Err(HttpError::Token);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| HttpError::Token)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// With ring, as the rest of Penstock has it, and the system's certificate authorities. Without TLS none are needed,
/// and a machine may have none.
fn tls(base: &Url) -> Result<ClientConfig, HttpError> {
    let failed = |e: rustls::Error| HttpError::Tls(e.to_string());
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

    #[test]
    fn nobody_sees_the_token() {
        let url = base("http://lb.example", "spec.x.tokenSecret").unwrap();
        let http = Http::new(&url, Some("s3cret\n".into()), Timeouts::default(), 1).unwrap();
        let debug = format!("{http:?} {:?}", http.client);
        assert!(!debug.contains("s3cret"), "{debug}");
        assert_eq!(http.without_token(b"bad token s3cret".to_vec()), b"bad token [token]");
    }

    #[test]
    fn https_needs_no_provider_of_cryptography_that_a_process_installs() {
        let url = base("https://lb.example", "spec.x.tokenSecret").unwrap();
        assert!(Http::new(&url, None, Timeouts::default(), 1).is_ok());
    }

    #[test]
    fn a_number_of_a_header_is_one() {
        let with = |text: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(text).unwrap())]);
            number(&headers, "accept")
        };
        assert_eq!((with(" 3599 "), with("0.5")), (Some(3599.0), Some(0.5)));
        assert_eq!((with("-1"), with("NaN"), with("inf"), with("soon")), (None, None, None, None));
    }
}
