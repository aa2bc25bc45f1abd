//! ARP and NDP on one interface, without the interface: bytes and time in, frames and claims out.
//!
//! On taking an address over, gratuitous ARP or an unsolicited advertisement is sent at once and then each 1.1 s for 5 s:
//! Linux ignores a change of a neighbour entry within a second of the last one (`locktime`), and a single frame may be
//! lost. Then it is repeated slowly, for switches and neighbours that forgot.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    ops::Bound::{Excluded, Unbounded},
    time::{Duration, Instant},
};

use crate::{
    arp::{ArpFrame, Operation},
    mac::Mac,
    ndp::{self, Message, NdpFrame},
};

/// Between two of the first announcements.
const BURST_INTERVAL: Duration = Duration::from_millis(1100);
/// How many they are: at 0, 1.1, 2.2, 3.3 and 4.4 s.
const BURST: u32 = 5;
/// Between two later ones.
const REPEAT_INTERVAL: Duration = Duration::from_secs(60);

/// Between two questions of a node that may not claim.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// What one interface is to announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The addresses to answer for.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether addresses may be claimed unasked.
    pub claiming: bool,
    /// Hardware addresses that this node announces from, on any interface: what they say is no foreign claim.
    pub own_macs: BTreeSet<Mac>,
}

impl Announced {
    /// The groups in which others ask for its IPv6 addresses.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<Ipv6Addr> {
        let group = |address: &IpAddr| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(ndp::solicited_node(*v6)),
        };
        self.addresses.iter().filter_map(group).collect()
    }
}

/// A frame of either protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// For IPv4.
    Arp(ArpFrame),
    /// For IPv6.
    Ndp(NdpFrame),
}

impl Frame {
    /// Reads a frame; `None` for whatever is neither.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        ArpFrame::parse(bytes).map(Self::Arp).or_else(|| NdpFrame::parse(bytes).map(Self::Ndp))
    }

    /// The frame's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Arp(frame) => frame.to_bytes(),
            Self::Ndp(frame) => frame.to_bytes(),
        }
    }

    /// Tells everybody that an address is at `mac` from now on.
    fn claims(mac: Mac, address: IpAddr) -> Vec<Self> {
        match address {
            IpAddr::V4(v4) => ArpFrame::gratuitous(mac, v4).map(Self::Arp).to_vec(),
            IpAddr::V6(v6) => vec![Self::Ndp(NdpFrame::unsolicited(mac, v6))],
        }
    }

    /// Asks whether another station has an address.
    fn probe(mac: Mac, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::Arp(ArpFrame::probe(mac, v4)),
            IpAddr::V6(v6) => Self::Ndp(NdpFrame::probe(mac, v6)),
        }
    }

    /// Whether the sender has no address of the family, or does not say which.
    fn is_anonymous(&self) -> bool {
        match self {
            Self::Arp(frame) => frame.sender.1.is_unspecified(),
            Self::Ndp(frame) => frame.sender.1.is_unspecified(),
        }
    }

    fn destination(&self) -> Mac {
        match self {
            Self::Arp(frame) => frame.destination,
            Self::Ndp(frame) => frame.destination,
        }
    }

    fn by(&self) -> Mac {
        match self {
            Self::Arp(frame) => frame.sender.0,
            Self::Ndp(frame) => frame.sender.0,
        }
    }

    /// The addresses that the sender says it has.
    fn claimed(&self) -> Vec<IpAddr> {
        match self {
            Self::Arp(frame) => vec![frame.sender.1.into()],
            Self::Ndp(frame) => match frame.message {
                Message::Solicitation => vec![frame.sender.1.into()],
                Message::Advertisement { .. } => vec![frame.target.into(), frame.sender.1.into()],
            },
        }
    }

    /// For which address it asks, and the answer that it is at `mac`.
    fn question(&self, mac: Mac) -> Option<(IpAddr, Self)> {
        match self {
            Self::Arp(frame) if frame.operation == Operation::Request => {
                Some((frame.target.1.into(), Self::Arp(frame.reply_from(mac))))
            }
            Self::Ndp(frame) if frame.message == Message::Solicitation => {
                Some((frame.target.into(), Self::Ndp(frame.reply_from(mac))))
            }
            _ => None,
        }
    }
}

