//! Which `spec.externalIPs` a cluster admin lets through, and which load balancer IPs.
//!
//! Whoever may create a Service could otherwise take any address's traffic on every node
//! (CVE-2020-8554), so no externalIP is allowed unless a range allows it to the Service's namespace. The same
//! holds for whoever may patch a Service's status: its load balancer IPs come from a pool that the node does
//! not know, but never from the cluster's own addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{CidrSet, Refusal, Service, address::is_link_local, service::EXTERNAL_IPS};

/// What each namespace may use as externalIPs. Empty, it allows nothing to anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalIpAllowList {
    everybody: CidrSet,
    by_namespace: BTreeMap<String, CidrSet>,
}

impl ExternalIpAllowList {
    /// Whether the Services of the namespace may use the address.
    #[must_use]
    pub fn allows(&self, namespace: &str, ip: IpAddr) -> bool {
        self.everybody.contains(ip) || self.by_namespace.get(namespace).is_some_and(|set| set.contains(ip))
    }
}

/// From networks, each with the namespace that may use it; `None` is every namespace.
impl FromIterator<(Option<String>, IpNet)> for ExternalIpAllowList {
    fn from_iter<I: IntoIterator<Item = (Option<String>, IpNet)>>(grants: I) -> Self {
        let mut nets: BTreeMap<Option<String>, Vec<IpNet>> = BTreeMap::new();
        for (namespace, net) in grants {
            nets.entry(namespace).or_default().push(net);
        }
        let everybody = nets.remove(&None).unwrap_or_default().into_iter().collect();
        let named = nets.into_iter().filter_map(|(name, nets)| Some((name?, nets.into_iter().collect())));
        Self { everybody, by_namespace: named.collect() }
    }
}

/// The ranges an externalIP may and may not be in.
#[derive(Clone, Debug, Default)]
pub struct ExternalIpPolicy {
    /// Addresses outside what it allows to a Service's namespace are refused.
    pub allowed: ExternalIpAllowList,
    /// Refused even if allowed: the cluster's own Service and Pod ranges, as the admin names them.
    pub reserved: Vec<IpNet>,
    /// Refused even if allowed: the Service ranges that the API server has.
    pub service_cidrs: Vec<IpNet>,
    /// Refused even if allowed: where API servers listen, which need not be nodes.
    pub api_servers: BTreeSet<IpAddr>,
}

/// Why an externalIP or a load balancer IP is not served, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalIpRefusal {
    /// No range allows it.
    #[error(
        "is outside what namespace {namespace} may use: add it to spec.cidrs of an ExternalIPPolicy for this \
         namespace"
    )]
    NotAllowed {
        /// The Service's.
        namespace: String,
    },
    /// It would take the cluster's own traffic.
    #[error("lies in the cluster's own Service or Pod range: choose another address")]
    Reserved,
    /// It is the address of a node.
    #[error("is a node's own address: choose another, or use a node port")]
    NodeAddress,
    /// An API server listens there.
    #[error("is the address of an API server: choose another")]
    ApiServer,
    /// It is not an address that a client outside could use.
    #[error("is a loopback, link-local, multicast or unspecified address: choose another")]
    NotUnicast,
}

