//! Cobertura's XML, as coverage.py, gcovr, Istanbul, Coverlet and others write it.
//!
//! Counted from the `line` elements of each class. Many writers list a method's lines twice, in the
//! method and in its class, so a class's own lines count, and those of its methods only when it has
//! none of its own. Branches are counted from the lines' `condition-coverage`.
//!
//! A document without any `line` (or without any condition) is taken at the word of its root's
//! attributes. Without those either, nothing was measured: 0 of 0.

use std::str::FromStr;

use quick_xml::Error;

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::report::{CoverageReport, Ratio, Report};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "cobertura",
    sniff,
    read,
};

const ROOT: &str = "coverage";

/// Clover's root has the same name and none of these attributes.
fn sniff(head: &Head<'_>) -> bool {
    head.root().is_some_and(|root| {
        root.name == ROOT
            && ["line-rate", "lines-valid"]
                .iter()
                .any(|name| root.has.contains(name))
    })
}

fn read(source: Source<'_>) -> Result<Report, ReadError> {
    let mut reading = Reading::default();
    xml::walk(source, &mut reading)?;
    Ok(Report::Coverage(reading.finish()))
}

#[derive(Default)]
struct Reading {
    /// What the root claims.
    claimed: CoverageReport,
    counted: CoverageReport,
    /// The lines of the class being read that are its own.
    own: CoverageReport,
    /// The lines of the class being read that are in its methods.
    in_methods: CoverageReport,
    methods_open: usize,
}

impl Reading {
    fn finish(mut self) -> CoverageReport {
        self.end_class();
        let or = |counted: Ratio, claimed| if counted.valid > 0 { counted } else { claimed };
        CoverageReport {
            lines: or(self.counted.lines, self.claimed.lines),
            branches: or(self.counted.branches, self.claimed.branches),
        }
    }

    fn end_class(&mut self) {
        let own = std::mem::take(&mut self.own);
        let in_methods = std::mem::take(&mut self.in_methods);
        self.counted += if own.lines.valid > 0 { own } else { in_methods };
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
        self.claimed = CoverageReport {
            lines: Ratio::new(lines_covered, lines_valid),
            branches: Ratio::new(branches_covered, branches_valid),
        };
        Ok(())
    }

    fn line(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let [hits, conditions] = element.attributes(["hits", "condition-coverage"])?;
        // Some writers count hits in fractions, or in more than 64 bits.
        let is_hit = number::<f64>(hits.as_deref()).is_some_and(|hits| hits > 0.0);
        let line = CoverageReport {
            lines: Ratio::new(is_hit.into(), 1),
            branches: conditions.as_deref().and_then(fraction).unwrap_or_default(),
        };
        if self.methods_open > 0 {
            self.in_methods += line;
        } else {
            self.own += line;
        }
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
            "class" => self.end_class(),
            "method" => self.methods_open += 1,
            "line" => self.line(element)?,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, _: &str) {}

    fn close(&mut self, name: &str) {
        match name {
            "class" => self.end_class(),
            "method" => self.methods_open -= 1,
            _ => {}
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
