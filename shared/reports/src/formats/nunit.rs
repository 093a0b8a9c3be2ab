//! NUnit's XML: version 2 (root `test-results`), which Pester and others write too, and version 3
//! (root `test-run`). After NUnit's 'Test Result XML Format' and the reports of nunit-console 2.6.
//!
//! - The cases are counted. Their `result` is `Passed`, `Failed`, `Skipped`, `Inconclusive` or
//!   `Warning` in version 3, and `Success`, `Failure`, `Error`, `Ignored`, `Skipped`, `Inconclusive`,
//!   `NotRunnable` or `Cancelled` in version 2; any other word counts as an error. Before 2.5 there
//!   was no `result`: there `executed` and `success` say it.
//! - What NUnit counts neither as passed nor as failed (inconclusive, a warning) counts as skipped,
//!   as in NUnit's own adapter for `dotnet test`.
//! - A failed case is an error when its `label` is `Error`, `Invalid` or `Cancelled`, or its `site`
//!   a set-up, a clean-up or what is around it. `NotRunnable` is one too: NUnit's exit code says so.
//! - A suite that failed counts as one error when nothing in it failed, as when its clean-up broke
//!   or it could not be loaded. So does the run, or as many as its root says.
//! - There are no retries: a case with `Retry` is written once, as it ended.

use quick_xml::Error;

use super::junit::seconds;
use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, NAME_CHARS_MAX, Outcome, TestCase};
use crate::error::ReadError;
use crate::nesting::{Claim, Nesting};
use crate::report::{Content, Parsed, Provenance};
use crate::text::{self, Beginning};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "nunit",
    sniff,
    read,
};

const ROOTS: &[&str] = &["test-results", "test-run"];

fn sniff(head: &Head<'_>) -> bool {
    head.root()
        .is_some_and(|root| ROOTS.contains(&root.name.as_str()))
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut reading = Reading::default();
    xml::walk(source, &mut reading)?;
    Ok(Parsed {
        content: Content::Tests(reading.nesting.finish()),
        provenance: reading.provenance,
    })
}

#[derive(Default)]
struct Reading {
    /// The open elements, the innermost last.
    open: Vec<Frame>,
    nesting: Nesting,
    provenance: Provenance,
}

/// An open element.
enum Frame {
    /// The root, or a `test-suite`.
    Suite(Suite),
    Case(TestCase),
    /// A `failure` or a `reason`.
    Why,
    /// The `message` in it.
    Message(Beginning),
    Other,
}

struct Suite {
    /// The file of the assembly around.
    assembly: String,
    /// The namespaces and classes down to this one: `Shop.Tests.CartTests`.
    path: String,
    /// The last of them, which is all that some writers begin a case's name with.
    name: String,
    claim: Claim,
}

impl Reading {
    fn frame(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        Ok(match (element.name(), self.open.last()) {
            ("test-results" | "test-run", None) => self.run(element)?,
            ("test-suite", _) => self.suite(element)?,
            ("test-case", _) => self.case(element)?,
            ("failure" | "reason", Some(Frame::Suite(_) | Frame::Case(_))) => Frame::Why,
            ("message", Some(Frame::Why)) => Frame::Message(Beginning::default()),
            _ => Frame::Other,
        })
    }

    fn run(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        let [date, time, run_date, start, duration] =
            element.attributes(["date", "time", "run-date", "start-time", "duration"])?;
        // `time` is the time of day in version 2, and the duration in drafts of version 3.
        let took = duration.as_deref().or(time.as_deref()).and_then(seconds);
        self.provenance.began(start.as_deref().unwrap_or_default());
        for (date, time) in [(date, time), (run_date, start)] {
            if let (Some(date), Some(time)) = (date, time) {
                let began = format!("{}T{}", date.trim(), time.trim());
                self.provenance.began(&began);
            }
        }
        let told = TestCase {
            message: "the run failed, and no failing test is listed".to_owned(),
            ..TestCase::default()
        };
        let claim = claim_of_run(element, told)?;
        self.nesting.open(took);
        Ok(Frame::Suite(Suite {
            assembly: String::new(),
            path: String::new(),
            name: String::new(),
            claim,
        }))
    }

    fn suite(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        let [kind, name] = element.attributes(["type", "name"])?;
        let [time, duration, start] = element.attributes(["time", "duration", "start-time"])?;
        self.provenance.began(&start.unwrap_or_default());
        let name = name.unwrap_or_default();
        let file = text::line(text::file_name(&name), NAME_CHARS_MAX);
        let name = text::line(&name, NAME_CHARS_MAX);
        let (around, above) = self.suites().next().map_or(("", ""), |suite| {
            (suite.assembly.as_str(), suite.path.as_str())
        });
        let (assembly, path) = match kind.as_deref() {
            Some("Assembly") => (file.as_str(), String::new()),
            Some("Project" | "Test Project") => ("", String::new()),
            _ if above.is_empty() => (around, name.clone()),
            _ => (
                around,
                text::line(&format!("{above}.{name}"), NAME_CHARS_MAX),
            ),
        };
        let claim = Claim {
            failed: 0,
            errors: u64::from(outcome_of(element)?.is_some_and(Outcome::is_failing)),
            told: TestCase {
                outcome: Outcome::Errored,
                ..TestCase::named(assembly, &path, "")
            },
        };
        let assembly = assembly.to_owned();
        self.nesting
            .open(duration.or(time).as_deref().and_then(seconds));
        Ok(Frame::Suite(Suite {
            assembly,
            path,
            name,
            claim,
        }))
    }

