//! TestNG's own XML (`testng-results.xml`), after TestNG's `XMLSuiteResultWriter`.
//!
//! - Each `test-method` is a test, told by its parameters too. Its `status` is `PASS`, `FAIL`, `SKIP`
//!   or `SUCCESS_PERCENTAGE_FAILURE`, which TestNG counts neither as passed nor as failed and which
//!   counts as skipped here; any other word, or none, counts as an error.
//! - A configuration method is no test; one that failed counts as an error.
//! - A `FAIL` is final: an attempt that is made again is written as a `SKIP`, since TestNG 7 with
//!   `retried="true"`, before that only told by having thrown and by another result of the same
//!   method and parameters. The results of a `test` are in no order of time, so they are held until
//!   its end. Attempts that no result followed are a failure.
//! - A run that says `failed` is believed when nothing in it failed.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;

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
    name: "testng",
    sniff,
    read,
};

const ROOT: &str = "testng-results";

/// Most bytes held of the results of one `test`. Attempts at one test are told as such only among
/// results that are held together: beyond, one that is marked as retried counts as a failure.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest list of parameters that is shown in a name, in bytes.
const PARAMETERS_BYTES_MAX: usize = NAME_CHARS_MAX;

fn sniff(head: &Head<'_>) -> bool {
    head.root().is_some_and(|root| root.name == ROOT)
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
    /// The names of the open `test` and `class`.
    test: String,
    class: String,
    /// The results of the open `test`.
    held: Vec<Method>,
    held_bytes: usize,
    provenance: Provenance,
}

/// An open element.
enum Frame {
    /// The root, a `suite` or a `test`.
    Suite(Claim),
    Method(Box<Method>),
    /// The value of a parameter.
    Value(Beginning),
    /// Why a method failed or was skipped.
    Message(Beginning),
    Other,
}

/// A `test-method`.
struct Method {
    case: TestCase,
    /// What all attempts at the same test share.
    identity: DefaultHasher,
    parameters: String,
    is_config: bool,
    /// TestNG says that it ran again after this.
    retried: bool,
    /// It threw something that does not ask for a skip.
    threw: bool,
}

impl Method {
    fn id(&self) -> u64 {
        self.identity.finish()
    }

    fn bytes(&self) -> usize {
        let case = &self.case;
        let text = [&case.suite, &case.classname, &case.name, &case.message];
        mem::size_of::<Self>() + text.into_iter().map(String::len).sum::<usize>()
    }
}

impl Reading {
    fn frame(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        Ok(match (element.name(), self.method()) {
            ("testng-results" | "suite" | "test", None) => self.suite(element)?,
            ("class", None) => {
                self.class = name_of(element)?;
                Frame::Other
            }
            ("test-method", None) => Frame::Method(Box::new(self.test_method(element)?)),
            ("value", Some(method)) => {
                let [is_null] = element.attributes(["is-null"])?;
                let mut value = Beginning::default();
                if is_null.is_some() {
                    value.push("null");
                }
                is_null.hash(&mut method.identity);
                Frame::Value(value)
            }
            ("exception", Some(method)) => {
                let [class] = element.attributes(["class"])?;
                method.threw = !class.unwrap_or_default().ends_with("SkipException");
                Frame::Other
            }
            ("message", Some(_)) => Frame::Message(Beginning::default()),
            _ => Frame::Other,
        })
    }

    fn suite(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        let [failed, started, duration] =
            element.attributes(["failed", "started-at", "duration-ms"])?;
        let started = started.unwrap_or_default();
        let started = started.trim();
        // TestNG 7 names the zone; an abbreviation is a zone only when it is this one.
        self.provenance
            .began(started.strip_suffix(" UTC").unwrap_or(started));
        let failed = failed.and_then(|count| count.trim().parse().ok());
        let failed = failed.unwrap_or(0);
        match element.name() {
            "test" => self.test = name_of(element)?,
            _ => self.test.clear(),
        }
        self.nesting.open(duration.as_deref().and_then(millis));
        Ok(Frame::Suite(Claim {
            failed,
            errors: 0,
            told: TestCase {
                message: format!("{failed} failed, and no failing test is listed"),
                outcome: Outcome::Failed,
                ..TestCase::default()
            },
        }))
    }

    fn test_method(&self, element: &Element<'_>) -> Result<Method, Error> {
        let [name, signature, status, duration] =
            element.attributes(["name", "signature", "status", "duration-ms"])?;
        let [is_config, retried, instance] =
            element.attributes(["is-config", "retried", "test-instance-name"])?;
        let name = name.unwrap_or_default();
        let mut identity = DefaultHasher::new();
        (&self.class, &name, signature, instance).hash(&mut identity);
        let is_true = |value: Option<_>| value.as_deref().map(str::trim) == Some("true");
        Ok(Method {
            case: TestCase {
                outcome: outcome_of(&status.unwrap_or_default()),
                seconds: duration.as_deref().and_then(millis),
                ..TestCase::named(&self.test, &self.class, &name)
            },
            identity,
            parameters: String::new(),
            is_config: is_true(is_config),
            retried: is_true(retried),
            threw: false,
        })
    }

