//! The domains that are answered from the cluster.

use hickory_proto::rr::Name;

/// Why domains cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZonesError {
    /// None was named.
    #[error("no cluster domain is named: name one, as in cluster.local")]
    None,
    /// One that is no domain's name.
    #[error("{0:?} is not a domain's name: write one such as cluster.local")]
    Name(String),
}

/// The cluster's domains, and those of addresses.
#[derive(Clone, Debug)]
pub struct Zones {
    /// The first is where names of addresses lie.
    domains: Vec<Name>,
    reverse: Vec<Name>,
}

/// What a zone's names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZoneKind {
    /// Services and Pods.
    Cluster,
    /// Addresses, most of which are somebody else's.
    Reverse,
}

impl Zones {
    /// Domains such as `cluster.local`; all addresses' names (`in-addr.arpa`, `ip6.arpa`) belong to it too.
    ///
    /// # Errors
    /// When there is no domain, or one is none.
    pub fn new(domains: &[String]) -> Result<Self, ZonesError> {
        if domains.is_empty() {
            return Err(ZonesError::None);
        }
        let domains = domains.iter().map(|text| domain(text)).collect::<Result<_, _>>()?;
        let reverse = ["in-addr.arpa", "ip6.arpa"].iter().map(|text| domain(text));
        Ok(Self { domains, reverse: reverse.collect::<Result<_, _>>()? })
    }

    pub(crate) fn primary(&self) -> &Name {
        &self.domains[0]
    }

    /// The innermost zone with the name, and how many labels it has.
    pub(crate) fn matching(&self, name: &Name) -> Option<(ZoneKind, usize)> {
        let domains = self.domains.iter().map(|zone| (ZoneKind::Cluster, zone));
        let all = domains.chain(self.reverse.iter().map(|zone| (ZoneKind::Reverse, zone)));
        let matching = all.filter(|(_, zone)| zone.zone_of(name));
        matching.map(|(kind, zone)| (kind, usize::from(zone.num_labels()))).max_by_key(|(_, labels)| *labels)
    }
}

fn domain(text: &str) -> Result<Name, ZonesError> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let name = Name::from_ascii(bare).ok().filter(|name| name.num_labels() > 0);
    let mut name = name.ok_or_else(|| ZonesError::Name(text.to_owned()))?.to_lowercase();
    name.set_fqdn(true);
    Ok(name)
}
