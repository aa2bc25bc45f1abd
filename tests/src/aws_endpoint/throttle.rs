//! Token buckets per class of calls, as AWS has them per account and region.

use std::time::Duration;

/// How many calls of a class are let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// So many at once.
    pub capacity: u32,
    /// So many come back per second.
    pub per_second: f64,
}

/// The rates of the classes of calls to ELBv2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// `Describe*`.
    pub describe: Rate,
    /// `RegisterTargets` and `DeregisterTargets`.
    pub register: Rate,
    /// All others.
    pub change: Rate,
}

impl Rates {
    /// Those of AWS: for describes as its documentation has them (40, 10 per second). It publishes none for the
    /// others; that those of targets come back at about 4 per second was measured by users, and the rest is assumed.
    #[must_use]
    pub fn aws() -> Self {
        Self {
            describe: Rate { capacity: 40, per_second: 10.0 },
            register: Rate { capacity: 20, per_second: 4.0 },
            change: Rate { capacity: 20, per_second: 10.0 },
        }
    }
}

/// A class of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// See [`Rates::describe`].
    Describe,
    /// See [`Rates::register`].
    Register,
    /// See [`Rates::change`].
    Change,
}

impl Class {
    /// The class of an action of ELBv2.
    #[must_use]
    pub fn of(action: &str) -> Self {
        match action {
            "RegisterTargets" | "DeregisterTargets" => Self::Register,
            _ if action.starts_with("Describe") => Self::Describe,
            _ => Self::Change,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The buckets, each full at the beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttle {
    buckets: [Option<Bucket>; 3],
}

impl Throttle {
    /// Takes a token; false when there is none.
    pub(super) fn admit(&mut self, rates: &Rates, class: Class, now: Duration) -> bool {
        let rate = match class {
            Class::Describe => rates.describe,
            Class::Register => rates.register,
            Class::Change => rates.change,
        };
        let full = f64::from(rate.capacity);
        let bucket = self.buckets[class as usize].get_or_insert(Bucket { tokens: full, at: now });
        let passed = now.saturating_sub(bucket.at).as_secs_f64();
        *bucket = Bucket { tokens: (bucket.tokens + passed * rate.per_second).min(full), at: now };
        let admitted = bucket.tokens >= 1.0;
        bucket.tokens -= if admitted { 1.0 } else { 0.0 };
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_in_what_it_holds_and_then_what_comes_back() {
        let (rates, mut throttle) = (Rates::aws(), Throttle::default());
        let mut admitted = |at: u64| {
            let at = Duration::from_millis(at);
            (0..100).filter(|_| throttle.admit(&rates, Class::of("DescribeTags"), at)).count()
        };
        assert_eq!([admitted(0), admitted(500), admitted(99_000)], [40, 5, 40]);
    }

    #[test]
    fn classes_do_not_take_each_others_tokens() {
        let (rates, mut throttle) = (Rates::aws(), Throttle::default());
        assert!((0..=40).any(|_| !throttle.admit(&rates, Class::Describe, Duration::ZERO)));
        assert!(throttle.admit(&rates, Class::of("RegisterTargets"), Duration::ZERO));
        assert!(throttle.admit(&rates, Class::of("CreateListener"), Duration::ZERO));
    }
}
