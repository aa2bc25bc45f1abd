//! How targets are asked: by annotations, else by what nodes say of themselves, else by a connection.

use super::{
    options::{CheckOptions, CheckProtocol, Options},
    spec::HealthCheck,
    wanted::Scope,
};
use crate::{Desired, ProviderError};

/// What AWS takes for a yes where nothing is said.
const SUCCESS_CODES: &str = "200-399";

/// # Errors
/// Numbers that contradict each other.
pub(super) fn health_check(options: &Options, desired: &Desired) -> Result<HealthCheck, ProviderError> {
    let CheckOptions { protocol, port, path, interval, timeout, healthy, unhealthy, success_codes } =
        &options.check;
    let default = default(options, desired);
    let protocol = protocol.unwrap_or(default.protocol);
    let asks = protocol != CheckProtocol::Tcp;
    let check = HealthCheck {
        protocol,
        port: port.unwrap_or(default.port),
        path: asks.then(|| path.clone().or(default.path).unwrap_or_else(|| "/".to_owned())),
        success_codes: asks.then(|| success_codes.clone().unwrap_or_else(|| SUCCESS_CODES.to_owned())),
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.unwrap_or_else(|| default.timeout.min(interval.unwrap_or(u16::MAX))),
        healthy_threshold: healthy.unwrap_or(default.healthy_threshold),
        unhealthy_threshold: unhealthy.unwrap_or(default.unhealthy_threshold),
    };
    if check.timeout > check.interval {
        return Err(ProviderError::refused(format!(
            "annotation aws-load-balancer-healthcheck-timeout is longer ({} s) than the interval ({} s): make it shorter",
            check.timeout, check.interval
        )));
    }
    Ok(check)
}

/// With policy Local and nodes as targets, kube-proxy or penstock-node answers `/healthz` for its node.
fn default(options: &Options, desired: &Desired) -> HealthCheck {
    let plain = HealthCheck {
        protocol: CheckProtocol::Tcp,
        port: None,
        path: None,
        success_codes: None,
        interval: 10,
        timeout: 10,
        healthy_threshold: 3,
        unhealthy_threshold: 3,
    };
    match desired.health_check_node_port.filter(|_| Scope::is_local(options, desired)) {
        Some(port) => HealthCheck {
            protocol: CheckProtocol::Http,
            port: Some(port),
            path: Some("/healthz".to_owned()),
            timeout: 6,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            ..plain
        },
        None => plain,
    }
}
