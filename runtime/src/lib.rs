//! What every Penstock process does: flags, logs, spans, signals, health and metrics endpoints, watches, events, state.

mod client;
mod events;
mod exit;
mod flags;
mod http;
mod logging;
mod optional_watch;
mod shutdown;
mod spans;
mod state_file;
mod trim;
mod watch;

pub use client::{ClientError, client};
pub use events::publish_events;
pub use exit::report as report_exit;
pub use flags::ProcessFlags;
pub use http::{HttpError, Readiness, Telemetry};
pub use logging::{LogFormat, LoggingError, init as init_telemetry};
pub use optional_watch::optional_updates;
pub use shutdown::{ShutdownError, on_signal as shutdown_on_signal};
pub use spans::{SpansError, TelemetryGuard};
pub use state_file::{StateFile, StateFileError, Unreadable, WriteSchedule, decode_state, encode_state};
pub use trim::trim_metadata;
pub use watch::{Piece, Update, pieces, readable_updates, updates, watch};
