//! The flags that all processes share.

use std::net::{Ipv4Addr, SocketAddr};

use crate::LogFormat;

/// Flags of every Penstock process; flatten them into the process's own.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessFlags {
    /// Namespace that Penstock's own objects (Leases, Secrets) live in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "penstock-system")]
    pub namespace: String,

    /// Address and port of /metrics, /healthz and /readyz [default: loopback, and a port of each program's own:
    /// operator 9780, announcer 9781, node agent 9782, DNS server 9783]
    #[arg(long)]
    http_address: Option<SocketAddr>,

    /// How log lines are written to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives as `penstock_operator=debug,kube=warn`.
    #[arg(long, env = "PENSTOCK_LOG", default_value = "info")]
    pub log: String,

    /// Base URL of a collector that spans are sent to as OTLP over HTTP/protobuf, such as http://127.0.0.1:4318
    /// [default: none are sent]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    otlp_endpoint: Option<String>,
}

impl ProcessFlags {
    /// Where health and metrics are served. Announcer and node agent share a node's network, so each program has
    /// a default port of its own.
    #[must_use]
    pub fn http_address(&self, default_port: u16) -> SocketAddr {
        self.http_address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, default_port)))
    }

    /// The collector's base URL. An empty one is none, as OpenTelemetry's specification of environment variables
    /// wants it.
    #[must_use]
    pub fn otlp_endpoint(&self) -> Option<&str> {
        self.otlp_endpoint.as_deref().filter(|url| !url.is_empty())
    }
}
