//! Counts cases into a [`TestReport`], for the formats that report tests.

use std::collections::HashMap;

use crate::limits::RETRIES_REMEMBERED_MAX;
use crate::report::{FAILING_LISTED_MAX, FailingCase, TestReport, Totals};

/// How a test ended, the worst last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    #[default]
    Passed,
    Skipped,
    Failed,
    Errored,
}

impl Outcome {
    pub(crate) fn is_failing(self) -> bool {
        self >= Self::Failed
    }
}

/// One case of a report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) outcome: Outcome,
    /// It failed before it passed.
    pub(crate) flaky: bool,
    /// The same for all attempts at one test, and for nothing else; None for a test that cannot be
    /// told from others.
    pub(crate) identity: Option<u64>,
    /// What to list of it when it fails.
    pub(crate) told: FailingCase,
}

/// The sum of the cases so far.
///
/// A case whose test has failed before is a retry of it: when it passes the test has passed and is
/// flaky, else nothing changes. A case whose test has passed before is another test: names repeat
/// where tests are generated, and a failure must not hide behind a pass that came first.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    totals: Totals,
    cases: u64,
    /// The tests that have failed so far and not passed since.
    failed: HashMap<u64, Outcome>,
    listed: Vec<(Option<u64>, FailingCase)>,
}

impl Tally {
    /// How many cases were counted, retries included.
    pub(crate) fn cases(&self) -> u64 {
        self.cases
    }

    pub(crate) fn count(&mut self, case: Case) {
        self.cases += 1;
        if let Some(identity) = case.identity
            && let Some(&before) = self.failed.get(&identity)
        {
            if case.outcome == Outcome::Passed {
                self.forgive(identity, before);
            }
            return;
        }
        self.totals.tests = self.totals.tests.saturating_add(1);
        match case.outcome {
            Outcome::Passed => {
                self.totals.passed = self.totals.passed.saturating_add(1);
                self.totals.flaky += u64::from(case.flaky);
            }
            Outcome::Skipped => self.totals.skipped = self.totals.skipped.saturating_add(1),
            Outcome::Failed => self.totals.failed = self.totals.failed.saturating_add(1),
            Outcome::Errored => self.totals.errors = self.totals.errors.saturating_add(1),
        }
        if case.outcome.is_failing() {
            // Beyond the bound a retry is not recognised, and its test stays failed.
            if let Some(identity) = case.identity
                && self.failed.len() < RETRIES_REMEMBERED_MAX
            {
                self.failed.insert(identity, case.outcome);
            }
            self.list(case.identity, case.told);
        }
    }

    /// Counts failing tests that are known by their number only.
    pub(crate) fn count_unlisted(&mut self, failed: u64, errors: u64, told: FailingCase) {
        self.cases += 1;
        self.totals += Totals {
            tests: failed.saturating_add(errors),
            failed,
            errors,
            ..Totals::default()
        };
        self.list(None, told);
    }

    pub(crate) fn finish(self, duration_seconds: f64) -> TestReport {
        TestReport {
            totals: self.totals,
            duration_seconds,
            failing: self.listed.into_iter().map(|(_, told)| told).collect(),
        }
    }

    fn list(&mut self, identity: Option<u64>, told: FailingCase) {
        if self.listed.len() < FAILING_LISTED_MAX {
            self.listed.push((identity, told));
        }
    }

    /// A test that had failed has passed.
    fn forgive(&mut self, identity: u64, before: Outcome) {
        match before {
            Outcome::Failed => self.totals.failed -= 1,
            Outcome::Errored => self.totals.errors -= 1,
            Outcome::Passed | Outcome::Skipped => return,
        }
        self.totals.passed = self.totals.passed.saturating_add(1);
        self.totals.flaky = self.totals.flaky.saturating_add(1);
        self.failed.remove(&identity);
        self.listed.retain(|(listed, _)| *listed != Some(identity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FAILED: Outcome = Outcome::Failed;
    const PASSED: Outcome = Outcome::Passed;

    fn totals(outcomes: &[Outcome]) -> Totals {
        let mut tally = Tally::default();
        for &outcome in outcomes {
            let identity = Some(1);
            tally.count(Case {
                outcome,
                identity,
                ..Case::default()
            });
        }
        tally.finish(0.0).totals
    }

    #[test]
    fn a_retry_that_passes_makes_the_test_passed_and_flaky() {
        let flaky = Totals {
            tests: 1,
            passed: 1,
            flaky: 1,
            ..Totals::default()
        };
        assert_eq!(totals(&[FAILED, PASSED]), flaky);
        assert_eq!(totals(&[FAILED, Outcome::Errored, PASSED]), flaky);
    }

    #[test]
    fn a_test_that_fails_at_every_attempt_failed_once() {
        let failed = Totals {
            tests: 1,
            failed: 1,
            ..Totals::default()
        };
        assert_eq!(totals(&[FAILED, FAILED, Outcome::Skipped]), failed);
    }

    #[test]
    fn a_failure_does_not_hide_behind_a_pass_that_came_first() {
        let totals = totals(&[PASSED, FAILED]);
        assert_eq!((totals.tests, totals.passed, totals.failed), (2, 1, 1));
    }

    #[test]
    fn a_forgiven_test_is_no_longer_listed() {
        let mut tally = Tally::default();
        for (identity, outcome) in [(1, FAILED), (2, FAILED), (1, PASSED)] {
            let mut case = Case {
                outcome,
                identity: Some(identity),
                ..Case::default()
            };
            case.told.name = identity.to_string();
            tally.count(case);
        }
        let report = tally.finish(0.0);
        let names: Vec<_> = report.failing.iter().map(|case| &case.name).collect();
        assert_eq!(names, ["2"]);
    }

    proptest! {
        #[test]
        fn the_parts_always_sum_to_the_tests(
            cases in prop::collection::vec(
                (0..4usize, any::<bool>(), prop::option::of(0..5u64)),
                0..200,
            ),
        ) {
            let outcomes = [PASSED, Outcome::Skipped, FAILED, Outcome::Errored];
            let mut tally = Tally::default();
            for (outcome, flaky, identity) in cases {
                let outcome = outcomes[outcome];
                tally.count(Case { outcome, flaky, identity, ..Case::default() });
            }
            let report = tally.finish(0.0);
            let Totals { tests, passed, failed, errors, skipped, flaky } = report.totals;
            prop_assert_eq!(tests, passed + failed + errors + skipped);
            prop_assert!(flaky <= passed);
            prop_assert!(report.failing.len() as u64 <= failed + errors);
            prop_assert_eq!(report.failing.is_empty(), failed + errors == 0);
        }
    }
}
