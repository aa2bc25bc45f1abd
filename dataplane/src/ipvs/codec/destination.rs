//! A destination of a virtual server, which upstream calls a real server.

use std::net::SocketAddr;

use penstock_model::Family;

use super::{address_bytes, family_bytes, read_address, read_family, read_number, read_port};
use crate::netfilter::Attributes;

/// `enum` of `IPVS_DEST_ATTR_…`.
const ADDRESS: u16 = 1;
const PORT: u16 = 2;
const FORWARDING: u16 = 3;
const WEIGHT: u16 = 4;
const UPPER_THRESHOLD: u16 = 5;
const LOWER_THRESHOLD: u16 = 6;
const ACTIVE: u16 = 7;
const INACTIVE: u16 = 8;
const FAMILY: u16 = 11;
const TUNNEL_TYPE: u16 = 13;
const TUNNEL_PORT: u16 = 14;
const TUNNEL_FLAGS: u16 = 15;
/// The bits of the forwarding method in what the kernel calls the connection's flags.
const FORWARDING_MASK: u32 = 7;

/// How packets get to a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// Translated: the only way that changes ports.
    #[default]
    Masquerade,
    /// To this machine.
    Local,
    /// In a tunnel.
    Tunnel,
    /// As they are.
    DirectRoute,
}

/// A destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Where it listens.
    pub address: SocketAddr,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Its part; with 0 it gets no new connections, and keeps those that it has.
    pub weight: u32,
}

/// How many connections it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Open ones.
    pub active: u32,
    /// Others that are still tracked.
    pub inactive: u32,
}

impl Forwarding {
    fn number(self) -> u32 {
        match self {
            Self::Masquerade => 0,
            Self::Local => 1,
            Self::Tunnel => 2,
            Self::DirectRoute => 3,
        }
    }

    fn of(number: u32) -> Option<Self> {
        let all = [Self::Masquerade, Self::Local, Self::Tunnel, Self::DirectRoute];
        all.into_iter().find(|known| known.number() == number & FORWARDING_MASK)
    }
}

impl Destination {
    /// One that gets its share of connections, translated.
    #[must_use]
    pub fn serving(address: SocketAddr) -> Self {
        Self { address, forwarding: Forwarding::Masquerade, weight: 1 }
    }

    /// One that keeps its connections and gets no new ones.
    #[must_use]
    pub fn draining(address: SocketAddr) -> Self {
        Self { weight: 0, ..Self::serving(address) }
    }

    /// As `ipvsadm` 1.31 writes them: without a tunnel, without thresholds.
    pub(super) fn attributes(&self) -> Attributes {
        Attributes::default()
            .with(FAMILY, &family_bytes(Family::of(self.address.ip())))
            .with(ADDRESS, &address_bytes(self.address.ip()))
            .with(PORT, &self.address.port().to_be_bytes())
            .with(FORWARDING, &self.forwarding.number().to_ne_bytes())
            .with(WEIGHT, &self.weight.to_ne_bytes())
            .with(TUNNEL_TYPE, &[0])
            .with(TUNNEL_PORT, &[0; 2])
            .with(TUNNEL_FLAGS, &[0; 2])
            .with(UPPER_THRESHOLD, &[0; 4])
            .with(LOWER_THRESHOLD, &[0; 4])
    }

    /// Reads what the kernel says of one, of a server of this family: kernels before 3.18 do not say it here.
    #[must_use]
    pub fn read(bytes: &[u8], of_server: Family) -> Option<Self> {
        let family = read_family(bytes, FAMILY).unwrap_or(of_server);
        Some(Self {
            address: SocketAddr::new(read_address(bytes, ADDRESS, family)?, read_port(bytes, PORT)?),
            forwarding: Forwarding::of(read_number(bytes, FORWARDING)?)?,
            weight: read_number(bytes, WEIGHT)?,
        })
    }
}

impl Connections {
    /// Reads the counters beside a destination.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let count = |kind| read_number(bytes, kind).unwrap_or_default();
        Self { active: count(ACTIVE), inactive: count(INACTIVE) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn none(self) -> bool {
        self == Self::default()
    }
}
