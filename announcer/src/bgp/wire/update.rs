//! UPDATEs that announce and withdraw prefixes, as many in one message as fit (RFC 4271 section 4.3, RFC 4760).

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::{
    AS_TRANS, Family, UNICAST,
    frame::{HEADER, Kind, LONGEST, Writer},
};
use crate::bgp::{Attributes, Community};

/// The flags of attributes, with the one for lengths of two bytes where a value may be that long.
const WELL_KNOWN: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const OPTIONAL_TRANSITIVE: u8 = 0xc0;
const EXTENDED_LENGTH: u8 = 0x10;

/// The preference where none is given: as other implementations have it.
const LOCAL_PREF: u32 = 100;
/// An AS_PATH segment that is a sequence.
const AS_SEQUENCE: u8 = 2;

/// The lengths of withdrawn routes and of attributes.
const LENGTHS: usize = 4;
/// What MP_REACH_NLRI has before the prefixes: flags, type, length, AFI, SAFI, the next hop with its length, a zero.
const MP_REACH: usize = 4 + 3 + 1 + 16 + 1;
/// The longest prefix: its length and 16 bytes.
const LONGEST_PREFIX: usize = 17;

/// Writes the UPDATEs of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// This node's AS.
    pub local_asn: u32,
    /// Whether the peer is in another AS.
    pub external: bool,
    /// Whether the peer's AS numbers have four bytes (RFC 6793).
    pub four_octet_as: bool,
    /// The next hop of IPv4 prefixes.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// The next hop of IPv6 prefixes.
    pub next_hop_v6: Option<Ipv6Addr>,
}

