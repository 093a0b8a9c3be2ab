//! The counts of one arm, and the two arms of one window.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Requests of one arm, and how many of them were bad.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Counts {
    /// All requests.
    pub count: u64,
    /// Those that failed, or were slower than the threshold of the metric.
    pub bad: u64,
}

/// Why two numbers are not the counts of one arm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("could not count {bad} bad requests among {count}: a part is at most the whole")]
pub struct CountsError {
    /// All requests, as given.
    pub count: u64,
    /// The bad ones, as given.
    pub bad: u64,
}

impl Counts {
    /// `count` requests, of which `bad` were bad.
    ///
    /// # Errors
    /// When more requests are bad than there are.
    pub fn new(count: u64, bad: u64) -> Result<Self, CountsError> {
        let counts = Self { count, bad };
        counts.check()?;
        Ok(counts)
    }

    /// Whether [`new`](Self::new) would have let this through: the fields are open to everybody.
    pub(crate) fn check(self) -> Result<(), CountsError> {
        let Self { count, bad } = self;
        if bad > count {
            return Err(CountsError { count, bad });
        }
        Ok(())
    }

    /// The share of bad requests; `None` without requests.
    pub fn rate(self) -> Option<f64> {
        (self.count > 0).then(|| self.bad as f64 / self.count as f64)
    }

    /// The bad rate as one would guess it before seeing much: half a bad request in one request
    /// more. Never zero, so that it can stand in a logarithm.
    pub(crate) fn smoothed_rate(self) -> f64 {
        (self.bad as f64 + 0.5) / (self.count as f64 + 1.0)
    }

    /// Both together; where there are too many, as many as can be counted.
    #[must_use]
    pub fn saturating_add(self, more: Self) -> Self {
        Self {
            count: self.count.saturating_add(more.count),
            bad: self.bad.saturating_add(more.bad),
        }
    }
}

/// [`Counts`] as they arrive, before anybody looked at them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    count: u64,
    bad: u64,
}

impl TryFrom<Unchecked> for Counts {
    type Error = CountsError;

    fn try_from(Unchecked { count, bad }: Unchecked) -> Result<Self, CountsError> {
        Self::new(count, bad)
    }
}

/// Both arms of one metric in one window. Both have requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) canary: Counts,
    pub(crate) baseline: Counts,
}

/// How bad requests fall on the two arms, as shares that sum to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    pub(crate) canary: f64,
    pub(crate) baseline: f64,
}

impl Window {
    /// The window, if both arms had requests: with an empty arm there is nothing to compare.
    pub(crate) fn of(canary: Counts, baseline: Counts) -> Option<Self> {
        (canary.count > 0 && baseline.count > 0).then_some(Self { canary, baseline })
    }

    /// Where bad requests fall when the canary's rate is exactly `ratio` times the baseline's,
    /// whatever that is: rho, and 1 - rho. Each comes from its own division, because 1 - rho as a
    /// subtraction would lose every digit of a small baseline.
    pub(crate) fn split_at(&self, ratio: f64) -> Split {
        let canary = ratio * self.canary.count as f64;
        let baseline = self.baseline.count as f64;
        Split {
            canary: canary / (canary + baseline),
            baseline: baseline / (canary + baseline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_at_most_the_whole() {
        let refused = Counts::new(5, 7).unwrap_err().to_string();
        assert!(
            refused.starts_with("could not count 7 bad requests among 5"),
            "{refused}"
        );
        assert!(serde_json::from_str::<Counts>(r#"{"count":5,"bad":7}"#).is_err());
        assert_eq!(
            serde_json::from_str::<Counts>(r#"{"count":7,"bad":5}"#).unwrap(),
            Counts::new(7, 5).unwrap()
        );
    }

    #[test]
    fn a_split_keeps_its_digits_at_any_weight() {
        let one = Counts { count: 1, bad: 0 };
        let many = Counts {
            count: 1_000_000_000_000_000_000,
            bad: 0,
        };
        let almost_all_canary = Window {
            canary: many,
            baseline: one,
        };
        assert_eq!(almost_all_canary.split_at(1.0).baseline, 1e-18);
        let almost_all_baseline = Window {
            canary: one,
            baseline: many,
        };
        assert_eq!(almost_all_baseline.split_at(1.0).canary, 1e-18);
    }
}
