//! Cobertura's XML, as coverage.py, gcovr, Istanbul, Coverlet and others write it.
//!
//! Counted from the `line` elements of each class. Many writers list a method's lines twice, in the
//! method and in its class, so a class's own lines count, and those of its methods only when it has
//! none of its own. Classes of one `filename` are one file. Branches are counted from the lines'
//! `condition-coverage`.
//!
//! A document without any `line` (or without any condition) is taken at the word of its root's
//! attributes. Without those either, nothing was measured: 0 of 0.

use std::str::FromStr;

use quick_xml::Error;

use super::{Format, Head, Source};
use crate::coverage::{CoverageReport, FileCoverage, Ratio};
use crate::error::ReadError;
use crate::limits::TooMuch;
use crate::report::{Content, Parsed, Provenance};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "cobertura",
    sniff,
    read,
};

const ROOT: &str = "coverage";

/// Times above are in milliseconds: in seconds they would be after the year 5000.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Clover's root has the same name, other attributes and other elements in it.
fn sniff(head: &Head<'_>) -> bool {
    head.root().is_some_and(|root| {
        let has = |names: &[&str]| names.iter().any(|name| root.has.contains(name));
        let is_first = matches!(&root.first[..], "sources" | "packages");
        root.name == ROOT
            && (has(&["line-rate", "lines-valid"]) || is_first && !has(&["clover", "generated"]))
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let name = source.name.to_owned();
    let mut reading = Reading::default();
    xml::walk(source, &mut reading)?;
    let provenance = std::mem::take(&mut reading.provenance);
    let report = reading.finish();
    let report = report.map_err(|error| ReadError::too_large(&name, error.what, error.limit))?;
    Ok(Parsed {
        content: Content::Coverage(report),
        provenance,
    })
}

#[derive(Default)]
struct Reading {
    /// Lines and branches as the root claims them.
    claimed: [Ratio; 2],
    counted: CoverageReport,
    /// The path of the class being read.
    path: String,
    /// The lines of the class being read that are its own.
    own: FileCoverage,
    /// The lines of the class being read that are in its methods.
    in_methods: FileCoverage,
    methods_open: usize,
    provenance: Provenance,
}

impl Reading {
    fn finish(mut self) -> Result<CoverageReport, TooMuch> {
        self.end_class()?;
        let [lines, branches] = self.claimed;
        let missing = |counted: Ratio, claimed| match counted.valid {
            0 => claimed,
            _ => Ratio::default(),
        };
        let lines = missing(self.counted.lines(), lines);
        let branches = missing(self.counted.branches(), branches);
        self.counted.add_whole(lines, branches);
        Ok(self.counted)
    }

    fn end_class(&mut self) -> Result<(), TooMuch> {
        let own = std::mem::take(&mut self.own);
        let in_methods = std::mem::take(&mut self.in_methods);
        let lines = if own.is_empty() { in_methods } else { own };
        if !lines.is_empty() {
            self.counted.add(&self.path, lines)?;
        }
        Ok(())
    }

    fn root(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let names = [
            "lines-covered",
            "lines-valid",
            "branches-covered",
            "branches-valid",
        ];
        let values = element.attributes(names)?;
        let [lines_covered, lines_valid, branches_covered, branches_valid] =
            values.map(|value| number(value.as_deref()).unwrap_or(0));
        self.claimed = [
            Ratio::new(lines_covered, lines_valid),
            Ratio::new(branches_covered, branches_valid),
        ];
        let [timestamp] = element.attributes(["timestamp"])?;
        match number(timestamp.as_deref()) {
            Some(seconds @ ..SECONDS_MAX) => self.provenance.began_at_seconds(seconds),
            Some(millis) => self.provenance.began_at_millis(millis),
            None => {}
        }
        Ok(())
    }

    fn class(&mut self, element: &Element<'_>) -> Result<(), Error> {
        self.end_class()?;
        let [filename] = element.attributes(["filename"])?;
        self.path = filename.unwrap_or_default().into_owned();
        Ok(())
    }

    fn line(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let [line, hits, conditions] =
            element.attributes(["number", "hits", "condition-coverage"])?;
        // Some writers count hits in fractions, or in more than 64 bits.
        let is_hit = number::<f64>(hits.as_deref()).is_some_and(|hits| hits > 0.0);
        let file = match self.methods_open {
            0 => &mut self.own,
            _ => &mut self.in_methods,
        };
        let Some(line) = number(line.as_deref()) else {
            return Ok(());
        };
        file.mark(line, is_hit)?;
        let ways = conditions.as_deref().and_then(fraction);
        file.branch(line, ways.unwrap_or_default())?;
        Ok(())
    }
}

impl Visitor for Reading {
    fn roots(&self) -> &'static [&'static str] {
        &[ROOT]
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), Error> {
        match element.name() {
            ROOT => self.root(element)?,
            "class" => self.class(element)?,
            "method" => self.methods_open += 1,
            "line" => self.line(element)?,
            _ => {}
        }
        Ok(())
    }

    fn wants_text(&self) -> bool {
        false
    }

    fn text(&mut self, _: &str) {}

    fn close(&mut self, name: &str) {
        if name == "method" {
            self.methods_open = self.methods_open.saturating_sub(1);
        }
    }
}

fn number<T: FromStr>(value: Option<&str>) -> Option<T> {
    value?.trim().parse().ok()
}

/// The `(1/2)` of `50% (1/2)`.
fn fraction(condition_coverage: &str) -> Option<Ratio> {
    let (_, fraction) = condition_coverage.split_once('(')?;
    let (fraction, _) = fraction.split_once(')')?;
    let (covered, valid) = fraction.split_once('/')?;
    Some(Ratio::new(number(Some(covered))?, number(Some(valid))?))
}
