//! Visual Studio's TRX, as `dotnet test`, VSTest, MSTest, Catch2 and Jest's and Mocha's reporters
//! write it. After the schema `vstst.xsd` and VSTest's `TrxLogger`.
//!
//! - Each result directly in `Results` or `InnerResults` is a test, of whatever kind. One that has
//!   results inside (of a data-driven or an ordered test) is their sum, and counts only when it
//!   failed and none of them did.
//! - Outcomes: `Passed`, `PassedButRunAborted`, `Completed` and `Warning` are passed; `NotExecuted`,
//!   `Pending` and `Inconclusive` are skipped, as in the summary of `dotnet test`; `Failed` is
//!   failed; `Error`, `Timeout`, `Aborted`, `NotRunnable`, `Disconnected`, `InProgress`, any other
//!   word, and none, are errors.
//! - A run that says it failed (`ResultSummary`, its `Counters`, an error among its `RunInfos`) is
//!   believed when no result failed.
//! - The classes are in `TestDefinitions`, which come before the results or after them, so results
//!   are held until the end.
//! - There are no retries: results of one test with other data share its `testId`.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;

use jiff::Timestamp;
use quick_xml::Error;

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, NAME_CHARS_MAX, Outcome, TestCase, TestReport};
use crate::error::ReadError;
use crate::report::{Content, Parsed, Provenance};
use crate::tally::Tally;
use crate::text::{self, Beginning};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "trx",
    sniff,
    read,
};

const ROOT: &str = "TestRun";

/// Most bytes held of results; those beyond are told without their class.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most bytes held of definitions.
const DEFINED_BYTES_MAX: usize = 16 * 1024 * 1024;

fn sniff(head: &Head<'_>) -> bool {
    head.root().is_some_and(|root| root.name == ROOT)
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut reading = Reading::default();
    xml::walk(source, &mut reading)?;
    let provenance = mem::take(&mut reading.provenance);
    Ok(Parsed {
        content: Content::Tests(reading.finish()),
        provenance,
    })
}

#[derive(Default)]
struct Reading {
    /// The open elements, the innermost last.
    open: Vec<Frame>,
    tally: Tally,
    /// The results, each with the test that it is of.
    held: Vec<(u64, TestCase)>,
    held_bytes: usize,
    /// How many results there were, how many of them failed, and how long they took.
    results: u64,
    failing: u64,
    seconds: f64,
    /// The tests defined.
    defined: HashMap<u64, Definition>,
    defined_bytes: usize,
    /// How long the run took, as it says itself.
    run_seconds: Option<f64>,
    claim: Claim,
    provenance: Provenance,
}

/// What the run says of itself.
#[derive(Default)]
struct Claim {
    failed: u64,
    errors: u64,
    /// It ended in a way that is not a success.
    is_failure: bool,
    message: String,
}

/// Where a test is.
#[derive(Default)]
struct Definition {
    /// The file that holds it.
    storage: String,
    class: String,
}

/// An open element.
enum Frame {
    /// `Results` or `InnerResults`.
    Results,
    Result(Row),
    /// A `UnitTest` among the definitions.
    Defined(u64, Definition),
    /// A `RunInfo` that tells a failure.
    RunError,
    /// An `ErrorInfo`.
    ErrorInfo,
    /// The `Message` of an `ErrorInfo`, or the `Text` of a `RunInfo`.
    Text(Beginning),
    Other,
}

/// A result.
struct Row {
    test: u64,
    case: TestCase,
    /// How many results there were when it began, and how many of them had failed.
    results_before: u64,
    failing_before: u64,
}

impl Reading {
    fn finish(mut self) -> TestReport {
        for (test, mut case) in mem::take(&mut self.held) {
            if let Some(Definition { storage, class }) = self.defined.get(&test) {
                let name = text::within(class, &case.name).to_owned();
                case.suite.clone_from(storage);
                case.classname.clone_from(class);
                case.name = name;
            }
            self.tally.count(None, case);
        }
        let Claim {
            failed,
            errors,
            is_failure,
            message,
        } = self.claim;
        let errors = errors.max(u64::from(is_failure && failed == 0));
        if self.failing == 0 && (failed, errors) != (0, 0) {
            let told = Some(message).filter(|message| !message.is_empty());
            let told = TestCase {
                message: told.unwrap_or_else(|| "the run failed, and no result did".to_owned()),
                outcome: Outcome::Errored,
                ..TestCase::default()
            };
            self.tally.count_unlisted(failed, errors, told);
        }
        self.tally.finish(self.run_seconds.unwrap_or(self.seconds))
    }

