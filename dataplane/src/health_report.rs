//! `/healthz` and `/livez` as kube-proxy serves them at port 10256: what balancers of Services with policy Cluster ask,
//! and a kubelet.

use std::collections::BTreeMap;

use axum::{
    Router,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use serde::Serialize;

use crate::{
    KubeProxyMetrics, ProxyHealth,
    proxy_health::{Backlog, Now},
};

/// What upstream's Go prints for a moment that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The body. Its fields and their order are upstream's `ProxyHealth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HealthReport {
    last_updated: String,
    current_time: String,
    /// Only at `/healthz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    /// Of the proxy alone, also where the node is not eligible.
    healthy: bool,
    /// By family. One transaction holds both, so that they say the same.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status: BTreeMap<&'static str, FamilyReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyReport {
    last_updated: String,
    healthy: bool,
}

impl HealthReport {
    /// `/livez` asks without a node's state.
    pub(crate) fn new(backlog: &Backlog, node_eligible: Option<bool>, now: Now) -> Self {
        let healthy = backlog.is_healthy(now);
        let last_updated = backlog.last_updated().map_or_else(|| NEVER.to_owned(), |at| at.to_string());
        let family = |name| (name, FamilyReport { last_updated: last_updated.clone(), healthy });
        let status = backlog.last_updated().map(|_| ["IPv4", "IPv6"].map(family).into());
        let mut report = Self {
            status: status.unwrap_or_default(),
            last_updated,
            current_time: now.wall.to_string(),
            node_eligible,
            healthy,
        };
        if report.is_ok() {
            // Old readers take it for the last time that the proxy looked.
            report.last_updated.clone_from(&report.current_time);
        }
        report
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.healthy && self.node_eligible != Some(false)
    }

    pub(crate) fn status(&self) -> StatusCode {
        if self.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

impl IntoResponse for HealthReport {
    fn into_response(self) -> Response {
        let headers = [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
        match serde_json::to_string(&self) {
            Ok(body) => (self.status(), headers, body).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// Both paths.
pub(crate) fn router(health: &ProxyHealth, metrics: &KubeProxyMetrics) -> Router {
    let healthz = {
        let (health, metrics) = (health.clone(), metrics.clone());
        move || {
            let (backlog, eligible) = health.read();
            let report = HealthReport::new(&backlog, Some(eligible), Now::read());
            metrics.healthz_answered(report.status());
            std::future::ready(report)
        }
    };
    let livez = {
        let (health, metrics) = (health.clone(), metrics.clone());
        move || {
            let report = HealthReport::new(&health.read().0, None, Now::read());
            metrics.livez_answered(report.status());
            std::future::ready(report)
        }
    };
    Router::new().route("/healthz", any(healthz)).route("/livez", any(livez))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_health::PATIENCE;
    use jiff::Timestamp;
    use std::time::{Duration, Instant};

    fn at(wall: &str, monotonic: Instant) -> Now {
        Now { monotonic, wall: wall.parse::<Timestamp>().unwrap() }
    }

    /// Updated at noon; something waits since then.
    fn behind() -> (Backlog, Instant) {
        let (mut backlog, start) = (Backlog::default(), Instant::now());
        backlog.updated(at("2026-11-23T12:00:00.5Z", start));
        backlog.queued(at("2026-11-23T12:00:01Z", start));
        (backlog, start)
    }

    #[test]
    fn a_healthy_proxy_was_updated_just_now() {
        let (backlog, start) = behind();
        let report = HealthReport::new(&backlog, Some(true), at("2026-11-23T12:00:59Z", start));
        let expected = r#"{"lastUpdated":"2026-11-23T12:00:59Z","currentTime":"2026-11-23T12:00:59Z","nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"2026-11-23T12:00:00.5Z","healthy":true},"IPv6":{"lastUpdated":"2026-11-23T12:00:00.5Z","healthy":true}}}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), expected);
        assert_eq!(report.status(), StatusCode::OK);
    }

    #[test]
    fn one_that_is_behind_says_since_when() {
        let (backlog, start) = behind();
        let now = at("2026-11-23T12:05:00Z", start + PATIENCE + Duration::from_secs(1));
        let report = HealthReport::new(&backlog, None, now);
        assert_eq!(report.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.starts_with(r#"{"lastUpdated":"2026-11-23T12:00:00.5Z","#), "{text}");
        assert!(text.contains(r#""healthy":false"#) && !text.contains("nodeEligible"), "{text}");
    }

    #[test]
    fn a_node_that_is_about_to_go_answers_no_to_balancers_and_yes_to_the_kubelet() {
        let (backlog, start) = behind();
        let now = at("2026-11-23T12:00:02Z", start);
        let report = HealthReport::new(&backlog, Some(false), now);
        assert_eq!((report.status(), report.healthy), (StatusCode::SERVICE_UNAVAILABLE, true));
        assert_eq!(HealthReport::new(&backlog, None, now).status(), StatusCode::OK);
        let nothing_yet =
            serde_json::to_string(&HealthReport::new(&Backlog::default(), Some(false), now)).unwrap();
        assert!(nothing_yet.contains(NEVER) && !nothing_yet.contains("status"), "{nothing_yet}");
    }
}
