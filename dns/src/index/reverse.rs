//! Names of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    RecordIndex,
    find::{Missing, Owner},
};

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for (RFC 1035 §3.5, RFC 3596 §2.5); the
/// leftmost label first.
pub(crate) fn address_of(labels: &[String], zone_labels: &str) -> Option<IpAddr> {
    match zone_labels {
        "in-addr.arpa." => v4(labels).map(IpAddr::V4),
        "ip6.arpa." => v6(labels).map(|ip| IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

fn v4(labels: &[String]) -> Option<Ipv4Addr> {
    let text: Vec<&str> = labels.iter().rev().map(String::as_str).collect();
    text.join(".").parse().ok()
}

fn v6(labels: &[String]) -> Option<Ipv6Addr> {
    let digits: Vec<u128> = labels.iter().rev().map(|label| digit(label)).collect::<Option<_>>()?;
    (digits.len() == 32).then(|| Ipv6Addr::from(digits.iter().fold(0, |all, digit| all << 4 | digit)))
}

fn digit(label: &str) -> Option<u128> {
    let mut characters = label.chars();
    let digit = characters.next().and_then(|c| c.to_digit(16))?;
    characters.next().is_none().then_some(digit.into())
}

impl RecordIndex {
    /// Whose address it is: the Service's, else each endpoint's.
    pub(crate) fn find_owners(&self, ip: IpAddr) -> Result<Vec<Owner<'_>>, Missing> {
        if let Some(key) = self.cluster_ips.at(ip).next() {
            return Ok(vec![Owner::Service(key)]);
        }
        let slices = self.endpoint_ips.at(ip).filter_map(|key| self.slices.get(key));
        let owners = slices.flat_map(|slice| {
            let same = slice.endpoints.iter().filter(move |endpoint| endpoint.ip == ip);
            same.map(|endpoint| Owner::Endpoint(&slice.service, endpoint))
        });
        let owners: Vec<_> = owners.collect();
        if owners.is_empty() { Err(Missing) } else { Ok(owners) }
    }
}
