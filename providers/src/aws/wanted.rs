//! From what a Service wants to balancer, target groups and listeners: pure.

use std::collections::BTreeSet;

use penstock_crds::{AWS_ADOPT, AwsParameters};
use penstock_model::{Family, Protocol, TrafficPolicy};

use super::{
    attributes::{SOURCE_IP, STICKINESS, STICKINESS_TYPE},
    health_check::health_check,
    name,
    observed::{Balancer, Observed},
    options::{IpAddressType, Options, Scheme, TargetType},
    reading::Pairs,
    spec::{BalancerSpec, GroupKind, GroupSpec, GroupTarget, ListenerSpec, SubnetSpec, Transport},
    tags,
    targets::targets,
};
use crate::{Desired, Owner, ProviderError};

/// What a Service wants, in AWS's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) balancer: BalancerSpec,
    pub(super) attributes: Pairs,
    pub(super) ports: Vec<WantedPort>,
    pub(super) certificate: Option<WantedCertificate>,
}

/// What ACM is to hold of the Service's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedCertificate {
    pub(super) secret: String,
    pub(super) fingerprint: String,
    pub(super) tags: Pairs,
}

/// A port, and where its connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedPort {
    pub(super) listener: ListenerSpec,
    pub(super) listener_attributes: Pairs,
    pub(super) group: GroupSpec,
    pub(super) group_attributes: Pairs,
    pub(super) targets: BTreeSet<GroupTarget>,
}

/// One port of a balancer, with whatever protocols the Service has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) port: u16,
    pub(super) node_port: Option<u16>,
    pub(super) protocol: Transport,
}

/// Whose, and with what parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) parameters: &'a AwsParameters,
    pub(super) owner: &'a Owner,
    pub(super) desired: &'a Desired,
    pub(super) options: &'a Options,
}

