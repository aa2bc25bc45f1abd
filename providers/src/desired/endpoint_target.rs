//! An endpoint that a balancer sends to without the nodes' help.

use std::net::IpAddr;

use penstock_model::{EndpointIndex, Family, Protocol, Service};
use serde::Serialize;

/// Where a balancer sends connections to one port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointTarget {
    /// The protocol of the Service's port.
    pub protocol: Protocol,
    /// The number of the Service's port.
    pub port: u16,
    /// The endpoint's address.
    pub address: IpAddr,
    /// The number at the endpoint.
    pub target_port: u16,
}

impl EndpointTarget {
    /// The ready endpoints of all ports of a Service, of its families.
    #[must_use]
    pub(super) fn all(service: &Service, index: &EndpointIndex) -> Vec<Self> {
        let families: Vec<Family> = service.cluster_ips.iter().map(|ip| Family::of(*ip)).collect();
        let mut all = Vec::new();
        for port in &service.ports {
            let ready = index.ready(&service.key, &port.name, port.protocol);
            let ours = ready.into_iter().filter(|at| families.contains(&Family::of(at.ip())));
            all.extend(ours.map(|at| Self {
                protocol: port.protocol,
                port: port.port,
                address: at.ip(),
                target_port: at.port(),
            }));
        }
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use crate::{Desired, Surroundings};
    use penstock_model::EndpointIndex;
    use serde_json::json;

    #[test]
    fn ready_endpoints_of_each_port_are_targets_and_others_are_not() {
        let mut index = EndpointIndex::default();
        let endpoint = |ip: &str, ready: bool| json!({"addresses": [ip], "conditions": {"ready": ready}});
        let slice = json!({
            "metadata": {"name": "s-1", "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4", "endpoints": [endpoint("10.0.0.2", true), endpoint("10.0.0.1", true),
                endpoint("10.0.0.3", false)],
            "ports": [{"name": "web", "protocol": "TCP", "port": 8080}, {"name": "other", "protocol": "TCP", "port": 1}]
        });
        index.apply(&serde_json::from_value(slice).unwrap());
        let service = json!({"metadata": {"name": "s", "namespace": "d"}, "spec": {
            "clusterIPs": ["10.96.0.7"], "ports": [{"name": "web", "port": 80}]}});
        let around = Surroundings { endpoints: Some(&index), ..Surroundings::default() };
        let desired = Desired::of(&serde_json::from_value(service).unwrap(), &around).unwrap();
        let seen: Vec<String> = desired
            .endpoints
            .unwrap()
            .iter()
            .map(|e| format!("{}:{} to {}:{}", e.protocol, e.port, e.address, e.target_port))
            .collect();
        assert_eq!(seen, ["TCP:80 to 10.0.0.1:8080", "TCP:80 to 10.0.0.2:8080"]);
    }
}
