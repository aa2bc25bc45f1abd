//! Log lines on stderr.

use tracing_subscriber::EnvFilter;

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
}

/// Starts logging for the whole process.
///
/// # Errors
/// A filter that cannot be read, or a second call.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| LoggingError::Filter { text: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(LoggingError::Twice)
}
