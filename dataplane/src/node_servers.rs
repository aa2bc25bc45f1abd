//! The two servers that kube-proxy has on every node: its health at port 10256, its metrics at port 10249.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use axum::{
    Router,
    http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    routing::get,
};
use penstock_runtime::Telemetry;
use tokio_util::sync::CancellationToken;

use crate::{
    Progress, health_report,
    http_port::{self, Reach},
};

/// The pause before a port that cannot be opened is tried again, as kube-proxy has it.
const PAUSE: Duration = Duration::from_secs(5);

/// Where a server listens; an empty text is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress(Option<SocketAddr>);

impl BindAddress {
    /// kube-proxy's default for its health: all addresses, of both families.
    pub const HEALTH: Self = Self(Some(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10256)));
    /// kube-proxy's default for its metrics.
    pub const METRICS: Self = Self(Some(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10249)));
}

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| {
            format!("{text:?} is not an address with a port such as 0.0.0.0:10256; empty serves nowhere")
        })?;
        Ok(Self(Some(address)))
    }
}

impl std::fmt::Display for BindAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

/// What they show.
#[derive(Clone)]
pub struct NodeServers {
    /// How the agent does.
    pub progress: Progress,
    /// All metrics.
    pub telemetry: Telemetry,
    /// The backend, as kube-proxy names it: `nftables`, `iptables` or `ipvs`.
    pub proxy_mode: &'static str,
}

impl NodeServers {
    /// Serves both until the token is cancelled. A port that is taken, as by a kube-proxy that is still there, is said
    /// once and tried again; it keeps the node agent from nothing.
    pub async fn run(self, health: BindAddress, metrics: BindAddress, until: CancellationToken) {
        let health = serve("health", health, self.health_router(), until.clone());
        let metrics = serve("metrics", metrics, self.metrics_router(), until);
        tokio::join!(health, metrics);
    }

    fn health_router(&self) -> Router {
        health_report::router(&self.progress.health, &self.progress.metrics)
    }

    fn metrics_router(&self) -> Router {
        let (telemetry, mode) = (self.telemetry.clone(), self.proxy_mode);
        let plain = |text| {
            let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
            std::future::ready((headers, text))
        };
        Router::new()
            .route("/metrics", get(move || std::future::ready(telemetry.metrics())))
            .route("/healthz", get(move || plain("ok")))
            .route("/proxyMode", get(move || plain(mode)))
    }
}

async fn serve(what: &str, address: BindAddress, router: Router, until: CancellationToken) {
    let Some(address) = address.0 else { return };
    let mut said = false;
    let listener = loop {
        match http_port::bind(address, Reach::BothFamilies) {
            Ok(listener) => break listener,
            Err(error) if !said => {
                tracing::warn!(%address, %error, "cannot serve {what}: free the port or choose another; trying again");
                said = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = until.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    };
    tracing::info!(%address, "serving {what} as kube-proxy does");
    http_port::serve(listener, router, until).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_kube_proxy_reads_it_and_none_is_nowhere() {
        for (text, address) in
            [("0.0.0.0:10256", BindAddress::HEALTH), ("127.0.0.1:10249", BindAddress::METRICS)]
        {
            assert_eq!((text.parse().as_ref(), address.to_string().as_str()), (Ok(&address), text));
        }
        assert_eq!("".parse(), Ok(BindAddress(None)));
        assert!("localhost".parse::<BindAddress>().unwrap_err().contains("such as 0.0.0.0:10256"));
    }
}
