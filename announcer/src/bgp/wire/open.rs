//! OPEN: who a speaker is and what it can do (RFC 4271 section 4.2, RFC 5492).

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{
    AS_TRANS, Cause, Family, Notification, Reader, UNICAST,
    frame::{Kind, Writer},
};

const VERSION: u8 = 4;
/// The type of an optional parameter that has capabilities.
const CAPABILITIES: u8 = 2;
/// What stands in place of a length and of a type where lengths have two bytes (RFC 9072).
const EXTENDED: u8 = 255;

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;

/// The Restart State bit of the graceful restart capability's first two bytes.
const RESTARTING: u16 = 0x8000;
/// The Forwarding State bit of a family's flags.
const FORWARDING: u8 = 0x80;

/// An OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The speaker's AS, of four bytes if it can.
    pub asn: u32,
    /// The proposed hold time, in seconds.
    pub hold_time: u16,
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// The capabilities that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The families of unicast prefixes (RFC 4760). A speaker that names none has IPv4.
    pub families: BTreeSet<Family>,
    /// Whether it names any family at all, be it one of ours or not.
    pub multiprotocol: bool,
    /// Route refresh (RFC 2918).
    pub route_refresh: bool,
    /// Whether its AS numbers have four bytes (RFC 6793).
    pub four_octet_as: bool,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
}

/// The graceful restart capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// Whether the speaker has just started anew.
    pub restarting: bool,
    /// How long the other side is to wait for it, in seconds, up to 4095.
    pub time: u16,
    /// The families whose routes are to be kept, and of which forwarding went on.
    pub families: BTreeSet<Family>,
}

impl Capabilities {
    /// The families that routes may be sent of.
    #[must_use]
    pub fn unicast(&self) -> BTreeSet<Family> {
        if self.multiprotocol { self.families.clone() } else { [Family::V4].into() }
    }
}

impl Open {
    /// Reads what follows the header.
    ///
    /// # Errors
    /// What RFC 4271 section 6.2 says of a wrong OPEN, as far as it shows without knowing the peer.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let malformed = || Notification::from(Cause::OpenMalformed);
        let mut reader = Reader(body);
        if reader.u8().ok_or_else(malformed)? != VERSION {
            return Err(Notification::with(Cause::UnsupportedVersion, [0, VERSION]));
        }
        let asn = reader.u16().ok_or_else(malformed)?;
        let hold_time = reader.u16().ok_or_else(malformed)?;
        let router_id = Ipv4Addr::from(reader.u32().ok_or_else(malformed)?);
        let (parameters, extended) = parameters(&mut reader).ok_or_else(malformed)?;
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::with(Cause::UnacceptableHoldTime, hold_time.to_be_bytes()));
        }
        if router_id.is_unspecified() {
            return Err(Notification::with(Cause::BadIdentifier, router_id.octets()));
        }
        let mut this = Self { asn: asn.into(), hold_time, router_id, capabilities: Capabilities::default() };
        this.read_parameters(parameters, extended)?;
        Ok(this)
    }

    fn read_parameters(&mut self, mut parameters: Reader<'_>, extended: bool) -> Result<(), Notification> {
        while !parameters.is_empty() {
            let Some((kind, value)) = parameter(&mut parameters, extended) else {
                return Err(Cause::OpenMalformed.into());
            };
            if kind != CAPABILITIES {
                return Err(Notification::with(Cause::UnsupportedParameter, [kind]));
            }
            let mut capabilities = Reader(value);
            while !capabilities.is_empty() {
                let Some((code, value)) = parameter(&mut capabilities, false) else {
                    return Err(Cause::OpenMalformed.into());
                };
                self.read_capability(code, value);
            }
        }
        Ok(())
    }

    /// Of what is unknown, or of another length than known, nothing is made (RFC 5492 section 3).
    fn read_capability(&mut self, code: u8, value: &[u8]) {
        let capabilities = &mut self.capabilities;
        match (code, value) {
            (MULTIPROTOCOL, [high, low, _, safi]) => {
                capabilities.multiprotocol = true;
                let family = Family::from_afi_safi(u16::from_be_bytes([*high, *low]), *safi);
                capabilities.families.extend(family);
            }
            (ROUTE_REFRESH, []) => capabilities.route_refresh = true,
            (FOUR_OCTET_AS, &[a, b, c, d]) => {
                capabilities.four_octet_as = true;
                self.asn = u32::from_be_bytes([a, b, c, d]);
            }
            (GRACEFUL_RESTART, [high, low, families @ ..]) => {
                let first = u16::from_be_bytes([*high, *low]);
                capabilities.graceful_restart = Some(GracefulRestart {
                    restarting: first & RESTARTING != 0,
                    time: first & 0x0fff,
                    families: families.chunks_exact(4).filter_map(restartable).collect(),
                });
            }
            _ => {}
        }
    }

    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let capabilities = self.capabilities.encode(self.asn);
        let mut message = Writer::new(Kind::Open);
        message.0.push(VERSION);
        message.0.extend(u16::try_from(self.asn).unwrap_or(AS_TRANS).to_be_bytes());
        message.0.extend(self.hold_time.to_be_bytes());
        message.0.extend(self.router_id.octets());
        // Ours have 40 bytes at most.
        let length = u8::try_from(capabilities.len()).unwrap_or(0);
        message.0.extend([length + 2, CAPABILITIES, length]);
        message.0.extend(capabilities);
        message.finish()
    }
}

