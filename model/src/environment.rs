//! The environment variables by which a kubelet tells Pods of Services: as `pkg/kubelet/envvars/envvars.go` and
//! `getServiceEnvVarMap` of `pkg/kubelet/kubelet_pods.go` of Kubernetes 1.36 make them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;

use crate::ObjectKey;

/// Namespace and name of the Service that every Pod is told of.
const API_SERVERS: (&str, &str) = ("default", "kubernetes");

/// What the containers of a Pod find in their environment, beside what the Pod itself sets: that comes before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceEnvironment {
    /// Values by name.
    pub variables: BTreeMap<String, String>,
    /// Names to which two Services give different values. A kubelet takes either, at random; here it is that of the Service
    /// whose name comes last.
    pub contested: BTreeSet<String>,
}

/// What Pods of the namespace are told. Without `service_links` (`enableServiceLinks: false`) it is of the API servers alone.
///
/// Each Service is told of by its first address (`spec.clusterIP`); headless ones and aliases have none.
#[must_use]
pub fn service_environment(
    services: &[core::Service],
    namespace: &str,
    service_links: bool,
) -> ServiceEnvironment {
    let mut environment = ServiceEnvironment::default();
    for service in told_of(services, namespace, service_links).values() {
        for (name, value) in variables(service) {
            let before = environment.variables.insert(name.clone(), value.clone());
            if before.is_some_and(|before| before != value) {
                environment.contested.insert(name);
            }
        }
    }
    environment
}

/// The Services that count, by name. One of the namespace comes before the API servers' of the same name.
fn told_of<'a>(
    services: &'a [core::Service],
    namespace: &str,
    service_links: bool,
) -> BTreeMap<String, &'a core::Service> {
    let mut told = BTreeMap::new();
    for service in services.iter().filter(|service| cluster_ip(service).is_some()) {
        let key = ObjectKey::of(&service.metadata);
        if (&*key.namespace, &*key.name) == API_SERVERS {
            told.entry(key.name.to_string()).or_insert(service);
        } else if service_links && *key.namespace == *namespace {
            told.insert(key.name.to_string(), service);
        }
    }
    told
}

/// Upstream's `IsServiceIPSet`.
fn cluster_ip(service: &core::Service) -> Option<&str> {
    let ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    ip.filter(|ip| !ip.is_empty() && *ip != "None")
}

fn variables(service: &core::Service) -> Vec<(String, String)> {
    let Some(host) = cluster_ip(service) else { return Vec::new() };
    let prefix = variable_name(service.metadata.name.as_deref().unwrap_or_default());
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut variables = vec![(format!("{prefix}_SERVICE_HOST"), host.to_owned())];
    if let Some(first) = ports.first() {
        variables.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
        variables.push((format!("{prefix}_PORT"), url(host, first)));
    }
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let name = format!("{prefix}_SERVICE_PORT_{}", variable_name(name));
            variables.push((name, port.port.to_string()));
        }
        variables.extend(link_variables(&prefix, host, port));
    }
    variables
}

/// What links between Docker's containers were once told by.
fn link_variables(prefix: &str, host: &str, port: &core::ServicePort) -> [(String, String); 4] {
    let protocol = protocol(port);
    let link = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
    [
        (format!("{link}_PROTO"), protocol.to_lowercase()),
        (format!("{link}_PORT"), port.port.to_string()),
        (format!("{link}_ADDR"), host.to_owned()),
        (link, url(host, port)),
    ]
}

fn protocol(port: &core::ServicePort) -> &str {
    port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP")
}

/// As Go's `net.JoinHostPort`, which looks for nothing but a colon.
fn url(host: &str, port: &core::ServicePort) -> String {
    let (protocol, number) = (protocol(port).to_lowercase(), port.port);
    if host.contains(':') {
        format!("{protocol}://[{host}]:{number}")
    } else {
        format!("{protocol}://{host}:{number}")
    }
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests;
