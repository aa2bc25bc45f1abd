//! A tracked flow in the kernel's words. Pure.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::NLA_F_NESTED;
use penstock_model::{FrontendAddress, Protocol};

use crate::netfilter::{Attributes, Data, Message, attribute};

/// `enum cntl_msg_types` of ctnetlink.
pub(super) const MESSAGE_NEW: libc::c_int = 0;
pub(super) const MESSAGE_GET: libc::c_int = 1;
const MESSAGE_DELETE: libc::c_int = 2;
/// `enum ctattr_type`.
pub(super) const TUPLE_ORIGINAL: u16 = 1;
pub(super) const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
/// `enum ctattr_tuple`.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
/// `enum ctattr_ip`: source and destination of IPv4, then of IPv6.
const IP_ADDRESSES: [[u16; 2]; 2] = [[1, 3], [2, 4]];
/// `enum ctattr_l4proto`.
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_PORTS: [u16; 2] = [2, 3];

/// An end of a flow's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// A flow, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Of addresses.
    family: u8,
    /// The transport protocol's number.
    pub(super) protocol: u8,
    /// Who began it.
    client: SocketAddr,
    /// Where its first packet was sent.
    pub(super) destination: SocketAddr,
    /// Who answers.
    pub(super) answered_by: SocketAddr,
    /// What identifies it: the original tuple, the zone if it has one, and the kernel's own number, by
    /// which most later flows between the same ends are told apart; as the kernel wrote them.
    identity: Attributes,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {} ({})", self.client, self.destination, self.answered_by)
    }
}

impl Flow {
    /// `None` for anything but a flow between ports.
    pub(super) fn read(data: &Data) -> Option<Self> {
        if data.kind != Message::kind(libc::NFNL_SUBSYS_CTNETLINK, MESSAGE_NEW) {
            return None;
        }
        let original = attribute(&data.attributes, TUPLE_ORIGINAL)?;
        let reply = attribute(&data.attributes, TUPLE_REPLY)?;
        let mut identity = Attributes::default().with(TUPLE_ORIGINAL | NLA_F_NESTED, original);
        for kind in [ID, ZONE] {
            if let Some(value) = attribute(&data.attributes, kind) {
                identity = identity.with(kind, value);
            }
        }
        Some(Self {
            family: data.family,
            protocol: *attribute(attribute(original, TUPLE_PROTOCOL)?, PROTOCOL_NUMBER)?.first()?,
            client: end(original, End::Source)?,
            destination: end(original, End::Destination)?,
            answered_by: end(reply, End::Source)?,
            identity,
        })
    }

    /// As the index knows it, if it is of UDP.
    pub(super) fn by_frontend(&self) -> penstock_model::Flow {
        let (ip, port) = (self.destination.ip(), self.destination.port());
        let frontend = FrontendAddress { ip, protocol: Protocol::Udp, port };
        penstock_model::Flow { frontend, endpoint: self.answered_by }
    }

    /// The message that removes it.
    pub(super) fn removal(&self, sequence: u32, flags: u16) -> Message {
        Message {
            kind: Message::kind(libc::NFNL_SUBSYS_CTNETLINK, MESSAGE_DELETE),
            flags,
            sequence,
            family: self.family,
            version: 0,
            resource: 0,
            attributes: self.identity.clone(),
        }
    }
}

/// The address and port of one end.
fn end(tuple: &[u8], end: End) -> Option<SocketAddr> {
    let addresses = attribute(tuple, TUPLE_IP)?;
    let [v4, v6] = IP_ADDRESSES[end as usize];
    let ip: IpAddr = match (attribute(addresses, v4), attribute(addresses, v6)) {
        (Some(v4), _) => <[u8; 4]>::try_from(v4).ok()?.into(),
        (None, v6) => <[u8; 16]>::try_from(v6?).ok()?.into(),
    };
    let port = attribute(attribute(tuple, TUPLE_PROTOCOL)?, PROTOCOL_PORTS[end as usize])?;
    Some(SocketAddr::new(ip, u16::from_be_bytes(port.try_into().ok()?)))
}