impl Capabilities {
    fn encode(&self, asn: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for family in &self.families {
            let [high, low] = family.afi().to_be_bytes();
            bytes.extend([MULTIPROTOCOL, 4, high, low, 0, UNICAST]);
        }
        if self.route_refresh {
            bytes.extend([ROUTE_REFRESH, 0]);
        }
        if let Some(restart) = &self.graceful_restart {
            bytes.extend(restart.encode());
        }
        if self.four_octet_as {
            bytes.extend([FOUR_OCTET_AS, 4]);
            bytes.extend(asn.to_be_bytes());
        }
        bytes
    }
}

impl GracefulRestart {
    fn encode(&self) -> Vec<u8> {
        let first = self.time.min(0x0fff) | if self.restarting { RESTARTING } else { 0 };
        let [high, low] = first.to_be_bytes();
        let length = if self.families.len() == 2 { 10 } else { 2 + 4 * u8::from(!self.families.is_empty()) };
        let mut bytes = vec![GRACEFUL_RESTART, length, high, low];
        for family in &self.families {
            let [high, low] = family.afi().to_be_bytes();
            bytes.extend([high, low, UNICAST, FORWARDING]);
        }
        bytes
    }
}

/// The family of an entry of the graceful restart capability.
fn restartable(entry: &[u8]) -> Option<Family> {
    let [high, low, safi, _] = entry else { return None };
    Family::from_afi_safi(u16::from_be_bytes([*high, *low]), *safi)
}

/// The optional parameters, which are the rest of the message, and whether their lengths have two bytes (RFC 9072).
fn parameters<'a>(reader: &mut Reader<'a>) -> Option<(Reader<'a>, bool)> {
    let mut length = usize::from(reader.u8()?);
    let extended = length != 0 && reader.0.first() == Some(&EXTENDED);
    if extended {
        reader.u8()?;
        length = usize::from(reader.u16()?);
    }
    let parameters = reader.take(length)?;
    reader.is_empty().then_some((Reader(parameters), extended))
}

