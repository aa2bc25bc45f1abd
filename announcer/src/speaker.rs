//! ARP on one interface, without the interface: bytes and time in, frames and claims out.
//!
//! On taking an address over, gratuitous ARP is sent at once and then each 1.1 s for 5 s: Linux ignores a change
//! of a neighbour entry within a second of the last one (`locktime`), and a single frame may be lost. Then it is
//! repeated slowly, for switches and neighbours that forgot.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::arp::{ArpFrame, Mac, Operation};

/// Between two of the first announcements.
const BURST_INTERVAL: Duration = Duration::from_millis(1100);
/// How many they are: at 0, 1.1, 2.2, 3.3 and 4.4 s.
const BURST: u32 = 5;
/// Between two later ones.
const REPEAT_INTERVAL: Duration = Duration::from_secs(60);

/// What one interface is to announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The addresses to answer for.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Whether gratuitous ARP may be sent.
    pub claiming: bool,
    /// Hardware addresses that this node announces from, on any interface: what they say is no foreign claim.
    pub own_macs: BTreeSet<Mac>,
}

/// What a received frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A question; send this answer.
    Question(ArpFrame),
    /// Another station says that it has an address of ours.
    Claim {
        /// The address.
        address: Ipv4Addr,
        /// Who.
        by: Mac,
    },
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    sent: u32,
    next: Instant,
}

/// The state of one interface.
#[derive(Debug)]
pub struct ArpSpeaker {
    mac: Mac,
    announced: Announced,
    schedules: BTreeMap<Ipv4Addr, Schedule>,
}

impl ArpSpeaker {
    /// A silent one for an interface with this hardware address.
    #[must_use]
    pub fn new(mac: Mac) -> Self {
        Self { mac, announced: Announced::default(), schedules: BTreeMap::new() }
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
        self.announced = announced;
    }

    /// What a frame means to us; `None` if nothing.
    #[must_use]
    pub fn receive(&self, bytes: &[u8]) -> Option<Heard> {
        let frame = ArpFrame::parse(bytes)?;
        let (by, claimed) = frame.sender;
        let to_us = frame.destination == self.mac || frame.destination == Mac::BROADCAST;
        if !to_us || by == self.mac || self.announced.own_macs.contains(&by) {
            return None;
        }
        if self.announced.addresses.contains(&claimed) {
            return Some(Heard::Claim { address: claimed, by });
        }
        let asked =
            frame.operation == Operation::Request && self.announced.addresses.contains(&frame.target.1);
        asked.then(|| Heard::Question(frame.reply_from(self.mac)))
    }

    /// The gratuitous frames due now.
    pub fn due(&mut self, now: Instant) -> Vec<ArpFrame> {
        let mut frames = Vec::new();
        for (address, schedule) in self.schedules.iter_mut().filter(|(_, s)| s.next <= now) {
            schedule.sent = (schedule.sent + 1).min(BURST);
            schedule.next = now + if schedule.sent < BURST { BURST_INTERVAL } else { REPEAT_INTERVAL };
            frames.extend(ArpFrame::gratuitous(self.mac, *address));
        }
        frames
    }

    /// When [`ArpSpeaker::due`] has something next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.schedules.values().map(|schedule| schedule.next).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OURS_TOO: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
    const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

    fn announced(claiming: bool) -> Announced {
        Announced { addresses: [VIP].into(), claiming, own_macs: [OURS_TOO].into() }
    }

    fn speaker(claiming: bool, now: Instant) -> ArpSpeaker {
        let mut speaker = ArpSpeaker::new(OURS);
        speaker.set(announced(claiming), now);
        speaker
    }

    fn question(destination: Mac, target: Ipv4Addr) -> ArpFrame {
        ArpFrame {
            destination,
            operation: Operation::Request,
            sender: (OTHER, HOST),
            target: (Mac([0; 6]), target),
        }
    }

