//! The events of `dart test --reporter json` and `flutter test --machine`: JSON lines, after
//! `json_reporter.md` of Dart's test package. It is read like this:
//!
//! - A test counts when it is done, unless it is hidden (the loading of a file, `setUpAll`) and
//!   succeeded. `failure` fails, `error` and any other word is an error, as is a test without end.
//! - A test that is done with success after an error is flaky: Dart tries it again within itself.
//! - An error of a test that was done and had not failed is a further case, an error: Dart takes
//!   the success back, but that was counted.
//! - A report ends with `done`; without it, it was cut off. A `done` without success is believed
//!   when no test failed, and so is one that was stopped. Several reports may follow each other.
//! - Lines that are no events (Flutter's own, in brackets) are passed over.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, Outcome, SUITES_MAX, TestCase};
use crate::error::{Position, ReadError};
use crate::lines::{self, Line};
use crate::report::{Content, Parsed};
use crate::tally::Tally;
use crate::text;

pub(super) const FORMAT: Format = Format {
    name: "dart",
    sniff,
    read,
};

/// Most tests that may run at one time.
const OPEN_MAX: usize = 50_000;

/// Most tests that are done and did not fail that are remembered, to name those with a late error.
const PASSED_REMEMBERED_MAX: usize = 20_000;

/// The folders that tests are in, by Dart's convention.
const TEST_FOLDERS: [&str; 2] = ["test", "integration_test"];

/// One event. Members that are not known are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    protocol_version: Option<String>,
    /// In milliseconds since the run began.
    time: Option<f64>,
    suite: Option<Suite>,
    test: Option<Test>,
    #[serde(rename = "testID")]
    test_id: Option<u64>,
    result: Option<String>,
    #[serde(default)]
    skipped: bool,
    #[serde(default)]
    hidden: bool,
    error: Option<String>,
    success: Option<bool>,
}

#[derive(Deserialize)]
struct Suite {
    id: u64,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    id: u64,
    name: String,
    #[serde(rename = "suiteID")]
    suite_id: Option<u64>,
}

impl<'a> Event<'a> {
    fn of(line: &'a str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    fn seconds(&self) -> Option<f64> {
        let millis = self.time.filter(|millis| *millis >= 0.0)?;
        Some(millis / 1000.0)
    }
}

fn sniff(head: &Head<'_>) -> bool {
    let is_start = |line| {
        Event::of(line)
            .is_some_and(|event| event.kind == "start" && event.protocol_version.is_some())
    };
    head.lines().any(is_start)
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let name = source.name;
    let mut reading = Reading::new();
    lines::each(source, |line| match reading.line(line) {
        Ok(()) => Ok(()),
        Err(Stop::TooMany) => {
            let what = "number of tests that run at one time";
            Err(ReadError::too_large(name, what, OPEN_MAX as u64))
        }
        Err(Stop::Cut) => Err(truncated(name, reading.end)),
    })?;
    match (reading.runs, reading.is_done) {
        (0, _) => {
            let none = "there is no event of dart test";
            Err(ReadError::malformed(name, Position::START, none))
        }
        (_, false) => Err(truncated(name, reading.end)),
        (_, true) => {
            let report = reading.tally.finish(reading.seconds);
            Ok(Content::Tests(report).into())
        }
    }
}

fn truncated(name: &str, at: Position) -> ReadError {
    let name = ReadError::name(name);
    ReadError::Truncated { name, at }
}

/// Why the lines are not read on.
enum Stop {
    TooMany,
    /// A report begins before the one before it ended.
    Cut,
}

struct Reading {
    tally: Tally,
    seconds: f64,
    runs: u64,
    run: Run,
    is_done: bool,
    end: Position,
}

/// One report, from `start` to `done`.
#[derive(Default)]
struct Run {
    /// The files, by their number.
    suites: HashMap<u64, String>,
    open: BTreeMap<u64, Open>,
    /// The tests that are done and did not fail, to know those with a late error.
    passed: HashMap<u64, TestCase>,
    failing: u64,
}

/// A test that runs.
struct Open {
    case: TestCase,
    began_seconds: Option<f64>,
    has_error: bool,
}

