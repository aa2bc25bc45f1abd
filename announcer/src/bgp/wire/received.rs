//! What of a received UPDATE ends the session, and what does not (RFC 7606).
//!
//! No received route is kept, so that to treat one as withdrawn, or to leave out an attribute, is to do nothing. What
//! remains is to tell the errors after which the session cannot go on: those that hide where the prefixes are.

use super::{Cause, Family, Notification, Reader};

/// What a received UPDATE was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Routes, which are refused (RFC 8212: there is no policy that takes any).
    Refused,
    /// Routes with an error for which they count as withdrawn (RFC 7606), and which error that was.
    TreatedAsWithdrawn(&'static str),
}

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MED: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ATOMIC_AGGREGATE: u8 = 6;
const COMMUNITIES: u8 = 8;
const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;
const LARGE_COMMUNITIES: u8 = 32;

/// The optional attributes that are in use, by IANA's registry "BGP Path Attributes". One that comes as a well-known one
/// has wrong flags; any other that does is a well-known one that nobody knows.
const KNOWN_OPTIONAL: [u8; 22] = [
    MED,
    7,
    COMMUNITIES,
    9,
    10,
    MP_REACH,
    MP_UNREACH,
    16,
    17,
    18,
    22,
    23,
    24,
    25,
    26,
    29,
    LARGE_COMMUNITIES,
    33,
    35,
    37,
    40,
    128,
];

/// Looks at what follows the header of an UPDATE.
///
/// # Errors
/// The NOTIFICATION that ends the session.
pub fn check_update(body: &[u8]) -> Result<Remark, Notification> {
    let mut reader = Reader(body);
    // RFC 4271 section 6.3: lengths beyond the message's end are a malformed attribute list.
    let malformed = || Notification::from(Cause::MalformedAttributeList);
    let mut block = || reader.u16().and_then(|length| reader.take(length.into())).ok_or_else(malformed);
    let (withdrawn, attributes) = (block()?, block()?);
    let network = || Notification::from(Cause::InvalidNetwork);
    check_prefixes(withdrawn, Family::V4).ok_or_else(network)?;
    check_prefixes(reader.0, Family::V4).ok_or_else(network)?;
    let seen = Attributes::read(attributes)?;
    Ok(seen.remark(!reader.is_empty()))
}

/// The first error that does not end the session, and the attributes that were there.
#[derive(Default)]
struct Attributes {
    present: u128,
    error: Option<&'static str>,
}

impl Attributes {
    /// Where the prefixes begin is known from the length of all attributes, so that an attribute that ends beyond it
    /// harms only the routes of this message (RFC 7606 section 4).
    fn read(bytes: &[u8]) -> Result<Self, Notification> {
        let (mut this, mut reader) = (Self::default(), Reader(bytes));
        while !reader.is_empty() {
            match attribute(&mut reader) {
                Some((flags, code, value)) => this.take(flags, code, value)?,
                None => {
                    this.fault("an attribute ends beyond the attributes");
                    break;
                }
            }
        }
        Ok(this)
    }

    fn take(&mut self, flags: u8, code: u8, value: &[u8]) -> Result<(), Notification> {
        if self.has(code) {
            // RFC 7606 section 3, g: the first one counts, but of these two there must be no second one.
            let twice = matches!(code, MP_REACH | MP_UNREACH);
            return if twice { Err(Cause::MalformedAttributeList.into()) } else { Ok(()) };
        }
        self.present |= 1_u128.checked_shl(code.into()).unwrap_or(0);
        match code {
            MP_REACH | MP_UNREACH => check_multiprotocol(code, value)?,
            _ if flags & OPTIONAL == 0 && !is_known(code) => {
                // RFC 4271 section 6.3, with the attribute as data.
                let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
                let attribute = [&[flags & !EXTENDED_LENGTH, code, length], value].concat();
                return Err(Notification::with(Cause::UnrecognizedWellKnown, attribute));
            }
            _ => {}
        }
        if !flags_fit(flags, code) {
            self.fault("an attribute has wrong flags");
        }
        if !value_fits(code, value) {
            self.fault("an attribute has a wrong value");
        }
        Ok(())
    }