impl Encoder {
    /// Whether prefixes of a family have a next hop.
    #[must_use]
    pub const fn has_next_hop(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.next_hop_v4.is_some(),
            Family::V6 => self.next_hop_v6.is_some(),
        }
    }

    /// Whether attributes leave room for a prefix in a message.
    #[must_use]
    pub fn fits(&self, attributes: &Attributes) -> bool {
        HEADER + LENGTHS + self.attributes(attributes).len() + MP_REACH + LONGEST_PREFIX <= LONGEST
    }

    /// Announces the first prefixes of `from`, which have to be of one family, have a next hop and attributes that
    /// fit; takes those that are in the message out of it.
    #[must_use]
    pub fn announce(&self, attributes: &Attributes, from: &mut BTreeSet<IpNet>) -> (Vec<u8>, Vec<IpNet>) {
        let attributes = self.attributes(attributes);
        let mut message = Writer::new(Kind::Update);
        message.0.extend([0, 0]);
        let taken = if from.first().map(Family::of) == Some(Family::V6) {
            self.announce_v6(&mut message, &attributes, from)
        } else {
            self.announce_v4(&mut message, &attributes, from)
        };
        (message.finish(), taken)
    }

    fn announce_v4(&self, message: &mut Writer, attributes: &[u8], from: &mut BTreeSet<IpNet>) -> Vec<IpNet> {
        let next_hop = self.next_hop_v4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        let length = attributes.len() + 3 + next_hop.len();
        message.0.extend(be16(length));
        // By their types: ORIGIN and AS_PATH, of which the first has 4 bytes, come before NEXT_HOP.
        let (before, after) = attributes.split_at(self.before_next_hop());
        message.0.extend(before);
        attribute(&mut message.0, WELL_KNOWN, 3, &next_hop);
        message.0.extend(after);
        take_prefixes(&mut message.0, from, LONGEST)
    }

    /// MP_REACH_NLRI comes first (RFC 7606 section 5.1).
    fn announce_v6(&self, message: &mut Writer, attributes: &[u8], from: &mut BTreeSet<IpNet>) -> Vec<IpNet> {
        let next_hop = self.next_hop_v6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
        let start = message.0.len();
        message.0.extend([0, 0, OPTIONAL | EXTENDED_LENGTH, 14, 0, 0]);
        message.0.extend(Family::V6.afi().to_be_bytes());
        message.0.extend([UNICAST, 16]);
        message.0.extend(next_hop);
        message.0.push(0);
        let taken = take_prefixes(&mut message.0, from, LONGEST - attributes.len());
        finish_multiprotocol(&mut message.0, start, attributes);
        taken
    }

    /// Withdraws the first prefixes of `from`, which have to be of one family; takes those in the message out of it.
    #[must_use]
    pub fn withdraw(from: &mut BTreeSet<IpNet>) -> (Vec<u8>, Vec<IpNet>) {
        let mut message = Writer::new(Kind::Update);
        if from.first().map(Family::of) == Some(Family::V6) {
            message.0.extend([0, 0]);
            let start = message.0.len();
            message.0.extend([0, 0, OPTIONAL | EXTENDED_LENGTH, 15, 0, 0]);
            message.0.extend(Family::V6.afi().to_be_bytes());
            message.0.push(UNICAST);
            let taken = take_prefixes(&mut message.0, from, LONGEST);
            finish_multiprotocol(&mut message.0, start, &[]);
            return (message.finish(), taken);
        }
        let start = message.0.len();
        message.0.extend([0, 0]);
        let taken = take_prefixes(&mut message.0, from, LONGEST - 2);
        let length = message.0.len() - start - 2;
        message.0[start..start + 2].copy_from_slice(&be16(length));
        message.0.extend([0, 0]);
        (message.finish(), taken)
    }

    /// Says that all routes of a family were sent (RFC 4724 section 2).
    #[must_use]
    pub fn end_of_rib(family: Family) -> Vec<u8> {
        let mut message = Writer::new(Kind::Update);
        message.0.extend([0, 0]);
        match family {
            Family::V4 => message.0.extend([0, 0]),
            Family::V6 => {
                let [high, low] = family.afi().to_be_bytes();
                message.0.extend([0, 6, OPTIONAL, 15, 3, high, low, UNICAST]);
            }
        }
        message.finish()
    }

    /// All attributes but the next hop, in the order of their types.
    fn attributes(&self, attributes: &Attributes) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        attribute(&mut bytes, WELL_KNOWN, 1, &[0]); // IGP
        self.as_path(&mut bytes);
        if let Some(med) = attributes.med {
            attribute(&mut bytes, OPTIONAL, 4, &med.to_be_bytes());
        }
        if !self.external {
            // Never to another AS (RFC 4271 section 5.1.5).
            let local_pref = attributes.local_pref.unwrap_or(LOCAL_PREF);
            attribute(&mut bytes, WELL_KNOWN, 5, &local_pref.to_be_bytes());
        }
        let (communities, large_communities) = communities(attributes);
        if !communities.is_empty() {
            attribute(&mut bytes, OPTIONAL_TRANSITIVE, 8, &communities);
        }
        if self.external && !self.four_octet_as && self.local_asn > u16::MAX.into() {
            let [a, b, c, d] = self.local_asn.to_be_bytes();
            attribute(&mut bytes, OPTIONAL_TRANSITIVE, 17, &[AS_SEQUENCE, 1, a, b, c, d]); // AS4_PATH
        }
        if !large_communities.is_empty() {
            attribute(&mut bytes, OPTIONAL_TRANSITIVE, 32, &large_communities);
        }
        bytes
    }

    /// AS_PATH: empty within the AS, else our own AS (RFC 4271 section 5.1.2).
    fn as_path(&self, bytes: &mut Vec<u8>) {
        let asn = self.local_asn.to_be_bytes();
        let short = u16::try_from(self.local_asn).unwrap_or(AS_TRANS).to_be_bytes();
        match (self.external, self.four_octet_as) {
            (false, _) => attribute(bytes, WELL_KNOWN, 2, &[]),
            (true, true) => attribute(bytes, WELL_KNOWN, 2, &[&[AS_SEQUENCE, 1], &asn[..]].concat()),
            (true, false) => attribute(bytes, WELL_KNOWN, 2, &[&[AS_SEQUENCE, 1], &short[..]].concat()),
        }
    }

    /// The length of ORIGIN and AS_PATH.
    const fn before_next_hop(&self) -> usize {
        4 + 3
            + match (self.external, self.four_octet_as) {
                (false, _) => 0,
                (true, true) => 6,
                (true, false) => 4,
            }
    }
}

