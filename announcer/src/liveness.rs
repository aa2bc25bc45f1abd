//! Which nodes are alive, judged by how their Leases change. Pure: time is an argument.
//!
//! A node lives while its Lease is *seen to change* within the Lease's duration by our own monotonic clock. The
//! clocks of two machines are never compared (as in client-go's leader election): `renewTime` is a token that
//! differs from the one before it, nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Durations that a foreign Lease may claim; outside of them it is taken for the nearer bound, so that a
/// mistaken object can neither keep a dead node alive for hours nor make a living one flap.
const DURATIONS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a node's Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The node whose Lease it is.
    pub node: String,
    /// The token of this renewal (`spec.renewTime` in microseconds); `None` when the holder gave the Lease up.
    pub renewal: Option<i64>,
    /// How long one renewal lasts.
    pub duration: Duration,
}

#[derive(Clone, Debug)]
struct Seen {
    renewal: Option<i64>,
    until: Instant,
}

/// The nodes seen and how long each still counts as alive.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    nodes: BTreeMap<String, Seen>,
}

impl Liveness {
    /// Takes what a Lease says now. One seen for the first time counts as just renewed: its age cannot be known.
    pub fn observe(&mut self, heartbeat: &Heartbeat, now: Instant) {
        let Heartbeat { node, renewal, duration } = heartbeat;
        let seen = self.nodes.get(node);
        if seen.is_some_and(|s| s.renewal == *renewal) {
            return;
        }
        let until = match renewal {
            Some(_) => now + (*duration).clamp(DURATIONS.0, DURATIONS.1),
            None => now,
        };
        self.nodes.insert(node.clone(), Seen { renewal: *renewal, until });
    }

    /// A Lease is gone, and its node with it.
    pub fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
    }

    /// Takes the complete list: what is not in it is gone.
    pub fn reset(&mut self, heartbeats: &[Heartbeat], now: Instant) {
        self.nodes.retain(|node, _| heartbeats.iter().any(|h| h.node == *node));
        heartbeats.iter().for_each(|heartbeat| self.observe(heartbeat, now));
    }

    /// The nodes alive.
    #[must_use]
    pub fn live(&self, now: Instant) -> BTreeSet<&str> {
        self.nodes.iter().filter(|(_, seen)| now < seen.until).map(|(node, _)| node.as_str()).collect()
    }

    /// When the next of the living nodes dies if nothing is heard of it.
    #[must_use]
    pub fn next_expiry(&self, now: Instant) -> Option<Instant> {
        self.nodes.values().map(|seen| seen.until).filter(|until| now < *until).min()
    }

    /// When the last of them dies if nothing is heard of any.
    #[must_use]
    pub fn last_expiry(&self) -> Option<Instant> {
        self.nodes.values().map(|seen| seen.until).max()
    }

    /// Nobody could be heard since `since`, through no fault of the nodes: those alive then stay alive at least
    /// until `until`. A Lease that its holder gave up stays given up.
    pub fn excuse(&mut self, since: Instant, until: Instant) {
        for seen in self.nodes.values_mut().filter(|s| s.renewal.is_some() && since < s.until) {
            seen.until = seen.until.max(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beat(renewal: Option<i64>) -> Heartbeat {
        Heartbeat { node: "n1".into(), renewal, duration: Duration::from_secs(2) }
    }

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_node_lives_while_its_lease_changes() {
        let (start, mut liveness) = (Instant::now(), Liveness::default());
        let alive = |l: &Liveness, ms| l.live(start + millis(ms)).contains("n1");
        liveness.observe(&beat(Some(1)), start);
        assert!(alive(&liveness, 1999));
        assert!(!alive(&liveness, 2000));
        liveness.observe(&beat(Some(1)), start + millis(1500));
        assert!(!alive(&liveness, 2000), "the same renewal again is no sign of life");
        liveness.observe(&beat(Some(2)), start + millis(1500));
        assert!(alive(&liveness, 3499));
        assert_eq!(liveness.next_expiry(start + millis(1500)), Some(start + millis(3500)));
        assert_eq!(liveness.next_expiry(start + millis(3500)), None);
    }

    #[test]
    fn any_other_token_counts_because_foreign_clocks_may_run_backwards() {
        let (start, mut liveness) = (Instant::now(), Liveness::default());
        liveness.observe(&beat(Some(5_000_000)), start);
        liveness.observe(&beat(Some(7)), start + millis(1900));
        assert!(liveness.live(start + millis(3000)).contains("n1"));
    }

    #[test]
    fn a_lease_given_up_or_deleted_ends_its_node_at_once() {
        let (start, mut liveness) = (Instant::now(), Liveness::default());
        liveness.observe(&beat(Some(1)), start);
        liveness.observe(&beat(None), start);
        assert!(liveness.live(start).is_empty());
        liveness.observe(&beat(Some(2)), start);
        liveness.forget("n1");
        assert!(liveness.live(start).is_empty());
        liveness.observe(&beat(Some(3)), start);
        liveness.reset(&[], start);
        assert!(liveness.live(start).is_empty());
    }

    #[test]
    fn the_excused_live_on_but_not_the_dead_nor_the_gone() {
        let (start, mut liveness) = (Instant::now(), Liveness::default());
        liveness.observe(&beat(Some(1)), start);
        liveness.observe(&Heartbeat { node: "given-up".into(), ..beat(None) }, start);
        let late = start + millis(60_000);
        let mut dead = liveness.clone();
        dead.excuse(start + millis(2000), late + millis(100));
        assert!(dead.live(late).is_empty(), "it was dead before the silence began");
        liveness.excuse(start + millis(1000), late + millis(100));
        assert_eq!(liveness.live(late), BTreeSet::from(["n1"]));
        assert!(liveness.live(late + millis(100)).is_empty());
    }

    #[test]
    fn an_absurd_duration_is_bounded() {
        let (start, mut liveness) = (Instant::now(), Liveness::default());
        liveness.observe(&Heartbeat { duration: Duration::from_secs(1 << 31), ..beat(Some(1)) }, start);
        assert!(liveness.live(start + Duration::from_secs(60)).is_empty());
        liveness.observe(&Heartbeat { duration: Duration::ZERO, ..beat(Some(2)) }, start);
        assert!(!liveness.live(start + millis(999)).is_empty());
    }

    proptest! {
        #[test]
        fn renewed_in_time_never_dies_and_silent_always_does(gaps in proptest::collection::vec(0u64..2000, 1..40)) {
            let (mut now, mut liveness) = (Instant::now(), Liveness::default());
            for (n, gap) in gaps.iter().enumerate() {
                liveness.observe(&beat(Some(i64::try_from(n).unwrap())), now);
                now += millis(*gap);
                prop_assert!(liveness.live(now).contains("n1"));
            }
            prop_assert!(liveness.live(now + millis(2000)).is_empty());
        }
    }
}
