//! The words of the generic netlink family `IPVS`, version 1 (`include/uapi/linux/ip_vs.h`). Pure.
//!
//! Framing and attributes are those of [`crate::netfilter`], whose four bytes behind the netlink header generic netlink
//! has too. A crate of its own was not worth it: `netlink-packet-generic`, `genetlink` and `neli` are kept and MIT or BSD,
//! but none knows IPVS, and what they would take over is one header and the question for the family's number.

mod destination;
mod family;
mod request;
mod server;
#[cfg(test)]
mod tests;

pub use destination::{Connections, Destination, Forwarding};
pub use request::{Request, Timeouts};
pub use server::{ServerAddress, ServerFlags, VirtualServer};

pub(super) use family::{family_number, family_question};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use penstock_model::Family;

use crate::netfilter::attribute;

/// The family as numbers of 16 bits say it.
fn family_bytes(family: Family) -> [u8; 2] {
    let number = match family {
        Family::IPv4 => libc::AF_INET,
        Family::IPv6 => libc::AF_INET6,
    };
    (number as u16).to_ne_bytes()
}

fn read_family(bytes: &[u8], kind: u16) -> Option<Family> {
    match libc::c_int::from(u16::from_ne_bytes(attribute(bytes, kind)?.try_into().ok()?)) {
        libc::AF_INET => Some(Family::IPv4),
        libc::AF_INET6 => Some(Family::IPv6),
        _ => None,
    }
}

/// Addresses have 16 bytes, of which IPv4 fills the first four.
fn address_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn read_address(bytes: &[u8], kind: u16, family: Family) -> Option<IpAddr> {
    let value = attribute(bytes, kind)?;
    Some(match family {
        Family::IPv4 => Ipv4Addr::from(<[u8; 4]>::try_from(value.get(..4)?).ok()?).into(),
        Family::IPv6 => Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into(),
    })
}

/// Ports are in network byte order.
fn read_port(bytes: &[u8], kind: u16) -> Option<u16> {
    Some(u16::from_be_bytes(attribute(bytes, kind)?.try_into().ok()?))
}

fn read_number(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_ne_bytes(attribute(bytes, kind)?.try_into().ok()?))
}
