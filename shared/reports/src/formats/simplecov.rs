//! SimpleCov's JSON, for Ruby: the `.resultset.json` that it keeps, and the `coverage.json` that its
//! JSON formatter writes.
//!
//! `.resultset.json` has the coverage of each command, as in `{"RSpec": {"coverage": ..}}`, to be
//! merged: a line or a branch ran when it ran under any of them, and branches are told apart by
//! their own names. `coverage.json` has one coverage, which is merged already. In both a file has
//! the hits of each of its lines in order, null for a line that cannot run; versions before 0.18
//! have that array alone. A line that says `"ignored"` (`:nocov:`) does not count. In
//! `.resultset.json` such lines are still counted: SimpleCov leaves them out only when it formats.
//!
//! The facts are from the sources of simplecov 0.16 to 0.22 and of simplecov_json_formatter 0.1.

use super::{Format, Head, Source};
use crate::coverage::{CoverageReport, FileCoverage};
use crate::error::ReadError;
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed, Provenance};

pub(super) const FORMAT: Format = Format {
    name: "simplecov",
    sniff,
    read,
};

/// The name of the first command is anybody's.
fn sniff(head: &Head<'_>) -> bool {
    let Some(outline) = head.json() else {
        return false;
    };
    let Some(first) = outline.first() else {
        return false;
    };
    let coverage = format!("{first}.coverage");
    let is_formatted = outline.has("meta.simplecov_version")
        || outline
            .within("coverage")
            .any(|place| place.ends_with(".lines[]"));
    let is_command = outline.has(&format!("{first}.timestamp"))
        || outline.within(&coverage).any(|place| place.ends_with("[]"));
    is_formatted || outline.has(&coverage) && is_command
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut reading = Reading::default();
    json::read(source, |json| {
        json.object(|name, json| match name {
            "meta" => reading.meta(json),
            "coverage" => reading.files(json),
            // Percentages by group.
            "groups" => json.skip(),
            _ => reading.command(json),
        })?;
        match reading.has_coverage {
            true => Ok(()),
            false => Err(Fault::Missing("coverage")),
        }
    })?;
    Ok(Parsed {
        content: Content::Coverage(reading.report),
        provenance: reading.provenance,
    })
}

#[derive(Default)]
struct Reading {
    report: CoverageReport,
    has_coverage: bool,
    provenance: Provenance,
}

impl Reading {
    fn meta(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.object(|name, json| match name {
            "timestamp" => self.timestamp(json),
            _ => json.skip(),
        })?;
        Ok(())
    }

    fn timestamp(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let Some(time) = json.text()? else {
            return Ok(());
        };
        match time.parse() {
            Ok(seconds) => self.provenance.began_at_seconds(seconds),
            Err(_) => self.provenance.began(&time),
        }
        Ok(())
    }

    /// What is no command is something that a formatter adds beside the coverage.
    fn command(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.object(|name, json| match name {
            "coverage" => self.files(json),
            "timestamp" => self.timestamp(json),
            _ => json.skip(),
        })?;
        Ok(())
    }

    fn files(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let is_object = json.object(|path, json| {
            let file = file(json)?;
            Ok(self.report.add(path, file)?)
        })?;
        self.has_coverage |= is_object;
        match is_object {
            true => Ok(()),
            false => Err(Fault::Missing("coverage of files")),
        }
    }
}

fn file(json: &mut Json<'_>) -> Result<FileCoverage, Fault> {
    let mut file = FileCoverage::default();
    if json.is_array()? {
        lines(json, &mut file)?;
        return Ok(file);
    }
    let mut has_lines = false;
    json.object(|name, json| match name {
        "lines" => {
            has_lines = lines(json, &mut file)?;
            Ok(())
        }
        "branches" if json.is_array()? => formatted_branches(json, &mut file),
        "branches" => branches(json, &mut file),
        _ => json.skip(),
    })?;
    match has_lines {
        true => Ok(file),
        false => Err(Fault::Missing("lines of a file")),
    }
}

/// The hits of each line in order; false when there is no array of them.
fn lines(json: &mut Json<'_>, file: &mut FileCoverage) -> Result<bool, Fault> {
    let mut line = 0;
    json.array(|json| {
        line += 1;
        match json.number()? {
            Some(hits) => Ok(file.mark(line, hits > 0.0)?),
            None => Ok(()),
        }
    })
}

/// `{"[:if, 0, 5, 4, 8, 11]": {"[:then, 1, 6, 6, 6, 15]": 2, ..}, ..}`: each condition with its ways
/// out, named by kind, number and place, of which the first number is the line.
fn branches(json: &mut Json<'_>, file: &mut FileCoverage) -> Result<(), Fault> {
    json.object(|condition, json| {
        let line = line_of(condition);
        json.object(|way, json| {
            let hits = json.number()?.unwrap_or(0.0);
            Ok(file.way(line, (condition, way), hits > 0.0)?)
        })?;
        Ok(())
    })?;
    Ok(())
}

/// The line of a condition; 0, which is no line's number, when its name is written in another way.
fn line_of(condition: &str) -> u64 {
    let line = condition.split(',').nth(2);
    line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

/// `[{"type": "then", "start_line": 6, "end_line": 6, "coverage": 2}, ..]`: the ways out.
fn formatted_branches(json: &mut Json<'_>, file: &mut FileCoverage) -> Result<(), Fault> {
    let mut number: u64 = 0;
    json.array(|json| {
        let (mut line, mut hits) = (0, None);
        json.object(|name, json| {
            match name {
                "start_line" => line = json.integer()?.unwrap_or(0),
                "coverage" => hits = json.number()?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        number += 1;
        match hits {
            Some(hits) => Ok(file.way(line, number, hits > 0.0)?),
            // Ignored.
            None => Ok(()),
        }
    })?;
    Ok(())
}
