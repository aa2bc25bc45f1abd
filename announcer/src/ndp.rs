//! Neighbor Discovery over Ethernet (RFC 4861, sections 4.3, 4.4 and 7): frames in and out as values.

use std::net::Ipv6Addr;

use etherparse::{
    EtherType, Ethernet2Header, Ethernet2Slice, Icmpv6Header, Icmpv6Slice, Icmpv6Type, IpNumber, Ipv6Header,
    Ipv6HeaderSlice,
    icmpv6::{
        Icmpv6PayloadSlice, NdpOptionReadError, NdpOptionSlice, NdpOptionsIterator,
        NeighborAdvertisementHeader,
    },
};

use crate::mac::Mac;

/// All nodes on the link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Of every message: one that a router forwarded has less (RFC 4861 section 7.1).
const HOP_LIMIT: u8 = 255;
/// Types of options (RFC 4861 section 4.6.1). Their length is one unit of eight bytes.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// The group in which questions for an address are sent (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// What a message says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who has it?
    Solicitation,
    /// The sender has it. Never as a router.
    Advertisement {
        /// It answers a question of the receiver's.
        solicited: bool,
        /// It counts more than what the receiver knew before.
        overrides: bool,
    },
}

/// A solicitation or an advertisement, and whom its frame was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NdpFrame {
    /// The frame's destination.
    pub destination: Mac,
    /// The hardware address that the sender gives as its own, or the frame's source if it gives none, and its IPv6
    /// address, which is `::` if it only looks whether anybody has the target (RFC 4862 section 5.4).
    pub sender: (Mac, Ipv6Addr),
    /// The packet's destination.
    pub receiver: Ipv6Addr,
    /// The address in question.
    pub target: Ipv6Addr,
    /// What is said of it.
    pub message: Message,
}

impl NdpFrame {
    /// Reads a frame. `None` for whatever is neither message, untagged and valid (RFC 4861 sections 7.1.1 and 7.1.2),
    /// from a station that can be answered: such frames are not for us, and a link may carry any bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let ethernet = Ethernet2Slice::from_slice_without_fcs(bytes).ok()?;
        if ethernet.ether_type() != EtherType::IPV6 {
            return None;
        }
        let ip = Ipv6HeaderSlice::from_slice(ethernet.payload_slice()).ok()?;
        let (source, receiver) = (ip.source_addr(), ip.destination_addr());
        let payload = ethernet.payload_slice().get(ip.slice().len()..)?.get(..ip.payload_length().into())?;
        let icmp = Icmpv6Slice::from_slice(payload).ok()?;
        if ip.next_header() != IpNumber::IPV6_ICMP
            || ip.hop_limit() != HOP_LIMIT
            || !icmp.is_checksum_valid(source.octets(), receiver.octets())
        {
            return None;
        }
        let (target, message, link_layer) = read(&icmp)?;
        let frame = Self {
            destination: Mac(ethernet.destination()),
            sender: (link_layer.unwrap_or(Mac(ethernet.source())), source),
            receiver,
            target,
            message,
        };
        (frame.sender.0.is_station() && frame.is_valid(link_layer)).then_some(frame)
    }

    fn is_valid(&self, link_layer: Option<Mac>) -> bool {
        let as_they_must = match self.message {
            Message::Solicitation if self.sender.1.is_unspecified() => {
                self.receiver == solicited_node(self.target) && link_layer.is_none()
            }
            Message::Solicitation => true,
            Message::Advertisement { solicited, .. } => !(solicited && self.receiver.is_multicast()),
        };
        as_they_must && !self.target.is_multicast() && !self.sender.1.is_multicast()
    }

    /// The frame's bytes. Its source is the sender's hardware address.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mac, source) = self.sender;
        let ethernet =
            Ethernet2Header { source: mac.0, destination: self.destination.0, ether_type: EtherType::IPV6 };
        let body = [self.target.octets().as_slice(), &self.option()].concat();
        let mut icmp = Icmpv6Header::new(self.message.icmp_type());
        // The length of a body of 16 or 24 bytes is no error.
        let _ = icmp.update_checksum(source.octets(), self.receiver.octets(), &body);
        let icmp = icmp.to_bytes();
        let ip = Ipv6Header {
            payload_length: (icmp.len() + body.len()) as u16,
            next_header: IpNumber::IPV6_ICMP,
            hop_limit: HOP_LIMIT,
            source: source.octets(),
            destination: self.receiver.octets(),
            ..Ipv6Header::default()
        };
        [ethernet.to_bytes().as_slice(), &ip.to_bytes(), &icmp, &body].concat()
    }

    /// The sender's hardware address; who has no IPv6 address yet must not give it.
    fn option(&self) -> Vec<u8> {
        let (mac, source) = self.sender;
        let kind = match self.message {
            Message::Solicitation if source.is_unspecified() => return Vec::new(),
            Message::Solicitation => SOURCE_LINK_LAYER,
            Message::Advertisement { .. } => TARGET_LINK_LAYER,
        };
        [[kind, 1].as_slice(), &mac.0].concat()
    }

    /// The answer to a question for `self.target`: it is at `mac`. Who has no address yet hears it with all others
    /// (RFC 4861 section 7.2.4).
    #[must_use]
    pub fn reply_from(&self, mac: Mac) -> Self {
        if self.sender.1.is_unspecified() {
            return Self::unsolicited(mac, self.target);
        }
        Self {
            destination: self.sender.0,
            sender: (mac, self.target),
            receiver: self.sender.1,
            target: self.target,
            message: Message::Advertisement { solicited: true, overrides: true },
        }
    }

    /// Tells all nodes that an address is at `mac` from now on (RFC 4861 section 7.2.6).
    #[must_use]
    pub fn unsolicited(mac: Mac, address: Ipv6Addr) -> Self {
        Self {
            destination: Mac::of_group(ALL_NODES),
            sender: (mac, address),
            receiver: ALL_NODES,
            target: address,
            message: Message::Advertisement { solicited: false, overrides: true },
        }
    }

    /// Asks whether anybody has an address, without saying that we do (RFC 4862, section 5.4.2).
    #[must_use]
    pub fn probe(mac: Mac, address: Ipv6Addr) -> Self {
        let receiver = solicited_node(address);
        Self {
            destination: Mac::of_group(receiver),
            sender: (mac, Ipv6Addr::UNSPECIFIED),
            receiver,
            target: address,
            message: Message::Solicitation,
        }
    }
}

