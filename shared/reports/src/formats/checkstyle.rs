//! Checkstyle's XML, as Checkstyle itself, ESLint, PHP_CodeSniffer, PHPStan, ktlint, detekt,
//! ShellCheck and others write it (Checkstyle's `XMLLogger`; there is no schema).
//!
//! - Each `error` of a `file` is a finding, whatever its severity: `error`, `warning`, `info` or
//!   `ignore`. Its `source` is the rule. Writers without rules leave it out; what they find is named by its
//!   message.
//! - An `exception` says that a file could not be checked: a finding too, as bad as an error.
//! - No `file` at all, or only empty ones, is a report of no findings: several writers list only the
//!   files that have some.

use quick_xml::Error;

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::findings::{Finding, FindingsReport, Severity};
use crate::limits::PATH_CHARS_MAX;
use crate::report::{Content, Parsed};
use crate::text::{self, Beginning};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "checkstyle",
    sniff,
    read,
};

const ROOT: &str = "checkstyle";

/// Longest first line of an exception kept, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

fn sniff(head: &Head<'_>) -> bool {
    head.root().is_some_and(|root| root.name == ROOT)
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut reading = Reading::default();
    xml::walk(source, &mut reading)?;
    Ok(Content::Findings(reading.report).into())
}

#[derive(Default)]
struct Reading {
    report: FindingsReport,
    /// The path of the open `file`; empty outside of any.
    path: String,
    /// The text of the open `exception`.
    exception: Option<Beginning>,
}

impl Reading {
    fn error(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let values = element.attributes(["source", "severity", "message", "line"])?;
        let [source, severity, message, line] = values.map(Option::unwrap_or_default);
        let line = line.trim().parse().ok().filter(|&line| line > 0);
        let rule = match source.trim().is_empty() {
            true => &message,
            false => &source,
        };
        self.report.add(Finding {
            id: rule.to_string(),
            severity: Severity::of_word(&severity),
            message: message.into_owned(),
            path: self.path.clone(),
            line,
            ..Finding::default()
        });
        Ok(())
    }

    fn end_exception(&mut self) {
        if let Some(exception) = self.exception.take() {
            self.report.add(Finding {
                id: "exception".to_owned(),
                severity: Severity::High,
                message: exception.line(MESSAGE_CHARS_MAX),
                path: self.path.clone(),
                ..Finding::default()
            });
        }
    }
}

impl Visitor for Reading {
    fn roots(&self) -> &'static [&'static str] {
        &[ROOT]
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), Error> {
        match element.name() {
            "file" => {
                let [name] = element.attributes(["name"])?;
                self.path = text::line(&name.unwrap_or_default(), PATH_CHARS_MAX);
            }
            "error" => self.error(element)?,
            "exception" => self.exception = Some(Beginning::default()),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(exception) = &mut self.exception {
            exception.push(text);
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "file" => self.path.clear(),
            "exception" => self.end_exception(),
            _ => {}
        }
    }
}
