//! JUnit's XML, in the dialects of Surefire, Gradle, pytest, unittest, nextest, Node, Jest,
//! PHPUnit, GoogleTest, Catch2, CTest, TestNG and others. There is no binding schema; it is read
//! like this:
//!
//! - The root is `testsuites` or `testsuite`; suites and cases may nest in any way.
//! - The cases are counted. What a suite says of itself (`tests="7"`) is ignored, as tools disagree
//!   on what it includes, with one exception: a suite that says it had failures or errors, and in
//!   which nothing tells of one, is believed. A claim of failure counts, a claim of success does not.
//! - A case is one test with its worst outcome: an error, else a failure, else skipped, else passed.
//!   A `status` or `result` attribute counts like the element would; a word that is not known counts
//!   for nothing, as a case that says nothing has passed.
//! - Three writers mean another thing than they write, see `Mark::of`: Catch2 writes what may fail
//!   as skipped and failed, CTest what it could not run as skipped, old TestNG a skip as an error.
//! - A failure or error directly in a suite (a broken set-up) counts as one case without a name.
//! - `flakyFailure` and `flakyError` (Surefire, nextest): the test passed in the end and is flaky.
//!   `rerunFailure` and `rerunError` are further attempts of a test that failed once.
//! - A case in the same suite element, with the class, name and file of an earlier one that failed, is
//!   a retry of it (gotestsum, Gradle's retry plugin). See [`Tally`] for what follows. Retries end
//!   with the first that passes, so where a case comes after one that passed, its name is one that
//!   repeats, as generated tests have it: then each case is a test of its own.
//! - A `timestamp` says when a suite began, and a `property` of a suite that is called `commit`,
//!   `git.commit`, `git_commit` or `revision` which commit it is of.
//! - What a test printed is skipped.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;

use quick_xml::Error;

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, NAME_CHARS_MAX, Outcome, TestCase};
use crate::error::ReadError;
use crate::limits::PASSED_REMEMBERED_MAX;
use crate::report::{Content, Parsed, Provenance};
use crate::tally::Tally;
use crate::text::{self, Beginning};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "junit",
    sniff,
    read,
};

const ROOTS: &[&str] = &["testsuites", "testsuite"];

/// Longest time that is believed, in seconds: 100 years.
const SECONDS_MAX: f64 = 100.0 * 365.25 * 24.0 * 3600.0;

/// Properties that name the commit.
const COMMIT_PROPERTIES: &[&str] = &["commit", "git.commit", "git_commit", "revision"];

/// What Catch2 writes as skipped beside the failures of a test that is tagged `[!mayfail]` or
/// `[!shouldfail]`.
const CATCH2_MAY_FAIL: &str = "TEST_CASE tagged with !mayfail";

/// Why CTest could not run a test (`cmCTestRunTest`): it writes such a test as skipped and counts it
/// as failed. Those it skips itself say which property asked for it.
const CTEST_COULD_NOT_RUN: &[&str] = &[
    "Fixture dependency failed",
    "Missing Configuration",
    "Required Files Missing",
    "Unable to find executable",
];

/// What TestNG before 6.10 writes as the error of a skip.
const TESTNG_SKIP: &str = "org.testng.SkipException";

fn sniff(head: &Head<'_>) -> bool {
    head.root()
        .is_some_and(|root| ROOTS.contains(&root.name.as_str()))
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut reading = Reading::default();
    xml::walk(source, &mut reading)?;
    let report = reading.tally.finish(reading.seconds.min(SECONDS_MAX));
    Ok(Parsed {
        content: Content::Tests(report),
        provenance: reading.provenance,
    })
}

#[derive(Default)]
struct Reading {
    /// The open elements, the innermost last.
    open: Vec<Frame>,
    tally: Tally,
    seconds: f64,
    provenance: Provenance,
    /// How many elements and attributes have told of a failure, however it counts in the end.
    told: u64,
    /// How many suites have begun.
    suites_begun: u64,
    /// The cases that have passed, by identity.
    passed: HashSet<u64>,
    /// A case that is done with, whose memory the next one takes.
    spare: TestCase,
}

/// An open element.
enum Frame {
    Suite(Suite),
    Case(Case),
    Marking(Marking),
    Other,
}

struct Case {
    case: TestCase,
    /// What all attempts at the test share.
    identity: Option<u64>,
    /// Whether it is expected to fail.
    may_fail: bool,
}

