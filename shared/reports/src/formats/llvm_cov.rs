//! llvm-cov's JSON, as `llvm-cov export` writes it for C, C++, Swift and Rust (`cargo llvm-cov
//! --json`).
//!
//! A file is a list of segments, each of which says how often what follows it ran, up to the next.
//! Which lines can run, and how often each did, is worked out from them as llvm-cov itself does: a
//! line's count is the highest of the regions that begin on it and of the one that goes on from
//! before. A condition has two ways out; where the code of a template is there several times, each
//! way counts once.
//!
//! llvm-cov sums lines by function, so a line of two functions counts twice there. Where its own
//! `summary` of a file differs from what is counted, the summary counts: the figures are then those
//! that `llvm-cov report` prints. `-summary-only` leaves nothing but summaries.
//!
//! The facts are from LLVM's CoverageMapping.cpp and CoverageExporterJson.cpp, versions 14 to 20.

use super::{Format, Head, Source};
use crate::coverage::{CoverageReport, FileCoverage, Ratio};
use crate::error::ReadError;
use crate::json::{self, Fault, Json};
use crate::limits::TooMuch;
use crate::report::{Content, Parsed};

pub(super) const FORMAT: Format = Format {
    name: "llvm-cov",
    sniff,
    read,
};

const TYPE: &str = "llvm.coverage.json.export";

/// The type comes last, so in a long report it is what the files are that tells.
fn sniff(head: &Head<'_>) -> bool {
    let Some(outline) = head.json() else {
        return false;
    };
    let places = ["segments", "expansions", "branches", "summary.lines"];
    outline.is("type", TYPE)
        || places
            .iter()
            .any(|place| outline.has(&format!("data[].files[].{place}")))
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut report = CoverageReport::default();
    json::read(source, |json| {
        let mut has_data = false;
        json.object(|name, json| match name {
            "data" => {
                has_data = json.array(|json| export(json, &mut report))?;
                Ok(())
            }
            _ => json.skip(),
        })?;
        match has_data {
            true => Ok(()),
            false => Err(Fault::Missing("data")),
        }
    })?;
    Ok(Content::Coverage(report).into())
}

fn export(json: &mut Json<'_>, report: &mut CoverageReport) -> Result<(), Fault> {
    let mut has_files = false;
    json.object(|name, json| match name {
        "files" => {
            has_files = json.array(|json| {
                let (path, file) = file(json)?;
                Ok(report.add(&path, file)?)
            })?;
            Ok(())
        }
        _ => json.skip(),
    })?;
    match has_files {
        true => Ok(()),
        false => Err(Fault::Missing("files")),
    }
}

