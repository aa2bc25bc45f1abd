//! Packet marks that lead to virtual servers of their own. Pure.

use std::collections::HashMap;

use penstock_model::{Family, PortKey};
use sha2::{Digest, Sha256};

/// Gives each Service port that needs one a mark.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(HashMap<u32, PortKey>);

/// A mark: the prefix, a bit for the family, and the number of a Service port. The kernel compares all of a packet's mark
/// with that of a virtual server, so other programs' bits cannot stand beside it. It is on a packet only between the
/// prerouting or output hook and IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark;

impl Mark {
    /// By what ours are known.
    pub(super) const PREFIX: u32 = 0x5e00_0000;
    /// The bits of the prefix.
    pub(super) const PREFIX_MASK: u32 = 0xff00_0000;
    /// That of IPv6: `/proc/net/ip_vs` does not say of which family a mark's server is.
    const IPV6: u32 = 1 << 23;
    /// How many numbers there are. The first is for trying things out.
    const NUMBERS: u32 = 1 << 23;

    /// One that is no Service port's.
    pub(super) const SCRATCH: u32 = Self::PREFIX;

    /// The mark of a number for a family.
    pub(super) fn of(number: u32, family: Family) -> u32 {
        let family = if family == Family::IPv6 { Self::IPV6 } else { 0 };
        Self::PREFIX | family | number
    }

    /// The family of the server that it leads to, if it is one of ours.
    pub(super) fn family(mark: u32) -> Family {
        if mark & Self::IPV6 == 0 { Family::IPv4 } else { Family::IPv6 }
    }

    /// Whether it is one of ours.
    pub(super) fn is_ours(mark: u32) -> bool {
        mark & Self::PREFIX_MASK == Self::PREFIX
    }
}

impl Marks {
    /// The port's number, which is the same after a restart unless two ports want the same one; `None` if eight million
    /// ports have one.
    pub(super) fn take(&mut self, key: &PortKey) -> Option<u32> {
        let usable = Mark::NUMBERS - 1;
        let first = hash(&key.to_string()) % usable;
        let mut all = (0..usable).map(|n| (first + n) % usable + 1);
        let number = all.find(|number| self.0.get(number).is_none_or(|owner| owner == key))?;
        self.0.insert(number, key.clone());
        Some(number)
    }

    /// Gives it back.
    pub(super) fn release(&mut self, number: u32) {
        self.0.remove(&number);
    }
}

fn hash(text: &str) -> u32 {
    let digest = Sha256::digest(text.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use penstock_model::{ObjectKey, Protocol};

    use super::*;

    #[test]
    fn marks_are_ours_and_differ_by_port_and_family() {
        let key =
            |port| PortKey { service: Arc::new(ObjectKey::new("d", "s")), port, protocol: Protocol::Tcp };
        let mut marks = Marks::default();
        let numbers: Vec<u32> = (1..200).map(|port| marks.take(&key(port)).unwrap()).collect();
        assert_eq!(marks.0.len(), numbers.len());
        assert_eq!(marks.take(&key(1)), Some(numbers[0]), "its own");
        for number in numbers {
            let [four, six] = [Family::IPv4, Family::IPv6].map(|family| Mark::of(number, family));
            assert!(four != six && four != Mark::SCRATCH && Mark::is_ours(four) && Mark::is_ours(six));
        }
        assert!(!Mark::is_ours(0x4000));
    }
}