/// What a received frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A question; send this answer.
    Question(Frame),
    /// Another station says that it has an address of ours.
    Claim {
        /// The address.
        address: IpAddr,
        /// Who.
        by: Mac,
    },
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    sent: u32,
    next: Instant,
}

/// What a node that may not claim asks: whether another one has taken its addresses over meanwhile. The claims by which
/// that was said may have been lost, as in a partition, and come again after a minute only. One address after the other,
/// so that an API server that is away for all costs the segment a few frames a second; where one was taken over, all
/// others are asked for at once.
#[derive(Clone, Copy, Debug)]
struct Probing {
    next: Instant,
    last: Option<IpAddr>,
    all: bool,
}

/// The state of one interface.
#[derive(Debug)]
pub struct Speaker {
    mac: Mac,
    announced: Announced,
    schedules: BTreeMap<IpAddr, Schedule>,
    probing: Option<Probing>,
}

impl Speaker {
    /// A silent one for an interface with this hardware address.
    #[must_use]
    pub fn new(mac: Mac) -> Self {
        Self { mac, announced: Announced::default(), schedules: BTreeMap::new(), probing: None }
    }

    /// Sets what is announced. New addresses are due at once; all are when claiming begins.
    pub fn set(&mut self, announced: Announced, now: Instant) {
        if !announced.claiming || !self.announced.claiming {
            self.schedules.clear();
        }
        self.schedules.retain(|address, _| announced.addresses.contains(address));
        if announced.claiming {
            for address in &announced.addresses {
                self.schedules.entry(*address).or_insert(Schedule { sent: 0, next: now });
            }
        }
        self.set_probing(&announced, now);
        self.announced = announced;
    }

    fn set_probing(&mut self, announced: &Announced, now: Instant) {
        if announced.claiming || announced.addresses.is_empty() {
            self.probing = None;
            return;
        }
        let gave_up = !announced.addresses.is_superset(&self.announced.addresses);
        let probing = self.probing.get_or_insert(Probing { next: now, last: None, all: false });
        probing.all |= gave_up;
    }

    /// What a frame means to us; `None` if nothing.
    #[must_use]
    pub fn receive(&self, bytes: &[u8]) -> Option<Heard> {
        let frame = Frame::parse(bytes)?;
        let by = frame.by();
        let to_us = frame.destination() == self.mac || frame.destination().is_group();
        if !to_us || by == self.mac || self.announced.own_macs.contains(&by) {
            return None;
        }
        let ours = |address: &IpAddr| self.announced.addresses.contains(address);
        if let Some(address) = frame.claimed().into_iter().find(ours) {
            return Some(Heard::Claim { address, by });
        }
        if frame.is_anonymous() && !self.announced.claiming {
            // It may be a probe of a node that may not claim either: neither must make the other yield.
            return None;
        }
        let asked = frame.question(self.mac).filter(|(address, _)| ours(address));
        asked.map(|(_, answer)| Heard::Question(answer))
    }

    /// The frames due now by which addresses are claimed, or probed where they may not be claimed.
    pub fn due(&mut self, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        for (address, schedule) in self.schedules.iter_mut().filter(|(_, s)| s.next <= now) {
            schedule.sent = (schedule.sent + 1).min(BURST);
            schedule.next = now + if schedule.sent < BURST { BURST_INTERVAL } else { REPEAT_INTERVAL };
            frames.extend(Frame::claims(self.mac, *address));
        }
        frames.extend(self.probes(now).into_iter().map(|address| Frame::probe(self.mac, address)));
        frames
    }

    fn probes(&mut self, now: Instant) -> Vec<IpAddr> {
        let addresses = &self.announced.addresses;
        let Some(probing) = self.probing.as_mut().filter(|probing| probing.next <= now) else {
            return Vec::new();
        };
        probing.next = now + PROBE_INTERVAL;
        if std::mem::take(&mut probing.all) {
            return addresses.iter().copied().collect();
        }
        let after = |last: &IpAddr| addresses.range((Excluded(*last), Unbounded)).next();
        probing.last = probing.last.as_ref().and_then(after).or_else(|| addresses.first()).copied();
        probing.last.into_iter().collect()
    }

    /// When [`Speaker::due`] has something next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let probe = self.probing.as_ref().map(|probing| probing.next);
        self.schedules.values().map(|schedule| schedule.next).chain(probe).min()
    }
}

#[cfg(test)]
mod tests;