    const fn fault(&mut self, what: &'static str) {
        if self.error.is_none() {
            self.error = Some(what);
        }
    }

    fn has(&self, code: u8) -> bool {
        self.present & 1_u128.checked_shl(code.into()).unwrap_or(0) != 0
    }

    fn remark(mut self, prefixes: bool) -> Remark {
        let announces = prefixes || self.has(MP_REACH);
        if announces && !(self.has(ORIGIN) && self.has(AS_PATH)) || prefixes && !self.has(NEXT_HOP) {
            self.fault("a well-known attribute is missing");
        }
        self.error.map_or(Remark::Refused, Remark::TreatedAsWithdrawn)
    }
}

fn is_known(code: u8) -> bool {
    matches!(code, ORIGIN..=ATOMIC_AGGREGATE) || KNOWN_OPTIONAL.contains(&code)
}

/// Flags, type and value of the next attribute.
fn attribute<'a>(reader: &mut Reader<'a>) -> Option<(u8, u8, &'a [u8])> {
    let (flags, code) = (reader.u8()?, reader.u8()?);
    let extended = flags & EXTENDED_LENGTH != 0;
    let length = if extended { usize::from(reader.u16()?) } else { usize::from(reader.u8()?) };
    Some((flags, code, reader.take(length)?))
}

/// Whether an attribute is optional and transitive as its definition says (RFC 7606 section 3, c).
const fn flags_fit(flags: u8, code: u8) -> bool {
    let wanted = match code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => TRANSITIVE,
        MED | MP_REACH | MP_UNREACH => OPTIONAL,
        COMMUNITIES | LARGE_COMMUNITIES => OPTIONAL | TRANSITIVE,
        _ => return flags & OPTIONAL != 0,
    };
    flags & (OPTIONAL | TRANSITIVE) == wanted
}

/// Whether a value is one that its attribute may have (RFC 7606 section 7).
fn value_fits(code: u8, value: &[u8]) -> bool {
    match code {
        ORIGIN => matches!(value, [0..=2]),
        NEXT_HOP | MED | LOCAL_PREF => value.len() == 4,
        ATOMIC_AGGREGATE => value.is_empty(),
        COMMUNITIES => !value.is_empty() && value.len().is_multiple_of(4),
        LARGE_COMMUNITIES => !value.is_empty() && value.len().is_multiple_of(12),
        _ => true,
    }
}

/// RFC 7606 sections 5.3 and 7.11: without the prefixes of these two attributes the session cannot go on. Those of other
/// families than ours are of other forms; nothing is known of them, and nothing kept.
fn check_multiprotocol(code: u8, value: &[u8]) -> Result<(), Notification> {
    let mut reader = Reader(value);
    let mut prefixes = || {
        let (afi, safi) = (reader.u16()?, reader.u8()?);
        if code == MP_REACH {
            let next_hop = reader.u8()?;
            reader.take(next_hop.into())?;
            reader.u8()?;
        }
        match Family::from_afi_safi(afi, safi) {
            Some(family) => check_prefixes(reader.0, family),
            None => Some(()),
        }
    };
    prefixes().ok_or_else(|| Cause::OptionalAttribute.into())
}

