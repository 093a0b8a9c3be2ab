//! Counts cases into a [`TestReport`], for the formats that report tests.

use std::collections::{BTreeSet, HashMap};
use std::mem;

use crate::case::{OTHER_SUITES, Outcome, SUITES_MAX, TestCase, TestReport, Totals};
use crate::limits::RETRIES_REMEMBERED_MAX;

/// The sum of the cases so far.
///
/// A case whose test has failed before is a retry of it: when it passes the test has passed and is
/// flaky, else nothing changes. A case whose test has passed before is another test: names repeat
/// where tests are generated, and a failure must not hide behind a pass that came first.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    report: TestReport,
    /// The tests that have failed so far and not passed since.
    failed: HashMap<u64, Failed>,
    /// The tests that have failed and passed since.
    forgiven: HashMap<u64, Forgiven>,
    /// Where in the report's list of failing tests are those that were forgiven more than once.
    forgiven_again: Vec<usize>,
    /// What becomes the report's `suites`, where it is quicker to find.
    ran: HashMap<String, u64>,
}

/// A test that has failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    outcome: Outcome,
    /// Its place in the report's list.
    listed: Option<usize>,
}

/// A test that has failed and then passed.
#[derive(Debug)]
struct Forgiven {
    failed: Failed,
    /// The place of its pass in the report's list of the others.
    pass: Option<usize>,
}

impl Tally {
    /// Counts a case. `identity` is the same for all attempts at one test, and for nothing else;
    /// None for a test that cannot be told from others.
    pub(crate) fn count(&mut self, identity: Option<u64>, case: TestCase) {
        self.count_reusing(identity, case);
    }

    /// The same. Gives back a case that it did not list, as its memory can serve the next one.
    pub(crate) fn count_reusing(
        &mut self,
        identity: Option<u64>,
        case: TestCase,
    ) -> Option<TestCase> {
        if let Some(identity) = identity
            && let Some(failed) = self.failed.get(&identity)
        {
            let is_retry = case.outcome != Outcome::Passed;
            // Beyond the bound a test that has failed stays failed.
            if is_retry || self.forgiven.len() >= RETRIES_REMEMBERED_MAX {
                return Some(case);
            }
            let failed = *failed;
            self.failed.remove(&identity);
            return self.forgive(identity, failed, case);
        }
        let outcome = case.outcome;
        self.report.totals += Totals::of(&case);
        if outcome != Outcome::Skipped {
            self.ran(case.group(), 1);
        }
        let place = self.report.failing.len();
        let spare = self.report.offer(case);
        let listed = spare.is_none().then_some(place);
        // Beyond the bound a retry is not recognised, and its test stays failed.
        if let Some(identity) = identity
            && outcome.is_failing()
            && self.failed.len() < RETRIES_REMEMBERED_MAX
        {
            self.failed.insert(identity, Failed { outcome, listed });
        }
        spare
    }

    /// Takes back that a test was flaky: there is one more case of its identity than a test and its
    /// retries have, so that each is a test of its own.
    pub(crate) fn unforgive(&mut self, identity: u64) {
        let Some(Forgiven { failed, pass }) = self.forgiven.remove(&identity) else {
            return;
        };
        let totals = &mut self.report.totals;
        match failed.outcome {
            Outcome::Failed => totals.failed += 1,
            Outcome::Errored => totals.errors += 1,
            Outcome::Passed | Outcome::Skipped => return,
        }
        totals.tests += 1;
        totals.flaky -= 1;
        if let Some(pass) = pass.and_then(|place| self.report.others.get_mut(place)) {
            pass.flaky = false;
            let group = pass.group().to_owned();
            self.ran(&group, 1);
        }
    }

    /// Counts failing tests that are known by their number only.
    pub(crate) fn count_unlisted(&mut self, failed: u64, errors: u64, told: TestCase) {
        let totals = Totals {
            tests: failed.saturating_add(errors),
            failed,
            errors,
            ..Totals::default()
        };
        self.report.totals += totals;
        self.ran(told.group(), totals.tests);
        self.report.list(told);
    }

    pub(crate) fn finish(self, duration_seconds: f64) -> TestReport {
        let Self {
            mut report,
            forgiven,
            forgiven_again,
            ran,
            ..
        } = self;
        report.suites = ran.into_iter().collect();
        report.duration_seconds = duration_seconds;
        let forgiven = forgiven.into_values();
        let forgiven: BTreeSet<_> = forgiven
            .filter_map(|test| test.failed.listed)
            .chain(forgiven_again)
            .collect();
        if !forgiven.is_empty() {
            let failing = mem::take(&mut report.failing).into_iter().enumerate();
            let failing = failing.filter(|(place, _)| !forgiven.contains(place));
            report.failing = failing.map(|(_, case)| case).collect();
        }
        report
    }

    /// Counts tests of one group that ran, as [`TestReport::ran`] does.
    fn ran(&mut self, group: &str, tests: u64) {
        if let Some(sum) = self.ran.get_mut(group) {
            *sum = sum.saturating_add(tests);
            return;
        }
        let is_full = self.ran.len() >= SUITES_MAX;
        let name = if is_full { OTHER_SUITES } else { group };
        let sum = self.ran.entry(name.to_owned()).or_default();
        *sum = sum.saturating_add(tests);
    }

    /// A test that had failed has passed, as `case` says.
    fn forgive(&mut self, identity: u64, failed: Failed, case: TestCase) -> Option<TestCase> {
        let totals = &mut self.report.totals;
        match failed.outcome {
            Outcome::Failed => totals.failed -= 1,
            Outcome::Errored => totals.errors -= 1,
            Outcome::Passed | Outcome::Skipped => return Some(case),
        }
        totals.passed += 1;
        totals.flaky += 1;
        let place = self.report.others.len();
        let spare = self.report.offer(TestCase {
            flaky: true,
            ..case
        });
        let pass = spare.is_none().then_some(place);
        let before = self.forgiven.insert(identity, Forgiven { failed, pass });
        self.forgiven_again
            .extend(before.and_then(|before| before.failed.listed));
        spare
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
            let case = TestCase {
                outcome,
                ..TestCase::default()
            };
            tally.count(Some(1), case);
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
            let case = TestCase {
                outcome,
                name: identity.to_string(),
                ..TestCase::default()
            };
            tally.count(Some(identity), case);
        }
        let report = tally.finish(0.0);
        let names: Vec<_> = report.failing.iter().map(|case| &case.name).collect();
        assert_eq!(names, ["2"]);
        let passed: Vec<_> = report
            .others
            .iter()
            .map(|case| (&case.name[..], case.flaky))
            .collect();
        assert_eq!(passed, [("1", true)]);
    }

    #[test]
    fn what_ran_is_counted_by_group_as_the_report_itself_does() {
        let (mut tally, mut expected) = (Tally::default(), TestReport::default());
        for number in (0..SUITES_MAX + 2).chain(0..3) {
            tally.ran(&number.to_string(), 2);
            expected.ran(&number.to_string(), 2);
        }
        assert!(tally.finish(0.0).suites == expected.suites);
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
                tally.count(identity, TestCase { outcome, flaky, ..TestCase::default() });
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