/// A tuple of which only the protocol and one end are known.
pub(super) fn half_tuple(protocol: u8, address: SocketAddr, end: End) -> Attributes {
    let [v4, v6] = IP_ADDRESSES[end as usize];
    let ip = match address.ip() {
        IpAddr::V4(ip) => Attributes::default().with(v4, &ip.octets()),
        IpAddr::V6(ip) => Attributes::default().with(v6, &ip.octets()),
    };
    let port = address.port().to_be_bytes();
    let protocol =
        Attributes::default().with(PROTOCOL_NUMBER, &[protocol]).with(PROTOCOL_PORTS[end as usize], &port);
    Attributes::default().with_nested(TUPLE_IP, &ip).with_nested(TUPLE_PROTOCOL, &protocol)
}

/// A tuple of which only the protocol is known.
pub(super) fn protocol_tuple(protocol: u8) -> Attributes {
    let protocol = Attributes::default().with(PROTOCOL_NUMBER, &[protocol]);
    Attributes::default().with_nested(TUPLE_PROTOCOL, &protocol)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A flow of UDP from 127.0.0.1:40000 to 127.0.0.2:53, answered by 127.0.0.3:5353, with the attributes in the order in which kernel 6.18 lists them.
    pub(crate) fn listed() -> Data {
        let tuple = |kind: u8, source: [u8; 4], destination: [u8; 4], ports: [[u8; 2]; 2]| {
            let mut bytes = vec![52, 0, kind, 0x80, 20, 0, 1, 0x80, 8, 0, 1, 0];
            bytes.extend(source);
            bytes.extend([8, 0, 2, 0]);
            bytes.extend(destination);
            bytes.extend([28, 0, 2, 0x80, 5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 2, 0]);
            bytes.extend([ports[0][0], ports[0][1], 0, 0, 6, 0, 3, 0, ports[1][0], ports[1][1], 0, 0]);
            bytes
        };
        let mut attributes = tuple(1, [127, 0, 0, 1], [127, 0, 0, 2], [[0x9c, 0x40], [0, 53]]);
        attributes.extend(tuple(2, [127, 0, 0, 3], [127, 0, 0, 1], [[0x14, 0xe9], [0x9c, 0x40]]));
        // CTA_STATUS, CTA_ID, CTA_ZONE.
        attributes.extend([8, 0, 3, 0, 0, 0, 1, 0xa8, 8, 0, 12, 0, 1, 2, 3, 4, 6, 0, 18, 0, 0, 7, 0, 0]);
        Data { kind: 0x100, port: 0, family: 2, attributes }
    }

    #[test]
    fn a_flow_is_read_and_removed_by_what_identifies_it() {
        let data = listed();
        let flow = Flow::read(&data).unwrap();
        assert_eq!(flow.to_string(), "127.0.0.1:40000 → 127.0.0.2:53 (127.0.0.3:5353)");
        assert_eq!(flow.protocol, 17);
        let mut removal = Vec::new();
        flow.removal(9, 4).emit(&mut removal);
        assert_eq!(removal[..20], [88, 0, 0, 0, 2, 1, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(removal[20..72], data.attributes[..52]);
        assert_eq!(removal[72..], [8, 0, 12, 0, 1, 2, 3, 4, 6, 0, 18, 0, 0, 7, 0, 0]);
    }

    #[test]
    fn what_is_no_flow_between_ports_is_passed_over() {
        let other = Data { kind: 0x102, ..listed() };
        assert_eq!(Flow::read(&other), None);
        // An echo request has a type instead of ports.
        let mut ping = listed();
        ping.attributes[38] = 4;
        assert_eq!(Flow::read(&ping), None);
    }

    proptest! {
        #[test]
        fn damaged_flows_are_read_without_panic(at in 0_usize..128, value: u8, cut in 0_usize..129) {
            let mut data = listed();
            data.attributes[at] = value;
            data.attributes.truncate(cut);
            Flow::read(&data);
        }
    }
}