impl Reading {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            seconds: 0.0,
            runs: 0,
            run: Run::default(),
            is_done: true,
            end: Position::START,
        }
    }

    fn line(&mut self, line: Line<'_>) -> Result<(), Stop> {
        self.end = Position {
            line: line.number,
            byte: line.byte + line.text.len() as u64,
        };
        let Some(event) = Event::of(line.text) else {
            return Ok(());
        };
        match &*event.kind {
            "start" if !self.is_done => return Err(Stop::Cut),
            "start" => {
                self.runs += 1;
                self.run = Run::default();
                self.is_done = false;
            }
            "done" if !self.is_done => self.done(&event),
            "suite" => self.suite(event.suite),
            "testStart" => self.start(&event)?,
            "error" => self.error(&event),
            "testDone" => self.test_done(&event),
            // Groups, what was printed, and what later versions may add: what ends nothing.
            _ => {}
        }
        Ok(())
    }

    fn suite(&mut self, suite: Option<Suite>) {
        let suites = &mut self.run.suites;
        if let Some(Suite { id, path }) = suite
            && suites.len() < SUITES_MAX
        {
            suites.insert(id, place(&path.unwrap_or_default()));
        }
    }

    fn start(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        let Some(test) = &event.test else {
            return Ok(());
        };
        if self.run.open.len() >= OPEN_MAX {
            return Err(Stop::TooMany);
        }
        let suite = test.suite_id.and_then(|id| self.run.suites.get(&id));
        let suite = suite.map(String::as_str).unwrap_or_default();
        let open = Open {
            case: TestCase::named(suite, "", &test.name),
            began_seconds: event.seconds(),
            has_error: false,
        };
        if let Some(before) = self.run.open.insert(test.id, open) {
            self.without_end(before);
        }
        Ok(())
    }

    fn error(&mut self, event: &Event<'_>) {
        let Some(id) = event.test_id else {
            return;
        };
        let error = event.error.as_deref().unwrap_or_default();
        let message = text::line(error, MESSAGE_CHARS_MAX);
        if let Some(open) = self.run.open.get_mut(&id) {
            if open.case.message.is_empty() {
                open.case.message = message;
            }
            open.has_error = true;
        } else if let Some(passed) = self.run.passed.remove(&id) {
            let outcome = Outcome::Errored;
            self.count(TestCase {
                message,
                outcome,
                ..passed
            });
        }
    }

    fn test_done(&mut self, event: &Event<'_>) {
        let Some(id) = event.test_id else {
            return;
        };
        let open = self.run.open.remove(&id).unwrap_or_else(|| Open {
            case: TestCase::default(),
            began_seconds: None,
            has_error: false,
        });
        let outcome = match event.result.as_deref() {
            Some("success") if event.skipped => Outcome::Skipped,
            Some("success") => Outcome::Passed,
            Some("failure") => Outcome::Failed,
            Some(_) | None => Outcome::Errored,
        };
        let mut case = open.case;
        case.outcome = outcome;
        case.flaky = outcome == Outcome::Passed && open.has_error;
        case.seconds = event
            .seconds()
            .zip(open.began_seconds)
            .map(|(ended, began)| (ended - began).max(0.0));
        if !outcome.is_failing() {
            case.message.clear();
            if self.run.passed.len() < PASSED_REMEMBERED_MAX {
                self.run.passed.insert(id, case.clone());
            }
        }
        if !event.hidden || outcome.is_failing() {
            self.count(case);
        }
    }

    fn done(&mut self, event: &Event<'_>) {
        self.is_done = true;
        self.seconds += event.seconds().unwrap_or_default();
        let run = &mut self.run;
        for open in std::mem::take(&mut run.open).into_values() {
            self.without_end(open);
        }
        if event.success != Some(true) && self.run.failing == 0 {
            let message = match event.success {
                Some(_) => "the run failed, and no test that did is listed",
                None => "the run was stopped before its end",
            };
            self.count(TestCase {
                message: message.to_owned(),
                outcome: Outcome::Errored,
                ..TestCase::default()
            });
        }
    }

    fn without_end(&mut self, open: Open) {
        let mut case = open.case;
        case.outcome = Outcome::Errored;
        if case.message.is_empty() {
            "it did not end".clone_into(&mut case.message);
        }
        self.count(case);
    }

    fn count(&mut self, case: TestCase) {
        self.run.failing += u64::from(case.outcome.is_failing());
        // Dart tries a test again within itself, so no two cases are attempts at one test.
        self.tally.count(None, case);
    }
}

/// The path of a test's file from the folder of tests on. Flutter writes whole paths, and the
/// folders above differ between machines.
fn place(path: &str) -> String {
    let is_whole = path.starts_with(['/', '\\']) || path.get(1..3).is_some_and(|at| at == ":\\");
    if !is_whole {
        return path.to_owned();
    }
    let parts: Vec<_> = path.split(['/', '\\']).collect();
    let folder = parts.iter().rposition(|part| TEST_FOLDERS.contains(part));
    match folder {
        Some(at) => parts[at..].join("/"),
        None => text::file_name(path).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_path_begins_at_the_folder_of_tests() {
        for (path, expected) in [
            ("test/a_test.dart", "test/a_test.dart"),
            ("test\\a_test.dart", "test\\a_test.dart"),
            ("/build/test/app/test/ui/a_test.dart", "test/ui/a_test.dart"),
            (
                "C:\\app\\integration_test\\a.dart",
                "integration_test/a.dart",
            ),
            ("/build/a_test.dart", "a_test.dart"),
            ("", ""),
        ] {
            assert_eq!(place(path), expected, "{path}");
        }
    }
}
