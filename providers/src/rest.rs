//! Calls of a cloud's REST API: one after the other as a bucket allows, each counted, and its headers believed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode, Url, header::CONTENT_TYPE};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    ProviderError,
    bucket::Bucket,
    http::{Http, HttpError, Received, Timeouts, Unanswered, base, number},
    shown_text::shown,
};

/// What is asked.
pub(crate) struct Question<'a> {
    /// By what it is counted, and named in errors.
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// Below the base.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, String)],
    pub(crate) body: Option<Vec<u8>>,
}

/// How a cloud is called.
pub(crate) struct Terms {
    /// Its name, for people.
    pub(crate) cloud: &'static str,
    /// The field of the class that names the Secret with the token.
    pub(crate) secret: &'static str,
    /// Calls at once, and a second from then on, until headers say something else.
    pub(crate) rate: (f64, f64),
    /// The time that its limits are for, in seconds.
    pub(crate) window: f64,
    /// A limit of shorter time beside it, which no header tells: calls at once, and a second from then on.
    pub(crate) burst: Option<(f64, f64)>,
    /// Of an answer, in bytes.
    pub(crate) longest: usize,
}

/// Where calls go. Shows neither client nor token.
#[derive(Debug)]
pub(crate) struct Rest {
    terms: &'static Terms,
    base: Url,
    http: Http,
    bucket: Mutex<Bucket>,
    burst: Option<Mutex<Bucket>>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether calls wait for their turn.
    limited: bool,
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.cloud)
    }
}

/// JSON of a request.
pub(crate) fn body(value: &impl Serialize) -> Result<Option<Vec<u8>>, ProviderError> {
    let written = serde_json::to_vec(value);
    written.map(Some).map_err(|e| ProviderError::Retryable(format!("the request is not JSON: {e}")))
}

impl Rest {
    /// # Errors
    /// A URL or token that nothing can be called with.
    pub(crate) fn new(
        terms: &'static Terms,
        url: &str,
        token: Option<&str>,
        timeouts: Timeouts,
        limited: bool,
    ) -> Result<Self, HttpError> {
        let base = base(url, terms.secret)?;
        let http = Http::new(&base, token.map(ToOwned::to_owned), timeouts, terms.longest)?;
        let bucket = Mutex::new(Bucket::new(terms.rate, Instant::now()));
        let burst = terms.burst.map(|rate| Mutex::new(Bucket::new(rate, Instant::now())));
        Ok(Self { terms, base, http, bucket, burst, calls: Mutex::default(), limited })
    }

    /// Asks when it is its turn.
    ///
    /// # Errors
    /// [`ProviderError::Retryable`] where there was no answer, or [`ProviderError::Throttled`].
    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Received, ProviderError> {
        let wait = self.wait(Instant::now());
        if self.limited && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(question.name).or_default() += 1;
        let name = question.name;
        let mut request = self.http.request(question.method, self.url(question.path, question.query));
        if let Some(body) = question.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let cloud = self.terms.cloud;
        let received = self.http.send(request).await.map_err(|unanswered| {
            ProviderError::Retryable(match unanswered {
                Unanswered::Failed(causes) => format!("{cloud} did not answer {name} ({causes})"),
                Unanswered::TooLong(bytes) => {
                    format!("the answer of {cloud} to {name} is longer than {bytes} bytes")
                }
            })
        })?;
        self.listen(&received)
    }

    /// Until both limits allow it.
    fn wait(&self, now: Instant) -> Duration {
        let burst =
            self.burst.as_ref().map(|bucket| bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now));
        self.bucket().take(now).max(burst.unwrap_or_default())
    }

    /// What the answer says of rates.
    fn listen(&self, received: &Received) -> Result<Received, ProviderError> {
        let header = |name: &str| number(&received.headers, name);
        let now = Instant::now();
        let mut bucket = self.bucket();
        if let (Some(limit), Some(left)) = (header("ratelimit-limit"), header("ratelimit-remaining"))
            && limit >= 1.0
        {
            bucket.told(limit, self.terms.window, left, now);
        }
        if received.status == StatusCode::TOO_MANY_REQUESTS {
            let pause = bucket.throttled(now);
            let asked =
                header("retry-after").map(|seconds| Duration::from_secs_f64(seconds.clamp(1.0, 3600.0)));
            return Err(ProviderError::Throttled(asked.unwrap_or(pause).max(pause)));
        }
        if received.status.is_success() {
            bucket.succeeded();
        }
        Ok(received.clone())
    }

    /// What was called since the beginning, by name.
    pub(crate) fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    /// # Errors
    /// [`ProviderError::Retryable`]: what cannot be read may be a proxy's.
    pub(crate) fn read<T: DeserializeOwned>(&self, cloud: &str, call: &str) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body).map_err(|e| {
            let why = shown(&e.to_string());
            ProviderError::Retryable(format!("the answer of {cloud} to {call} cannot be read: {why}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    static TERMS: Terms = Terms {
        cloud: "Cloud",
        secret: "spec.cloud.tokenSecret",
        rate: (3600.0, 1.0),
        window: 3600.0,
        burst: None,
        longest: 64,
    };

    /// What a call hears from a server that answers every one like this, and how long the next one would wait.
    async fn heard(answer: &str) -> (Result<Received, ProviderError>, Duration) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let rest = Rest::new(&TERMS, &url, Some("s3cret"), Timeouts::default(), true).unwrap();
        let question = Question { name: "GET a", method: Method::GET, path: &["a"], query: &[], body: None };
        let heard = rest.ask(question).await;
        server.await.unwrap();
        (heard, rest.wait(Instant::now()))
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
    }

    #[tokio::test]
    async fn what_is_left_of_the_limit_is_believed() {
        let told = |left: u32| format!("RateLimit-Limit: 3600\r\nRateLimit-Remaining: {left}\r\n");
        let (heard, wait) = heard(&answer("200 OK", &told(3000), "{}")).await;
        assert!(heard.is_ok() && wait.is_zero(), "{heard:?} {wait:?}");
        let (heard, wait) = super::tests::heard(&answer("200 OK", &told(0), "{}")).await;
        assert!(heard.is_ok() && wait > Duration::from_secs(60), "a tenth is others': {wait:?}");
    }

    #[tokio::test]
    async fn who_asks_too_often_waits_as_long_as_it_is_told() {
        let (heard, _) = heard(&answer("429 Too Many Requests", "Retry-After: 7\r\n", "{}")).await;
        assert!(
            matches!(heard, Err(ProviderError::Throttled(pause)) if pause == Duration::from_secs(7)),
            "{heard:?}"
        );
    }

    #[tokio::test]
    async fn no_more_is_read_than_an_answer_may_have() {
        let (heard, _) = heard(&answer("200 OK", "", &"x".repeat(65))).await;
        let Err(error) = heard else { panic!("it was read") };
        assert!(error.to_string().contains("is longer than 64 bytes"), "{error}");
    }
}