    fn frame(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        Ok(match (element.name(), self.open.last_mut()) {
            (_, Some(Frame::Results)) => Frame::Result(self.result(element)?),
            ("Results", _) | ("InnerResults", Some(Frame::Result(_))) => Frame::Results,
            ("ErrorInfo", _) => Frame::ErrorInfo,
            ("Message", Some(Frame::ErrorInfo)) | ("Text", Some(Frame::RunError)) => {
                Frame::Text(Beginning::default())
            }
            ("UnitTest", _) => {
                let [id, storage] = element.attributes(["id", "storage"])?;
                let storage = storage.unwrap_or_default();
                let storage = text::line(text::file_name(&storage), NAME_CHARS_MAX);
                let definition = Definition {
                    storage,
                    class: String::new(),
                };
                Frame::Defined(identity(id.as_deref()), definition)
            }
            ("TestMethod", Some(Frame::Defined(_, definition))) => {
                let [class] = element.attributes(["className"])?;
                // MSTest writes the class with its assembly: `Shop.CartTests, Shop.Tests, Version=1.0`.
                let class = class.unwrap_or_default();
                let (class, _) = class.split_once(',').unwrap_or((&class, ""));
                definition.class = text::line(class, NAME_CHARS_MAX);
                Frame::Other
            }
            ("Times" | "ResultSummary" | "Counters" | "RunInfo", _) => self.run(element)?,
            _ => Frame::Other,
        })
    }

    /// What is of the whole run.
    fn run(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        match element.name() {
            "Times" => {
                let times = element.attributes(["creation", "start", "finish"])?;
                let [creation, start, finish] = times.map(Option::unwrap_or_default);
                for time in [&creation, &start] {
                    self.provenance.began(time);
                }
                self.run_seconds = between(&start, &finish);
            }
            "Counters" => {
                let counts = element.attributes(["failed", "error", "timeout", "aborted"])?;
                let counts = counts.map(|count| count.and_then(|count| count.trim().parse().ok()));
                let [failed, error, timeout, aborted]: [u64; 4] =
                    counts.map(Option::unwrap_or_default);
                self.claim.failed = failed;
                self.claim.errors = error.saturating_add(timeout).saturating_add(aborted);
            }
            _ => {
                let [outcome] = element.attributes(["outcome"])?;
                let is_failure = outcome.is_some_and(|word| {
                    outcome_of(&word).is_failing() || word.trim() == "PassedButRunAborted"
                });
                self.claim.is_failure |= is_failure;
                if is_failure && element.name() == "RunInfo" {
                    return Ok(Frame::RunError);
                }
            }
        }
        Ok(Frame::Other)
    }

    fn result(&self, element: &Element<'_>) -> Result<Row, Error> {
        let [test, name, row, outcome, took] =
            element.attributes(["testId", "testName", "dataRowInfo", "outcome", "duration"])?;
        let name = name.unwrap_or_default();
        let around = self.open.iter().rev().find_map(|frame| match frame {
            Frame::Result(row) => Some(&row.case.name),
            Frame::Results
            | Frame::Defined(..)
            | Frame::RunError
            | Frame::ErrorInfo
            | Frame::Text(_)
            | Frame::Other => None,
        });
        // Some writers tell the rows of a data-driven test by their number only.
        let name = match row {
            Some(row) if around.is_some_and(|around| *around == name) => {
                format!("{name} [{}]", row.trim()).into()
            }
            Some(_) | None => name,
        };
        Ok(Row {
            test: identity(test.as_deref()),
            case: TestCase {
                outcome: outcome_of(&outcome.unwrap_or_default()),
                seconds: took.as_deref().and_then(duration),
                ..TestCase::named("", "", &name)
            },
            results_before: self.results,
            failing_before: self.failing,
        })
    }

