//! The names of our chains: at most 28 characters, as iptables allows, and the same after a restart.

use sha2::{Digest, Sha256};

/// All our chains begin so, and no other does.
pub(super) const OURS: &str = "PENSTOCK-";

/// The first chain of the table nat, which also shows that rules of ours stand.
pub(super) const SERVICES: &str = "PENSTOCK-SERVICES";
/// The first chain of what has not been translated.
pub(super) const REFUSALS: &str = "PENSTOCK-REFUSALS";
/// The first chain of endpoints that may reach themselves.
pub(super) const HAIRPINS: &str = "PENSTOCK-HAIRPINS";
/// Asks for masquerading.
pub(super) const MARK: &str = "PENSTOCK-MARK";
/// Asks for masquerading of who is no pod.
pub(super) const MARK_OFF_CLUSTER: &str = "PENSTOCK-MARK-OFF-CLUSTER";
/// Behind POSTROUTING.
pub(super) const POSTROUTING: &str = "PENSTOCK-POSTROUTING";
/// Masquerades.
pub(super) const MASQUERADE: &str = "PENSTOCK-MASQUERADE";
/// Behind FORWARD of the table filter.
pub(super) const FORWARD: &str = "PENSTOCK-FORWARD";
/// New connections that were not translated.
pub(super) const LEFTOVERS: &str = "PENSTOCK-LEFTOVERS";
/// Refuses.
pub(super) const REJECT: &str = "PENSTOCK-REJECT";

/// RFC 4648, base 32.
const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// 75 bits: two of a million chains have the same name with a chance of one in 10^11.
const LENGTH: usize = 15;

/// The chain of a kind (three letters) for something that has this text.
pub(super) fn hashed(kind: &str, of: &str) -> String {
    format!("{OURS}{kind}-{}", digest(of))
}

/// A short text that differs where the long one does.
pub(super) fn digest(of: &str) -> String {
    let hash = Sha256::digest(of.as_bytes());
    let bits = hash.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect::<Vec<_>>();
    let digits =
        bits.chunks(5).map(|bits| bits.iter().fold(0, |number, bit| number << 1 | usize::from(*bit)));
    digits.take(LENGTH).map(|digit| char::from(DIGITS[digit])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_stay_the_same() {
        let name = hashed("SVC", "default/web:80/TCP");
        assert_eq!(name, "PENSTOCK-SVC-CZMAQ2PQVC6KCDZ");
        assert_eq!(name.len(), 28);
        let fixed = [
            SERVICES,
            REFUSALS,
            HAIRPINS,
            MARK,
            MARK_OFF_CLUSTER,
            POSTROUTING,
            MASQUERADE,
            FORWARD,
            LEFTOVERS,
            REJECT,
        ];
        assert!(fixed.iter().all(|name| name.len() <= 28 && name.starts_with(OURS)));
        assert_ne!(name, hashed("SVC", "default/web:81/TCP"));
    }
}