/// The values of COMMUNITIES and of LARGE_COMMUNITY.
fn communities(attributes: &Attributes) -> (Vec<u8>, Vec<u8>) {
    let (mut standard, mut large) = (Vec::new(), Vec::new());
    for community in &attributes.communities {
        match *community {
            Community::Standard(value) => standard.extend(value.to_be_bytes()),
            Community::Large(a, b, c) => large.extend([a, b, c].into_iter().flat_map(u32::to_be_bytes)),
        }
    }
    (standard, large)
}

fn attribute(bytes: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(length) => bytes.extend([flags, code, length]),
        Err(_) => {
            bytes.extend([flags | EXTENDED_LENGTH, code]);
            bytes.extend(be16(value.len()));
        }
    }
    bytes.extend(value);
}

/// Sets the two lengths of a message whose attributes begin at `start` with a multiprotocol one, and adds the others.
fn finish_multiprotocol(bytes: &mut Vec<u8>, start: usize, attributes: &[u8]) {
    let value = bytes.len() - start - 6;
    bytes[start + 4..start + 6].copy_from_slice(&be16(value));
    bytes.extend(attributes);
    let all = bytes.len() - start - 2;
    bytes[start..start + 2].copy_from_slice(&be16(all));
}

/// Moves prefixes to the end of `bytes` as long as these have room up to `limit`.
fn take_prefixes(bytes: &mut Vec<u8>, from: &mut BTreeSet<IpNet>, limit: usize) -> Vec<IpNet> {
    let mut taken = Vec::new();
    while let Some(prefix) = from.first() {
        let length = usize::from(prefix.prefix_len().div_ceil(8));
        if bytes.len() + 1 + length > limit {
            break;
        }
        bytes.push(prefix.prefix_len());
        match prefix.network() {
            IpAddr::V4(address) => bytes.extend(&address.octets()[..length]),
            IpAddr::V6(address) => bytes.extend(&address.octets()[..length]),
        }
        taken.extend(from.pop_first());
    }
    taken
}