/// Whether bytes are prefixes of a family from their begin to their end.
fn check_prefixes(bytes: &[u8], family: Family) -> Option<()> {
    let mut reader = Reader(bytes);
    while !reader.is_empty() {
        let bits = reader.u8().filter(|bits| *bits <= family.bits())?;
        reader.take(usize::from(bits.div_ceil(8)))?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&[u8]; 3] = [&[0x40, 1, 1, 0], &[0x40, 2, 4, 2, 1, 0xfc, 1], &[0x40, 3, 4, 192, 0, 2, 1]];
    const PREFIX: &[u8] = &[24, 198, 51, 100];

    fn update(withdrawn: &[u8], attributes: &[u8], prefixes: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length(withdrawn)[..], withdrawn, &length(attributes), attributes, prefixes].concat()
    }

    fn with(attribute: &[u8]) -> Result<Remark, Notification> {
        check_update(&update(&[], &[&GOOD.concat(), attribute].concat(), PREFIX))
    }

    fn answer(body: &[u8]) -> (u8, u8) {
        let Notification { code, subcode, .. } = check_update(body).unwrap_err();
        (code, subcode)
    }

    #[test]
    fn routes_are_refused() {
        assert_eq!(with(&[]), Ok(Remark::Refused));
        assert_eq!(with(&[0xc0, 99, 2, 1, 2]), Ok(Remark::Refused), "an unknown optional attribute");
        assert_eq!(with(&[0x80, 15, 3, 0, 25, 70]), Ok(Remark::Refused), "of another family");
        assert_eq!(check_update(&update(PREFIX, &[], &[])), Ok(Remark::Refused));
        assert_eq!(check_update(&[0, 0, 0, 0]), Ok(Remark::Refused), "End-of-RIB");
    }

    #[test]
    fn errors_of_an_attribute_are_treated_as_a_withdrawal() {
        let wrong: [&[u8]; 11] = [
            &[0x80, 4, 3, 0, 0, 1],
            &[0xc0, 8, 3, 1, 2, 3],
            &[0xc0, 8, 0],
            &[0xc0, 32, 4, 1, 2, 3, 4],
            &[0x40, 5, 1, 1],
            &[0x40, 6, 1, 1],
            &[0xc0, 4, 4, 0, 0, 0, 1],
            &[0x40, 8, 4, 1, 2, 3, 4],
            &[0x40, 16, 8, 0, 2, 0, 1, 0, 0, 0, 1],
            &[0xc0, 8, 200, 1],
            &[0x80],
        ];
        for attribute in wrong {
            assert!(matches!(with(attribute), Ok(Remark::TreatedAsWithdrawn(_))), "{attribute:?}");
        }
        let origin = [&[0x40, 1, 1, 3], GOOD[1], GOOD[2]].concat();
        let remark = check_update(&update(&[], &origin, PREFIX));
        assert_eq!(remark, Ok(Remark::TreatedAsWithdrawn("an attribute has a wrong value")));
        for missing in 0..GOOD.len() {
            let attributes = [&GOOD[..missing], &GOOD[missing + 1..]].concat().concat();
            let remark = check_update(&update(&[], &attributes, PREFIX));
            assert_eq!(remark, Ok(Remark::TreatedAsWithdrawn("a well-known attribute is missing")));
        }
    }

    #[test]
    fn a_second_attribute_of_a_type_is_left_out() {
        assert_eq!(with(&[0x40, 1, 1, 9]), Ok(Remark::Refused));
    }

    #[test]
    fn errors_that_hide_the_prefixes_end_the_session() {
        assert_eq!(answer(&[0, 9, 0, 0]), (3, 1), "withdrawn routes beyond the end");
        assert_eq!(answer(&[0, 0, 0, 9]), (3, 1), "attributes beyond the end");
        assert_eq!(answer(&update(&[33, 1, 2, 3, 4, 5], &[], &[])), (3, 10));
        assert_eq!(answer(&update(&[], &GOOD.concat(), &[24, 1])), (3, 10));
        let unreach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
        assert_eq!(answer(&update(&[], &[unreach, unreach].concat(), &[])), (3, 1), "twice");
        assert_eq!(answer(&update(&[], &[0x80, 15, 4, 0, 2, 1, 129], &[])), (3, 9));
        assert_eq!(
            answer(&update(&[], &[0x80, 14, 5, 0, 2, 1, 16, 0], &[])),
            (3, 9),
            "next hop beyond the end"
        );
        let unknown = check_update(&update(&[], &[0x40, 99, 1, 7], &[])).unwrap_err();
        assert_eq!((unknown.code, unknown.subcode, unknown.data), (3, 2, vec![0x40, 99, 1, 7]));
    }
}
