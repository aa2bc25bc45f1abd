//! The balancer that a Service's wish comes to.

use std::collections::BTreeSet;

use penstock_crds::DigitalOceanParameters;
use penstock_model::{Family, Protocol};

use super::{
    health_check::health_check,
    name,
    options::Options,
    spec::{Droplets, Firewall, Rule, Spec},
    tls_options::TlsOptions,
};
use crate::{Desired, Frontend, Owner, ProviderError, Target};

/// How a node's `providerID` begins.
const PROVIDER_ID: &str = "digitalocean://";

/// What a Service wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) spec: Spec,
    pub(super) droplets: Droplets,
}

/// What everything follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) parameters: &'a DigitalOceanParameters,
    pub(super) owner: &'a Owner,
    pub(super) desired: &'a Desired,
    pub(super) options: &'a Options,
}

impl Scope<'_> {
    /// `uploaded`: the id of the certificate that the Service's Secret holds.
    ///
    /// # Errors
    /// What DigitalOcean does not have, or what contradicts itself, in one sentence.
    pub(super) fn wanted(&self, uploaded: Option<&str>) -> Result<Wanted, ProviderError> {
        self.check()?;
        let options = self.options;
        let mark = name::mark(self.parameters, self.owner)?;
        let rules = self.desired.frontends.iter().map(|frontend| self.rule(frontend, uploaded));
        let mut forwarding_rules = rules.collect::<Result<Vec<Rule>, _>>()?;
        forwarding_rules.sort_unstable();
        let spec = Spec {
            name: name::balancer(options.name.as_deref(), self.owner, &mark),
            size_unit: options.size_unit,
            health_check: health_check(&options.check, self.desired)?,
            sticky_sessions: options.sticky_sessions.clone(),
            firewall: self.firewall(),
            redirect_http_to_https: options.redirect_http_to_https,
            enable_proxy_protocol: options.enable_proxy_protocol,
            enable_backend_keepalive: options.enable_backend_keepalive,
            http_idle_timeout_seconds: options.http_idle_timeout_seconds,
            forwarding_rules,
        };
        check_redirect(&spec)?;
        Ok(Wanted { spec, droplets: self.droplets() })
    }

    /// Things that nothing else of the model says.
    fn check(&self) -> Result<(), ProviderError> {
        let refused = |what: &str| Err(ProviderError::refused(what));
        let desired = self.desired;
        if desired.request.pool.is_some() {
            return refused(
                "the Service asks for an address pool and provider digitalocean has none: remove the annotation",
            );
        }
        if !desired.request.addresses.is_empty() {
            return refused("DigitalOcean gives balancers their addresses: remove spec.loadBalancerIP");
        }
        if desired.families.iter().any(|need| need.family == Family::IPv6 && need.required) {
            return refused(
                "provider digitalocean builds balancers with IPv4 alone: set spec.ipFamilyPolicy to PreferDualStack or SingleStack with IPv4",
            );
        }
        if desired.affinity_seconds.is_some() {
            return refused(
                "DigitalOcean has no affinity by client address: set spec.sessionAffinity to None, or use the annotations do-loadbalancer-sticky-sessions",
            );
        }
        if self.options.adopt.is_some() && !self.parameters.allow_adoption {
            return refused(
                "the class does not let Services take balancers that exist: remove the annotation penstock.dev/digitalocean-adopt-load-balancer-id, or set spec.digitalocean.allowAdoption",
            );
        }
        Ok(())
    }

    fn rule(&self, frontend: &Frontend, uploaded: Option<&str>) -> Result<Rule, ProviderError> {
        let Frontend { protocol, port, node_port } = *frontend;
        let target_port = node_port.ok_or_else(|| {
            ProviderError::refused(format!(
                "port {port} has no NodePort: set spec.allocateLoadBalancerNodePorts to true"
            ))
        })?;
        let tls = self.options.tls.as_ref().filter(|_| protocol == Protocol::Tcp);
        let secure = tls.and_then(|tls| Some((tls, tls.on(port)?)));
        let (entry, target) = match secure {
            Some((TlsOptions { passthrough: Some(_), .. }, speech)) => (speech, speech),
            // Between balancer and Droplets there is no TLS then.
            Some((_, speech)) => (speech, "http"),
            None if protocol == Protocol::Udp => ("udp", "udp"),
            None => (self.options.plain, self.options.plain),
        };
        let certificate = secure.filter(|(tls, _)| tls.passthrough.is_none());
        Ok(Rule {
            entry_port: port,
            entry_protocol: entry.to_owned(),
            target_port,
            target_protocol: target.to_owned(),
            certificate_id: certificate
                .and_then(|(tls, _)| tls.certificate.clone().or_else(|| uploaded.map(ToOwned::to_owned))),
            tls_passthrough: secure.is_some_and(|(tls, _)| tls.passthrough.is_some()),
        })
    }

    fn firewall(&self) -> Firewall {
        let ranges = &self.desired.source_ranges;
        // One that admits everybody makes the others idle.
        let narrow = || ranges.iter().all(|range| range.prefix_len() > 0);
        let of_ranges = || {
            if narrow() {
                ranges.iter().map(|range| format!("cidr:{}", range.trunc())).collect()
            } else {
                BTreeSet::new()
            }
        };
        Firewall {
            allow: self.options.allow.clone().unwrap_or_else(of_ranges),
            deny: self.options.deny.clone(),
        }
    }

    fn droplets(&self) -> Droplets {
        match &self.parameters.droplet_tag {
            Some(tag) => Droplets::Tag(tag.clone()),
            None => Droplets::Ids(self.desired.targets.iter().filter_map(droplet).collect()),
        }
    }
}

/// Nodes that are no Droplets are left out.
fn droplet(target: &Target) -> Option<u64> {
    target.provider_id.as_deref()?.strip_prefix(PROVIDER_ID)?.parse().ok()
}

fn check_redirect(spec: &Spec) -> Result<(), ProviderError> {
    let has = |port: u16, wanted: &[&str]| {
        let speaks = |rule: &Rule| rule.entry_port == port && wanted.contains(&rule.entry_protocol.as_str());
        spec.forwarding_rules.iter().any(speaks)
    };
    if spec.redirect_http_to_https && !(has(80, &["http"]) && has(443, &["https", "http2"])) {
        return Err(ProviderError::refused(
            "annotation do-loadbalancer-redirect-http-to-https needs port 80 with HTTP and port 443 with TLS: set do-loadbalancer-protocol to http and add a certificate",
        ));
    }
    Ok(())
}
