//! What the kernel is asked.

use std::fmt;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use penstock_model::Scheduler;

use super::{Destination, ServerAddress, VirtualServer};
use crate::netfilter::{Attributes, Message, attribute};

/// `IPVS_GENL_VERSION`.
const VERSION: u8 = 1;
/// `enum` of `IPVS_CMD_ATTR_…`.
const SERVER: u16 = 1;
const DESTINATION: u16 = 2;
const TIMEOUT_TCP: u16 = 4;
const TIMEOUT_TCP_FIN: u16 = 5;
const TIMEOUT_UDP: u16 = 6;

/// How long the kernel keeps connections, in seconds; 0 leaves what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Open ones of TCP.
    pub tcp: u32,
    /// Those of TCP that end.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// What the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A new virtual server.
    NewServer(VirtualServer),
    /// Another scheduler, other flags or another time-out for one that exists.
    SetServer(VirtualServer),
    /// Removes it, with its destinations.
    DeleteServer(ServerAddress),
    /// Lists them.
    Servers,
    /// A new destination.
    NewDestination(ServerAddress, Destination),
    /// Another weight for one that exists.
    SetDestination(ServerAddress, Destination),
    /// Removes it.
    DeleteDestination(ServerAddress, Destination),
    /// Lists those of a server.
    Destinations(ServerAddress),
    /// Sets the time-outs.
    SetTimeouts(Timeouts),
    /// Asks for the time-outs.
    Timeouts,
    /// Asks for the version.
    Info,
    /// Removes all servers.
    Flush,
}

impl Request {
    /// `enum` of `IPVS_CMD_…`.
    fn command(&self) -> u8 {
        match self {
            Self::NewServer(_) => 1,
            Self::SetServer(_) => 2,
            Self::DeleteServer(_) => 3,
            Self::Servers => 4,
            Self::NewDestination(..) => 5,
            Self::SetDestination(..) => 6,
            Self::DeleteDestination(..) => 7,
            Self::Destinations(_) => 8,
            Self::SetTimeouts(_) => 12,
            Self::Timeouts => 13,
            Self::Info => 15,
            Self::Flush => 17,
        }
    }

    fn is_list(&self) -> bool {
        matches!(self, Self::Servers | Self::Destinations(_))
    }

    fn attributes(&self) -> Attributes {
        let list = Attributes::default();
        let server = |address: &ServerAddress| VirtualServer::at(*address).attributes();
        match self {
            Self::NewServer(all) | Self::SetServer(all) => list.with_nested(SERVER, &all.attributes()),
            Self::DeleteServer(address) => list.with_nested(SERVER, &server(address)),
            Self::NewDestination(address, destination)
            | Self::SetDestination(address, destination)
            | Self::DeleteDestination(address, destination) => {
                list.with_nested(SERVER, &server(address)).with_nested(DESTINATION, &destination.attributes())
            }
            Self::Destinations(address) => list.with_nested(SERVER, &address.attributes()),
            Self::SetTimeouts(timeouts) => list
                .with(TIMEOUT_TCP, &timeouts.tcp.to_ne_bytes())
                .with(TIMEOUT_TCP_FIN, &timeouts.tcp_fin.to_ne_bytes())
                .with(TIMEOUT_UDP, &timeouts.udp.to_ne_bytes()),
            Self::Servers | Self::Timeouts | Self::Info | Self::Flush => list,
        }
    }

    /// The message, to the family with this number. `acknowledged` asks for an answer also to what is carried out; one
    /// comes in any case when it is refused.
    pub(in crate::ipvs) fn message(&self, family: u16, sequence: u32, acknowledged: bool) -> Message {
        let answer = if acknowledged { NLM_F_ACK } else { 0 };
        Message {
            kind: family,
            flags: if self.is_list() { NLM_F_DUMP } else { answer },
            sequence,
            family: self.command(),
            version: VERSION,
            resource: 0,
            attributes: self.attributes(),
        }
    }

    /// What the answer to [`Request::Servers`] holds of one server.
    #[must_use]
    pub fn server_in(answer: &[u8]) -> Option<VirtualServer> {
        VirtualServer::read(attribute(answer, SERVER)?)
    }

    /// What the answer to [`Request::Destinations`] holds of one destination.
    #[must_use]
    pub fn destination_in(answer: &[u8]) -> Option<&[u8]> {
        attribute(answer, DESTINATION)
    }

    /// The answer to [`Request::Timeouts`].
    #[must_use]
    pub fn timeouts_in(answer: &[u8]) -> Option<Timeouts> {
        let number = |kind| super::read_number(answer, kind);
        Some(Timeouts {
            tcp: number(TIMEOUT_TCP)?,
            tcp_fin: number(TIMEOUT_TCP_FIN)?,
            udp: number(TIMEOUT_UDP)?,
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheduler = |server: &VirtualServer| server.scheduler.map(Scheduler::name).unwrap_or_default();
        match self {
            Self::NewServer(server) => {
                write!(f, "make the virtual server {} ({})", server.address, scheduler(server))
            }
            Self::SetServer(server) => {
                write!(f, "change the virtual server {} ({})", server.address, scheduler(server))
            }
            Self::DeleteServer(address) => write!(f, "remove the virtual server {address}"),
            Self::Servers => f.write_str("list virtual servers"),
            Self::NewDestination(address, to) => write!(f, "add {} to {address}", to.address),
            Self::SetDestination(address, to) => {
                write!(f, "give {} of {address} the weight {}", to.address, to.weight)
            }
            Self::DeleteDestination(address, to) => write!(f, "remove {} from {address}", to.address),
            Self::Destinations(address) => write!(f, "list the destinations of {address}"),
            Self::SetTimeouts(_) => f.write_str("set the time-outs"),
            Self::Timeouts => f.write_str("read the time-outs"),
            Self::Info => f.write_str("read the version"),
            Self::Flush => f.write_str("remove all virtual servers"),
        }
    }
}
