//! Clover's XML, as OpenClover, PHPUnit, Istanbul (nyc, c8, Jest, Vitest), gcovr and others write it.
//!
//! Counted from the `line` elements of type `stmt` and `cond` of each file, and where the file's own
//! `metrics` differ from that, by those: they count statements, of which a line can hold several,
//! and in PHPUnit's reports the branches are there alone. A `method` line is a declaration and does
//! not count, except where the metrics know of more statements than there are lines: in PHPUnit's
//! reports the declaration of a method hides a statement on the same line.
//!
//! Of a `cond`, OpenClover writes how often it was true and how often false (two ways out, and no
//! `count`); Istanbul and gcovr write in the same attributes how many ways ran and how many did not,
//! beside a `count`. Code under `testproject` is the tests' own and does not count. A report that
//! lists no files is taken at the word of its project's metrics.
//!
//! A file is called by its `path`, or else by its `name`, which is where PHPUnit has the path. The
//! facts are from OpenClover's clover.xsd, its reports and those of PHPUnit 9 and nyc 18.

use std::mem;
use std::str::FromStr;

use quick_xml::Error;

use super::{Format, Head, Source};
use crate::coverage::{CoverageReport, FileCoverage, LineMap, Ratio};
use crate::error::ReadError;
use crate::limits::TooMuch;
use crate::report::{Content, Parsed, Provenance};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "clover",
    sniff,
    read,
};

const ROOT: &str = "coverage";

