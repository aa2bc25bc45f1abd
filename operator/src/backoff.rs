//! How long a Service that fails waits before it is tried again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
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

/// The failures of each Service since it last succeeded, and until when its provider is left alone.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<ObjectKey, Failures>>);

#[derive(Clone, Debug, Default)]
struct Failures {
    count: u32,
    /// What the provider was asked for when it failed, and when it may be asked for that again. Our own writes would
    /// otherwise wake the Service at once.
    held: Option<(String, Instant)>,
}

impl Backoff {
    /// One failure more; returns the pause.
    pub(crate) fn failed(&self, key: &ObjectKey) -> Duration {
        let mut failures = self.lock();
        let failures = failures.entry(key.clone()).or_default();
        failures.count = failures.count.saturating_add(1);
        pause(failures.count - 1)
    }

    /// The provider is not asked for the same before `until`.
    pub(crate) fn hold(&self, key: &ObjectKey, plea: String, until: Instant) {
        self.lock().entry(key.clone()).or_default().held = Some((plea, until));
    }

    /// For how long the provider is not asked for this.
    pub(crate) fn held(&self, key: &ObjectKey, plea: &str, now: Instant) -> Option<Duration> {
        let failures = self.lock();
        let (_, until) = failures.get(key)?.held.as_ref().filter(|(held, _)| held == plea)?;
        until.checked_duration_since(now).filter(|pause| !pause.is_zero())
    }

    /// For how long the provider is left alone.
    pub(crate) fn pause_of(&self, key: &ObjectKey, now: Instant) -> Option<Duration> {
        self.lock().get(key)?.held.as_ref()?.1.checked_duration_since(now)
    }

    /// The provider has done what was wanted.
    pub(crate) fn release(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    /// The API server took everything; a provider that is left alone stays so.
    pub(crate) fn succeeded(&self, key: &ObjectKey) {
        let mut failures = self.lock();
        if failures.get(key).is_some_and(|f| f.held.is_none()) {
            failures.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Failures>> {
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

    #[test]
    fn a_provider_is_left_alone_for_the_same_plea_only() {
        let (backoff, key, now) = (Backoff::default(), ObjectKey::new("d", "s"), Instant::now());
        let pause = backoff.failed(&key);
        backoff.hold(&key, "a".into(), now + pause);
        backoff.succeeded(&key);
        assert_eq!(backoff.held(&key, "a", now), Some(pause));
        assert_eq!(backoff.held(&key, "b", now), None, "another wish is asked for at once");
        assert_eq!(backoff.held(&key, "a", now + pause), None);
        assert_eq!(backoff.failed(&key).as_secs(), 10, "the next failure waits longer");
        backoff.release(&key);
        assert_eq!(backoff.failed(&key).as_secs(), 5);
    }
}