    fn method(&mut self) -> Option<&mut Method> {
        self.open.iter_mut().rev().find_map(|frame| match frame {
            Frame::Method(method) => Some(&mut **method),
            Frame::Suite(_) | Frame::Value(_) | Frame::Message(_) | Frame::Other => None,
        })
    }

    fn end_value(&mut self, value: &Beginning) {
        if let Some(method) = self.method() {
            // So that no value runs into the next one.
            method.identity.write_u8(0xff);
            if method.parameters.len() < PARAMETERS_BYTES_MAX {
                let separator = match method.parameters.is_empty() {
                    true => "",
                    false => ", ",
                };
                let value = value.line(NAME_CHARS_MAX);
                method.parameters += &format!("{separator}{value}");
            }
        }
    }

    fn end_message(&mut self, message: &Beginning) {
        if let Some(method) = self.method()
            && method.case.message.is_empty()
        {
            method.case.message = message.line(MESSAGE_CHARS_MAX);
        }
    }

    fn end_method(&mut self, mut method: Method) {
        if method.is_config {
            if method.case.outcome.is_failing() {
                method.case.outcome = Outcome::Errored;
                self.nesting.count(method.case);
            }
            return;
        }
        if !method.parameters.is_empty() {
            let name = format!("{}({})", method.case.name, method.parameters);
            method.case.name = text::line(&name, NAME_CHARS_MAX);
        }
        self.held_bytes += method.bytes();
        self.held.push(method);
        if self.held_bytes > HELD_BYTES_MAX {
            self.settle();
        }
    }

    /// Counts the results held, each test once whatever its attempts.
    fn settle(&mut self) {
        self.held_bytes = 0;
        let held = mem::take(&mut self.held);
        let has_ended = |method: &&Method| method.case.outcome != Outcome::Skipped;
        let ended: HashSet<u64> = held.iter().filter(has_ended).map(Method::id).collect();
        let (attempts, tests): (Vec<_>, Vec<_>) = held.into_iter().partition(|method| {
            let skipped = method.case.outcome == Outcome::Skipped;
            method.retried || (skipped && method.threw && ended.contains(&method.id()))
        });
        let mut tried: HashSet<u64> = attempts.iter().map(Method::id).collect();
        for method in tests {
            let id = method.id();
            let mut case = method.case;
            match case.outcome {
                Outcome::Passed => case.flaky = tried.remove(&id),
                Outcome::Failed | Outcome::Errored => _ = tried.remove(&id),
                // A skip does not take back what its attempts showed.
                Outcome::Skipped if tried.contains(&id) => continue,
                Outcome::Skipped => {}
            }
            self.nesting.count(case);
        }
        for method in attempts {
            if tried.remove(&method.id()) {
                self.nesting.count(TestCase {
                    outcome: Outcome::Failed,
                    ..method.case
                });
            }
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
        match self.open.last_mut() {
            Some(Frame::Message(message)) => message.push(text),
            Some(Frame::Value(value)) => {
                value.push(text);
                if let Some(method) = self.method() {
                    method.identity.write(text.as_bytes());
                }
            }
            Some(Frame::Suite(_) | Frame::Method(_) | Frame::Other) | None => {}
        }
    }

    fn close(&mut self, _: &str) {
        match self.open.pop() {
            Some(Frame::Suite(claim)) => {
                self.settle();
                self.nesting.close(claim);
            }
            Some(Frame::Method(method)) => self.end_method(*method),
            Some(Frame::Value(value)) => self.end_value(&value),
            Some(Frame::Message(message)) => self.end_message(&message),
            Some(Frame::Other) | None => {}
        }
    }
}

fn name_of(element: &Element<'_>) -> Result<String, Error> {
    let [package, name] = element.attributes(["package", "name"])?;
    let name = name.unwrap_or_default();
    let name = match package {
        Some(package) => format!("{package}.{name}"),
        None => name.into_owned(),
    };
    Ok(text::line(&name, NAME_CHARS_MAX))
}

fn millis(duration: &str) -> Option<f64> {
    seconds(duration).map(|millis| millis / 1000.0)
}

fn outcome_of(status: &str) -> Outcome {
    match status.trim().to_ascii_uppercase().as_str() {
        "PASS" => Outcome::Passed,
        "SKIP" | "SUCCESS_PERCENTAGE_FAILURE" => Outcome::Skipped,
        "FAIL" => Outcome::Failed,
        _ => Outcome::Errored,
    }
}
