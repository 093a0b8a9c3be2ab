//! What a report of tests says.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::text;

/// Most failing tests that a [`TestReport`] lists; [`Totals`] counts them all.
pub const FAILING_LISTED_MAX: usize = 10_000;

/// Most tests that did not fail that a [`TestReport`] lists.
pub const OTHERS_LISTED_MAX: usize = 10_000;

/// Most suites that a [`TestReport`] counts by name; those beyond share the name
/// [`OTHER_SUITES`].
pub const SUITES_MAX: usize = 20_000;

/// The name under which suites beyond [`SUITES_MAX`] are counted.
pub const OTHER_SUITES: &str = "(other suites)";

/// Longest suite, class or test name kept, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// Longest message kept, in characters.
pub const MESSAGE_CHARS_MAX: usize = 300;

/// Most bytes of text of the tests listed as failing, and as many of the others.
const LISTED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How a test ended, the worst last.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It passed, at the first attempt or at a later one.
    #[default]
    Passed,
    /// It did not run.
    Skipped,
    /// It failed an assertion at every attempt.
    Failed,
    /// It broke, or could not be set up or torn down.
    Errored,
}

impl Outcome {
    /// Whether it failed or broke.
    #[must_use]
    pub fn is_failing(self) -> bool {
        self >= Self::Failed
    }
}

/// One test. All its text is one line, bounded, free of control characters and terminal escapes:
/// fit for a terminal, a log or a web page's text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TestCase {
    /// The innermost suite that has a name; empty when none has.
    pub suite: String,
    /// The class, module or file that holds the test; empty when the report does not say.
    pub classname: String,
    /// The test; empty when the suite itself broke.
    pub name: String,
    /// Why it failed or was skipped: the first line; empty when the report does not say.
    pub message: String,
    /// How it ended.
    pub outcome: Outcome,
    /// It failed before it passed.
    pub flaky: bool,
    /// How long it took, in seconds, finite and never negative; None when the report does not say.
    pub seconds: Option<f64>,
}

impl TestCase {
    /// A test of these names, each made fit to print.
    #[must_use]
    pub fn named(suite: &str, classname: &str, name: &str) -> Self {
        let [suite, classname, name] =
            [suite, classname, name].map(|part| text::line(part, NAME_CHARS_MAX));
        Self {
            suite,
            classname,
            name,
            ..Self::default()
        }
    }

    /// The same test with its message, made fit to print.
    #[must_use]
    pub fn saying(mut self, message: &str) -> Self {
        self.message = text::line(message, MESSAGE_CHARS_MAX);
        self
    }

    /// The same test's name in every run: suite, class and name, joined by `::`. What is empty, and
    /// a class that repeats its suite, is left out.
    #[must_use]
    pub fn id(&self) -> String {
        let classname = Some(&self.classname).filter(|class| **class != self.suite);
        let parts = [Some(&self.suite), classname, Some(&self.name)];
        let parts = parts.into_iter().flatten().filter(|part| !part.is_empty());
        let parts: Vec<_> = parts.map(String::as_str).collect();
        parts.join("::")
    }

    /// What holds the test, for counting: its class, else its suite.
    #[must_use]
    pub fn group(&self) -> &str {
        match self.classname.is_empty() {
            true => &self.suite,
            false => &self.classname,
        }
    }

    fn text_bytes(&self) -> usize {
        self.suite.len() + self.classname.len() + self.name.len() + self.message.len()
    }
}

/// The outcome of tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// Counted from the cases, not taken from what a suite says of itself.
    pub totals: Totals,
    /// How long the tests took, in seconds: what the outermost suite says, or else the sum of what
    /// is inside it. Finite and never negative; what is not such a number counts as zero.
    pub duration_seconds: f64,
    /// The first failing tests, [`FAILING_LISTED_MAX`] at most.
    pub failing: Vec<TestCase>,
    /// The first of the others, [`OTHERS_LISTED_MAX`] at most.
    pub others: Vec<TestCase>,
    /// How many tests ran (were not skipped), by [`TestCase::group`]; [`SUITES_MAX`] names at most.
    pub suites: BTreeMap<String, u64>,
    /// The text of `failing` and of `others`, in bytes.
    #[serde(skip)]
    listed_bytes: [usize; 2],
}

/// How many tests ended in which way. `tests` is the sum of passed, failed, errors and skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All tests.
    pub tests: u64,
    /// Tests that passed, at the first attempt or at a later one.
    pub passed: u64,
    /// Tests that failed an assertion at every attempt.
    pub failed: u64,
    /// Tests that broke, or could not be set up or torn down.
    pub errors: u64,
    /// Tests that did not run.
    pub skipped: u64,
    /// Those of `passed` that failed before they passed.
    pub flaky: u64,
}

impl Totals {
    /// Of one test.
    pub(crate) fn of(case: &TestCase) -> Self {
        let is = |outcome| u64::from(case.outcome == outcome);
        Self {
            tests: 1,
            passed: is(Outcome::Passed),
            failed: is(Outcome::Failed),
            errors: is(Outcome::Errored),
            skipped: is(Outcome::Skipped),
            flaky: is(Outcome::Passed) * u64::from(case.flaky),
        }
    }

