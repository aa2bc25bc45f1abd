//! Log lines on stderr, and where spans go.

use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{ProcessFlags, SpansError, TelemetryGuard};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter's text is wrong.
    #[error("--log {text:?} is not a log filter: give a level such as info, or directives such as kube=warn")]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A logger exists already.
    #[error("logging was started twice")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Spans cannot be sent.
    #[error(transparent)]
    Spans(#[from] SpansError),
}

/// Starts logging, and the sending of spans where the flags name a collector, for the whole process, which spans
/// call `program`. Needs no runtime and waits for nobody.
///
/// # Errors
/// A filter or a collector's URL that cannot be used, or a second call.
pub fn init(flags: &ProcessFlags, program: &'static str) -> Result<TelemetryGuard, LoggingError> {
    let filter = EnvFilter::try_new(&flags.log)
        .map_err(|source| LoggingError::Filter { text: flags.log.clone(), source })?;
    let guard = TelemetryGuard::start(flags.otlp_endpoint(), program)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match flags.log_format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // The filter is the lines' own: spans are sent also where little is logged.
    let all = tracing_subscriber::registry().with(lines.with_filter(filter)).with(guard.layer());
    all.try_init().map_err(|error| LoggingError::Twice(error.into()))?;
    Ok(guard)
}
