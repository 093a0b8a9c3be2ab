//! What a report says, whatever wrote it.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Most failing cases that a [`TestReport`] lists; [`Totals`] counts them all.
pub const FAILING_LISTED_MAX: usize = 50;

/// Longest suite, class or test name kept, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// Longest message kept, in characters.
pub const MESSAGE_CHARS_MAX: usize = 300;

/// What one file reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Tests that ran.
    Tests(TestReport),
    /// Code that ran.
    Coverage(CoverageReport),
}

/// The outcome of tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// Counted from the cases, not taken from what a suite says of itself.
    pub totals: Totals,
    /// How long the tests took, in seconds: what the outermost suite says, or else the sum of what
    /// is inside it. Finite and never negative; what is not such a number counts as zero.
    pub duration_seconds: f64,
    /// The first failing cases, [`FAILING_LISTED_MAX`] at most.
    pub failing: Vec<FailingCase>,
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

/// A test that failed or broke. All its text is one line, bounded, free of control characters and
/// terminal escapes: fit for a terminal, a log or a web page's text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingCase {
    /// The innermost suite that has a name; empty when none has.
    pub suite: String,
    /// The class, module or file that holds the test; empty when the report does not say.
    pub classname: String,
    /// The test; empty when the suite itself broke.
    pub name: String,
    /// The first line of the message; empty when there is none.
    pub message: String,
}

/// How much of the code ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageReport {
    /// Lines that can run.
    pub lines: Ratio,
    /// Ways out of a condition.
    pub branches: Ratio,
}

/// `covered` of `valid`; never more than all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    /// How many ran.
    pub covered: u64,
    /// How many there are; zero when nothing was measured.
    pub valid: u64,
}

impl Ratio {
    /// `covered` of `valid`, where a claim of more than all counts as all.
    #[must_use]
    pub fn new(covered: u64, valid: u64) -> Self {
        let covered = covered.min(valid);
        Self { covered, valid }
    }
}

impl AddAssign for Ratio {
    fn add_assign(&mut self, other: Self) {
        self.covered = self.covered.saturating_add(other.covered);
        self.valid = self.valid.saturating_add(other.valid);
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

/// The tests of both reports. A test that both of them hold counts twice.
impl AddAssign for TestReport {
    fn add_assign(&mut self, other: Self) {
        self.totals += other.totals;
        self.duration_seconds += other.duration_seconds;
        let room = FAILING_LISTED_MAX.saturating_sub(self.failing.len());
        self.failing.extend(other.failing.into_iter().take(room));
    }
}

/// The code of both reports. A line that both of them hold counts twice.
impl AddAssign for CoverageReport {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.branches += other.branches;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_never_covers_more_than_all() {
        assert_eq!(Ratio::new(3, 2), Ratio::new(2, 2));
    }

    #[test]
    fn adding_reports_adds_their_counts_and_keeps_the_list_bounded() {
        let part = TestReport {
            totals: Totals {
                tests: 40,
                failed: 40,
                ..Totals::default()
            },
            duration_seconds: 1.5,
            failing: vec![FailingCase::default(); 40],
        };
        let mut sum = part.clone();
        sum += part;
        assert_eq!((sum.totals.tests, sum.totals.failed), (80, 80));
        assert_eq!(sum.duration_seconds, 3.0);
        assert_eq!(sum.failing.len(), FAILING_LISTED_MAX);
    }
}