struct Suite {
    name: String,
    /// Which suite of the report it is: merged reports have several of one name.
    number: u64,
    claimed_failed: u64,
    claimed_errors: u64,
    /// The time it gives itself.
    seconds: Option<f64>,
    /// The sum of what is inside.
    seconds_inside: f64,
    /// How much had told of a failure when it began.
    told_before: u64,
}

/// An element that says how a case ended.
struct Marking {
    mark: Mark,
    message: String,
    /// The text inside.
    text: Beginning,
    /// What to say when there is neither.
    kind: String,
}

#[derive(Clone, Copy)]
enum Mark {
    Ended(Outcome),
    Flaky,
    MayFail,
}

impl Mark {
    /// What an element says, by what its writer means; None for one that says nothing of an end.
    fn of(element: &Element<'_>) -> Result<Option<Self>, Error> {
        let [message, kind] = element.attributes(["message", "type"])?;
        let [message, kind] = [message, kind].map(Option::unwrap_or_default);
        Ok(Some(match element.name() {
            "error" if kind == TESTNG_SKIP => Self::Ended(Outcome::Skipped),
            "error" => Self::Ended(Outcome::Errored),
            // Only a test that failed is run again under this name.
            "failure" | "rerunFailure" | "rerunError" => Self::Ended(Outcome::Failed),
            "skipped" if message == CATCH2_MAY_FAIL => Self::MayFail,
            "skipped" if CTEST_COULD_NOT_RUN.contains(&&*message) => Self::Ended(Outcome::Errored),
            "skipped" => Self::Ended(Outcome::Skipped),
            "flakyFailure" | "flakyError" => Self::Flaky,
            _ => return Ok(None),
        }))
    }
}

impl Mark {
    fn tells_of_failure(self) -> bool {
        match self {
            Self::Ended(outcome) => outcome.is_failing(),
            Self::Flaky | Self::MayFail => true,
        }
    }
}

impl Marking {
    fn new(mark: Mark, element: &Element<'_>) -> Result<Self, Error> {
        let values = element.attributes(["message", "type"])?;
        let [message, kind] = values.map(|value| one_line(value.as_deref(), MESSAGE_CHARS_MAX));
        Ok(Self {
            mark,
            message,
            text: Beginning::default(),
            kind,
        })
    }

    /// The case ended in this way, or in a worse one.
    fn end(self, outcome: Outcome, case: &mut TestCase) {
        if outcome > case.outcome && !case.outcome.is_failing() {
            case.message.clear();
        }
        case.outcome = case.outcome.max(outcome);
        if case.message.is_empty() {
            // PHPUnit begins the text with the test's name.
            let text = self
                .text
                .line_below(&format!("::{}", case.name), MESSAGE_CHARS_MAX);
            let told = [self.message, text, self.kind];
            let told = told.into_iter().find(|line| !line.is_empty());
            case.message = told.unwrap_or_default();
        }
    }
}

impl Case {
    fn mark(&mut self, marking: Marking) {
        match marking.mark {
            Mark::Ended(outcome) => marking.end(outcome, &mut self.case),
            Mark::Flaky => self.case.flaky = true,
            Mark::MayFail => self.may_fail = true,
        }
    }

    /// How it counts in the end.
    fn ended(mut self) -> (Option<u64>, TestCase) {
        if self.may_fail && self.case.outcome.is_failing() {
            self.case.outcome = Outcome::Skipped;
        }
        (self.identity, self.case)
    }
}

impl Reading {
    fn frame(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        let around = self.open.last();
        if matches!(around, Some(Frame::Marking(_))) {
            return Ok(Frame::Other);
        }
        let may_mark = matches!(around, Some(Frame::Suite(_) | Frame::Case(_)));
        Ok(match element.name() {
            "testsuites" | "testsuite" => Frame::Suite(self.suite(element)?),
            "testcase" => self.case(element)?,
            "property" => {
                self.property(element)?;
                Frame::Other
            }
            _ if may_mark => match Mark::of(element)? {
                Some(mark) => {
                    self.told += u64::from(mark.tells_of_failure() || element.name() == "error");
                    Frame::Marking(Marking::new(mark, element)?)
                }
                None => Frame::Other,
            },
            _ => Frame::Other,
        })
    }

