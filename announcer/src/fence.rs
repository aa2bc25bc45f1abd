//! What a node may do while it cannot prove that it is alive.
//!
//! Two wishes pull in opposite directions. A node that lost the API server *alone* must let go of its addresses,
//! since the others see its Lease run out and take over: else two nodes answer. When the API server is away *for
//! all*, nobody takes over and letting go would cut off traffic that works.
//!
//! A node cannot tell the two apart by its Lease, but it can by the segment that all of this is about: whoever
//! takes an address over says so by gratuitous ARP. Hence:
//!
//! - **Healthy** is a node that saw, in its own watch, a renewal of its own Lease that it sent less than half the
//!   Lease's duration ago. This proves the way to the API server *and* back, so that what it believes of the
//!   others is fresh too. Half, because of whoever else fell silent with the API server: their last renewal is
//!   at most an interval (a quarter of the duration) older than ours, so we stop judging before they seem dead.
//! - A healthy node does what the election says. A foreign claim of its address is counted and logged, no more:
//!   to yield to any claim would let every host on the segment take addresses away.
//! - Any other node takes nothing new and **keeps answering** for what it owns, as long as the objects that it
//!   knows allow it. It sends no gratuitous ARP: it does not claim, so two such nodes never make each other yield.
//! - If such a node hears another one claim an address of its own, it **yields** it until it is healthy again. It asks,
//!   too, whether another one has them ([`crate::speaker`]), which only a healthy node answers: the claims may have been
//!   lost while the segment was in two.
//! - When it is healthy again, all nodes that lived when it fell silent are excused for a while, since it could
//!   not hear them; and it claims anew what it owns.
//!
//! A clean stop is the same state entered on purpose: give the Lease up, keep answering until the next owner's
//! claim is heard (or a limit passes), then go. No moment passes in which nobody answers.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

/// Renewals that are remembered; with one each quarter of a duration, only the last two can matter.
const REMEMBERED: usize = 16;
/// The longest time that nodes are excused after a silence.
const LONGEST_EXCUSE: Duration = Duration::from_secs(10);

/// A change of this node's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Renewals are no longer seen.
    Lapsed,
    /// They are seen again, after `since`. `excuse` says how long nodes unheard meanwhile count as alive; `None` at
    /// the start, when nothing is known that could be stale.
    Recovered {
        /// When it lapsed, and until when the others are excused.
        excuse: Option<(Instant, Instant)>,
    },
}

/// Whether this node may judge and claim, and which addresses it yielded.
#[derive(Debug)]
pub struct Fence {
    duration: Duration,
    sent: VecDeque<(i64, Instant)>,
    seen: Option<i64>,
    until: Option<Instant>,
    healthy: bool,
    lapsed_at: Option<Instant>,
    closed: bool,
    yielded: BTreeSet<IpAddr>,
}

