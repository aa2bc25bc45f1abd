//! Endpoints that connections may go to.

use std::net::SocketAddr;

use crate::Family;

/// Endpoints in the order of their addresses, none twice; so the IPv4 ones come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Vec<SocketAddr>")]
pub struct EndpointSet(Box<[SocketAddr]>);

impl EndpointSet {
    /// Those of a family: connections stay within theirs.
    #[must_use]
    pub fn of(&self, family: Family) -> &[SocketAddr] {
        let (v4, v6) = self.0.split_at(self.0.partition_point(SocketAddr::is_ipv4));
        if family == Family::IPv4 { v4 } else { v6 }
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, of either family.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(&self, endpoint: &SocketAddr) -> bool {
        self.0.binary_search(endpoint).is_ok()
    }
}

impl From<Vec<SocketAddr>> for EndpointSet {
    fn from(endpoints: Vec<SocketAddr>) -> Self {
        endpoints.into_iter().collect()
    }
}

impl FromIterator<SocketAddr> for EndpointSet {
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(endpoints: I) -> Self {
        let mut endpoints: Vec<SocketAddr> = endpoints.into_iter().collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        Self(endpoints.into())
    }
}
