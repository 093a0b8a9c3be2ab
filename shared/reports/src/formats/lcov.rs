//! LCOV's tracefiles (`.info`), as lcov, llvm-cov, cargo-llvm-cov, grcov, c8, nyc, coverage.py, Dart
//! and others write them.
//!
//! Counted from the `DA` lines of each record, and from its `BRDA` lines, each of which is one way
//! out of a condition. A way is told from the others of its line by its block and its number: where
//! a record or a second one of the same file (another test's, `TN`) repeats it, it counts once, as
//! in lcov's own summary. llvm-cov numbers the branches of each instance of a template anew, so they
//! count as often here as in lcov; its JSON counts them once. A way that is marked as an exception's (`e`) counts like any other. A
//! record without `DA` is taken at the word of its `LF` and `LH`, one without `BRDA` at that of its
//! `BRF` and `BRH`.
//!
//! What lcov 2 adds (`VER`, `FNL`, `FNA`, `MCDC`) and what nobody here asks for (functions,
//! checksums) is passed over. A file that ends within a record is cut off; one that ends between two
//! cannot be told from a whole one. The facts are from geninfo(1) of lcov 1.16 and 2.3.

use crate::coverage::{CoverageReport, FileCoverage, Ratio};
use crate::error::{Position, ReadError};
use crate::lines::{self, Fault, Line};
use crate::report::{Content, Parsed};

use super::{Format, Head, Source};

pub(super) const FORMAT: Format = Format {
    name: "lcov",
    sniff,
    read,
};

/// A report begins with the name of a test or with a file, and the first file follows soon.
fn sniff(head: &Head<'_>) -> bool {
    let mut lines = head.lines().skip_while(|line| is_remark(line));
    let first = lines.next().unwrap_or_default();
    first.starts_with("SF:")
        || first.starts_with("TN:") && lines.any(|line| line.starts_with("SF:"))
}

/// Comments are new in lcov 2.
fn is_remark(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let name = source.name.to_owned();
    let mut reading = Reading::default();
    let mut at = Position::START;
    lines::each(source, |line| {
        at = line.at();
        reading.line(line).map_err(|fault| match fault {
            Fault::Broken(_) if line.is_open => truncated(&name, at),
            fault => fault.explain(&name, at),
        })
    })?;
    if reading.record.is_some() || !reading.has_records {
        return Err(truncated(&name, at));
    }
    Ok(Content::Coverage(reading.report).into())
}

fn truncated(name: &str, at: Position) -> ReadError {
    let name = ReadError::name(name);
    ReadError::Truncated { name, at }
}

#[derive(Default)]
struct Reading {
    report: CoverageReport,
    record: Option<Record>,
    has_records: bool,
}

/// What is said of one file.
#[derive(Default)]
struct Record {
    path: String,
    file: FileCoverage,
    /// LF, LH, BRF and BRH.
    claimed: [Option<u64>; 4],
}

impl Reading {
    fn line(&mut self, line: Line<'_>) -> Result<(), Fault> {
        let text = line.text.trim_end();
        if text == "end_of_record" {
            return self.end();
        }
        let Some((key, value)) = text.split_once(':') else {
            return Ok(());
        };
        if key == "SF" {
            return self.begin(value);
        }
        let Some(record) = &mut self.record else {
            return match key {
                "DA" | "BRDA" => Err(Fault::Broken(
                    "a line count is outside of any file's record",
                )),
                _ => Ok(()),
            };
        };
        match key {
            "DA" => record.count(value),
            "BRDA" if line.is_cut => Err(Fault::Broken("a branch count is too long")),
            "BRDA" => record.branch(value),
            "LF" => record.claim(0, value),
            "LH" => record.claim(1, value),
            "BRF" => record.claim(2, value),
            "BRH" => record.claim(3, value),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, path: &str) -> Result<(), Fault> {
        if self.record.is_some() {
            return Err(Fault::Broken("a record begins within another"));
        }
        self.has_records = true;
        self.record = Some(Record {
            path: path.to_owned(),
            ..Record::default()
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        if let Some(Record {
            path,
            mut file,
            claimed: [lines, lines_hit, ways, ways_hit],
        }) = self.record.take()
        {
            let claim = |valid: Option<u64>, hit: Option<u64>| {
                valid.map(|valid| Ratio::new(hit.unwrap_or(0), valid))
            };
            if file.map().is_empty()
                && let Some(lines) = claim(lines, lines_hit)
            {
                file.count_instead(lines);
            }
            if file.branches().valid == 0
                && let Some(ways) = claim(ways, ways_hit)
            {
                file.count_branches_instead(ways);
            }
            self.report.add(&path, file)?;
        }
        Ok(())
    }
}

impl Record {
    /// `line,hits` and perhaps `,checksum`. Some writers count hits in fractions, or below zero.
    fn count(&mut self, value: &str) -> Result<(), Fault> {
        let mut parts = value.split(',');
        let line = parts.next().and_then(|part| part.trim().parse().ok());
        let hits = parts.next().and_then(number);
        let (Some(line), Some(hits)) = (line, hits) else {
            return Err(Fault::Broken("a line count (DA) is not two numbers"));
        };
        Ok(self.file.mark(line, hits > 0.0)?)
    }

    /// `line,block,branch,taken`. What names the branch may be an expression with commas in it.
    fn branch(&mut self, value: &str) -> Result<(), Fault> {
        let parts = value
            .split_once(',')
            .and_then(|(line, rest)| Some((line.trim().parse().ok()?, rest.rsplit_once(',')?)));
        let Some((line, (identity, taken))) = parts.filter(|(_, (way, _))| way.contains(','))
        else {
            return Err(Fault::Broken("a branch count (BRDA) is not of four parts"));
        };
        let hits = match taken.trim() {
            "-" => Some(0.0),
            taken => number(taken),
        };
        match hits {
            Some(hits) => Ok(self.file.way(line, identity, hits > 0.0)?),
            None => Err(Fault::Broken("a branch count (BRDA) ends in no number")),
        }
    }

    fn claim(&mut self, place: usize, value: &str) -> Result<(), Fault> {
        let Ok(count) = value.trim().parse() else {
            return Err(Fault::Broken("a sum (LF, LH, BRF, BRH) is no number"));
        };
        self.claimed[place] = Some(count);
        Ok(())
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|hits: &f64| !hits.is_nan())
}