impl Fence {
    /// A fence for a Lease of this duration; not healthy yet.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self {
            duration,
            sent: VecDeque::new(),
            seen: None,
            until: None,
            healthy: false,
            lapsed_at: None,
            closed: false,
            yielded: BTreeSet::new(),
        }
    }

    /// A renewal with this token was sent at `at`, or is about to be.
    pub fn sent(&mut self, token: i64, at: Instant) {
        self.sent.push_back((token, at));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        self.settle();
    }

    /// The watch showed our own Lease with this token. Its news and that of the sending come by two ways, and
    /// either may be first.
    pub fn seen(&mut self, token: Option<i64>) {
        self.seen = token;
        self.settle();
    }

    fn settle(&mut self) {
        let sent = self.sent.iter().find(|(token, _)| Some(*token) == self.seen);
        if let Some((_, at)) = sent {
            self.until = self.until.max(Some(*at + self.duration / 2));
        }
    }

    /// From now on never healthy again: this process is about to stop.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Looks at the clock; returns the change, if there is one.
    pub fn turn(&mut self, now: Instant) -> Option<Turn> {
        let healthy = !self.closed && self.until.is_some_and(|until| now < until);
        if healthy == self.healthy {
            return None;
        }
        self.healthy = healthy;
        if healthy {
            self.yielded.clear();
            let excuse = self.lapsed_at.map(|since| (since, now + self.excuse(now - since)));
            return Some(Turn::Recovered { excuse });
        }
        // The moment at which it became stale, not the one at which we noticed: after a suspended machine wakes
        // up, all others seem to have died in between.
        self.lapsed_at = Some(self.until.unwrap_or(now).min(now));
        Some(Turn::Lapsed)
    }

    /// As long as the silence was, since the others may come back as slowly as we did; within bounds.
    fn excuse(&self, silence: Duration) -> Duration {
        silence.clamp(self.duration, LONGEST_EXCUSE.max(self.duration))
    }

    /// Whether this node may judge and claim.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// When health lapses unless another renewal is seen.
    #[must_use]
    pub fn lapses_at(&self) -> Option<Instant> {
        self.until.filter(|_| self.healthy)
    }

    /// Another node claimed our address; returns whether we yield it.
    pub fn claimed(&mut self, address: IpAddr) -> bool {
        if !self.healthy {
            self.yielded.insert(address);
        }
        !self.healthy
    }

    /// Whether the address was yielded.
    #[must_use]
    pub fn has_yielded(&self, address: IpAddr) -> bool {
        self.yielded.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 200));
    const DURATION: Duration = Duration::from_secs(2);

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn healthy(start: Instant) -> Fence {
        let mut fence = Fence::new(DURATION);
        fence.sent(1, start);
        fence.seen(Some(1));
        assert_eq!(fence.turn(start), Some(Turn::Recovered { excuse: None }));
        fence
    }

    #[test]
    fn only_a_renewal_both_sent_and_seen_counts_in_either_order() {
        let start = Instant::now();
        let mut fence = Fence::new(DURATION);
        fence.seen(Some(7));
        assert_eq!(fence.turn(start), None, "the Lease of the process before us");
        fence.sent(8, start);
        assert_eq!(fence.turn(start), None, "not seen yet");
        fence.seen(Some(8));
        assert_eq!(fence.turn(start), Some(Turn::Recovered { excuse: None }));
        fence.seen(Some(9));
        fence.sent(9, start + millis(900));
        assert_eq!(fence.lapses_at(), Some(start + millis(1900)));
    }

    #[test]
    fn health_counts_from_the_sending_and_lasts_half_the_duration() {
        let start = Instant::now();
        let mut fence = healthy(start);
        assert_eq!(fence.turn(start + millis(999)), None);
        assert_eq!(fence.turn(start + millis(1000)), Some(Turn::Lapsed));
        fence.sent(2, start + millis(1100));
        fence.seen(Some(2));
        assert_eq!(fence.turn(start + millis(2100)), None, "the answer took too long");
    }

    #[test]
    fn an_old_renewal_seen_late_proves_nothing() {
        let start = Instant::now();
        let mut fence = healthy(start);
        (2..40).for_each(|n| fence.sent(n, start + millis(500 * n.unsigned_abs())));
        fence.turn(start + millis(19_500));
        fence.seen(Some(30));
        assert_eq!(fence.turn(start + millis(19_500)), None);
        fence.seen(Some(39));
        assert!(matches!(fence.turn(start + millis(19_500)), Some(Turn::Recovered { .. })));
    }

    #[test]
    fn a_claim_is_yielded_to_only_without_health_and_until_it_is_back() {
        let start = Instant::now();
        let mut fence = healthy(start);
        assert!(!fence.claimed(VIP));
        fence.turn(start + millis(1000));
        assert!(fence.claimed(VIP));
        assert!(fence.has_yielded(VIP));
        fence.sent(2, start + millis(3000));
        fence.seen(Some(2));
        let excuse = Some((start + millis(1000), start + millis(5000)));
        assert_eq!(fence.turn(start + millis(3000)), Some(Turn::Recovered { excuse }));
        assert!(!fence.has_yielded(VIP));
    }

    #[test]
    fn the_excuse_is_as_long_as_the_silence_within_bounds() {
        for (silence, excuse) in [(100, 2000), (5000, 5000), (600_000, 10_000)] {
            let start = Instant::now();
            let mut fence = healthy(start);
            let (lapse, back) = (start + millis(1000), start + millis(1000 + silence));
            fence.turn(lapse);
            fence.sent(2, back);
            fence.seen(Some(2));
            let expected = Some((lapse, back + millis(excuse)));
            assert_eq!(fence.turn(back), Some(Turn::Recovered { excuse: expected }), "{silence} ms");
        }
    }

    #[test]
    fn a_closed_fence_stays_so() {
        let start = Instant::now();
        let mut fence = healthy(start);
        fence.close();
        assert_eq!(fence.turn(start), Some(Turn::Lapsed));
        fence.sent(2, start);
        fence.seen(Some(2));
        assert_eq!(fence.turn(start), None);
        assert!(fence.claimed(VIP));
    }
}
