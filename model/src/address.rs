//! IP addresses as they stand in objects.

use std::net::IpAddr;

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Family {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::IPv4 } else { Self::IPv6 }
    }
}

/// Reads an address strictly: no leading zeros (`010.0.0.1` is 8.0.0.1 to some resolvers and
/// 10.0.0.1 to others, see CVE-2021-29923) and no IPv4 in IPv6 (`::ffff:10.0.0.1`, which would match
/// rules of neither family). `None` for anything else; old objects may hold such strings.
#[must_use]
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok()?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        _ => Some(address),
    }
}

/// Whether traffic may be sent to this address as an endpoint: not to the node's own loopback nor to
/// its link (CVE-2021-25737), nor to what is no unicast address at all.
pub(crate) fn is_endpoint_address(address: IpAddr) -> bool {
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_link_local(address))
}

/// Whether the address is valid on its link only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_spellings_are_refused() {
        assert_eq!(parse_ip("10.0.0.1"), Some(IpAddr::from([10, 0, 0, 1])));
        assert!(parse_ip("2001:db8::1").is_some());
        for text in ["010.0.0.1", "::ffff:1.2.3.4", "10.0.0", "10.0.0.1/32", " 10.0.0.1", "", "None"] {
            assert_eq!(parse_ip(text), None, "{text:?}");
        }
    }

    #[test]
    fn neither_the_node_itself_nor_its_link_is_an_endpoint() {
        let is_one = |text: &str| is_endpoint_address(text.parse().unwrap());
        assert!(is_one("10.244.1.2") && is_one("2001:db8:244::2"));
        let hostile = [
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "::1",
            "fe80::1",
            "febf::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
        ];
        assert_eq!(hostile.into_iter().filter(|text| is_one(text)).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
