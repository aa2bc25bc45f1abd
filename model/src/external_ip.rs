//! Which `spec.externalIPs` a cluster admin lets through, and which load balancer IPs.
//!
//! Whoever may create a Service could otherwise take any address's traffic on every node
//! (CVE-2020-8554), so no externalIP is allowed unless a range allows it. The same holds for whoever may
//! patch a Service's status: its load balancer IPs come from a pool that the node does not know, but
//! never from the cluster's own addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::is_link_local;

/// The ranges an externalIP may and may not be in.
#[derive(Clone, Debug, Default)]
pub struct ExternalIpPolicy {
    /// Addresses outside all of these are refused; empty refuses all.
    pub allowed: Vec<IpNet>,
    /// Refused even if allowed: the cluster's own Service and Pod ranges.
    pub reserved: Vec<IpNet>,
}

/// Why an externalIP or a load balancer IP is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalIpRefusal {
    /// No range allows it.
    #[error("is in none of the allowed ranges")]
    NotAllowed,
    /// It would take the cluster's own traffic.
    #[error("lies in the cluster's own Service or Pod range")]
    Reserved,
    /// It is the address of a node.
    #[error("is a node's own address")]
    NodeAddress,
    /// It is not an address that a client outside could use.
    #[error("is a loopback, link-local, multicast or unspecified address")]
    NotUnicast,
}

impl ExternalIpPolicy {
    /// Whether `ip` may be served as an externalIP, given the addresses of the nodes.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn check(
        &self,
        ip: IpAddr,
        node_ips: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), ExternalIpRefusal> {
        self.check_load_balancer_ip(ip, node_ips)?;
        if !self.allowed.iter().any(|net| net.contains(&ip)) {
            return Err(ExternalIpRefusal::NotAllowed);
        }
        Ok(())
    }

    /// Whether `ip` may be served as a load balancer IP, given the addresses of the nodes: all that holds
    /// for an externalIP, but it need not be allowed.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn check_load_balancer_ip(
        &self,
        ip: IpAddr,
        node_ips: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), ExternalIpRefusal> {
        if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local(ip) {
            return Err(ExternalIpRefusal::NotUnicast);
        }
        if self.reserved.iter().any(|net| net.contains(&ip)) {
            return Err(ExternalIpRefusal::Reserved);
        }
        if node_ips.into_iter().any(|node| node == ip) {
            return Err(ExternalIpRefusal::NodeAddress);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> ExternalIpPolicy {
        ExternalIpPolicy {
            allowed: vec!["0.0.0.0/0".parse().unwrap()],
            reserved: vec!["10.96.0.0/16".parse().unwrap()],
        }
    }

    fn check(policy: &ExternalIpPolicy, ip: &str) -> Result<(), ExternalIpRefusal> {
        policy.check(ip.parse().unwrap(), ["203.0.113.11".parse().unwrap()])
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert_eq!(check(&ExternalIpPolicy::default(), "80.11.12.10"), Err(ExternalIpRefusal::NotAllowed));
    }

    #[test]
    fn the_clusters_own_addresses_are_refused_even_in_an_allowed_range() {
        assert_eq!(check(&policy(), "80.11.12.10"), Ok(()));
        assert_eq!(check(&policy(), "10.96.0.1"), Err(ExternalIpRefusal::Reserved));
        assert_eq!(check(&policy(), "203.0.113.11"), Err(ExternalIpRefusal::NodeAddress));
        for ip in ["127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0"] {
            assert_eq!(check(&policy(), ip), Err(ExternalIpRefusal::NotUnicast), "{ip}");
        }
    }
}
