//! The flags that all processes share.

use std::net::SocketAddr;

use crate::LogFormat;

/// Flags of every Penstock process; flatten them into the process's own.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessFlags {
    /// Namespace that Penstock's own objects (Leases, Secrets) live in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "penstock-system")]
    pub namespace: String,

    /// Address and port of /metrics, /healthz and /readyz.
    #[arg(long, default_value = "127.0.0.1:9780")]
    pub http_address: SocketAddr,

    /// How log lines are written to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives as `penstock_operator=debug,kube=warn`.
    #[arg(long, env = "PENSTOCK_LOG", default_value = "info")]
    pub log: String,
}
