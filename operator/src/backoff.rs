//! How long a Service that fails waits before it is tried again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use penstock_model::ObjectKey;

/// Upstream's bounds (k8s.io/cloud-provider, `minRetryDelay`, `maxRetryDelay`).
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// The pause after so many failures in a row, counted from 0: 5 s, 10 s, … 300 s.
#[must_use]
fn pause(failures: u32) -> Duration {
    SHORTEST.saturating_mul(1 << failures.min(16)).min(LONGEST)
}

/// The failures of each Service since it last succeeded.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<ObjectKey, u32>>);

impl Backoff {
    /// One failure more; returns the pause.
    pub(crate) fn failed(&self, key: &ObjectKey) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        pause(*count - 1)
    }

    /// It works, or it is gone.
    pub(crate) fn succeeded(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_five_seconds_to_five_minutes_and_start_over_after_a_success() {
        let backoff = Backoff::default();
        let key = ObjectKey::new("d", "s");
        let pauses: Vec<u64> = (0..8).map(|_| backoff.failed(&key).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        backoff.succeeded(&key);
        assert_eq!(backoff.failed(&key).as_secs(), 5);
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
