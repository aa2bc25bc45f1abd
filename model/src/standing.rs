//! What a node's dataplane tells its announcer, so that no address is announced that nothing forwards for.

use std::{collections::BTreeSet, net::IpAddr};

/// A word about the balancers' addresses that have rules on this node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// These have rules, and no others.
    All(BTreeSet<IpAddr>),
    /// These have rules as well.
    More(BTreeSet<IpAddr>),
    /// The rules of these are about to go.
    Less(BTreeSet<IpAddr>),
}

impl Standing {
    /// Brings the addresses with rules up to date; returns whether they are others now.
    pub fn carry_out(self, known: &mut BTreeSet<IpAddr>) -> bool {
        let before = known.len();
        match self {
            Self::All(all) => return std::mem::replace(known, all) != *known,
            Self::More(more) => known.extend(more),
            Self::Less(less) => known.retain(|address| !less.contains(address)),
        }
        known.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_word_says_whether_it_changes_anything() {
        let mut known = BTreeSet::new();
        for (word, changes, expected) in [
            (Standing::All(set(&["203.0.113.1", "2001:db8::1"])), true, set(&["203.0.113.1", "2001:db8::1"])),
            (
                Standing::All(set(&["203.0.113.1", "2001:db8::1"])),
                false,
                set(&["203.0.113.1", "2001:db8::1"]),
            ),
            (Standing::Less(set(&["203.0.113.1", "203.0.113.9"])), true, set(&["2001:db8::1"])),
            (Standing::Less(set(&["203.0.113.9"])), false, set(&["2001:db8::1"])),
            (Standing::More(set(&["2001:db8::1"])), false, set(&["2001:db8::1"])),
            (Standing::More(set(&["203.0.113.2"])), true, set(&["203.0.113.2", "2001:db8::1"])),
        ] {
            assert_eq!(word.carry_out(&mut known), changes);
            assert_eq!(known, expected);
        }
    }
}