    #[test]
    fn what_frames_mean() {
        let asked = question(Mac::BROADCAST, VIP);
        let answer = Some(Heard::Question(asked.reply_from(OURS)));
        let claim = Some(Heard::Claim { address: VIP, by: OTHER });
        let from = |mac| ArpFrame::gratuitous(mac, VIP);
        let probe = ArpFrame { sender: (OTHER, Ipv4Addr::UNSPECIFIED), ..asked };
        let cases = [
            ("question", asked, answer),
            ("question to us alone", question(OURS, VIP), answer),
            ("question to another station", question(OTHER, VIP), None),
            ("question for another address", question(Mac::BROADCAST, HOST), None),
            ("answer of somebody", ArpFrame { operation: Operation::Reply, ..asked }, None),
            ("probe (RFC 5227)", probe, Some(Heard::Question(probe.reply_from(OURS)))),
            ("foreign announcement", from(OTHER)[0], claim),
            ("foreign gratuitous reply", from(OTHER)[1], claim),
            ("our own announcement", from(OURS)[0], None),
            ("that of our other interface", from(OURS_TOO)[0], None),
        ];
        let speaker = speaker(true, Instant::now());
        for (what, frame, expected) in cases {
            assert_eq!(speaker.receive(&frame.to_bytes()), expected, "{what}");
        }
    }

    #[test]
    fn after_giving_up_it_is_silent() {
        let now = Instant::now();
        let mut speaker = speaker(true, now);
        speaker.set(Announced { addresses: BTreeSet::new(), ..announced(true) }, now);
        assert_eq!(speaker.receive(&question(Mac::BROADCAST, VIP).to_bytes()), None);
        assert_eq!(speaker.next_due(), None);
        assert!(speaker.due(now).is_empty());
    }

    fn times(speaker: &mut ArpSpeaker, start: Instant, count: usize) -> Vec<u128> {
        let next = |_| {
            let at = speaker.next_due().unwrap();
            assert_eq!(speaker.due(at), ArpFrame::gratuitous(OURS, VIP));
            (at - start).as_millis()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn it_claims_at_once_then_for_five_seconds_then_slowly() {
        let start = Instant::now();
        let expected = [0, 1100, 2200, 3300, 4400, 64_400, 124_400];
        assert_eq!(times(&mut speaker(true, start), start, 7), expected);
    }

    #[test]
    fn other_addresses_do_not_disturb_a_schedule() {
        let start = Instant::now();
        let mut speaker = speaker(true, start);
        times(&mut speaker, start, 7);
        let more = Announced { addresses: [VIP, HOST].into(), ..announced(true) };
        speaker.set(more, start + Duration::from_secs(125));
        assert_eq!(speaker.due(start + Duration::from_secs(125)), ArpFrame::gratuitous(OURS, HOST));
    }

    #[test]
    fn without_health_it_answers_and_claims_nothing_and_with_it_claims_anew() {
        let start = Instant::now();
        let mut speaker = speaker(true, start);
        times(&mut speaker, start, 6);
        speaker.set(announced(false), start);
        assert!(speaker.receive(&question(Mac::BROADCAST, VIP).to_bytes()).is_some());
        assert_eq!(speaker.next_due(), None);
        let back = start + Duration::from_secs(70);
        speaker.set(announced(true), back);
        assert_eq!(times(&mut speaker, back, 2), [0, 1100]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_get_an_answer_for_an_address_that_is_not_ours(
            bytes in proptest::collection::vec(any::<u8>(), 0..128),
            change in proptest::collection::vec((0usize..42, any::<u8>()), 0..6),
        ) {
            let speaker = speaker(true, Instant::now());
            let mut near = question(Mac::BROADCAST, VIP).to_bytes();
            change.iter().for_each(|(at, byte)| near[*at] = *byte);
            for heard in [speaker.receive(&bytes), speaker.receive(&near)].into_iter().flatten() {
                if let Heard::Question(answer) = heard {
                    prop_assert_eq!(answer.sender, (OURS, VIP));
                }
            }
        }
    }
}