/// A type and its value.
fn parameter<'a>(reader: &mut Reader<'a>, extended: bool) -> Option<(u8, &'a [u8])> {
    let kind = reader.u8()?;
    let length = if extended { usize::from(reader.u16()?) } else { usize::from(reader.u8()?) };
    Some((kind, reader.take(length)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::wire::HEADER;

    fn ours() -> Open {
        Open {
            asn: 4_200_000_000,
            hold_time: 90,
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            capabilities: Capabilities {
                families: Family::ALL.into(),
                multiprotocol: true,
                route_refresh: true,
                four_octet_as: true,
                graceful_restart: Some(GracefulRestart {
                    restarting: true,
                    time: 120,
                    families: Family::ALL.into(),
                }),
            },
        }
    }

    fn with_parameters(parameters: &[u8]) -> Vec<u8> {
        let length = u8::try_from(parameters.len()).unwrap();
        [&[4, 0xfc, 0, 0, 90, 10, 0, 0, 1, length][..], parameters].concat()
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        assert_eq!(Open::decode(&ours().encode()[HEADER..]), Ok(ours()));
        assert_eq!(ours().encode()[HEADER + 1..HEADER + 3], AS_TRANS.to_be_bytes());
        let mut one = ours();
        one.capabilities.families = [Family::V6].into();
        one.capabilities.graceful_restart.as_mut().unwrap().families = [Family::V6].into();
        assert_eq!(Open::decode(&one.encode()[HEADER..]), Ok(one));
    }

    #[test]
    fn a_speaker_without_capabilities_has_ipv4() {
        let open = Open::decode(&with_parameters(&[])).unwrap();
        assert_eq!(open.asn, 64512);
        assert_eq!(open.capabilities.unicast(), [Family::V4].into());
        let other = Open::decode(&with_parameters(&[2, 6, 1, 4, 0, 25, 0, 70])).unwrap();
        assert_eq!(other.capabilities.unicast(), [].into(), "EVPN alone is not IPv4");
    }

    #[test]
    fn capabilities_that_are_unknown_or_of_a_wrong_length_are_passed_over() {
        let open = Open::decode(&with_parameters(&[
            2, 17, 1, 2, 0, 1, 73, 3, 9, 1, 1, 65, 4, 0, 1, 0, 0, 64, 1, 0, 2, 0,
        ]));
        // 2 + 2, 2 + 3, 2 + 4, 2 + 1 and 2 bytes are 20: after 17 the fourth is not at its end.
        assert_eq!(open.unwrap_err(), Cause::OpenMalformed.into());
        let open = Open::decode(&with_parameters(&[
            2, 20, 1, 2, 0, 1, 73, 3, 9, 1, 1, 65, 4, 0, 1, 0, 0, 64, 1, 0, 2, 0,
        ]));
        let open = open.unwrap();
        assert_eq!(open.asn, 65536);
        let expected = Capabilities { route_refresh: true, four_octet_as: true, ..Capabilities::default() };
        assert_eq!(open.capabilities, expected);
    }

    #[test]
    fn parameters_with_lengths_of_two_bytes_are_read() {
        let body = [4, 0xfc, 0, 0, 90, 10, 0, 0, 1, 255, 255, 0, 5, 2, 0, 2, 2, 0];
        assert!(Open::decode(&body).unwrap().capabilities.route_refresh);
    }

    #[test]
    fn wrong_opens_are_answered_as_rfc_4271_section_6_2_says() {
        let answer = |body: &[u8]| {
            let Notification { code, subcode, data } = Open::decode(body).unwrap_err();
            (code, subcode, data)
        };
        let good = with_parameters(&[]);
        let changed = |at: usize, value: &[u8]| {
            let mut body = good.clone();
            body[at..at + value.len()].copy_from_slice(value);
            body
        };
        assert_eq!(answer(&changed(0, &[3])), (2, 1, vec![0, 4]));
        assert_eq!(answer(&changed(5, &[0, 0, 0, 0])), (2, 3, vec![0, 0, 0, 0]));
        assert_eq!(answer(&changed(3, &[0, 1])), (2, 6, vec![0, 1]));
        assert_eq!(answer(&changed(3, &[0, 2])), (2, 6, vec![0, 2]));
        assert_eq!(answer(&with_parameters(&[1, 1, 0])), (2, 4, vec![1]), "authentication, long gone");
        assert_eq!(answer(&changed(9, &[1])), (2, 0, vec![]), "parameters beyond the end");
        assert_eq!(answer(&with_parameters(&[2, 9, 1])), (2, 0, vec![]));
        assert_eq!(answer(&[&good[..], &[0]].concat()), (2, 0, vec![]), "something after the parameters");
        assert_eq!(answer(&good[..9]), (2, 0, vec![]));
    }
}
