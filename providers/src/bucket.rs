//! How many calls may be made: clouds count them by account, and answer the rest with an error. Time is an argument.

use std::time::{Duration, Instant};

/// The slowest that a bucket becomes, of its own rate.
const SLOWEST: f64 = 0.1;
/// What stays of the rate after a call that was one too many.
const SLOWER: f64 = 0.7;
/// What a call that went through gives back of the rate.
const RECOVERY: f64 = 0.05;
/// What we use of what the cloud allows at once, and of how fast it is filled: calls do not arrive as evenly as they leave.
const USED: (f64, f64) = (0.9, 0.97);

/// Tokens of one class. They may be owed: whoever takes one waits until it is there, in turn.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    capacity: f64,
    /// Tokens a second.
    rate: f64,
    /// Of the rate: less after The cloud was asked too often.
    share: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// How many at once, and how many a second from then on.
    pub(crate) fn new((capacity, rate): (f64, f64), now: Instant) -> Self {
        let (capacity, rate) = (capacity * USED.0, rate * USED.1);
        Self { capacity, rate, share: 1.0, tokens: capacity, at: now }
    }

    /// Takes a token; returns how long to wait until it is there.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= 1.0;
        Duration::from_secs_f64((-self.tokens).max(0.0) / (self.rate * self.share))
    }

    /// The cloud was asked too often, by us or by others of the account: slower, from nothing. Returns for how long to
    /// ask nothing.
    pub(crate) fn throttled(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.share = (self.share * SLOWER).max(SLOWEST);
        self.tokens = self.tokens.min(0.0);
        Duration::from_secs_f64(1.0 / (self.rate * self.share)).max(Duration::from_secs(1))
    }

    /// What the cloud itself says: how many calls it allows in such a time, and how many of them are left, also after
    /// those of others.
    pub(crate) fn told(&mut self, limit: f64, seconds: f64, remaining: f64, now: Instant) {
        self.refill(now);
        (self.capacity, self.rate) = (limit * USED.0, limit / seconds * USED.1);
        self.tokens = self.tokens.min(remaining - limit * (1.0 - USED.0)).min(self.capacity);
    }

    /// A call went through.
    pub(crate) fn succeeded(&mut self) {
        self.share = (self.share + RECOVERY).min(1.0);
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate * self.share).min(self.capacity);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIBE: (f64, f64) = (40.0, 10.0);

    #[test]
    fn a_full_bucket_is_emptied_at_once_and_then_everybody_waits_in_turn() {
        let now = Instant::now();
        let mut bucket = Bucket::new(DESCRIBE, now);
        assert!((0..36).all(|_| bucket.take(now).is_zero()));
        let waits: Vec<u128> = (0..3).map(|_| bucket.take(now).as_millis()).collect();
        assert_eq!(waits, [103, 206, 309]);
        assert!(bucket.take(now + Duration::from_secs(1)).is_zero());
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..50).filter(|_| bucket.take(later).is_zero()).count(), 36, "never more than it holds");
    }

    #[test]
    fn it_slows_down_when_told_and_recovers_by_what_goes_through() {
        let now = Instant::now();
        let mut bucket = Bucket::new(DESCRIBE, now);
        assert_eq!(bucket.throttled(now), Duration::from_secs(1));
        assert_eq!(bucket.take(now).as_millis(), 147, "0.7 of 9.7 a second, and none left");
        for _ in 0..9 {
            bucket.throttled(now);
        }
        assert_eq!(bucket.throttled(now).as_millis(), 1030, "about one a second is the slowest");
        (0..20).for_each(|_| bucket.succeeded());
        let later = now + Duration::from_secs(60);
        assert!((0..36).all(|_| bucket.take(later).is_zero()));
        assert_eq!(bucket.take(later).as_millis(), 103);
    }

    #[test]
    fn what_the_cloud_says_counts_more_than_what_was_counted() {
        let now = Instant::now();
        let mut bucket = Bucket::new((3600.0, 1.0), now);
        assert!(bucket.take(now).is_zero());
        bucket.told(3600.0, 3600.0, 362.0, now);
        assert!(bucket.take(now).is_zero() && bucket.take(now).is_zero(), "a tenth is left to others");
        assert_eq!(bucket.take(now).as_millis(), 1030);
        bucket.told(3600.0, 3600.0, 3599.0, now);
        assert!(!bucket.take(now).is_zero(), "it only ever says less");
        bucket.told(7200.0, 3600.0, 7199.0, now + Duration::from_secs(10));
        assert!(bucket.take(now + Duration::from_secs(12)).is_zero(), "and the limit may be raised");
    }
}
