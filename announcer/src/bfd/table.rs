//! Whose packet it is (RFC 5880, section 6.3; RFC 5881, section 3; RFC 5883, section 4).

use std::{collections::BTreeMap, num::NonZeroU32};

use tokio::sync::mpsc;

use super::{
    dispatcher::SessionKey,
    packet::{Discard, Packet},
    sockets::{Arrival, Kind, TTL},
};

/// A session, as its packets find it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: SessionKey,
    /// The kernel's number of the interface that the key names.
    pub(super) interface: Option<u32>,
    pub(super) minimum_ttl: u8,
    pub(super) packets: mpsc::Sender<Packet>,
}

impl Entry {
    /// Whether packets of this session can arrive like that. The RFC has the discriminator alone decide; but then whoever
    /// guesses it could speak from anywhere, and on the port where a smaller TTL is allowed.
    fn accepts(&self, arrival: &Arrival) -> bool {
        self.key.kind() == arrival.kind
            && self.key.peer == arrival.source
            && self.key.local.is_none_or(|local| arrival.destination == Some(local))
            && self.interface.is_none_or(|interface| arrival.interface == interface)
    }

    fn least_ttl(&self) -> u8 {
        match self.key.kind() {
            Kind::SingleHop => TTL,
            Kind::Multihop => self.minimum_ttl,
        }
    }
}

/// All sessions, by their discriminators.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<NonZeroU32, Entry>);

impl Table {
    /// Adds a session under a number that no other has.
    pub(super) fn insert(&mut self, entry: Entry, mut random: impl FnMut() -> u32) -> NonZeroU32 {
        loop {
            if let Some(number) = NonZeroU32::new(random()).filter(|number| !self.0.contains_key(number)) {
                self.0.insert(number, entry);
                return number;
            }
        }
    }

    pub(super) fn remove(&mut self, key: &SessionKey) {
        self.0.retain(|_, entry| entry.key != *key);
    }

    pub(super) fn set_minimum_ttl(&mut self, key: &SessionKey, minimum_ttl: u8) {
        for entry in self.0.values_mut().filter(|entry| entry.key == *key) {
            entry.minimum_ttl = minimum_ttl;
        }
    }

    /// Reads a packet, and finds its session.
    pub(super) fn take(&self, payload: &[u8], arrival: &Arrival) -> Result<(&Entry, Packet), Discard> {
        let packet = Packet::parse(payload)?;
        let entry = match packet.your_discriminator {
            Some(number) => self.0.get(&number).filter(|entry| entry.accepts(arrival)),
            None => self.by_address(arrival),
        };
        let entry = entry.ok_or(Discard::NoSession)?;
        let (ttl, minimum) = (arrival.ttl, entry.least_ttl());
        if ttl < minimum {
            return Err(Discard::Ttl { ttl, minimum });
        }
        Ok((entry, packet))
    }

    /// The most specific one, where several can be meant.
    fn by_address(&self, arrival: &Arrival) -> Option<&Entry> {
        let accepting = self.0.values().filter(|entry| entry.accepts(arrival));
        accepting.max_by_key(|entry| (entry.interface.is_some(), entry.key.local.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const PEER: &str = "192.0.2.2";
    const LOCAL: &str = "192.0.2.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn key(local: Option<&str>, interface: Option<&str>, multihop: bool) -> SessionKey {
        SessionKey { peer: ip(PEER), local: local.map(ip), interface: interface.map(Into::into), multihop }
    }

    /// Numbers 1 to 4.
    fn table() -> Table {
        let mut table = Table::default();
        let sessions = [
            (key(None, None, false), None),
            (key(None, Some("eth0"), false), Some(5)),
            (key(Some(LOCAL), None, false), None),
            (key(Some(LOCAL), None, true), None),
        ];
        let mut next = 0;
        for (key, interface) in sessions {
            let entry = Entry { key, interface, minimum_ttl: 250, packets: mpsc::channel(1).0 };
            table.insert(entry, || {
                next += 1;
                // Zero, and each number twice: only what is free is taken.
                next / 2
            });
        }
        table
    }

    fn arrival() -> Arrival {
        Arrival {
            kind: Kind::SingleHop,
            source: ip(PEER),
            destination: Some(ip(LOCAL)),
            interface: 3,
            ttl: 255,
        }
    }

    fn payload(your_discriminator: u8) -> Vec<u8> {
        let state = if your_discriminator == 0 { 0x40 } else { 0xc0 };
        let mut bytes = vec![0x20, state, 3, 24, 0, 0, 0, 9, 0, 0, 0, your_discriminator];
        bytes.extend([0, 0, 100, 0].repeat(3));
        bytes
    }

    /// RFC 5880, section 6.8.6: the rules that need a session, then the TTL.
    #[test]
    fn a_packet_finds_its_session_or_is_discarded() {
        let multihop = Arrival { kind: Kind::Multihop, ttl: 250, ..arrival() };
        let elsewhere = Arrival { destination: Some(ip("192.0.2.9")), ..arrival() };
        let ttl = |ttl, minimum| Err(Discard::Ttl { ttl, minimum });
        let rows = [
            ("by number", 1, arrival(), Ok(1)),
            ("number of nobody", 77, arrival(), Err(Discard::NoSession)),
            (
                "by number, from another",
                1,
                Arrival { source: ip("192.0.2.3"), ..arrival() },
                Err(Discard::NoSession),
            ),
            ("by number, on another port", 1, multihop, Err(Discard::NoSession)),
            ("by number, on another interface", 2, arrival(), Err(Discard::NoSession)),
            ("by number, on its interface", 2, Arrival { interface: 5, ..arrival() }, Ok(2)),
            ("by number, to another address", 3, elsewhere, Err(Discard::NoSession)),
            ("by address, the most specific", 0, arrival(), Ok(3)),
            ("by address, by interface", 0, Arrival { interface: 5, ..arrival() }, Ok(2)),
            ("by address, to another address", 0, elsewhere, Ok(1)),
            (
                "by address, from nobody",
                0,
                Arrival { source: ip("::1"), ..arrival() },
                Err(Discard::NoSession),
            ),
            ("a router on the way", 1, Arrival { ttl: 254, ..arrival() }, ttl(254, 255)),
            ("first packet past a router", 0, Arrival { ttl: 254, ..arrival() }, ttl(254, 255)),
            ("several hops", 4, multihop, Ok(4)),
            ("too many hops", 4, Arrival { ttl: 249, ..multihop }, ttl(249, 250)),
            ("without a TTL", 1, Arrival { ttl: 0, ..arrival() }, ttl(0, 255)),
        ];
        let table = table();
        let numbers: BTreeMap<_, _> =
            table.0.iter().map(|(number, e)| (e.key.clone(), number.get())).collect();
        for (name, number, arrival, expected) in rows {
            let found = table.take(&payload(number), &arrival).map(|(entry, _)| numbers[&entry.key]);
            assert_eq!(found, expected, "{name}");
        }
        assert!(matches!(table.take(&[], &arrival()), Err(Discard::Truncated)));
    }

    #[test]
    fn sessions_go_and_change() {
        let mut table = table();
        let multihop = Arrival { kind: Kind::Multihop, ttl: 250, ..arrival() };
        table.set_minimum_ttl(&key(Some(LOCAL), None, true), 251);
        assert!(table.take(&payload(4), &multihop).is_err());
        table.remove(&key(None, None, false));
        assert!(matches!(table.take(&payload(1), &arrival()), Err(Discard::NoSession)));
    }
}