impl Message {
    fn icmp_type(self) -> Icmpv6Type {
        match self {
            Self::Solicitation => Icmpv6Type::NeighborSolicitation,
            Self::Advertisement { solicited, overrides } => {
                Icmpv6Type::NeighborAdvertisement(NeighborAdvertisementHeader {
                    router: false,
                    solicited,
                    r#override: overrides,
                })
            }
        }
    }
}

/// Target, message, and the hardware address that it gives.
fn read(icmp: &Icmpv6Slice<'_>) -> Option<(Ipv6Addr, Message, Option<Mac>)> {
    match (icmp.icmp_type(), icmp.payload_slice().ok()?) {
        (Icmpv6Type::NeighborSolicitation, Icmpv6PayloadSlice::NeighborSolicitation(body)) => {
            let link_layer = link_layer(body.options_iterator(), SOURCE_LINK_LAYER).ok()?;
            Some((body.target_address(), Message::Solicitation, link_layer))
        }
        (Icmpv6Type::NeighborAdvertisement(flags), Icmpv6PayloadSlice::NeighborAdvertisement(body)) => {
            let message = Message::Advertisement { solicited: flags.solicited, overrides: flags.r#override };
            Some((
                body.target_address(),
                message,
                link_layer(body.options_iterator(), TARGET_LINK_LAYER).ok()?,
            ))
        }
        _ => None,
    }
}

/// The address in the last option of a kind, if there is one. Where some option cannot be read the message is not valid.
fn link_layer(options: NdpOptionsIterator<'_>, kind: u8) -> Result<Option<Mac>, NdpOptionReadError> {
    let mut found = None;
    for option in options {
        match option? {
            NdpOptionSlice::SourceLinkLayerAddress(o) if kind == SOURCE_LINK_LAYER => {
                found = Mac::from_slice(o.link_layer_address());
            }
            NdpOptionSlice::TargetLinkLayerAddress(o) if kind == TARGET_LINK_LAYER => {
                found = Mac::from_slice(o.link_layer_address());
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);
    const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x200);
    const HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1);

    fn question() -> NdpFrame {
        let receiver = solicited_node(VIP);
        let destination = Mac::of_group(receiver);
        NdpFrame { destination, sender: (B, HOST), receiver, target: VIP, message: Message::Solicitation }
    }

    /// With another byte, and the checksum right again.
    fn changed(at: usize, to: &[u8]) -> Vec<u8> {
        let mut bytes = question().to_bytes();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes[56..58].fill(0);
        let address = |at: usize| <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap();
        let icmp = Icmpv6Slice::from_slice(&bytes[54..]).unwrap();
        let sum = icmp.icmp_type().calc_checksum(address(22), address(38), icmp.payload()).unwrap();
        bytes[56..58].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    #[test]
    fn a_question_looks_as_on_the_wire() {
        let expected = "3333ff00020002000000000b86dd6000000000203aff\
                        20010db8011300000000000000000001ff0200000000000000000001ff000200\
                        870015fb0000000020010db8011300000000000000000200010102000000000b";
        let hex: String = question().to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn the_group_has_the_last_three_bytes() {
        assert_eq!(
            solicited_node("2001:db8::12:3456:789a".parse().unwrap()).to_string(),
            "ff02::1:ff56:789a"
        );
        assert_eq!(Mac::of_group(solicited_node(VIP)).to_string(), "33:33:ff:00:02:00");
    }

    #[test]
    fn a_reply_goes_to_whom_asked_and_to_all_if_that_one_has_no_address() {
        let reply = question().reply_from(A);
        assert_eq!((reply.destination, reply.receiver), (B, HOST));
        assert_eq!((reply.sender, reply.target), ((A, VIP), VIP));
        assert_eq!(reply.message, Message::Advertisement { solicited: true, overrides: true });
        let probe = NdpFrame { sender: (B, Ipv6Addr::UNSPECIFIED), ..question() };
        assert_eq!(NdpFrame::parse(&probe.to_bytes()), Some(probe));
        assert_eq!(probe.reply_from(A), NdpFrame::unsolicited(A, VIP));
    }

    #[test]
    fn frames_that_are_not_for_us_are_nothing() {
        let good = question().to_bytes();
        assert_eq!(NdpFrame::parse(&changed(54, &[135])), Some(question()), "changed makes valid frames");
        let tagged = [&good[..12], &[0x81, 0, 0, 5], &good[12..]].concat();
        let mut bad_sum = good.clone();
        bad_sum[57] ^= 1;
        let cases = [
            ("empty", vec![]),
            ("short", good[..85].to_vec()),
            ("VLAN tag", tagged),
            ("IPv4", changed(12, &[0x08, 0x00])),
            ("checksum", bad_sum),
            ("hop limit", changed(21, &[254])),
            ("UDP", changed(20, &[17])),
            ("router solicitation", changed(54, &[133])),
            ("code", changed(55, &[1])),
            ("target is a group", changed(62, &[0xff])),
            ("option of no length", changed(79, &[0])),
            ("option beyond the end", changed(79, &[9])),
            ("sender is a group", changed(80, &[0xff; 6])),
            ("probe with a hardware address", changed(22, &[0; 16])),
        ];
        for (what, bytes) in cases {
            assert_eq!(NdpFrame::parse(&bytes), None, "{what}");
        }
        let astray = NdpFrame { sender: (B, Ipv6Addr::UNSPECIFIED), receiver: HOST, ..question() };
        assert_eq!(NdpFrame::parse(&astray.to_bytes()), None, "probe to one station");
        let asked_all = Message::Advertisement { solicited: true, overrides: true };
        let answer = NdpFrame { message: asked_all, ..NdpFrame::unsolicited(A, VIP) };
        assert_eq!(NdpFrame::parse(&answer.to_bytes()), None, "answer to a group");
    }

    #[test]
    fn without_the_option_it_is_the_frames_source() {
        let mut bytes = NdpFrame { sender: (B, Ipv6Addr::UNSPECIFIED), ..question() }.to_bytes();
        assert_eq!(bytes.len(), 78);
        bytes.resize(86, 0);
        assert_eq!(NdpFrame::parse(&bytes).unwrap().sender.0, B, "padding is no option");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = NdpFrame::parse(&bytes);
        }

        #[test]
        fn no_change_of_a_real_frame_panics(at in 0usize..86, byte in any::<u8>(), length in 0usize..=86) {
            let mut bytes = question().to_bytes();
            bytes[at] = byte;
            let _ = NdpFrame::parse(&bytes[..length]);
            if at != 54 && at != 55 {
                let _ = NdpFrame::parse(&changed(at, &[byte]));
            }
        }

        #[test]
        fn what_is_written_reads_back(
            mac in any::<[u8; 5]>(), source in any::<u64>(), target in any::<u64>(), answers in any::<bool>(),
        ) {
            let [b, c, d, e, f] = mac;
            let address = |low: u64| Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(low));
            let frame = NdpFrame { sender: (Mac([2, b, c, d, e, f]), address(source)), target: address(target), ..question() };
            let frame = if answers { frame.reply_from(frame.sender.0) } else { frame };
            prop_assert_eq!(NdpFrame::parse(&frame.to_bytes()), Some(frame));
        }
    }
}
