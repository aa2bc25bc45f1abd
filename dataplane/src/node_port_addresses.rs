//! `--nodeport-addresses`: on which of the node's addresses node ports answer.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

/// One value of the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePortAddress {
    /// The node's primary address of each family.
    Primary,
    /// The addresses of its interfaces in the range.
    Within(IpNet),
}

/// Why the values cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum NodePortAddressError {
    /// They contradict each other.
    #[error("--nodeport-addresses has primary beside a range: write either primary or ranges")]
    Mixed,
    /// The kernel does not say which addresses there are.
    #[error("cannot list the addresses of this node's interfaces")]
    Interfaces(#[source] nix::Error),
}

/// The addresses that the values choose; `None` for the primary ones. They are those of the interfaces as of now.
///
/// # Errors
/// When `primary` is not alone, or the kernel does not list its addresses.
pub fn node_port_addresses(values: &[NodePortAddress]) -> Result<Option<Vec<IpAddr>>, NodePortAddressError> {
    let ranges: Vec<IpNet> = values.iter().filter_map(|value| value.range()).collect();
    match (ranges.len(), values.len()) {
        (0, _) => Ok(None),
        (some, all) if some < all => Err(NodePortAddressError::Mixed),
        _ => Ok(Some(choose(&ranges, interface_addresses()?))),
    }
}

impl NodePortAddress {
    fn range(self) -> Option<IpNet> {
        match self {
            Self::Primary => None,
            Self::Within(net) => Some(net),
        }
    }
}

fn interface_addresses() -> Result<Vec<IpAddr>, NodePortAddressError> {
    let all = getifaddrs().map_err(NodePortAddressError::Interfaces)?;
    let addresses = all.filter_map(|interface| interface.address).filter_map(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    Ok(addresses.collect())
}

/// Never loopback: packets from there could only be translated with `route_localnet` (CVE-2020-8558). What is valid on one
/// link only is no address of the node.
fn choose(ranges: &[IpNet], addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let on_link = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let usable = addresses.into_iter().filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !on_link(ip));
    let mut chosen: Vec<IpAddr> = usable.filter(|ip| ranges.iter().any(|net| net.contains(ip))).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_and_links_are_never_chosen() {
        let there =
            ips(&["127.0.0.1", "10.0.0.5", "192.0.2.7", "169.254.1.1", "::1", "fe80::1", "2001:db8::5"]);
        let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let all = choose(&ranges(&["0.0.0.0/0", "::/0", "10.0.0.0/8"]), there.clone());
        assert_eq!(all, ips(&["10.0.0.5", "192.0.2.7", "2001:db8::5"]));
        assert_eq!(choose(&ranges(&["10.0.0.0/8"]), there), ips(&["10.0.0.5"]));
    }

    #[test]
    fn primary_stands_alone() {
        let range = NodePortAddress::Within("127.0.0.0/8".parse().unwrap());
        assert_eq!(node_port_addresses(&[]).unwrap(), None);
        assert_eq!(node_port_addresses(&[NodePortAddress::Primary]).unwrap(), None);
        assert_eq!(node_port_addresses(&[range]).unwrap(), Some(vec![]));
        let error = node_port_addresses(&[range, NodePortAddress::Primary]).unwrap_err();
        assert!(matches!(error, NodePortAddressError::Mixed));
    }
}
