//! When everything is loaded anew because others changed the rules. Pure.
//!
//! At once, as a rule. If it happens again and again, as when another program puts its own state in place whenever it
//! changes, each load waits twice as long as the last one: a fight is not to become a loop.

use std::time::Duration;

use tokio::time::Instant;

use crate::nftables::Touched;

/// The pause before the second load of a series.
const FIRST: Duration = Duration::from_millis(500);
/// The longest one, if it is known that our rules were changed: connections may suffer.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest one, if that is only possible: where others change nftables so often that no load is without doubt, each
/// of which costs what all Services cost.
const LONGEST_IN_DOUBT: Duration = Duration::from_secs(600);
/// A series ends when nothing happened for twice its pause, and for so long.
const CALM: Duration = Duration::from_secs(60);

/// Whether a load is due, and what came before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Repair {
    /// The next load, and the pause before it.
    next: Option<(Instant, Duration)>,
    /// The last load, and the pause before it.
    last: Option<(Instant, Duration)>,
}

impl Repair {
    /// Somebody changed the rules, or may have. Returns when they are loaded.
    pub(crate) fn touched(&mut self, by: &Touched, now: Instant) -> Instant {
        let longest = match by {
            Touched::By { .. } | Touched::Missing { .. } => LONGEST,
            Touched::Unknown => LONGEST_IN_DOUBT,
        };
        let pause = self.pause(now).min(longest);
        let wanted = (now + pause, pause);
        let next = self.next.map_or(wanted, |next| next.min(wanted));
        self.next = Some(next);
        next.0
    }

    fn pause(&self, now: Instant) -> Duration {
        match self.last {
            Some((at, pause)) if now < at + CALM.max(pause * 2) => (pause * 2).max(FIRST),
            _ => Duration::ZERO,
        }
    }

    /// When a load is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next.map(|(due, _)| due)
    }

    /// Everything has been loaded, for this or another reason.
    pub(crate) fn loaded(&mut self, now: Instant) {
        if let Some((_, pause)) = self.next.take() {
            self.last = Some((now, pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by() -> Touched {
        Touched::By { program: "nft".into(), process: 1, what: "the whole table".into() }
    }

    /// The pauses of a series in which somebody answers each load at once, in milliseconds.
    fn fight(by: &Touched, rounds: usize) -> Vec<u128> {
        let (mut repair, mut now) = (Repair::default(), Instant::now());
        let round = |_| {
            let due = repair.touched(by, now);
            let pause = due - now;
            now = due;
            repair.loaded(now);
            assert_eq!(repair.due(), None);
            pause.as_millis()
        };
        (0..rounds).map(round).collect()
    }

    #[test]
    fn a_fight_becomes_slower_up_to_a_bound() {
        assert_eq!(fight(&by(), 10), [0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(fight(&Touched::Unknown, 14)[10..], [256_000, 512_000, 600_000, 600_000]);
    }

    #[test]
    fn once_it_was_calm_the_next_one_is_put_right_at_once() {
        let (mut repair, start) = (Repair::default(), Instant::now());
        for _ in 0..3 {
            let due = repair.touched(&by(), start);
            repair.loaded(due);
        }
        let later = repair.last.unwrap().0 + CALM;
        assert!(repair.touched(&by(), later - Duration::from_millis(1)) > later);
        repair.next = None;
        assert_eq!(repair.touched(&by(), later), later);
    }

    #[test]
    fn many_changes_before_a_load_are_one() {
        let (mut repair, start) = (Repair::default(), Instant::now());
        repair.touched(&by(), start);
        repair.loaded(start);
        let due = repair.touched(&Touched::Unknown, start);
        let later = start + Duration::from_millis(400);
        assert_eq!(repair.touched(&by(), later), due);
        assert_eq!(repair.due(), Some(due));
    }
}
