//! xUnit.net's XML: version 2 of the format (root `assemblies`), which xUnit.net 2 and 3 write, and
//! version 1 (root `assembly`). After xUnit.net's pages on both formats.
//!
//! - The `test` elements are counted. Their `result` is `Pass`, `Fail`, `Skip` or `NotRun`, which
//!   counts as skipped; any other word, or none, counts as an error.
//! - Each `error` of an assembly (a clean-up that broke, a fatal error) counts as one that has no
//!   test.
//! - An assembly or a collection that says `failed` or `errors` is believed when nothing in it
//!   failed.
//! - There are no retries: a theory runs one test again with other data, under names that may be
//!   the same.

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
    name: "xunit",
    sniff,
    read,
};

const ROOTS: &[&str] = &["assemblies", "assembly"];

/// The manifest of a .NET assembly and the descriptor of a Maven assembly have the root `assembly`
/// too, and no date.
fn sniff(head: &Head<'_>) -> bool {
    head.root().is_some_and(|root| match root.name.as_str() {
        "assemblies" => true,
        "assembly" => root.has.contains(&"run-date"),
        _ => false,
    })
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
    /// The file of the assembly being read.
    assembly: String,
    provenance: Provenance,
}

/// An open element.
enum Frame {
    /// `assemblies`, `assembly`, `collection` or `class`.
    Suite(Claim),
    /// A `test`, or an `error` of the assembly.
    Case(TestCase),
    /// A `message` of a failure, or the text of a `reason`.
    Message(Beginning),
    Other,
}

impl Reading {
    fn frame(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        Ok(match element.name() {
            "assemblies" | "assembly" | "collection" | "class" => self.suite(element)?,
            "test" => self.test(element)?,
            "error" => self.error(element)?,
            "message" | "reason" => Frame::Message(Beginning::default()),
            _ => Frame::Other,
        })
    }

    fn suite(&mut self, element: &Element<'_>) -> Result<Frame, Error> {
        let [name, time, failed, errors] =
            element.attributes(["name", "time", "failed", "errors"])?;
        let name = name.unwrap_or_default();
        let mut told = TestCase::named(&self.assembly, &name, "");
        if element.name() == "assembly" {
            self.assembly = text::line(text::file_name(&name), NAME_CHARS_MAX);
            told = TestCase::named(&self.assembly, "", "");
            self.date(element)?;
        }
        let [start] = element.attributes(["start-rtf"])?;
        self.provenance.began(&start.unwrap_or_default());
        let [failed, errors] = [failed, errors].map(|count| {
            let count = count.and_then(|count| count.trim().parse().ok());
            count.unwrap_or(0)
        });
        self.nesting.open(time.as_deref().and_then(seconds));
        Ok(Frame::Suite(Claim {
            failed,
            errors,
            told: TestCase {
                message: format!("{failed} failed, {errors} errors, and none is listed"),
                outcome: Outcome::Errored,
                ..told
            },
        }))
    }

    fn date(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let [date, time] = element.attributes(["run-date", "run-time"])?;
        if let (Some(date), Some(time)) = (date, time) {
            let began = format!("{}T{}", date.trim(), time.trim());
            self.provenance.began(&began);
        }
        Ok(())
    }

    fn test(&self, element: &Element<'_>) -> Result<Frame, Error> {
        let [name, class, time, result] = element.attributes(["name", "type", "time", "result"])?;
        let [name, class] = [name, class].map(Option::unwrap_or_default);
        Ok(Frame::Case(TestCase {
            outcome: outcome_of(&result.unwrap_or_default()),
            seconds: time.as_deref().and_then(seconds),
            ..TestCase::named(&self.assembly, &class, text::within(&class, &name))
        }))
    }

    fn error(&self, element: &Element<'_>) -> Result<Frame, Error> {
        let [kind, name] = element.attributes(["type", "name"])?;
        let [kind, name] = [kind, name].map(Option::unwrap_or_default);
        let name = format!("{kind} {name}");
        Ok(Frame::Case(TestCase {
            outcome: Outcome::Errored,
            ..TestCase::named(&self.assembly, "", &name)
        }))
    }

    /// Why the case around failed or was skipped: the first message that is not blank.
    fn end_message(&mut self, message: &Beginning) {
        let around = self.open.iter_mut().rev().find_map(|frame| match frame {
            Frame::Case(case) => Some(case),
            Frame::Suite(_) | Frame::Message(_) | Frame::Other => None,
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
            Some(Frame::Suite(claim)) => self.nesting.close(claim),
            Some(Frame::Case(case)) => self.nesting.count(case),
            Some(Frame::Message(message)) => self.end_message(&message),
            Some(Frame::Other) | None => {}
        }
    }
}

fn outcome_of(result: &str) -> Outcome {
    match result.trim().to_ascii_lowercase().as_str() {
        "pass" => Outcome::Passed,
        "skip" | "notrun" => Outcome::Skipped,
        "fail" => Outcome::Failed,
        _ => Outcome::Errored,
    }
}