/// Times above are in milliseconds: in seconds they would be after the year 5000.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Cobertura's root has the same name and other attributes.
fn sniff(head: &Head<'_>) -> bool {
    head.root().is_some_and(|root| {
        let has = |names: &[&str]| names.iter().any(|name| root.has.contains(name));
        let is_first = matches!(&root.first[..], "project" | "testproject");
        root.name == ROOT
            && !has(&["line-rate", "lines-valid"])
            && (has(&["clover", "generated"]) || is_first)
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let name = source.name.to_owned();
    let mut reading = Reading::default();
    xml::walk(source, &mut reading)?;
    let provenance = mem::take(&mut reading.provenance);
    let report = reading.finish();
    let report = report.map_err(|error| ReadError::too_large(&name, error.what, error.limit))?;
    Ok(Parsed {
        content: Content::Coverage(report),
        provenance,
    })
}

/// What an element says of itself: statements and branches.
#[derive(Debug, Clone, Copy, Default)]
struct Metrics {
    statements: Option<Ratio>,
    branches: Option<Ratio>,
}

/// What is said of one file.
#[derive(Default)]
struct File {
    path: String,
    coverage: FileCoverage,
    /// The lines on which methods are declared, and whether they ran.
    methods: LineMap,
    metrics: Metrics,
}

#[derive(Default)]
struct Reading {
    counted: CoverageReport,
    /// The names that are open: only some of them matter.
    open: Vec<Place>,
    /// The file being read or read last.
    file: Option<File>,
    /// What the projects say of themselves.
    claimed: [Ratio; 2],
    provenance: Provenance,
}

/// What an open element is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Project,
    TestProject,
    File,
    Other,
}

impl Reading {
    fn finish(mut self) -> Result<CoverageReport, TooMuch> {
        self.end_file()?;
        let is_listed = self.counted.files().next().is_some();
        if !is_listed {
            let [lines, branches] = self.claimed;
            self.counted.add_whole(lines, branches);
        }
        Ok(self.counted)
    }

    fn end_file(&mut self) -> Result<(), TooMuch> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let Metrics {
            statements,
            branches,
        } = file.metrics;
        let coverage = &mut file.coverage;
        let differs = |claimed: Ratio, counted| claimed.valid > 0 && claimed != counted;
        if let Some(statements) = statements
            && differs(statements, coverage.lines())
        {
            if statements.valid > coverage.lines().valid {
                for (line, ran) in file.methods.lines() {
                    coverage.mark(line.into(), ran)?;
                }
            }
            coverage.count_instead(statements);
        }
        if let Some(branches) = branches
            && differs(branches, coverage.branches())
        {
            coverage.count_branches_instead(branches);
        }
        self.counted.add(&file.path, file.coverage)
    }

    fn begin_file(&mut self, element: &Element<'_>) -> Result<(), Error> {
        self.end_file()?;
        let [path, name] = element.attributes(["path", "name"])?;
        let path = path.filter(|path| !path.trim().is_empty()).or(name);
        self.file = Some(File {
            path: path.unwrap_or_default().into_owned(),
            ..File::default()
        });
        Ok(())
    }

    fn timestamp(&mut self, element: &Element<'_>, name: &str) -> Result<(), Error> {
        let [time] = element.attributes([name])?;
        match number(time.as_deref()) {
            Some(seconds @ ..SECONDS_MAX) => self.provenance.began_at_seconds(seconds),
            Some(millis) => self.provenance.began_at_millis(millis),
            None => {}
        }
        Ok(())
    }

    /// Those of packages and classes are sums of the others.
    fn metrics(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let names = [
            "statements",
            "coveredstatements",
            "conditionals",
            "coveredconditionals",
        ];
        let values = element.attributes(names)?;
        let [statements, covered, conditionals, covered_conditionals] =
            values.map(|value| number::<u64>(value.as_deref()));
        let ratio = |valid: Option<u64>, covered: Option<u64>| {
            valid.map(|valid| Ratio::new(covered.unwrap_or(0), valid))
        };
        let metrics = Metrics {
            statements: ratio(statements, covered),
            branches: ratio(conditionals, covered_conditionals),
        };
        match (self.open.last(), &mut self.file) {
            (Some(Place::File), Some(file)) => file.metrics = metrics,
            (Some(Place::Project), _) => {
                self.claimed[0] += metrics.statements.unwrap_or_default();
                self.claimed[1] += metrics.branches.unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let [line, kind, count, when_true, when_false] =
            element.attributes(["num", "type", "count", "truecount", "falsecount"])?;
        let Some(line) = number(line.as_deref()) else {
            return Ok(());
        };
        let [when_true, when_false] =
            [when_true, when_false].map(|count| number::<u64>(count.as_deref()).unwrap_or(0));
        // Some writers count in fractions, or in more than 64 bits.
        let hits: Option<f64> = number(count.as_deref());
        let ran = hits.is_some_and(|hits| hits > 0.0);
        match kind.as_deref() {
            Some("method") => file.methods.mark(line, ran)?,
            Some("cond") if hits.is_none() => {
                let ways = [when_true, when_false].map(|times| u64::from(times > 0));
                let covered = ways.iter().sum();
                file.coverage.mark(line, covered > 0)?;
                file.coverage.branch(line, Ratio::new(covered, 2))?;
            }
            Some("cond") => {
                let valid = when_true.saturating_add(when_false);
                file.coverage.mark(line, ran)?;
                file.coverage.branch(line, Ratio::new(when_true, valid))?;
            }
            Some(_) | None => file.coverage.mark(line, ran)?,
        }
        Ok(())
    }
}

impl Visitor for Reading {
    fn roots(&self) -> &'static [&'static str] {
        &[ROOT]
    }

    fn open(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let is_tests = self.open.contains(&Place::TestProject);
        let is_in_file = self.open.contains(&Place::File);
        let mut place = Place::Other;
        match element.name() {
            "testproject" => place = Place::TestProject,
            _ if is_tests => {}
            ROOT => self.timestamp(element, "generated")?,
            "project" => {
                place = Place::Project;
                self.timestamp(element, "timestamp")?;
            }
            "file" if !is_in_file => {
                place = Place::File;
                self.begin_file(element)?;
            }
            "line" if is_in_file => self.line(element)?,
            "metrics" => self.metrics(element)?,
            _ => {}
        }
        self.open.push(place);
        Ok(())
    }

    fn wants_text(&self) -> bool {
        false
    }

    fn text(&mut self, _: &str) {}

    fn close(&mut self, _: &str) {
        self.open.pop();
    }
}

fn number<T: FromStr>(value: Option<&str>) -> Option<T> {
    value?.trim().parse().ok()
}
