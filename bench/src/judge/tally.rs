//! What came of many releases.

use crate::sample::Sample;

use super::release::{Ending, Outcome};

/// The outcomes of one contender in one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// All of them.
    pub releases: u32,
    /// Those that ended at 100 %.
    pub promoted: u32,
    /// Those that were taken back because the canary looked worse.
    pub rolled_back: u32,
    /// Those that were taken back for want of requests.
    pub gave_up: u32,
    /// Requests that met a harmful canary, release by release.
    pub exposed: Option<Sample>,
    /// Minutes to 100 %, of those that were promoted.
    pub minutes: Option<Sample>,
}

impl Tally {
    /// Counts outcomes.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let ended = |ending| outcomes.iter().filter(move |o| o.ending == ending);
        let count = |ending| u32::try_from(ended(ending).count()).unwrap_or(u32::MAX);
        Self {
            releases: u32::try_from(outcomes.len()).unwrap_or(u32::MAX),
            promoted: count(Ending::Promoted),
            rolled_back: count(Ending::RolledBack),
            gave_up: count(Ending::GaveUp),
            exposed: Sample::new(outcomes.iter().map(|o| o.exposed)),
            minutes: Sample::new(ended(Ending::Promoted).map(|o| f64::from(o.minutes))),
        }
    }

    /// The part that was rolled back.
    pub fn rolled_back(&self) -> Part {
        Part {
            hits: self.rolled_back,
            of: self.releases,
        }
    }
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// So many.
    pub hits: u32,
    /// Of so many.
    pub of: u32,
}

/// The 0.975 quantile of the normal law.
const QUANTILE: f64 = 1.959_963_984_540_054;

impl Part {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            of: self.of + other.of,
        }
    }

    /// In per cent; 0 of 0 is 0.
    pub fn percent(self) -> f64 {
        100.0 * f64::from(self.hits) / f64::from(self.of.max(1))
    }

    /// The 95 % confidence interval of the part, in per cent (Wilson 1927).
    pub fn interval(self) -> (f64, f64) {
        let n = f64::from(self.of.max(1));
        let p = f64::from(self.hits) / n;
        let z2 = QUANTILE * QUANTILE / n;
        let centre = p + z2 / 2.0;
        let spread = (p * (1.0 - p) * z2 + z2 * z2 / 4.0).sqrt();
        let end = |x: f64| 100.0 * (x / (1.0 + z2)).clamp(0.0, 1.0);
        (end(centre - spread), end(centre + spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ending: Ending, minutes: u32, exposed: f64) -> Outcome {
        Outcome {
            ending,
            minutes,
            exposed,
        }
    }

    #[test]
    fn every_release_is_counted_once() {
        let tally = Tally::of(&[
            outcome(Ending::Promoted, 30, 0.0),
            outcome(Ending::RolledBack, 5, 10.0),
            outcome(Ending::GaveUp, 17, 0.0),
            outcome(Ending::Promoted, 12, 50.0),
        ]);
        assert_eq!((tally.releases, tally.promoted), (4, 2));
        assert_eq!((tally.rolled_back, tally.gave_up), (1, 1));
        assert_eq!(tally.minutes, Sample::new([12.0, 30.0]));
        assert_eq!(tally.exposed.unwrap().max(), 50.0);
    }

    /// `statsmodels.stats.proportion.proportion_confint(k, n, method="wilson")`
    #[test]
    fn intervals_are_those_of_wilson() {
        for (hits, of, low, high) in [
            (0, 100, 0.0, 3.699_350),
            (1, 1000, 0.017_655, 0.564_256),
            (50, 100, 40.383_153, 59.616_847),
        ] {
            let (seen_low, seen_high) = Part { hits, of }.interval();
            assert!((seen_low - low).abs() < 1e-5, "{hits}/{of}: {seen_low}");
            assert!((seen_high - high).abs() < 1e-5, "{hits}/{of}: {seen_high}");
        }
    }
}