/// No length within a message is more than [`LONGEST`].
fn be16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::wire::{Remark, check_update, next_frame};

    fn encoder() -> Encoder {
        Encoder {
            local_asn: 64512,
            external: true,
            four_octet_as: true,
            next_hop_v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            next_hop_v6: Some("2001:db8::1".parse().unwrap()),
        }
    }

    fn prefixes(texts: &[&str]) -> BTreeSet<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn body(message: &[u8]) -> Vec<u8> {
        let frame = next_frame(message).unwrap().unwrap();
        assert_eq!((frame.kind, frame.length()), (Kind::Update, message.len()));
        assert_eq!(check_update(frame.body), Ok(Remark::Refused));
        frame.body.to_vec()
    }

    #[test]
    fn an_ipv4_prefix_to_another_as() {
        let (message, taken) =
            encoder().announce(&Attributes::default(), &mut prefixes(&["198.51.100.0/25"]));
        assert_eq!(taken, ["198.51.100.0/25".parse().unwrap()]);
        let expected: [&[u8]; 5] = [
            &[0, 0, 0, 20],
            &[0x40, 1, 1, 0],
            &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0],
            &[0x40, 3, 4, 192, 0, 2, 1],
            &[25, 198, 51, 100, 0],
        ];
        assert_eq!(body(&message), expected.concat());
    }

    #[test]
    fn an_ipv6_prefix_within_the_as_with_all_that_can_be_said() {
        let attributes = Attributes {
            local_pref: Some(200),
            med: Some(7),
            communities: [
                Community::Standard(0xfc00_0064),
                Community::Large(1, 2, 3),
                Community::Standard(1),
            ]
            .into(),
        };
        let inner = Encoder { external: false, ..encoder() };
        let (message, _) = inner.announce(&attributes, &mut prefixes(&["2001:db8:1::/48"]));
        let expected: [&[u8]; 10] = [
            &[0, 0, 0, 79],
            &[0x90, 14, 0, 28, 0, 2, 1, 16],
            &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            &[48, 0x20, 1, 0x0d, 0xb8, 0, 1],
            &[0x40, 1, 1, 0],
            &[0x40, 2, 0],
            &[0x80, 4, 4, 0, 0, 0, 7],
            &[0x40, 5, 4, 0, 0, 0, 200],
            &[0xc0, 8, 8, 0, 0, 0, 1, 0xfc, 0, 0, 100],
            &[0xc0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
        ];
        assert_eq!(body(&message), expected.concat());
    }

    #[test]
    fn a_peer_with_short_as_numbers_gets_the_long_one_in_an_attribute_of_its_own() {
        let short = Encoder { local_asn: 65536, four_octet_as: false, ..encoder() };
        let (message, _) = short.announce(&Attributes::default(), &mut prefixes(&["198.51.100.0/24"]));
        let expected: [&[u8]; 6] = [
            &[0, 0, 0, 27],
            &[0x40, 1, 1, 0],
            &[0x40, 2, 4, 2, 1, 0x5b, 0xa0],
            &[0x40, 3, 4, 192, 0, 2, 1],
            &[0xc0, 17, 6, 2, 1, 0, 1, 0, 0],
            &[24, 198, 51, 100],
        ];
        assert_eq!(body(&message), expected.concat());
    }

    #[test]
    fn withdrawals_and_ends_of_the_table() {
        let (message, taken) = Encoder::withdraw(&mut prefixes(&["198.51.100.0/24", "0.0.0.0/0"]));
        assert_eq!(body(&message), [0, 5, 0, 24, 198, 51, 100, 0, 0]);
        assert_eq!(taken.len(), 2);
        let (message, _) = Encoder::withdraw(&mut prefixes(&["2001:db8::/32"]));
        let expected = [0, 0, 0, 12, 0x90, 15, 0, 8, 0, 2, 1, 32, 0x20, 1, 0x0d, 0xb8];
        assert_eq!(body(&message), expected);
        assert_eq!(body(&Encoder::end_of_rib(Family::V4)), [0, 0, 0, 0]);
        assert_eq!(body(&Encoder::end_of_rib(Family::V6)), [0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
    }

    #[test]
    fn many_prefixes_share_messages_of_the_longest_length() {
        let all: Vec<IpNet> =
            (0..2000_u32).map(|n| IpNet::new(Ipv4Addr::from(0xcb00_0000 + n).into(), 32).unwrap()).collect();
        let mut left: BTreeSet<IpNet> = all.iter().copied().collect();
        let (mut messages, mut sent) = (0, Vec::new());
        while !left.is_empty() {
            let (message, taken) = encoder().announce(&Attributes::default(), &mut left);
            body(&message);
            messages += 1;
            sent.extend(taken);
        }
        assert_eq!((messages, sent), (3, all.clone()));
        let mut left = all.into_iter().collect();
        let (message, taken) = Encoder::withdraw(&mut left);
        body(&message);
        assert_eq!(taken.len(), (LONGEST - HEADER - LENGTHS) / 5);
    }

    #[test]
    fn attributes_that_leave_no_room_for_a_prefix_do_not_fit() {
        let with = |number: u32| Attributes {
            communities: (0..number).map(|n| Community::Large(1, 2, n)).collect(),
            ..Attributes::default()
        };
        assert!(encoder().fits(&with(334)) && !encoder().fits(&with(335)));
        for family in ["198.51.100.1/32", "2001:db8::1/128"] {
            let (message, taken) = encoder().announce(&with(334), &mut prefixes(&[family]));
            body(&message);
            assert_eq!(taken.len(), 1);
        }
    }
}
