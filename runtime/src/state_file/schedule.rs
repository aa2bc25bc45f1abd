//! When a file is to be written. Pure.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Writing costs what everything costs: at most once in this time.
const PAUSE: Duration = Duration::from_secs(60);

/// Once a minute at most, and only after a change.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteSchedule {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl WriteSchedule {
    /// Something is otherwise than it was written.
    pub fn changed(&mut self, now: Instant) {
        let soonest = self.last.map_or(now, |last| last + PAUSE);
        self.due.get_or_insert(soonest.max(now));
    }

    /// Also if that failed: a disk that is full is so for a while.
    pub fn written(&mut self, now: Instant) {
        *self = Self { last: Some(now), due: None };
    }

    /// Whether something has changed since it was written.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Waits until it is to be written; for ever without a change.
    pub async fn wait(self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_at_most_once_a_minute_and_only_after_a_change() {
        let (mut schedule, start) = (WriteSchedule::default(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        assert_eq!(schedule.due, None);
        schedule.changed(second(1));
        assert_eq!(schedule.due, Some(second(1)));
        schedule.written(second(2));
        assert_eq!(schedule.due, None);
        schedule.changed(second(3));
        schedule.changed(second(50));
        assert_eq!(schedule.due, Some(second(62)));
        schedule.written(second(62));
        schedule.changed(second(500));
        assert_eq!(schedule.due, Some(second(500)));
    }
}
