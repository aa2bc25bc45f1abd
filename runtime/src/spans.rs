//! Spans, sent to a collector as OTLP over HTTP/protobuf. They are an aid to who looks on: whatever the collector
//! does, the work goes on as without it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter as Export},
};
use reqwest::{Url, blocking::Client, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

/// A collector that has not answered within this time does not answer (the default of OTLP's exporters).
const ANSWER: Duration = Duration::from_secs(10);
/// The end of the process waits for the last spans no longer than this.
const FLUSH: Duration = Duration::from_secs(2);

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// The collector's URL is wrong.
    #[error(
        "--otlp-endpoint {url:?} {problem}: give the collector's base URL, such as http://127.0.0.1:4318"
    )]
    Url {
        /// What was given, without credentials.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The system's certificate authorities cannot be used.
    #[error("no TLS to the collector of --otlp-endpoint is possible on this machine")]
    Tls(#[from] rustls::Error),
    /// There is no HTTP client.
    #[error("no HTTP client for the collector of --otlp-endpoint could be made: {0}")]
    Client(String),
    /// Other settings (OTEL_…) cannot be followed.
    #[error("spans cannot be sent to --otlp-endpoint: change the environment's OTEL_… variables")]
    Settings(#[from] ExporterBuildError),
}

/// Keeps telemetry going. Hold it until the work is done: at its end the last spans are sent, which takes two
/// seconds at most.
#[must_use = "dropping it ends the sending of spans"]
#[derive(Debug)]
pub struct TelemetryGuard {
    spans: Option<SdkTracerProvider>,
    program: &'static str,
}

impl TelemetryGuard {
    /// Sends spans of `program` to the collector under this URL; without one, does nothing.
    pub(crate) fn start(collector: Option<&str>, program: &'static str) -> Result<Self, SpansError> {
        let spans = collector.map(|url| outside_of_runtime(url, program)).transpose()?;
        Ok(Self { spans, program })
    }

    /// What hands spans over. Only our own: those of libraries are not ours to explain, and those of the HTTP client
    /// that sends spans would make spans for ever.
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer: SdkTracer = self.spans.as_ref()?.tracer(self.program);
        let ours = Targets::new().with_target("penstock", LevelFilter::INFO);
        // Tasks wander between threads: which one it was says nothing.
        Some(tracing_opentelemetry::layer().with_tracer(tracer).with_threads(false).with_filter(ours))
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        let Some(spans) = self.spans.take() else { return };
        let (done, ended) = mpsc::channel();
        // On a thread of its own, which is left behind where it hangs: the SDK's own time-out does not cover the end
        // of its threads, nor a look-up of the collector's name. The SDK gives up after 5 s, so ours is the one said.
        let flush = thread::Builder::new().spawn(move || done.send(spans.shutdown()));
        if flush.is_err() || !matches!(ended.recv_timeout(FLUSH), Ok(Ok(()))) {
            tracing::warn!("the collector did not take the last spans within {FLUSH:?}, they are dropped");
        }
    }
}

/// The HTTP client blocks and brings a runtime of its own: within another one it can neither be made nor, after an
/// error, be dropped.
fn outside_of_runtime(url: &str, program: &'static str) -> Result<SdkTracerProvider, SpansError> {
    thread::scope(|scope| {
        let making = thread::Builder::new().spawn_scoped(scope, || provider(url, program));
        let made = making.map_err(|error| SpansError::Client(error.to_string()))?.join();
        made.unwrap_or_else(|_| Err(SpansError::Client(String::from("its thread panicked"))))
    })
}

fn provider(url: &str, program: &'static str) -> Result<SdkTracerProvider, SpansError> {
    let url = traces_url(url)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client(&url)?)
        .with_endpoint(url.as_str())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(ANSWER)
        // What cannot be sent is dropped: a batch that is tried again holds up the next one, and the end.
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    let collector = Collector { exporter, url: url.into(), away: AtomicBool::new(false) };
    Ok(SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(program).build())
        .with_batch_exporter(collector)
        .build())
}

/// Where spans are posted under a base URL: <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>.
fn traces_url(base: &str) -> Result<Url, SpansError> {
    let wrong = |problem: &str| SpansError::Url { url: base.to_owned(), problem: problem.to_owned() };
    let mut url = Url::parse(base).map_err(|error| wrong(&format!("is no URL ({error})")))?;
    if !url.username().is_empty() || url.password().is_some() {
        let (url, problem) =
            (String::from("…"), "holds credentials (OTEL_EXPORTER_OTLP_HEADERS is for them)");
        return Err(SpansError::Url { url, problem: problem.to_owned() });
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("is not http:// or https:// with a host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment"));
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "traces"]);
    }
    Ok(url)
}

/// One that blocks, because the SDK sends from a thread of its own.
fn client(url: &Url) -> Result<Client, SpansError> {
    Client::builder()
        .tls_backend_preconfigured(tls(url)?)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .timeout(ANSWER)
        .build()
        .map_err(|error| SpansError::Client(error.to_string()))
}

/// With ring, as the rest of Penstock has it, and the system's certificate authorities. Without TLS none are needed,
/// and a machine may have none.
fn tls(url: &Url) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let config = match url.scheme() {
        "https" => config.with_platform_verifier()?,
        _ => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}

/// The collector as it behaves: that it is away, and that it is back, is said once.
#[derive(Debug)]
struct Collector {
    exporter: SpanExporter,
    url: String,
    away: AtomicBool,
}

impl Collector {
    fn said(&self, result: OTelSdkResult) {
        let was_away = self.away.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !was_away => {
                let url = &self.url;
                tracing::warn!(url, %error, "the collector does not take spans, they are dropped until it does");
            }
            Ok(()) if was_away => tracing::info!(url = self.url, "the collector takes spans again"),
            _ => {}
        }
    }
}

impl Export for Collector {
    /// Never fails, because the SDK would log every failure again.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.said(self.exporter.export(batch).await);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_to_the_url() {
        for (base, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://[fd00::1]:4318/", "https://[fd00::1]:4318/v1/traces"),
            ("http://collector/otlp/", "http://collector/otlp/v1/traces"),
        ] {
            assert_eq!(traces_url(base).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn a_wrong_url_is_one_sentence_without_secrets() {
        for url in
            ["collector:4318", "127.0.0.1:4318", "ftp://c", "http://", "http://c?a=b", "http://c#d", "x"]
        {
            let sentence = traces_url(url).unwrap_err().to_string();
            assert!(sentence.starts_with(&format!("--otlp-endpoint {url:?} ")), "{sentence}");
            assert!(sentence.contains("give the collector's base URL"), "{sentence}");
        }
        let sentence = traces_url("http://me:secret@c").unwrap_err().to_string();
        assert!(
            sentence.contains("OTEL_EXPORTER_OTLP_HEADERS") && !sentence.contains("secret"),
            "{sentence}"
        );
    }

    #[test]
    fn https_is_possible_with_ring() {
        client(&Url::parse("https://127.0.0.1:4318").unwrap()).unwrap();
    }
}
