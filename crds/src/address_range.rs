//! The entries of a pool's `addresses`: a CIDR, or first and last address.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// A run of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why a text is no range. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRangeError {
    /// Neither form.
    #[error("{0:?} is neither a CIDR (203.0.113.0/24) nor a range (203.0.113.10-203.0.113.20)")]
    Form(String),
    /// No CIDR, where nothing else would do.
    #[error("{0:?} is not a CIDR (203.0.113.0/24): write a single address with /32 or /128")]
    Cidr(String),
    /// One end of a range is no address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// A CIDR with bits behind its prefix.
    #[error("{given:?} has host bits set: write {meant} if the whole network is meant")]
    HostBits {
        /// As written.
        given: String,
        /// The network that it lies in.
        meant: IpNet,
    },
    /// A /0.
    #[error("{0:?} is every address there is")]
    Everything(String),
    /// Two families.
    #[error("{0:?} mixes IPv4 and IPv6")]
    Families(String),
    /// Last before first.
    #[error("{0:?} ends before it begins")]
    Reversed(String),
}

impl AddressRange {
    /// A range from its ends; `None` if they are of two families or reversed.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && self.first <= ip && ip <= self.last
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    fn from_cidr(text: &str) -> Result<Self, AddressRangeError> {
        let net = cidr(text).map_err(|error| match error {
            AddressRangeError::Cidr(text) => AddressRangeError::Form(text),
            other => other,
        })?;
        Ok(Self { first: net.network(), last: net.broadcast() })
    }

    fn from_ends(text: &str, first: &str, last: &str) -> Result<Self, AddressRangeError> {
        let read =
            |end: &str| end.trim().parse().map_err(|_| AddressRangeError::Address(end.trim().to_owned()));
        let (first, last): (IpAddr, IpAddr) = (strict(read(first)?)?, strict(read(last)?)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err(AddressRangeError::Families(text.to_owned()));
        }
        Self::new(first, last).ok_or_else(|| AddressRangeError::Reversed(text.to_owned()))
    }
}

/// Reads a network strictly: no host bits, not everything, no IPv4 in IPv6.
pub(crate) fn cidr(text: &str) -> Result<IpNet, AddressRangeError> {
    let net: IpNet = text.parse().map_err(|_| AddressRangeError::Cidr(text.to_owned()))?;
    if net.prefix_len() == 0 {
        return Err(AddressRangeError::Everything(text.to_owned()));
    }
    if net.trunc() != net {
        return Err(AddressRangeError::HostBits { given: text.to_owned(), meant: net.trunc() });
    }
    strict(net.network())?;
    strict(net.broadcast())?;
    Ok(net)
}

/// IPv4 in IPv6 (`::ffff:1.2.3.4`) would be an address of neither family on the wire.
fn strict(ip: IpAddr) -> Result<IpAddr, AddressRangeError> {
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(AddressRangeError::Address(ip.to_string())),
        _ => Ok(ip),
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('-') {
            Some((first, last)) => Self::from_ends(text, first, last),
            None => Self::from_cidr(text.trim()),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AddressRange, AddressRangeError> {
        text.parse()
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse("203.0.113.0/30").unwrap().to_string(), "203.0.113.0-203.0.113.3");
        assert_eq!(parse("203.0.113.9 - 203.0.113.12").unwrap().to_string(), "203.0.113.9-203.0.113.12");
        assert_eq!(parse("2001:db8::/64").unwrap().last().to_string(), "2001:db8::ffff:ffff:ffff:ffff");
        assert_eq!(parse("203.0.113.7/32").unwrap().to_string(), "203.0.113.7-203.0.113.7");
    }

    #[test]
    fn each_mistake_has_its_own_sentence() {
        use AddressRangeError as E;
        let given = |text: &str| text.to_owned();
        let cases = [
            ("203.0.113.7", E::Form(given("203.0.113.7"))),
            ("", E::Form(given(""))),
            (
                "203.0.113.5/24",
                E::HostBits { given: given("203.0.113.5/24"), meant: "203.0.113.0/24".parse().unwrap() },
            ),
            ("0.0.0.0/0", E::Everything(given("0.0.0.0/0"))),
            ("010.0.0.1-10.0.0.9", E::Address(given("010.0.0.1"))),
            ("::ffff:1.2.3.4-::ffff:1.2.3.5", E::Address(given("::ffff:1.2.3.4"))),
            ("10.0.0.9-10.0.0.1", E::Reversed(given("10.0.0.9-10.0.0.1"))),
            ("10.0.0.9-2001:db8::1", E::Families(given("10.0.0.9-2001:db8::1"))),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn overlap_is_seen_from_either_side() {
        let (a, b) = (parse("10.0.0.0-10.0.0.9").unwrap(), parse("10.0.0.9-10.0.0.20").unwrap());
        let c = parse("10.0.0.21-10.0.0.30").unwrap();
        assert!(a.overlaps(&b) && b.overlaps(&a) && !b.overlaps(&c) && !c.overlaps(&b));
        assert!(!parse("10.0.0.0/8").unwrap().overlaps(&parse("::/1").unwrap()));
    }
}