    fn property(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let [name, value] = element.attributes(["name", "value"])?;
        let name = name.unwrap_or_default();
        if COMMIT_PROPERTIES.iter().any(|known| name == *known) {
            self.provenance.of_commit(&value.unwrap_or_default());
        }
        Ok(())
    }

    fn suite(&mut self, element: &Element<'_>) -> Result<Suite, Error> {
        let [name, failures, errors, time, timestamp] =
            element.attributes(["name", "failures", "errors", "time", "timestamp"])?;
        self.provenance.began(&timestamp.unwrap_or_default());
        let [claimed_failed, claimed_errors] = [failures, errors].map(|count| {
            count
                .and_then(|count| count.trim().parse().ok())
                .unwrap_or(0)
        });
        self.suites_begun += 1;
        Ok(Suite {
            name: one_line(name.as_deref(), NAME_CHARS_MAX),
            number: self.suites_begun,
            claimed_failed,
            claimed_errors,
            seconds: time.as_deref().and_then(seconds),
            seconds_inside: 0.0,
            told_before: self.told,
        })
    }

    fn case(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        let [classname, name, file, time, status, result] =
            element.attributes(["classname", "name", "file", "time", "status", "result"])?;
        let identity = name.as_deref().filter(|name| !name.is_empty()).map(|name| {
            let suite = self.suites().next().map(|suite| suite.number);
            let mut hasher = DefaultHasher::new();
            (suite, &classname, name, &file).hash(&mut hasher);
            hasher.finish()
        });
        let [status, result] =
            [status, result].map(|says| says.map_or(Outcome::Passed, outcome_of));
        let outcome = status.max(result);
        self.told += u64::from(outcome.is_failing());
        let mut case = TestCase {
            outcome,
            flaky: false,
            seconds: time.as_deref().and_then(seconds),
            ..mem::take(&mut self.spare)
        };
        case.message.clear();
        self.suite_name().clone_into(&mut case.suite);
        for (raw, kept) in [(classname, &mut case.classname), (name, &mut case.name)] {
            text::line_into(raw.as_deref().unwrap_or_default(), NAME_CHARS_MAX, kept);
        }
        Ok(Frame::Case(Case {
            case,
            identity,
            may_fail: false,
        }))
    }

    fn suites(&self) -> impl Iterator<Item = &Suite> {
        self.open.iter().rev().filter_map(|frame| match frame {
            Frame::Suite(suite) => Some(suite),
            Frame::Case(_) | Frame::Marking(_) | Frame::Other => None,
        })
    }

    fn suite_name(&self) -> &str {
        let mut names = self.suites().map(|suite| suite.name.as_str());
        names.find(|name| !name.is_empty()).unwrap_or_default()
    }

    fn end_case(&mut self, identity: Option<u64>, case: TestCase) {
        let repeated = identity.filter(|identity| self.passed.contains(identity));
        if let Some(identity) = repeated {
            self.tally.unforgive(identity);
        } else if let Some(identity) = identity
            && case.outcome == Outcome::Passed
            && self.passed.len() < PASSED_REMEMBERED_MAX
        {
            self.passed.insert(identity);
        }
        let identity = identity.filter(|_| repeated.is_none());
        let spare = self.tally.count_reusing(identity, case);
        self.spare = spare.unwrap_or_default();
    }

    fn end_marking(&mut self, marking: Marking) {
        match self.open.last_mut() {
            Some(Frame::Case(case)) => case.mark(marking),
            Some(Frame::Suite(_)) => {
                if let Mark::Ended(outcome) = marking.mark
                    && outcome.is_failing()
                {
                    let mut broken = TestCase {
                        suite: self.suite_name().to_owned(),
                        ..TestCase::default()
                    };
                    marking.end(outcome, &mut broken);
                    self.tally.count(None, broken);
                }
            }
            Some(Frame::Marking(_) | Frame::Other) | None => {}
        }
    }

    fn end_suite(&mut self, suite: Suite) {
        let (failed, errors) = (suite.claimed_failed, suite.claimed_errors);
        if self.told == suite.told_before && (failed, errors) != (0, 0) {
            self.told += 1;
            let name = Some(suite.name).filter(|name| !name.is_empty());
            let told = TestCase {
                suite: name.unwrap_or_else(|| self.suite_name().to_owned()),
                message: format!("{failed} failures and {errors} errors, and none is listed"),
                outcome: Outcome::Failed,
                ..TestCase::default()
            };
            self.tally.count_unlisted(failed, errors, told);
        }
        self.took(suite.seconds.unwrap_or(suite.seconds_inside));
    }