    fn case(&self, element: &Element<'_>) -> Result<Frame, Error> {
        let [name, classname] = element.attributes(["name", "classname"])?;
        let [time, duration] = element.attributes(["time", "duration"])?;
        let name = name.unwrap_or_default();
        let (class, name) = match classname.as_deref().map(str::trim) {
            None | Some("") => self.split(&name),
            Some(class) => (class, &*name),
        };
        let assembly = self.suites().next().map_or("", |suite| &suite.assembly);
        Ok(Frame::Case(TestCase {
            outcome: outcome_of(element)?.unwrap_or(Outcome::Errored),
            seconds: duration.or(time).as_deref().and_then(seconds),
            ..TestCase::named(assembly, class, name)
        }))
    }

    /// The class and the name in a case's full name, which is all that version 2 gives.
    fn split<'a>(&'a self, full: &'a str) -> (&'a str, &'a str) {
        let classes = self.suites().flat_map(|suite| [&suite.path, &suite.name]);
        let mut parts = classes.map(|class| (class.as_str(), text::within(class, full)));
        parts
            .find(|(_, name)| name.len() < full.len())
            .unwrap_or(("", full))
    }

    fn suites(&self) -> impl Iterator<Item = &Suite> {
        self.open.iter().rev().filter_map(|frame| match frame {
            Frame::Suite(suite) => Some(suite),
            Frame::Case(_) | Frame::Why | Frame::Message(_) | Frame::Other => None,
        })
    }

    /// What the case or the suite around says why it failed: the first message that is not blank.
    fn end_message(&mut self, message: &Beginning) {
        let around = self.open.iter_mut().rev().find_map(|frame| match frame {
            Frame::Case(case) => Some(case),
            Frame::Suite(suite) => Some(&mut suite.claim.told),
            Frame::Why | Frame::Message(_) | Frame::Other => None,
        });
        if let Some(case) = around
            && case.message.is_empty()
        {
            case.message = message.line(MESSAGE_CHARS_MAX);
        }
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

    fn text(&mut self, text: &str) {
        if let Some(Frame::Message(message)) = self.open.last_mut() {
            message.push(text);
        }
    }

    fn close(&mut self, _: &str) {
        match self.open.pop() {
            Some(Frame::Suite(suite)) => self.nesting.close(suite.claim),
            Some(Frame::Case(mut case)) => {
                // Some writers give passed tests a failure without a meaning.
                if case.outcome == Outcome::Passed {
                    case.message.clear();
                }
                self.nesting.count(case);
            }
            Some(Frame::Message(message)) => self.end_message(&message),
            Some(Frame::Why | Frame::Other) | None => {}
        }
    }
}

/// How many failing tests the root says there are; one when it only says that the run failed.
fn claim_of_run(element: &Element<'_>, told: TestCase) -> Result<Claim, Error> {
    let counts = element.attributes(["failures", "failed", "errors", "invalid"])?;
    let counts = counts.map(|count| count.and_then(|count| count.trim().parse::<u64>().ok()));
    let [failures, failed, errors, invalid] = counts.map(Option::unwrap_or_default);
    let failed = failures.max(failed);
    let errors = errors.saturating_add(invalid);
    let says_failed = outcome_of(element)?.is_some_and(Outcome::is_failing);
    Ok(Claim {
        failed,
        errors: errors.max(u64::from(says_failed && failed == 0)),
        told: TestCase {
            outcome: Outcome::Errored,
            ..told
        },
    })
}

/// How a case, a suite or the run ended; None when it does not say.
fn outcome_of(element: &Element<'_>) -> Result<Option<Outcome>, Error> {
    let [result, label, site] = element.attributes(["result", "label", "site"])?;
    let [executed, success] = element.attributes(["executed", "success"])?;
    let [result, label, site, executed, success] = [result, label, site, executed, success]
        .map(|word| word.map(|word| word.trim().to_ascii_lowercase()));
    let Some(result) = result else {
        return Ok(match (executed.as_deref(), success.as_deref()) {
            (Some("false"), _) => Some(Outcome::Skipped),
            (_, Some("true")) => Some(Outcome::Passed),
            (_, Some("false")) => Some(Outcome::Failed),
            _ => None,
        });
    };
    let is_broken = matches!(label.as_deref(), Some("error" | "invalid" | "cancelled"))
        || matches!(site.as_deref(), Some("setup" | "teardown" | "parent"));
    Ok(Some(match result.as_str() {
        "passed" | "success" => Outcome::Passed,
        "failed" | "failure" if is_broken => Outcome::Errored,
        "failed" | "failure" => Outcome::Failed,
        "skipped" | "ignored" | "explicit" | "inconclusive" | "warning" => Outcome::Skipped,
        _ => Outcome::Errored,
    }))
}