impl Scope<'_> {
    /// # Errors
    /// What AWS does not have, or what contradicts itself, in one sentence.
    pub(super) fn wanted(&self, observed: &Observed) -> Result<Wanted, ProviderError> {
        self.check()?;
        self.check_adopted(observed)?;
        let scheme = self.scheme(observed);
        let current = self.current(scheme, observed);
        let balancer = self.balancer(scheme, current)?;
        let entries = entries(self.desired)?;
        let ports = entries.iter().map(|entry| self.port(*entry, &balancer, entries.len()));
        let mut wanted = Wanted {
            ports: ports.collect::<Result<_, _>>()?,
            attributes: self.options.attributes.clone(),
            certificate: self.certificate(),
            balancer,
        };
        wanted.ports.iter_mut().for_each(|port| port.listener = observed.resolved(&port.listener));
        self.check_listener_attributes(&wanted)?;
        Ok(wanted)
    }

    fn certificate(&self) -> Option<WantedCertificate> {
        let (secret, fingerprint) =
            self.desired.certificate.as_ref().map(|c| (c.secret(), c.fingerprint()))?;
        let tags = self.tags("certificate");
        Some(WantedCertificate { secret: secret.to_owned(), fingerprint: fingerprint.to_owned(), tags })
    }

    /// As the annotation says, else as it is, else internal.
    fn scheme(&self, observed: &Observed) -> Scheme {
        let existing = || self.adopted(observed).or(observed.balancers.first()).map(|b| b.spec.scheme);
        self.options.scheme.or_else(existing).unwrap_or(Scheme::Internal)
    }

    /// The balancer that stays.
    fn current<'o>(&self, scheme: Scheme, observed: &'o Observed) -> Option<&'o Balancer> {
        self.adopted(observed).or_else(|| observed.balancers.iter().find(|b| b.spec.scheme == scheme))
    }

    fn adopted<'o>(&self, observed: &'o Observed) -> Option<&'o Balancer> {
        observed.balancers.iter().find(|balancer| self.options.adopt.as_ref() == Some(&balancer.arn))
    }

    /// Whoever may write a Service could take any balancer of the account otherwise, and delete it.
    fn check_adopted(&self, observed: &Observed) -> Result<(), ProviderError> {
        if self.options.adopt.is_some() && !self.parameters.allow_adoption {
            return Err(ProviderError::refused(format!(
                "the class does not let Services take balancers that exist: remove the annotation {AWS_ADOPT}, or set spec.aws.allowAdoption"
            )));
        }
        match (self.adopted(observed), self.options.scheme) {
            (Some(balancer), Some(scheme)) if balancer.spec.scheme != scheme => {
                Err(ProviderError::refused(format!(
                    "the balancer that the annotation {AWS_ADOPT} names has another scheme, which AWS cannot change: remove the annotation scheme"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Things that nothing else of the model says.
    fn check(&self) -> Result<(), ProviderError> {
        let refused = |what: &str| Err(ProviderError::refused(what));
        let desired = self.desired;
        if desired.request.pool.is_some() {
            return refused(
                "the Service asks for an address pool and provider aws has none: remove the annotation",
            );
        }
        if !desired.request.addresses.is_empty() {
            return refused(
                "provider aws does not take spec.loadBalancerIP: name elastic addresses with the annotation aws-load-balancer-eip-allocations",
            );
        }
        if desired.source_ranges.iter().any(|range| range.prefix_len() > 0) {
            return refused(
                "provider aws does not write rules of security groups: remove the source ranges, and name groups that have them with the annotation aws-load-balancer-security-groups",
            );
        }
        let dual = self.options.ip_address_type == Some(IpAddressType::Dualstack);
        if !dual && desired.families.iter().any(|need| need.family == Family::IPv6 && need.required) {
            return refused(
                "the Service requires IPv6: set the annotation aws-load-balancer-ip-address-type to dualstack",
            );
        }
        Ok(())
    }

    fn balancer(&self, scheme: Scheme, current: Option<&Balancer>) -> Result<BalancerSpec, ProviderError> {
        let options = self.options;
        let name = match (&options.name, current) {
            (Some(name), Some(balancer)) if balancer.spec.name != *name => {
                return Err(ProviderError::refused(format!(
                    "the load balancer is named {:?} and AWS cannot rename it: remove the annotation aws-load-balancer-name, or create the Service anew",
                    balancer.spec.name
                )));
            }
            (_, Some(balancer)) => balancer.spec.name.clone(),
            (Some(name), None) => name.clone(),
            (None, None) => name::balancer(self.parameters, self.owner, scheme),
        };
        Ok(BalancerSpec {
            name,
            scheme,
            ip_address_type: options.ip_address_type.unwrap_or_default(),
            subnets: self.subnets(scheme, current)?,
            security_groups: match current {
                // AWS cannot take the last one away.
                Some(balancer) if options.security_groups.is_empty() => balancer.spec.security_groups.clone(),
                _ => options.security_groups.iter().cloned().collect(),
            },
            tags: self.tags("load-balancer"),
        })
    }

    /// The user's tags do not replace ours.
    fn tags(&self, resource: &str) -> Pairs {
        let mut tags = self.parameters.tags.clone();
        tags.extend(self.options.tags.clone());
        tags.extend(tags::ownership(self.parameters, self.owner, resource));
        tags
    }

    /// Those of the Service, else of the class, else what there is.
    fn subnets(&self, scheme: Scheme, current: Option<&Balancer>) -> Result<Vec<SubnetSpec>, ProviderError> {
        let (of_class, field) = match scheme {
            Scheme::Internal => (&self.parameters.internal_subnets, "internalSubnets"),
            Scheme::InternetFacing => (&self.parameters.public_subnets, "publicSubnets"),
        };
        let named = self.options.subnets.as_ref().or(Some(of_class)).filter(|ids| !ids.is_empty());
        let existing = || current.map(|b| b.spec.subnets.iter().map(|s| s.id.clone()).collect::<Vec<_>>());
        let ids = named.cloned().or_else(existing).filter(|ids| !ids.is_empty()).ok_or_else(|| {
            ProviderError::refused(format!(
                "no subnet is known: name them with the annotation aws-load-balancer-subnets or in spec.aws.{field} of the class"
            ))
        })?;
        self.check_addresses(ids.len(), scheme)?;
        let mut subnets: Vec<SubnetSpec> =
            (0..).zip(&ids).map(|(at, id)| self.addressed(at, id, current)).collect();
        subnets.sort_unstable();
        Ok(subnets)
    }

    /// With the address that was asked for: the first subnet named gets the first. AWS cannot change one, so that it
    /// stays where nothing is said.
    fn addressed(&self, at: usize, id: &str, current: Option<&Balancer>) -> SubnetSpec {
        let Options { eip_allocations, private_addresses, .. } = self.options;
        let before = current.and_then(|b| b.spec.subnets.iter().find(|subnet| subnet.id == id));
        match before {
            Some(before) if eip_allocations.is_empty() && private_addresses.is_empty() => before.clone(),
            _ => SubnetSpec {
                allocation: eip_allocations.get(at).cloned(),
                private_address: private_addresses.get(at).map(ToString::to_string),
                ..SubnetSpec::plain(id)
            },
        }
    }

    /// One for each subnet, or none.
    fn check_addresses(&self, subnets: usize, scheme: Scheme) -> Result<(), ProviderError> {
        let Options { eip_allocations, private_addresses, .. } = self.options;
        let wrong = |key: &str, what: String| {
            Err(ProviderError::refused(format!("annotation aws-load-balancer-{key} {what}")))
        };
        for (key, count, fits) in [
            ("eip-allocations", eip_allocations.len(), Scheme::InternetFacing),
            ("private-ipv4-addresses", private_addresses.len(), Scheme::Internal),
        ] {
            if count > 0 && count != subnets {
                return wrong(
                    key,
                    format!("names {count}, and there are {subnets} subnets: name one for each"),
                );
            }
            if count > 0 && scheme != fits {
                let other = if fits == Scheme::Internal { "internal" } else { "internet-facing" };
                return wrong(key, format!("is for scheme {other} only: set the scheme, or remove it"));
            }
        }
        Ok(())
    }

    fn port(
        &self,
        entry: Entry,
        balancer: &BalancerSpec,
        entries: usize,
    ) -> Result<WantedPort, ProviderError> {
        let tls = self.options.tls.as_ref().filter(|tls| tls.covers(entry.port));
        // Without a list of ports only those that can have it are meant, unless there is no other.
        let tls = match (tls, entry.protocol) {
            (Some(tls), Transport::Udp | Transport::TcpUdp) if tls.ports.is_some() || entries == 1 => {
                return Err(ProviderError::refused(format!(
                    "port {} is {}, which cannot have TLS: leave it out of the annotation aws-load-balancer-ssl-ports",
                    entry.port, entry.protocol
                )));
            }
            (tls, Transport::Tcp | Transport::Tls) => tls,
            (_, Transport::Udp | Transport::TcpUdp) => None,
        };
        let to_targets = tls.is_some_and(|tls| tls.to_targets);
        let protocol = if to_targets { Transport::Tls } else { entry.protocol };
        let kind = self.kind(entry, protocol)?;
        let group = name::group(self.parameters, self.owner, &balancer.name, entry.port, &kind);
        let listener = ListenerSpec {
            port: entry.port,
            protocol: if tls.is_some() { Transport::Tls } else { entry.protocol },
            group: group.clone(),
            certificates: tls.map(|tls| tls.certificates.clone()).unwrap_or_default(),
            policy: tls.and_then(|tls| tls.policy.clone()),
            alpn: tls.and_then(|tls| tls.alpn.clone()),
        };
        Ok(WantedPort {
            targets: targets(self.desired, entry, self.options.target_type)?,
            group_attributes: self.group_attributes(kind.protocol)?,
            listener_attributes: self.listener_attributes(entry),
            group: GroupSpec {
                name: group,
                health_check: health_check(self.options, self.desired)?,
                tags: self.tags(&format!("target-group/{}-{}", entry.protocol, entry.port)),
                kind,
            },
            listener,
        })
    }

    fn kind(&self, entry: Entry, protocol: Transport) -> Result<GroupKind, ProviderError> {
        let target_type = self.options.target_type;
        let port = match target_type {
            // Every target has a port of its own; the group has to have one.
            TargetType::Ip => entry.port,
            TargetType::Instance => entry.node_port.ok_or_else(|| {
                ProviderError::refused(format!(
                    "port {} has no NodePort: set spec.allocateLoadBalancerNodePorts to true, or the annotation aws-load-balancer-nlb-target-type to ip",
                    entry.port
                ))
            })?,
        };
        // A group has one family: the Service's first.
        let v6 = self.desired.families.first().is_some_and(|need| need.family == Family::IPv6);
        let ip_address_type = if v6 { IpAddressType::Dualstack } else { IpAddressType::Ipv4 };
        Ok(GroupKind { protocol, port, target_type, ip_address_type })
    }

    /// Session affinity is AWS's stickiness by source address, unless attributes say something else.
    fn group_attributes(&self, protocol: Transport) -> Result<Pairs, ProviderError> {
        let mut attributes = self.options.group_attributes.clone();
        if self.desired.affinity_seconds.is_none() || attributes.contains_key(STICKINESS) {
            return Ok(attributes);
        }
        if protocol == Transport::Tls {
            return Err(ProviderError::refused(
                "AWS has no affinity where targets get TLS: set spec.sessionAffinity to None, or backend-protocol to tcp",
            ));
        }
        attributes.insert(STICKINESS.to_owned(), "true".to_owned());
        attributes.insert(STICKINESS_TYPE.to_owned(), SOURCE_IP.to_owned());
        Ok(attributes)
    }

    fn listener_attributes(&self, entry: Entry) -> Pairs {
        let of = |((protocol, port), pairs): &((Protocol, u16), Pairs)| {
            let same = match entry.protocol {
                Transport::Tcp | Transport::Tls | Transport::TcpUdp => *protocol == Protocol::Tcp,
                Transport::Udp => *protocol == Protocol::Udp,
            };
            (same && *port == entry.port).then(|| pairs.clone())
        };
        self.options.listener_attributes.iter().find_map(of).unwrap_or_default()
    }

    fn check_listener_attributes(&self, wanted: &Wanted) -> Result<(), ProviderError> {
        for ((protocol, port), pairs) in &self.options.listener_attributes {
            let meant = |p: &&WantedPort| p.listener.port == *port && p.listener_attributes == *pairs;
            if !wanted.ports.iter().any(|port| meant(&port)) {
                return Err(ProviderError::refused(format!(
                    "annotation aws-load-balancer-listener-attributes.{protocol}-{port} is for a port that the Service does not have: remove it"
                )));
            }
        }
        Ok(())
    }

    /// Whether nodes say by themselves if they have an endpoint.
    pub(super) fn is_local(options: &Options, desired: &Desired) -> bool {
        desired.traffic_policy == TrafficPolicy::Local && options.target_type == TargetType::Instance
    }
}

/// The Service's ports in order. TCP and UDP of one number are one listener, and so one target group.
fn entries(desired: &Desired) -> Result<Vec<Entry>, ProviderError> {
    let mut entries: Vec<Entry> = Vec::new();
    for frontend in &desired.frontends {
        let protocol = if frontend.protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        let entry = Entry { port: frontend.port, node_port: frontend.node_port, protocol };
        match entries.iter_mut().find(|other| other.port == entry.port) {
            Some(other) if desired.endpoints.is_none() && other.node_port != entry.node_port => {
                return Err(ProviderError::refused(format!(
                    "port {} is TCP and UDP, which AWS sends to one port of the nodes: give both the same nodePort",
                    entry.port
                )));
            }
            Some(other) => other.protocol = Transport::TcpUdp,
            None => entries.push(entry),
        }
    }
    entries.sort_by_key(|entry| entry.port);
    Ok(entries)
}
