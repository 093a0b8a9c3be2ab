//! Numbers that were measured, and what is said of them.

/// Some numbers, at least one, in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// A sample of these numbers in any order; `None` when there are none.
    pub fn new(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then_some(Self(sorted))
    }

    /// What `of` is of `to`, pair by pair: what slowed a whole round down slowed both of a pair.
    pub fn of_ratios(of: &[f64], to: &[f64]) -> Option<Self> {
        Self::new(of.iter().zip(to).map(|(of, to)| of / to))
    }

    /// How many numbers there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.0[0]
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.0[self.count() - 1]
    }

    /// The one in the middle, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let (below, above) = ((self.count() - 1) / 2, self.count() / 2);
        self.0[below].midpoint(self.0[above])
    }

    /// The smallest number that at least nine of ten numbers do not exceed (nearest rank).
    pub fn p90(&self) -> f64 {
        self.0[(self.count() * 9).div_ceil(10) - 1]
    }

    /// The smallest number that at least 99 of 100 numbers do not exceed (nearest rank).
    pub fn p99(&self) -> f64 {
        self.0[(self.count() * 99).div_ceil(100) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<const N: usize>(numbers: [f64; N]) -> Sample {
        Sample::new(numbers).unwrap()
    }

    #[test]
    fn no_numbers_are_no_sample() {
        assert_eq!(Sample::new([]), None);
        assert_eq!(Sample::of_ratios(&[], &[1.0]), None);
    }

    #[test]
    fn a_median_has_as_many_numbers_below_as_above() {
        assert_eq!(sample([7.0]).median(), 7.0);
        assert_eq!(sample([9.0, 1.0]).median(), 5.0);
        assert_eq!(sample([9.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(sample([9.0, 4.0, 1.0, 2.0]).median(), 3.0);
    }

    #[test]
    fn nine_of_ten_numbers_do_not_exceed_p90() {
        for count in 1..=50_u32 {
            let descending = (1..=count).rev().map(f64::from);
            let sample = Sample::new(descending).unwrap();
            let within = |limit: f64| {
                f64::from((1..=count).filter(|n| f64::from(*n) <= limit).count() as u32)
            };
            let needed = 0.9 * f64::from(count);
            assert!(within(sample.p90()) >= needed, "{count}");
            assert!(within(sample.p90() - 1.0) < needed, "{count}");
        }
    }

    #[test]
    fn min_and_max_bound_every_number() {
        let sample = sample([3.0, -1.0, 2.0]);
        assert_eq!((sample.min(), sample.max(), sample.count()), (-1.0, 3.0, 3));
    }

    #[test]
    fn a_round_that_was_slow_for_both_changes_no_ratio() {
        let ratios = Sample::of_ratios(&[2.0, 2.0, 200.0], &[1.0, 1.0, 100.0]).unwrap();
        assert_eq!(
            (ratios.min(), ratios.median(), ratios.max()),
            (2.0, 2.0, 2.0)
        );
    }
}
