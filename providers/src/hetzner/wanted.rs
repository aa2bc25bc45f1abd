//! From what a Service wants to a balancer: pure.

use std::collections::BTreeSet;

use penstock_crds::{HETZNER_ADOPT, HetznerParameters};
use penstock_model::TrafficPolicy;

use super::{
    labels, name,
    observed::Balancer,
    options::{Check, Options},
    spec::{
        BalancerSpec, CheckProtocol, HealthCheck, HttpCheck, HttpSpec, Place, Protocol, ServiceSpec,
        TargetSpec,
    },
};
use crate::{Desired, Frontend, Owner, ProviderError, Target};

/// Of a health check, where nobody says something else.
const INTERVAL: u16 = 15;
const TIMEOUT: u16 = 10;
const RETRIES: u16 = 3;

/// What a balancer of a size can have: services, targets (Hetzner's list of types).
const SIZES: [(&str, usize, usize); 3] = [("lb11", 5, 25), ("lb21", 15, 75), ("lb31", 30, 150)];

/// The most services of a size; `None`: we do not know it, and the API says so if it is too much.
pub(super) fn most_services(load_balancer_type: &str) -> Option<usize> {
    SIZES.iter().find(|(name, ..)| *name == load_balancer_type).map(|(_, services, _)| *services)
}

/// The same of targets.
pub(super) fn most_targets(load_balancer_type: &str) -> Option<usize> {
    SIZES.iter().find(|(name, ..)| *name == load_balancer_type).map(|(_, _, targets)| *targets)
}

/// Whose, and with what parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) parameters: &'a HetznerParameters,
    pub(super) owner: &'a Owner,
    pub(super) desired: &'a Desired,
    pub(super) options: &'a Options,
    /// The certificate that was uploaded from the Secret that the Service names; none where it names none.
    pub(super) certificate: Option<u64>,
}

