//! What is said of a prefix.

use std::{collections::BTreeMap, collections::BTreeSet, fmt, str::FromStr};

use ipnet::IpNet;

/// What one router is to be told.
pub type Routes = BTreeMap<IpNet, Attributes>;

/// The attributes of a route that are not the session's own (ORIGIN, AS_PATH, NEXT_HOP).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes {
    /// LOCAL_PREF; told to routers of our own AS only, there 100 without it.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// COMMUNITIES (RFC 1997) and LARGE_COMMUNITY (RFC 8092).
    pub communities: BTreeSet<Community>,
}

impl Attributes {
    /// Takes in what another advertisement says of the same prefix: the highest preference, the lowest MED, all
    /// communities.
    pub fn merge(&mut self, other: &Self) {
        self.local_pref = self.local_pref.max(other.local_pref);
        self.med = [self.med, other.med].into_iter().flatten().min();
        self.communities.extend(&other.communities);
    }
}

/// A community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// RFC 1997: 32 bits.
    Standard(u32),
    /// RFC 8092: the administrator's AS and two numbers of its own.
    Large(u32, u32, u32),
}

/// A text is no community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no community: write 65000:100, large:65000:1:2 or a well-known name such as no-export")]
pub struct CommunityError(pub String);

/// IANA's registry of well-known communities, as far as routers agree about names.
const WELL_KNOWN: [(&str, u32); 6] = [
    ("graceful-shutdown", 0xFFFF_0000),
    ("blackhole", 0xFFFF_029A),
    ("no-export", 0xFFFF_FF01),
    ("no-advertise", 0xFFFF_FF02),
    ("no-export-subconfed", 0xFFFF_FF03),
    ("no-peer", 0xFFFF_FF04),
];

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known =
            WELL_KNOWN.iter().find(|(name, _)| *name == text).map(|(_, value)| Self::Standard(*value));
        known.or_else(|| numbers(text)).ok_or_else(|| CommunityError(text.to_owned()))
    }
}

fn numbers(text: &str) -> Option<Community> {
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u32>().ok())?;
    if let Some(large) = text.strip_prefix("large:") {
        let parts: Vec<u32> = large.split(':').map(number).collect::<Option<_>>()?;
        let [administrator, first, second] = parts[..] else { return None };
        return Some(Community::Large(administrator, first, second));
    }
    let (high, low) = text.split_once(':')?;
    let half = |part| number(part).and_then(|value| u16::try_from(value).ok());
    Some(Community::Standard(u32::from(half(high)?) << 16 | u32::from(half(low)?)))
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xFFFF),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_read_and_written() {
        for text in ["65000:100", "0:0", "65535:65535", "large:4294967295:0:7"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        assert_eq!("no-export".parse::<Community>().unwrap().to_string(), "65535:65281");
    }

    #[test]
    fn what_is_no_community_is_refused() {
        for text in
            ["", "1", "65536:1", "1:65536", "1:2:3", "large:1:2", "large:1:2:3:4", "+1:2", "a:b", "No-Export"]
        {
            assert_eq!(text.parse::<Community>(), Err(CommunityError(text.to_owned())));
        }
    }

    #[test]
    fn of_two_opinions_the_stronger_counts() {
        let one =
            Attributes { local_pref: Some(200), med: None, communities: [Community::Standard(1)].into() };
        let two = Attributes { local_pref: None, med: Some(5), communities: [Community::Standard(2)].into() };
        let mut merged = one.clone();
        merged.merge(&two);
        assert_eq!((merged.local_pref, merged.med, merged.communities.len()), (Some(200), Some(5), 2));
        merged.merge(&Attributes { med: Some(3), local_pref: Some(1), ..Attributes::default() });
        assert_eq!((merged.local_pref, merged.med), (Some(200), Some(3)));
    }
}
