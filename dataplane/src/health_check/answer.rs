//! What a balancer hears at a `healthCheckNodePort`, byte for byte as kube-proxy answers
//! (pkg/proxy/healthcheck/service_health.go).

use axum::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use penstock_model::ObjectKey;

const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) service: &'a ObjectKey,
    /// How many addresses of ready endpoints are on this node.
    pub(crate) local_endpoints: u32,
    pub(crate) proxy_healthy: bool,
}

impl Answer<'_> {
    /// Whether the balancer may send connections here.
    pub(crate) fn status(&self) -> StatusCode {
        match self.local_endpoints != 0 && self.proxy_healthy {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Names need no escaping: the API server lets nothing else through than letters, digits and dashes.
    pub(crate) fn body(&self) -> String {
        let ObjectKey { namespace, name } = self.service;
        let (endpoints, healthy) = (self.local_endpoints, self.proxy_healthy);
        format!(
            "{{\n\t\"service\": {{\n\t\t\"namespace\": {namespace:?},\n\t\t\"name\": {name:?}\n\t}},\n\
             \t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
        )
    }
}

impl IntoResponse for Answer<'_> {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (WEIGHT, HeaderValue::from(self.local_endpoints)),
        ];
        (self.status(), headers, self.body()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_upstreams() {
        let service = ObjectKey::new("shop", "web");
        let answer = Answer { service: &service, local_endpoints: 2, proxy_healthy: true };
        let expected = "{
\t\"service\": {
\t\t\"namespace\": \"shop\",
\t\t\"name\": \"web\"
\t},
\t\"localEndpoints\": 2,
\t\"serviceProxyHealthy\": true
}";
        assert_eq!(answer.body(), expected);
        let response = answer.into_response();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-load-balancing-endpoint-weight"), "2");
    }

    #[test]
    fn only_a_healthy_proxy_with_an_endpoint_is_ok() {
        let service = ObjectKey::new("shop", "web");
        let status = |local_endpoints, proxy_healthy| {
            Answer { service: &service, local_endpoints, proxy_healthy }.status()
        };
        assert_eq!(status(1, true), StatusCode::OK);
        for (endpoints, healthy) in [(0, true), (1, false), (0, false)] {
            assert_eq!(status(endpoints, healthy), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
