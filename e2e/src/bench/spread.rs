//! Repeated measurements of one thing.

/// Measurements in rising order; the unit is the caller's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest; NaN when nothing was measured.
    pub fn min(&self) -> f64 {
        self.percentile(0)
    }

    /// The middle one, the lower of two.
    pub fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.percentile(100)
    }

    /// The smallest value that `percent` of all do not exceed (nearest rank).
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Spread = (1..=100).rev().map(f64::from).collect();
        assert_eq!(hundred.min(), 1.0);
        assert_eq!(hundred.median(), 50.0);
        assert_eq!(hundred.percentile(99), 99.0);
        assert_eq!(hundred.max(), 100.0);
        let three = Spread::from_iter([3.0, 1.0, 2.0]);
        assert_eq!((three.min(), three.median(), three.percentile(99)), (1.0, 2.0, 3.0));
        assert!(Spread::default().median().is_nan());
    }
}