    /// What a result, or else the run, says why it failed: the first message that is not blank.
    fn end_text(&mut self, message: &Beginning) {
        let around = self.open.iter_mut().rev().find_map(|frame| match frame {
            Frame::Result(row) => Some(&mut row.case.message),
            _ => None,
        });
        let told = around.unwrap_or(&mut self.claim.message);
        if told.is_empty() {
            *told = message.line(MESSAGE_CHARS_MAX);
        }
    }

    fn end_result(&mut self, row: Row) {
        let is_sum = self.results > row.results_before;
        let is_failing = row.case.outcome.is_failing();
        if is_sum && (!is_failing || self.failing > row.failing_before) {
            return;
        }
        self.results += 1;
        self.failing += u64::from(is_failing);
        self.seconds += row.case.seconds.unwrap_or(0.0);
        self.held_bytes +=
            mem::size_of::<TestCase>() + row.case.name.len() + row.case.message.len();
        match self.held_bytes > HELD_BYTES_MAX {
            true => self.tally.count(None, row.case),
            false => self.held.push((row.test, row.case)),
        }
    }

    fn define(&mut self, test: u64, definition: Definition) {
        let text = definition.storage.len() + definition.class.len();
        self.defined_bytes += mem::size_of::<(u64, Definition)>() + text;
        if self.defined_bytes <= DEFINED_BYTES_MAX {
            self.defined.insert(test, definition);
        }
    }
}

impl Visitor for Reading {
    fn roots(&self) -> &'static [&'static str] {
        &[ROOT]
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let frame = self.frame(element)?;
        self.open.push(frame);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(Frame::Text(told)) = self.open.last_mut() {
            told.push(text);
        }
    }

    fn close(&mut self, _: &str) {
        match self.open.pop() {
            Some(Frame::Result(row)) => self.end_result(row),
            Some(Frame::Defined(test, definition)) => self.define(test, definition),
            Some(Frame::Text(told)) => self.end_text(&told),
            Some(Frame::Results | Frame::RunError | Frame::ErrorInfo | Frame::Other) | None => {}
        }
    }
}

fn identity(test: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    test.map(str::trim).hash(&mut hasher);
    hasher.finish()
}

fn outcome_of(word: &str) -> Outcome {
    match word.trim() {
        "Passed" | "PassedButRunAborted" | "Completed" | "Warning" => Outcome::Passed,
        "NotExecuted" | "Pending" | "Inconclusive" => Outcome::Skipped,
        "Failed" => Outcome::Failed,
        _ => Outcome::Errored,
    }
}

/// A duration as .NET writes it, `[days.]hours:minutes:seconds`, in seconds.
fn duration(text: &str) -> Option<f64> {
    let (hours, rest) = text.trim().split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let [days, hours, minutes] = [days, hours, minutes].map(|part| part.parse::<u32>().ok());
    let seconds: f64 = seconds.parse().ok()?;
    let whole = (f64::from(days?) * 24.0 + f64::from(hours?)) * 60.0 + f64::from(minutes?);
    (0.0..60.0)
        .contains(&seconds)
        .then_some(whole * 60.0 + seconds)
}

/// The seconds from one time to a later one.
fn between(start: &str, finish: &str) -> Option<f64> {
    let [start, finish] = [start, finish].map(|time| time.trim().parse::<Timestamp>().ok());
    let seconds = finish?.duration_since(start?).as_secs_f64();
    (seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_of_days_hours_minutes_and_seconds() {
        for (text, seconds) in [
            ("00:00:00.0170545", Some(0.017_054_5)),
            ("01:02:03", Some(3_723.0)),
            ("2.00:00:01.5", Some(172_801.5)),
            ("", None),
            ("5", None),
            ("00:00", None),
            ("00:00:NaN", None),
            ("00:00:inf", None),
            ("-00:00:01", None),
            ("00:00:-1", None),
            ("99999999999:00:00", None),
        ] {
            assert_eq!(duration(text), seconds, "{text}");
        }
    }
}
