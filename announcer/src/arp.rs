//! ARP over Ethernet (RFC 826): frames in and out as values.

use std::net::Ipv4Addr;

use etherparse::{
    ArpEthIpv4Packet, ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType, Ethernet2Header, Ethernet2Slice,
};

use crate::mac::Mac;

/// What an ARP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet for IPv4 on Ethernet, and whom its frame was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpFrame {
    /// The frame's destination.
    pub destination: Mac,
    /// Request or reply.
    pub operation: Operation,
    /// Hardware and protocol address of the sender.
    pub sender: (Mac, Ipv4Addr),
    /// Hardware and protocol address of the target.
    pub target: (Mac, Ipv4Addr),
}

impl ArpFrame {
    /// Reads a frame. `None` for whatever is not ARP for IPv4 on Ethernet, request or reply, untagged and
    /// complete, from a station that can be answered: such frames are not for us, and a link may carry any bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let ethernet = Ethernet2Slice::from_slice_without_fcs(bytes).ok()?;
        if ethernet.ether_type() != EtherType::ARP {
            return None;
        }
        let arp = ArpPacketSlice::from_slice(ethernet.payload_slice()).ok()?;
        let known = arp.hw_addr_type() == ArpHardwareId::ETHERNET && arp.proto_addr_type() == EtherType::IPV4;
        let operation = match arp.operation() {
            ArpOperation::REQUEST => Operation::Request,
            ArpOperation::REPLY => Operation::Reply,
            _ => return None,
        };
        let sender = (Mac::from_slice(arp.sender_hw_addr())?, ipv4(arp.sender_protocol_addr())?);
        let target = (Mac::from_slice(arp.target_hw_addr())?, ipv4(arp.target_protocol_addr())?);
        let destination = Mac(ethernet.destination());
        (known && sender.0.is_station()).then_some(Self { destination, operation, sender, target })
    }

    /// The frame's bytes. Its source is the sender's hardware address.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let ethernet = Ethernet2Header {
            source: self.sender.0.0,
            destination: self.destination.0,
            ether_type: EtherType::ARP,
        };
        let arp = ArpEthIpv4Packet {
            operation: match self.operation {
                Operation::Request => ArpOperation::REQUEST,
                Operation::Reply => ArpOperation::REPLY,
            },
            sender_mac: self.sender.0.0,
            sender_ipv4: self.sender.1.octets(),
            target_mac: self.target.0.0,
            target_ipv4: self.target.1.octets(),
        };
        [ethernet.to_bytes().as_slice(), arp.to_bytes().as_slice()].concat()
    }

    /// The answer to a request for `self.target`: it is at `mac`.
    #[must_use]
    pub fn reply_from(&self, mac: Mac) -> Self {
        Self {
            destination: self.sender.0,
            operation: Operation::Reply,
            sender: (mac, self.target.1),
            target: self.sender,
        }
    }

    /// Gratuitous ARP in both forms, since some stacks take only one of them: an announcement (RFC 5227 section
    /// 3, a request) and an unasked reply, whose target hardware address is the sender's (RFC 5944 section 4.6;
    /// Linux ignores others).
    #[must_use]
    pub fn gratuitous(mac: Mac, address: Ipv4Addr) -> [Self; 2] {
        let (destination, sender) = (Mac::BROADCAST, (mac, address));
        [
            Self { destination, operation: Operation::Request, sender, target: (Mac::ZERO, address) },
            Self { destination, operation: Operation::Reply, sender, target: sender },
        ]
    }

    /// Asks whether anybody has an address, without saying that we do (RFC 5227, section 2.1.1).
    #[must_use]
    pub fn probe(mac: Mac, address: Ipv4Addr) -> Self {
        Self {
            destination: Mac::BROADCAST,
            operation: Operation::Request,
            sender: (mac, Ipv4Addr::UNSPECIFIED),
            target: (Mac::ZERO, address),
        }
    }
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

    fn request() -> ArpFrame {
        ArpFrame {
            destination: Mac::BROADCAST,
            operation: Operation::Request,
            sender: (B, Ipv4Addr::new(203, 0, 113, 1)),
            target: (Mac::ZERO, Ipv4Addr::new(203, 0, 113, 200)),
        }
    }

    #[test]
    fn a_request_looks_as_on_the_wire() {
        let expected = "ffffffffffff02000000000b080600010800060400010\
                        2000000000bcb007101000000000000cb0071c8";
        let hex: String = request().to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_reply_goes_to_whom_asked() {
        let reply = request().reply_from(A);
        assert_eq!(reply.destination, B);
        assert_eq!(reply.sender, (A, Ipv4Addr::new(203, 0, 113, 200)));
        assert_eq!(reply.target, (B, Ipv4Addr::new(203, 0, 113, 1)));
    }

    #[test]
    fn frames_that_are_not_for_us_are_nothing() {
        let good = request().to_bytes();
        let changed = |at: usize, to: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            bytes
        };
        let tagged = [&good[..12], &[0x81, 0, 0, 5], &good[12..]].concat();
        let cases = [
            ("empty", vec![]),
            ("short", good[..41].to_vec()),
            ("VLAN tag", tagged),
            ("IPv4", changed(12, &[0x08, 0x00])),
            ("token ring", changed(14, &[0, 6])),
            ("IPv6 in ARP", changed(16, &[0x86, 0xdd])),
            ("hardware length", changed(18, &[8])),
            ("protocol length", changed(19, &[16])),
            ("lengths of 255", changed(18, &[255, 255])),
            ("reverse ARP", changed(20, &[0, 3])),
            ("sender is a group", changed(22, &[0xff; 6])),
            ("sender is zero", changed(22, &[0; 6])),
        ];
        for (what, bytes) in cases {
            assert_eq!(ArpFrame::parse(&bytes), None, "{what}");
        }
    }

    #[test]
    fn padding_to_the_least_frame_length_is_fine() {
        let mut bytes = request().to_bytes();
        bytes.resize(60, 0);
        assert_eq!(ArpFrame::parse(&bytes), Some(request()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ArpFrame::parse(&bytes);
        }

        #[test]
        fn no_change_of_a_real_frame_panics(
            at in 0usize..42, byte in any::<u8>(), length in 0usize..=42,
        ) {
            let mut bytes = request().to_bytes();
            bytes[at] = byte;
            if let Some(frame) = ArpFrame::parse(&bytes[..length]) {
                prop_assert_eq!(length, 42);
                prop_assert_eq!(frame.reply_from(A).to_bytes().len(), 42);
            }
        }

        #[test]
        fn what_is_written_reads_back(sender in any::<([u8; 5], u32)>(), target in any::<([u8; 6], u32)>()) {
            let [b, c, d, e, f] = sender.0;
            let frame = ArpFrame {
                sender: (Mac([2, b, c, d, e, f]), sender.1.into()),
                target: (Mac(target.0), target.1.into()),
                ..request()
            };
            prop_assert_eq!(ArpFrame::parse(&frame.to_bytes()), Some(frame));
        }
    }
}