fn file(json: &mut Json<'_>) -> Result<(String, FileCoverage), Fault> {
    let mut path = None;
    let mut file = FileCoverage::default();
    let mut summary = Summary::default();
    json.object(|name, json| {
        match name {
            "filename" => path = json.string()?,
            "segments" => segments(json, &mut file)?,
            "branches" => branches(json, &mut file)?,
            "summary" => summary.read(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    if let Some(lines) = summary.lines.filter(|&lines| lines != file.lines()) {
        file.count_instead(lines);
    }
    if let Some(branches) = summary.branches.filter(|&ways| ways != file.branches()) {
        file.count_branches_instead(branches);
    }
    let path = path.ok_or(Fault::Missing("filename"))?;
    Ok((path, file))
}

/// What a file says of itself.
#[derive(Default)]
struct Summary {
    lines: Option<Ratio>,
    branches: Option<Ratio>,
}

impl Summary {
    fn read(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.object(|name, json| {
            match name {
                "lines" => self.lines = ratio(json)?,
                "branches" => self.branches = ratio(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn ratio(json: &mut Json<'_>) -> Result<Option<Ratio>, Fault> {
    let (mut count, mut covered) = (None, None);
    json.object(|name, json| {
        match name {
            "count" => count = json.integer()?,
            "covered" => covered = json.integer()?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(count.map(|count| Ratio::new(covered.unwrap_or(0), count)))
}

/// `[line, column, end line, end column, times true, times false, ..]`.
fn branches(json: &mut Json<'_>, file: &mut FileCoverage) -> Result<(), Fault> {
    json.array(|json| {
        let mut numbers = [0.0; 6];
        let mut places = numbers.iter_mut();
        json.array(|json| {
            match places.next() {
                Some(place) => *place = json.number()?.unwrap_or(0.0),
                None => json.skip()?,
            }
            Ok(())
        })?;
        let [place @ .., times_true, times_false] = numbers.map(|number| number.max(0.0));
        let place = place.map(|number| number as u64);
        for (way, times) in [(true, times_true), (false, times_false)] {
            file.way(place[0], (place, way), times > 0.0)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// `[line, column, count, has a count, begins a region, is a gap]`: where what counts changes.
#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    line: u64,
    ran: bool,
    has_count: bool,
    is_entry: bool,
    is_gap: bool,
}

fn segment(json: &mut Json<'_>) -> Result<Segment, Fault> {
    let mut segment = Segment::default();
    let mut place = 0;
    json.array(|json| {
        match place {
            0 => segment.line = json.integer()?.unwrap_or(0),
            2 => segment.ran = json.number()?.is_some_and(|count| count > 0.0),
            3 => segment.has_count = json.boolean()?.unwrap_or(false),
            4 => segment.is_entry = json.boolean()?.unwrap_or(false),
            5 => segment.is_gap = json.boolean()?.unwrap_or(false),
            _ => json.skip()?,
        }
        place += 1;
        Ok(())
    })?;
    Ok(segment)
}

/// Marks the lines of a file by its segments, which come in order.
fn segments(json: &mut Json<'_>, file: &mut FileCoverage) -> Result<(), Fault> {
    let mut line = LineOfSegments::default();
    json.array(|json| {
        let segment = segment(json)?;
        if segment.line < line.number {
            return Err(Fault::Broken("the segments of a file are not in order"));
        }
        line.go_on_to(segment.line, file)?;
        line.begin(segment);
        Ok(())
    })?;
    Ok(line.end(file)?)
}

/// The line at which the segments are.
#[derive(Debug, Default)]
struct LineOfSegments {
    number: u64,
    /// What goes on from before, as of the last segment of an earlier line.
    wrapped: Option<Segment>,
    /// The first and the last segment of this line.
    ends: Option<(Segment, Segment)>,
    /// Any of them begins a region that has a count, a gap's or not.
    has_entry: bool,
    /// Whether one of the regions that begin here, other than gaps, ran; None without such regions.
    begun: Option<bool>,
}

impl LineOfSegments {
    fn begin(&mut self, segment: Segment) {
        let first = self.ends.map_or(segment, |(first, _)| first);
        self.ends = Some((first, segment));
        if segment.is_entry && segment.has_count {
            self.has_entry = true;
            if !segment.is_gap {
                self.begun = Some(self.begun.unwrap_or(false) | segment.ran);
            }
        }
    }

    /// Marks this line, when it can run.
    fn end(&self, file: &mut FileCoverage) -> Result<(), TooMuch> {
        let is_wrapped = self.wrapped.is_some_and(|wrapped| wrapped.has_count);
        let begins_skipped = self
            .ends
            .is_some_and(|(first, _)| first.is_entry && !first.has_count);
        let can_run = self.has_entry || is_wrapped && !begins_skipped;
        let ran = self.wrapped.is_some_and(|wrapped| wrapped.ran) || self.begun.unwrap_or(false);
        match can_run {
            true => file.mark(self.number, ran),
            false => Ok(()),
        }
    }

    /// Marks this line and those up to `line`, on which no segment begins.
    fn go_on_to(&mut self, line: u64, file: &mut FileCoverage) -> Result<(), TooMuch> {
        while self.number < line {
            self.end(file)?;
            let wrapped = self.ends.map(|(_, last)| last).or(self.wrapped);
            let is_silent = !wrapped.is_some_and(|wrapped| wrapped.has_count);
            let number = if is_silent { line } else { self.number + 1 };
            *self = Self {
                number,
                wrapped,
                ..Self::default()
            };
        }
        Ok(())
    }
}
