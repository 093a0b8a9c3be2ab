//! Adds up tests that are in suites that are in suites, for the formats in which a suite says of
//! itself whether it failed.

use crate::case::{TestCase, TestReport};
use crate::tally::Tally;

/// The tests so far and the suites that are open.
///
/// Of what a suite says of itself, one thing is believed: that it failed, when none of the tests in
/// it did. So a set-up or a clean-up that broke counts once, and is not counted again by each of
/// the suites around it.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    tally: Tally,
    open: Vec<Level>,
    /// How many failing tests and failed suites were counted.
    failing: u64,
    /// The time taken outside of all open suites.
    seconds: f64,
}

/// An open suite.
#[derive(Debug)]
struct Level {
    /// The time it gives itself.
    seconds: Option<f64>,
    /// The sum of what is inside.
    seconds_inside: f64,
    /// How much had failed when it began.
    failing_before: u64,
}

/// What a suite says of itself.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// How many of its tests failed.
    pub(crate) failed: u64,
    /// How many of its tests broke.
    pub(crate) errors: u64,
    /// What is listed when nothing in it failed.
    pub(crate) told: TestCase,
}

impl Nesting {
    /// A suite begins, and says that it took so long.
    pub(crate) fn open(&mut self, seconds: Option<f64>) {
        self.open.push(Level {
            seconds,
            seconds_inside: 0.0,
            failing_before: self.failing,
        });
    }

    /// Counts a test of the innermost open suite. There are no retries among such tests.
    pub(crate) fn count(&mut self, case: TestCase) {
        self.failing += u64::from(case.outcome.is_failing());
        self.took(case.seconds.unwrap_or(0.0));
        self.tally.count(None, case);
    }

    /// The innermost open suite ends.
    pub(crate) fn close(&mut self, claim: Claim) {
        let Some(level) = self.open.pop() else { return };
        let Claim {
            failed,
            errors,
            told,
        } = claim;
        if self.failing == level.failing_before && (failed, errors) != (0, 0) {
            self.failing += 1;
            self.tally.count_unlisted(failed, errors, told);
        }
        self.took(level.seconds.unwrap_or(level.seconds_inside));
    }

    pub(crate) fn finish(self) -> TestReport {
        self.tally.finish(self.seconds)
    }

    /// Adds a time to the innermost open suite, or to the whole.
    fn took(&mut self, seconds: f64) {
        let sum = match self.open.last_mut() {
            Some(level) => &mut level.seconds_inside,
            None => &mut self.seconds,
        };
        *sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Outcome;

    fn claim() -> Claim {
        Claim {
            errors: 1,
            told: TestCase {
                outcome: Outcome::Errored,
                ..TestCase::default()
            },
            ..Claim::default()
        }
    }

    fn test(outcome: Outcome) -> TestCase {
        TestCase {
            outcome,
            seconds: Some(1.5),
            ..TestCase::default()
        }
    }

    #[test]
    fn a_suite_that_failed_counts_once_and_only_when_nothing_in_it_did() {
        for (inside, errors) in [
            (None, 1),
            (Some(Outcome::Passed), 1),
            (Some(Outcome::Failed), 0),
        ] {
            let mut nesting = Nesting::default();
            nesting.open(None);
            nesting.open(None);
            inside
                .into_iter()
                .for_each(|outcome| nesting.count(test(outcome)));
            nesting.close(claim());
            nesting.close(claim());
            assert_eq!(nesting.finish().totals.errors, errors, "{inside:?}");
        }
    }

    #[test]
    fn the_duration_is_the_outermost_that_is_given() {
        for (outer, inner, seconds) in [
            (Some(9.0), Some(4.0), 9.0),
            (None, Some(4.0), 4.0),
            (None, None, 1.5),
        ] {
            let mut nesting = Nesting::default();
            nesting.open(outer);
            nesting.open(inner);
            nesting.count(test(Outcome::Passed));
            nesting.close(Claim::default());
            nesting.close(Claim::default());
            assert_eq!(nesting.finish().duration_seconds, seconds);
        }
    }
}
