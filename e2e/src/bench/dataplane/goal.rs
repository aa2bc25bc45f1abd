//! Whether a figure is what was aimed at.

use crate::bench::spread::Spread;
use crate::bench::table::number;

/// Whether a figure is small enough.
pub fn at_most(value: f64, limit: f64, unit: &str) -> String {
    let limit_with_unit = format!("{} {unit}", number(limit));
    format!("≤ {}: {}", limit_with_unit.trim_end(), verdict(value <= limit))
}

/// Whether a ratio is large enough.
pub fn at_least(value: f64, limit: f64) -> String {
    format!("≥ {}×: {}", number(limit), verdict(value >= limit))
}

/// What was measured several times, of ours and of the other: whether ours is at least as good. Where the better of one is
/// not beyond the worse of the other, the runs do not tell them apart.
pub fn not_worse(ours: &Spread, other: &Spread, higher_is_better: bool) -> &'static str {
    let (a, b) = (ours.median(), other.median());
    let good = if higher_is_better { a >= b } else { a <= b };
    let apart = ours.min() > other.max() || ours.max() < other.min();
    match (good, apart) {
        (true, _) => verdict(true),
        (false, false) => "missed within the runs' spread",
        (false, true) => verdict(false),
    }
}

fn verdict(good: bool) -> &'static str {
    if good { "met" } else { "**missed**" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_met_at_the_limit() {
        assert_eq!(at_most(5.0, 5.0, "ms"), "≤ 5 ms: met");
        assert_eq!(at_most(5.1, 5.0, "ms"), "≤ 5 ms: **missed**");
        assert_eq!(at_most(f64::NAN, 5.0, "ms"), "≤ 5 ms: **missed**");
        assert_eq!(at_most(0.0, 0.0, ""), "≤ 0: met");
        assert_eq!(at_least(9.9, 10.0), "≥ 10×: **missed**");
    }

    #[test]
    fn what_the_runs_do_not_tell_apart_is_said() {
        let spread = |values: [f64; 3]| values.into_iter().collect::<Spread>();
        let (low, middle, high) = (spread([1.0, 2.0, 3.0]), spread([2.0, 2.5, 4.0]), spread([5.0, 6.0, 7.0]));
        assert_eq!(not_worse(&low, &high, false), "met");
        assert_eq!(not_worse(&low, &high, true), "**missed**");
        assert_eq!(not_worse(&low, &middle, true), "missed within the runs' spread");
        assert_eq!(not_worse(&low, &low, true), "met");
    }
}
