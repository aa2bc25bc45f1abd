//! How Droplets are asked: by annotations, else by what nodes say of themselves, else by a connection.

use penstock_model::Protocol;

use super::{options::CheckOptions, spec::HealthCheck};
use crate::{Desired, ProviderError};

/// What the cloud's own controller asks for where nothing is said.
const INTERVAL: u16 = 3;
const TIMEOUT: u16 = 5;
const HEALTHY: u16 = 5;
const UNHEALTHY: u16 = 3;

/// # Errors
/// No port that could be asked.
pub(super) fn health_check(options: &CheckOptions, desired: &Desired) -> Result<HealthCheck, ProviderError> {
    // With policy Local kube-proxy or penstock-node answers for its node.
    let healthz = desired.health_check_node_port.filter(|_| options.port.is_none());
    let protocol = options.protocol.unwrap_or(if healthz.is_some() { "http" } else { "tcp" });
    let path =
        options.path.clone().unwrap_or_else(|| if healthz.is_some() { "/healthz" } else { "/" }.to_owned());
    Ok(HealthCheck {
        protocol: protocol.to_owned(),
        port: healthz.map_or_else(|| traffic_port(options, desired), Ok)?,
        path: (protocol != "tcp").then_some(path),
        check_interval_seconds: options.interval.unwrap_or(INTERVAL),
        response_timeout_seconds: options.timeout.unwrap_or(TIMEOUT),
        healthy_threshold: options.healthy.unwrap_or(HEALTHY),
        unhealthy_threshold: options.unhealthy.unwrap_or(UNHEALTHY),
    })
}

/// UDP cannot be asked.
fn traffic_port(options: &CheckOptions, desired: &Desired) -> Result<u16, ProviderError> {
    let meant = |port: u16| options.port.is_none_or(|wanted| wanted == port);
    let mut tcp = desired.frontends.iter().filter(|f| f.protocol == Protocol::Tcp && meant(f.port));
    tcp.find_map(|frontend| frontend.node_port).ok_or_else(|| {
        ProviderError::refused(
            "health checks need a TCP port and the Service has none for them: add one, or set spec.externalTrafficPolicy to Local",
        )
    })
}
