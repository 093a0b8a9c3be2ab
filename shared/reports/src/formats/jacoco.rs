//! JaCoCo's XML, as its Maven, Gradle and Ant tasks, Kover and gcovr write it.
//!
//! Counted from the `line` elements of each source file: a line ran when any of its instructions
//! did, and its branches are `mb` missed and `cb` covered, which is how JaCoCo counts its own
//! totals. A source file's path is its package and its name, as in `com/acme/Cart.java`; a
//! `group` element is a module, which may have a file of the same path as another.
//!
//! A source file without lines (or without branches) is taken at the word of its counters, a report
//! without any at the word of its own. gcovr's lines do not say whether they ran, so there it is the
//! counters. Classes compiled without debug information have neither, and JaCoCo itself then counts
//! no lines.
//!
//! Every report names a DTD, which is never fetched. The facts are from that DTD
//! (jacoco.org/jacoco/trunk/coverage/report.dtd) and from reports of JaCoCo 0.8 and gcovr 8.8.

use std::mem;
use std::str::FromStr;

use quick_xml::Error;

use super::{Format, Head, Source};
use crate::coverage::{CoverageReport, FileCoverage, Module, Ratio};
use crate::error::ReadError;
use crate::limits::TooMuch;
use crate::report::{Content, Parsed, Provenance};
use crate::xml::{self, Element, Visitor};

pub(super) const FORMAT: Format = Format {
    name: "jacoco",
    sniff,
    read,
};

const ROOT: &str = "report";

/// Others call their root so, too: JaCoCo's always has a name.
fn sniff(head: &Head<'_>) -> bool {
    let is_ours = |first| matches!(first, "" | "sessioninfo" | "group" | "package" | "counter");
    head.root()
        .is_some_and(|root| root.name == ROOT && root.has.contains(&"name") && is_ours(&root.first))
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

/// What the counters of an element say.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    lines: Option<Ratio>,
    branches: Option<Ratio>,
}

#[derive(Default)]
struct Reading {
    counted: CoverageReport,
    depth: usize,
    /// The modules around the package, from the outside in.
    groups: Vec<Module>,
    package: String,
    /// The source file being read or read last, by its path.
    file: Option<(Module, String, FileCoverage)>,
    is_in_file: bool,
    /// What it says of itself.
    claimed: Counters,
    /// What the report says of itself.
    claimed_by_root: Counters,
    provenance: Provenance,
}

impl Reading {
    fn finish(mut self) -> Result<CoverageReport, TooMuch> {
        self.end_file()?;
        let missing = |counted: Ratio, claimed: Option<Ratio>| match counted.valid {
            0 => claimed.unwrap_or_default(),
            _ => Ratio::default(),
        };
        let claimed = self.claimed_by_root;
        let lines = missing(self.counted.lines(), claimed.lines);
        let branches = missing(self.counted.branches(), claimed.branches);
        self.counted.add_whole(lines, branches);
        Ok(self.counted)
    }

    fn end_file(&mut self) -> Result<(), TooMuch> {
        let claimed = mem::take(&mut self.claimed);
        let Some((module, path, mut file)) = self.file.take() else {
            return Ok(());
        };
        if let Some(lines) = claimed.lines
            && file.map().is_empty()
        {
            file.count_instead(lines);
        }
        if let Some(branches) = claimed.branches
            && file.branches().valid == 0
        {
            file.count_branches_instead(branches);
        }
        self.counted.add_of(module, &path, file)
    }

    fn module(&self) -> Module {
        self.groups.last().copied().unwrap_or_default()
    }

    fn begin_file(&mut self, element: &Element<'_>) -> Result<(), Error> {
        self.end_file()?;
        let [name] = element.attributes(["name"])?;
        let name = name.unwrap_or_default();
        let path = match self.package.is_empty() {
            true => name.into_owned(),
            false => format!("{}/{name}", self.package),
        };
        self.file = Some((self.module(), path, FileCoverage::default()));
        self.is_in_file = true;
        Ok(())
    }

    fn line(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let Some((.., file)) = &mut self.file else {
            return Ok(());
        };
        let [nr, missed, covered, missed_ways, covered_ways] =
            element.attributes(["nr", "mi", "ci", "mb", "cb"])?;
        let Some(nr) = number(nr.as_deref()) else {
            return Ok(());
        };
        let instructions = ratio(missed.as_deref(), covered.as_deref());
        if instructions.valid > 0 {
            file.mark(nr, instructions.covered > 0)?;
        }
        file.branch(nr, ratio(missed_ways.as_deref(), covered_ways.as_deref()))?;
        Ok(())
    }

    fn counter(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let counters = match (self.depth, self.is_in_file) {
            (1, _) => &mut self.claimed_by_root,
            (_, true) => &mut self.claimed,
            (_, false) => return Ok(()),
        };
        let [kind, missed, covered] = element.attributes(["type", "missed", "covered"])?;
        let ratio = ratio(missed.as_deref(), covered.as_deref());
        match kind.as_deref() {
            Some("LINE") => counters.lines = Some(ratio),
            Some("BRANCH") => counters.branches = Some(ratio),
            Some(_) | None => {}
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
            "sessioninfo" => {
                let [start] = element.attributes(["start"])?;
                if let Some(millis) = number(start.as_deref()) {
                    self.provenance.began_at_millis(millis);
                }
            }
            "group" => {
                let [name] = element.attributes(["name"])?;
                self.groups.push(self.module().part(&name));
            }
            "package" => {
                let [name] = element.attributes(["name"])?;
                self.package = name.unwrap_or_default().into_owned();
            }
            "sourcefile" => self.begin_file(element)?,
            "line" => self.line(element)?,
            "counter" => self.counter(element)?,
            _ => {}
        }
        self.depth += 1;
        Ok(())
    }

    fn wants_text(&self) -> bool {
        false
    }

    fn text(&mut self, _: &str) {}

    fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.is_in_file &= name != "sourcefile";
        if name == "group" {
            self.groups.pop();
        }
    }
}

fn number<T: FromStr>(value: Option<&str>) -> Option<T> {
    value?.trim().parse().ok()
}

fn ratio(missed: Option<&str>, covered: Option<&str>) -> Ratio {
    let [missed, covered] = [missed, covered].map(|value| number::<u64>(value).unwrap_or(0));
    Ratio::new(covered, missed.saturating_add(covered))
}
