//! A virtual server, which upstream calls a service.

use std::fmt;

use penstock_model::{Family, FrontendAddress, Protocol, Scheduler};

use super::{address_bytes, family_bytes, read_address, read_family, read_number, read_port};
use crate::netfilter::{Attributes, attribute, protocol_number};

/// `enum` of `IPVS_SVC_ATTR_…`.
const FAMILY: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDRESS: u16 = 3;
const PORT: u16 = 4;
const MARK: u16 = 5;
const SCHEDULER: u16 = 6;
const FLAGS: u16 = 7;
const TIMEOUT: u16 = 8;
const NETMASK: u16 = 9;
/// Which bits of the flags are meant.
const ALL_FLAGS: u32 = u32::MAX;

/// What identifies a virtual server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerAddress {
    /// Address, protocol and port.
    Frontend(FrontendAddress),
    /// Packets of a family with this mark, whatever they are sent to. The kernel looks for these first.
    Mark(Family, u32),
}

/// `IP_VS_SVC_F_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerFlags(pub u32);

impl ServerFlags {
    /// A client keeps its destination.
    pub const PERSISTENT: Self = Self(1);
    /// The kernel has it in its table: always set when it is read, and nobody's to set.
    pub const HASHED: Self = Self(2);
    /// Each packet of UDP by itself.
    pub const ONE_PACKET: Self = Self(4);
    /// Scheduler `sh`: where the hash leads to a destination without weight, another takes its place.
    pub const SH_FALLBACK: Self = Self(8);
    /// Scheduler `sh`: the client's port counts too.
    pub const SH_PORT: Self = Self(0x10);
}

/// A virtual server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualServer {
    /// What it is.
    pub address: ServerAddress,
    /// How it chooses; `None` for one that this program does not know, and where only the address counts.
    pub scheduler: Option<Scheduler>,
    /// How else it behaves, without [`ServerFlags::HASHED`].
    pub flags: ServerFlags,
    /// With [`ServerFlags::PERSISTENT`]: for how long, in seconds.
    pub timeout: u32,
}

impl ServerAddress {
    /// The address family of its clients.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Frontend(frontend) => Family::of(frontend.ip),
            Self::Mark(family, _) => *family,
        }
    }

    /// What tells the kernel which server is meant.
    pub(super) fn attributes(&self) -> Attributes {
        let family = Attributes::default().with(FAMILY, &family_bytes(self.family()));
        match self {
            Self::Frontend(frontend) => family
                .with(PROTOCOL, &u16::from(protocol_number(frontend.protocol)).to_ne_bytes())
                .with(ADDRESS, &address_bytes(frontend.ip))
                .with(PORT, &frontend.port.to_be_bytes()),
            Self::Mark(_, mark) => family.with(MARK, &mark.to_ne_bytes()),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let family = read_family(bytes, FAMILY)?;
        if let Some(mark) = read_number(bytes, MARK) {
            return Some(Self::Mark(family, mark));
        }
        let protocol = u16::from_ne_bytes(attribute(bytes, PROTOCOL)?.try_into().ok()?);
        let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let protocol = all.into_iter().find(|known| u16::from(protocol_number(*known)) == protocol)?;
        let (ip, port) = (read_address(bytes, ADDRESS, family)?, read_port(bytes, PORT)?);
        Some(Self::Frontend(FrontendAddress { ip, protocol, port }))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frontend(frontend) => frontend.fmt(f),
            Self::Mark(family, mark) => write!(f, "{family:?} mark {mark:#x}"),
        }
    }
}

impl VirtualServer {
    /// One of which only the address is known.
    #[must_use]
    pub fn at(address: ServerAddress) -> Self {
        Self { address, scheduler: None, flags: ServerFlags::default(), timeout: 0 }
    }

    pub(super) fn attributes(&self) -> Attributes {
        let netmask = match self.address.family() {
            Family::IPv4 => u32::MAX,
            Family::IPv6 => 128,
        };
        let flags = [self.flags.0.to_ne_bytes(), ALL_FLAGS.to_ne_bytes()].concat();
        self.address
            .attributes()
            .with_text(SCHEDULER, self.scheduler.map_or("", Scheduler::name))
            .with(FLAGS, &flags)
            .with(TIMEOUT, &self.timeout.to_ne_bytes())
            .with(NETMASK, &netmask.to_ne_bytes())
    }

    /// Reads what the kernel says of one; `None` if it is of no kind that this program makes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let name = attribute(bytes, SCHEDULER).unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let flags = attribute(bytes, FLAGS)?.get(..4)?.try_into().ok()?;
        Some(Self {
            address: ServerAddress::read(bytes)?,
            scheduler: name.trim_end_matches('\0').parse().ok(),
            flags: ServerFlags(u32::from_ne_bytes(flags) & !ServerFlags::HASHED.0),
            timeout: read_number(bytes, TIMEOUT)?,
        })
    }
}