impl Scope<'_> {
    /// What is wanted, by what there is: where nobody says a place it stays where it is.
    ///
    /// # Errors
    /// What Hetzner does not have, or what contradicts itself, in one sentence.
    pub(super) fn wanted(&self, current: Option<&Balancer>) -> Result<BalancerSpec, ProviderError> {
        self.check()?;
        let services = self.desired.frontends.iter().map(|frontend| self.service(frontend));
        let mut services = services.collect::<Result<Vec<_>, _>>()?;
        services.sort_by_key(|service| service.listen_port);
        let spec = BalancerSpec {
            name: self.options.name.clone().unwrap_or_else(|| name::balancer(self.parameters, self.owner)),
            load_balancer_type: self.options.load_balancer_type.clone(),
            place: self.place(current)?,
            labels: self.labels()?,
            algorithm: self.options.algorithm,
            public_interface: self.options.public,
            network: self.parameters.network_id,
            services,
            targets: self.targets(),
        };
        check_size(&spec)?;
        Ok(spec)
    }

    /// What no annotation can give.
    fn check(&self) -> Result<(), ProviderError> {
        let Desired { request, source_ranges, affinity_seconds, .. } = self.desired;
        let refuse = |what: &str| Err(ProviderError::refused(what));
        if request.pool.is_some() || !request.addresses.is_empty() {
            return refuse(
                "Hetzner chooses the addresses of a balancer: remove the requested address or pool",
            );
        }
        if !source_ranges.is_empty() {
            return refuse(
                "a balancer of Hetzner lets everybody in: remove loadBalancerSourceRanges, or use another class",
            );
        }
        if affinity_seconds.is_some() {
            return refuse(
                "a balancer of Hetzner has no affinity by address: set spec.sessionAffinity to None, and for http the annotation http-sticky-sessions",
            );
        }
        if self.options.adopt.is_some() && !self.parameters.allow_adoption {
            return Err(ProviderError::refused(format!(
                "annotation {HETZNER_ADOPT} is not allowed by the class: set spec.hetzner.allowAdoption to true, or remove it"
            )));
        }
        Ok(())
    }

    fn place(&self, current: Option<&Balancer>) -> Result<Place, ProviderError> {
        let existing = || current.map(|balancer| Place::Location(balancer.location.clone()));
        self.options.place.clone().or_else(existing).ok_or_else(|| {
            ProviderError::refused(
                "nobody says where the balancer is to be: set the annotation location or network-zone, or one of them in spec.hetzner.defaults of the class",
            )
        })
    }

    fn labels(&self) -> Result<crate::reading::Pairs, ProviderError> {
        let mut labels = self.parameters.labels.clone();
        if let Some(key) = labels.keys().find(|key| key.starts_with("penstock.dev/")) {
            return Err(ProviderError::refused(format!(
                "spec.hetzner.labels of the class sets {key}, which is ours: remove it"
            )));
        }
        labels.extend(labels::ownership(self.parameters, self.owner));
        labels.extend(self.options.hostname.clone().map(|name| (labels::HOSTNAME.to_owned(), name)));
        Ok(labels)
    }

    fn service(&self, frontend: &Frontend) -> Result<ServiceSpec, ProviderError> {
        let port = frontend.port;
        let destination_port = frontend.node_port.ok_or_else(|| {
            ProviderError::refused(format!(
                "port {port} has no NodePort: set spec.allocateLoadBalancerNodePorts to true"
            ))
        })?;
        let Options { protocol, certificates, redirect, sticky, .. } = self.options;
        let http = HttpSpec {
            certificates: certificates.iter().copied().chain(self.certificate).collect(),
            redirect_http: *redirect,
            sticky_sessions: *sticky,
        };
        Ok(ServiceSpec {
            protocol: *protocol,
            listen_port: port,
            destination_port,
            proxyprotocol: self.options.proxy_protocol,
            http: (*protocol != Protocol::Tcp).then_some(http),
            health_check: self.health_check(destination_port)?,
        })
    }

    /// Where nodes say by themselves whether they have an endpoint, that is asked.
    fn health_check(&self, destination_port: u16) -> Result<HealthCheck, ProviderError> {
        let said = &self.options.check;
        let local = self.desired.health_check_node_port;
        let local = local.filter(|_| self.desired.traffic_policy == TrafficPolicy::Local);
        let local = local.filter(|_| said.protocol.is_none() && said.port.is_none());
        let by_request = |path: &str, tls| {
            let path = said.path.clone().unwrap_or_else(|| path.to_owned());
            Some(HttpCheck { domain: said.domain.clone().filter(|d| !d.is_empty()), path, tls })
        };
        let http = match (local, said.protocol) {
            (Some(_), _) => Some(HttpCheck { domain: None, path: "/healthz".to_owned(), tls: false }),
            (None, Some(Check::Http)) => by_request("/", false),
            (None, Some(Check::Https)) => by_request("/", true),
            (None, Some(Check::Tcp) | None) => None,
        };
        let (interval, timeout) = (
            said.interval.unwrap_or(INTERVAL),
            said.timeout.unwrap_or(TIMEOUT.min(said.interval.unwrap_or(TIMEOUT))),
        );
        if timeout > interval {
            return Err(ProviderError::refused(format!(
                "a health check every {interval} s cannot wait {timeout} s: make the annotation health-check-timeout smaller, or health-check-interval larger"
            )));
        }
        Ok(HealthCheck {
            protocol: if http.is_some() { CheckProtocol::Http } else { CheckProtocol::Tcp },
            port: local.or(said.port).unwrap_or(destination_port),
            interval,
            timeout,
            retries: said.retries.unwrap_or(RETRIES),
            http,
        })
    }

    fn targets(&self) -> BTreeSet<TargetSpec> {
        let use_private_ip = self.options.use_private_ip;
        if let Some(selector) = &self.parameters.server_selector {
            return BTreeSet::from([TargetSpec::LabelSelector {
                selector: selector.clone(),
                use_private_ip,
            }]);
        }
        let servers = self.desired.targets.iter().filter_map(server_id);
        servers.map(|id| TargetSpec::Server { id, use_private_ip }).collect()
    }
}

/// `hcloud://123`: a node without one is not a server of the cloud.
fn server_id(target: &Target) -> Option<u64> {
    target.provider_id.as_deref()?.strip_prefix("hcloud://")?.parse().ok()
}

fn check_size(spec: &BalancerSpec) -> Result<(), ProviderError> {
    let Some((name, services, targets)) = SIZES.iter().find(|(name, ..)| *name == spec.load_balancer_type)
    else {
        return Ok(());
    };
    let refuse = |what: String| {
        let change = "set the annotation type to a larger one";
        Err(ProviderError::refused(format!("a balancer of type {name} has at most {what}: {change}")))
    };
    if spec.services.len() > *services {
        return refuse(format!("{services} ports, and the Service has {}", spec.services.len()));
    }
    if spec.targets.len() > *targets {
        return refuse(format!("{targets} nodes, and there are {}", spec.targets.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_have_an_identity() {
        let target = |id: &str| Target { node: "n".into(), provider_id: Some(id.into()), addresses: vec![] };
        for (id, server) in [
            ("hcloud://123", Some(123)),
            ("hcloud://", None),
            ("hcloud://12/3", None),
            ("hrobot://123", None),
            ("123", None),
        ] {
            assert_eq!(server_id(&target(id)), server, "{id}");
        }
        assert_eq!(server_id(&Target { provider_id: None, ..target("") }), None);
    }
}