    /// Tests that failed or broke. A report may claim any number.
    #[must_use]
    pub fn failing(&self) -> u64 {
        self.failed.saturating_add(self.errors)
    }

    /// Tests that ran.
    #[must_use]
    pub fn ran(&self) -> u64 {
        self.tests.saturating_sub(self.skipped)
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        for (sum, part) in [
            (&mut self.tests, other.tests),
            (&mut self.passed, other.passed),
            (&mut self.failed, other.failed),
            (&mut self.errors, other.errors),
            (&mut self.skipped, other.skipped),
            (&mut self.flaky, other.flaky),
        ] {
            *sum = sum.saturating_add(part);
        }
    }
}

impl TestReport {
    /// Counts a test, and lists it as far as there is room; false when there is none.
    pub fn count(&mut self, case: TestCase) -> bool {
        self.totals += Totals::of(&case);
        if case.outcome != Outcome::Skipped {
            self.ran(case.group(), 1);
        }
        self.list(case)
    }

    /// Counts tests that are known by their number only; `told` is listed and says so.
    pub fn count_unlisted(&mut self, totals: Totals, told: TestCase) {
        self.totals += totals;
        self.ran(told.group(), totals.ran());
        self.list(told);
    }

    /// Lists a test that has been counted, as far as there is room; false when there is none.
    pub fn list(&mut self, case: TestCase) -> bool {
        self.offer(case).is_none()
    }

    /// Lists a test that has been counted, or gives it back when there is no room.
    pub(crate) fn offer(&mut self, case: TestCase) -> Option<TestCase> {
        let [failing, others] = &mut self.listed_bytes;
        let (list, bytes, max) = match case.outcome.is_failing() {
            true => (&mut self.failing, failing, FAILING_LISTED_MAX),
            false => (&mut self.others, others, OTHERS_LISTED_MAX),
        };
        let sum = bytes.saturating_add(case.text_bytes());
        if list.len() >= max || sum > LISTED_BYTES_MAX {
            return Some(case);
        }
        *bytes = sum;
        list.push(case);
        None
    }

    /// Counts tests of one group that ran.
    pub(crate) fn ran(&mut self, group: &str, tests: u64) {
        if let Some(sum) = self.suites.get_mut(group) {
            *sum = sum.saturating_add(tests);
            return;
        }
        let is_full = self.suites.len() >= SUITES_MAX;
        let name = if is_full { OTHER_SUITES } else { group };
        let sum = self.suites.entry(name.to_owned()).or_default();
        *sum = sum.saturating_add(tests);
    }
}

/// The tests of both reports. A test that both of them hold counts twice: it ran twice.
impl AddAssign for TestReport {
    fn add_assign(&mut self, other: Self) {
        self.totals += other.totals;
        self.duration_seconds += other.duration_seconds;
        for case in other.failing.into_iter().chain(other.others) {
            self.list(case);
        }
        for (group, tests) in other.suites {
            self.ran(&group, tests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_reports_adds_their_counts_and_keeps_the_lists_bounded() {
        let failed = TestCase {
            outcome: Outcome::Failed,
            ..TestCase::default()
        };
        let mut part = TestReport {
            duration_seconds: 1.5,
            ..TestReport::default()
        };
        (part.totals.tests, part.totals.failed) = (40, 40);
        part.ran("a", 40);
        for _ in 0..FAILING_LISTED_MAX - 1 {
            assert!(part.list(failed.clone()));
        }
        for _ in 0..3 {
            assert!(part.list(TestCase::default()));
        }
        let mut sum = part.clone();
        sum += part;
        assert_eq!((sum.totals.tests, sum.totals.failing()), (80, 80));
        assert_eq!(sum.duration_seconds, 3.0);
        assert_eq!(sum.failing.len(), FAILING_LISTED_MAX);
        assert_eq!(sum.others.len(), 6);
        assert_eq!(sum.suites["a"], 80);
    }

    #[test]
    fn the_text_of_all_listed_tests_is_bounded() {
        let mut report = TestReport::default();
        let long = "ä".repeat(1_000);
        while report.list(TestCase::named(&long, &long, &long)) {}
        assert!(report.others.len() < OTHERS_LISTED_MAX / 2);
        let bytes: usize = report.others.iter().map(TestCase::text_bytes).sum();
        assert!(bytes <= LISTED_BYTES_MAX);
    }

    #[test]
    fn suites_beyond_the_bound_are_counted_together() {
        let mut report = TestReport::default();
        for number in 0..SUITES_MAX + 2 {
            report.ran(&number.to_string(), 1);
        }
        assert_eq!(report.suites.len(), SUITES_MAX + 1);
        assert_eq!(report.suites[OTHER_SUITES], 2);
    }

    #[test]
    fn an_id_names_each_part_once() {
        for (suite, classname, name, id) in [
            ("shop", "cart.Cart", "adds", "shop::cart.Cart::adds"),
            ("cart.Cart", "cart.Cart", "adds", "cart.Cart::adds"),
            ("", "", "adds", "adds"),
            ("db", "", "", "db"),
        ] {
            assert_eq!(TestCase::named(suite, classname, name).id(), id);
        }
    }
}