impl ExternalIpPolicy {
    /// Whether `ip` may be served as an externalIP of a Service in the namespace; `is_node` says which addresses
    /// are those of nodes.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn check(
        &self,
        namespace: &str,
        ip: IpAddr,
        is_node: impl Fn(IpAddr) -> bool,
    ) -> Result<(), ExternalIpRefusal> {
        self.check_load_balancer_ip(ip, is_node)?;
        if !self.allowed.allows(namespace, ip) {
            return Err(ExternalIpRefusal::NotAllowed { namespace: namespace.to_owned() });
        }
        Ok(())
    }

    /// Whether `ip` may be served as a load balancer IP: all that holds for an externalIP, but it need not be
    /// allowed.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn check_load_balancer_ip(
        &self,
        ip: IpAddr,
        is_node: impl Fn(IpAddr) -> bool,
    ) -> Result<(), ExternalIpRefusal> {
        if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local(ip) {
            return Err(ExternalIpRefusal::NotUnicast);
        }
        if self.reserved.iter().chain(&self.service_cidrs).any(|net| net.contains(&ip)) {
            return Err(ExternalIpRefusal::Reserved);
        }
        if self.api_servers.contains(&ip) {
            return Err(ExternalIpRefusal::ApiServer);
        }
        if is_node(ip) {
            return Err(ExternalIpRefusal::NodeAddress);
        }
        Ok(())
    }

    /// The `spec.externalIPs` of the Service that are not served, each with its reason; none for a Service that no
    /// node of ours forwards. What depends on other Services is the index's to know.
    pub fn refusals<'a>(
        &'a self,
        service: &'a Service,
        is_node: impl Fn(IpAddr) -> bool + 'a,
    ) -> impl Iterator<Item = Refusal> + 'a {
        let service = Some(service).filter(|service| service.is_forwarded());
        let unreadable = service.into_iter().flat_map(|s| &s.unreadable).filter(|u| u.field == EXTERNAL_IPS);
        let unreadable = unreadable.cloned().map(Refusal::Unreadable);
        unreadable.chain(service.into_iter().flat_map(move |s| self.forbidden(s, &is_node)))
    }

    fn forbidden(&self, service: &Service, is_node: impl Fn(IpAddr) -> bool) -> Vec<Refusal> {
        let judged =
            service.external_ips.iter().map(|ip| (*ip, self.check(&service.key.namespace, *ip, &is_node)));
        judged.filter_map(|(ip, verdict)| Some(Refusal::ExternalIp { ip, reason: verdict.err()? })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn allowed(grants: &[(Option<&str>, &str)]) -> ExternalIpAllowList {
        grants.iter().map(|(name, net)| (name.map(str::to_owned), net.parse().unwrap())).collect()
    }

    fn policy() -> ExternalIpPolicy {
        let allowed =
            allowed(&[(Some("shop"), "0.0.0.0/1"), (Some("shop"), "128.0.0.0/1"), (None, "80.11.13.0/24")]);
        let service_cidrs = vec!["10.97.0.0/24".parse().unwrap()];
        let reserved = vec!["10.96.0.0/16".parse().unwrap()];
        let api_servers = [[198, 51, 100, 1].into()].into();
        ExternalIpPolicy { allowed, reserved, service_cidrs, api_servers }
    }

    fn is_node(ip: IpAddr) -> bool {
        ip == IpAddr::from([203, 0, 113, 11])
    }

    fn check(policy: &ExternalIpPolicy, namespace: &str, ip: &str) -> Result<(), ExternalIpRefusal> {
        policy.check(namespace, ip.parse().unwrap(), is_node)
    }

    fn not_allowed(namespace: &str) -> ExternalIpRefusal {
        ExternalIpRefusal::NotAllowed { namespace: namespace.to_owned() }
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert_eq!(check(&ExternalIpPolicy::default(), "shop", "80.11.12.10"), Err(not_allowed("shop")));
    }

    #[test]
    fn a_namespace_may_use_its_own_ranges_and_those_of_everybody() {
        assert_eq!(check(&policy(), "shop", "80.11.12.10"), Ok(()));
        assert_eq!(check(&policy(), "blog", "80.11.12.10"), Err(not_allowed("blog")));
        for namespace in ["shop", "blog"] {
            assert_eq!(check(&policy(), namespace, "80.11.13.10"), Ok(()), "{namespace}");
        }
        // One family says nothing of the other.
        assert_eq!(check(&policy(), "shop", "2001:db8::1"), Err(not_allowed("shop")));
    }

    #[test]
    fn the_clusters_own_addresses_are_refused_even_in_an_allowed_range() {
        assert_eq!(check(&policy(), "shop", "10.96.0.1"), Err(ExternalIpRefusal::Reserved));
        assert_eq!(check(&policy(), "shop", "10.97.0.1"), Err(ExternalIpRefusal::Reserved));
        assert_eq!(check(&policy(), "shop", "203.0.113.11"), Err(ExternalIpRefusal::NodeAddress));
        assert_eq!(check(&policy(), "shop", "198.51.100.1"), Err(ExternalIpRefusal::ApiServer));
        for ip in ["127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0"] {
            assert_eq!(check(&policy(), "shop", ip), Err(ExternalIpRefusal::NotUnicast), "{ip}");
        }
    }

    fn refused(namespace: &str, spec: &serde_json::Value) -> Vec<String> {
        let object = json!({"metadata": {"name": "s", "namespace": namespace}, "spec": spec});
        let service = Service::from_object(&serde_json::from_value(object).unwrap());
        policy().refusals(&service, is_node).map(|refusal| refusal.to_string()).collect()
    }

    #[test]
    fn a_service_is_told_of_each_external_ip_that_it_does_not_get() {
        let asked = json!(["80.11.13.10", "80.11.12.10", "203.0.113.11", "010.0.0.1"]);
        let spec = json!({"clusterIPs": ["10.96.0.7", "nonsense"], "externalIPs": asked});
        assert_eq!(
            refused("blog", &spec),
            [
                r#"spec.externalIPs: "010.0.0.1" is not an IP address"#,
                "externalIP 80.11.12.10 is outside what namespace blog may use: add it to spec.cidrs of an \
                 ExternalIPPolicy for this namespace",
                "externalIP 203.0.113.11 is a node's own address: choose another, or use a node port",
            ]
        );
        assert_eq!(refused("shop", &spec).len(), 2);
        assert!(refused("blog", &json!({"clusterIP": "10.96.0.7"})).is_empty());
    }

    #[test]
    fn a_service_that_nobody_forwards_is_refused_nothing() {
        for spec in [
            json!({"type": "ExternalName", "externalName": "a.example", "externalIPs": ["9.9.9.9", "x"]}),
            json!({"clusterIP": "None", "externalIPs": ["9.9.9.9", "x"]}),
        ] {
            assert!(refused("blog", &spec).is_empty(), "{spec}");
        }
    }
}