    /// Adds a time to the suite around, or to the whole.
    fn took(&mut self, seconds: f64) {
        let around = self.open.iter_mut().rev().find_map(|frame| match frame {
            Frame::Suite(suite) => Some(&mut suite.seconds_inside),
            Frame::Case(_) | Frame::Marking(_) | Frame::Other => None,
        });
        *around.unwrap_or(&mut self.seconds) += seconds;
    }
}

impl Visitor for Reading {
    fn roots(&self) -> &'static [&'static str] {
        ROOTS
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let frame = self.frame(element)?;
        self.open.push(frame);
        Ok(())
    }

    fn wants_text(&self) -> bool {
        matches!(self.open.last(), Some(Frame::Marking(_)))
    }

    fn text(&mut self, text: &str) {
        if let Some(Frame::Marking(marking)) = self.open.last_mut() {
            marking.text.push(text);
        }
    }

    fn close(&mut self, _: &str) {
        match self.open.pop() {
            Some(Frame::Suite(suite)) => self.end_suite(suite),
            Some(Frame::Case(case)) => {
                let (identity, case) = case.ended();
                self.took(case.seconds.unwrap_or(0.0));
                self.end_case(identity, case);
            }
            Some(Frame::Marking(marking)) => self.end_marking(marking),
            Some(Frame::Other) | None => {}
        }
    }
}

fn one_line(value: Option<&str>, chars_max: usize) -> String {
    text::line(value.unwrap_or_default(), chars_max)
}

/// What the `status` or `result` attribute of a case says: GoogleTest's, CTest's, Boost's, behave's.
fn outcome_of(status: Cow<'_, str>) -> Outcome {
    match status.trim().to_ascii_lowercase().as_str() {
        "disabled" | "ignored" | "notrun" | "pending" | "skipped" | "suppressed" | "untested" => {
            Outcome::Skipped
        }
        "fail" | "failed" | "failure" => Outcome::Failed,
        "aborted" | "error" | "errored" | "timeout" | "undefined" => Outcome::Errored,
        _ => Outcome::Passed,
    }
}

/// A time in seconds, or None when it is not a time: `NaN`, negative, a placeholder.
///
/// Surefire writes in the machine's locale, so `1,234.567` and `1.234,567` are the same. A lone comma
/// separates thousands where it can (`1,234`), and is the decimal mark elsewhere (`0,123`, `1,5`).
pub(super) fn seconds(time: &str) -> Option<f64> {
    let time = time.trim();
    let plain = match time.rfind(',') {
        None => Cow::Borrowed(time),
        Some(comma) => without_commas(time, comma).into(),
    };
    let seconds: f64 = plain.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| seconds.min(SECONDS_MAX))
}

fn without_commas(time: &str, last: usize) -> String {
    match time.rfind('.') {
        Some(dot) if last > dot => time.replace('.', "").replace(',', "."),
        Some(_) => time.replace(',', ""),
        None if is_grouped(time) => time.replace(',', ""),
        None => time.replacen(',', ".", 1),
    }
}

/// Whether the commas are where thousands are separated, as in `12,345,678`.
fn is_grouped(number: &str) -> bool {
    let mut groups = number.split(',');
    let first = groups.next().unwrap_or_default();
    (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && groups.all(|group| group.len() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_locale() {
        for (time, expected) in [
            ("1.5", 1.5),
            (" 0 ", 0.0),
            ("4.5e-05", 4.5e-5),
            ("1,234.567", 1234.567),
            ("1.234,567", 1234.567),
            ("1,234,567.8", 1_234_567.8),
            ("1,234", 1234.0),
            ("12,345,678", 12_345_678.0),
            ("0,123", 0.123),
            ("1,5", 1.5),
            ("1e300", SECONDS_MAX),
        ] {
            assert_eq!(seconds(time), Some(expected), "{time}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_none() {
        for time in [
            "",
            "NaN",
            "inf",
            "-1",
            "<<computed>>",
            "1,2,3",
            "1 s",
            "0x10",
        ] {
            assert_eq!(seconds(time), None, "{time}");
        }
    }
}
