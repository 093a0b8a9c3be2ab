//! Go's coverage profiles, as `go test -coverprofile` writes them.
//!
//! After `mode: set`, `count` or `atomic` each line is a block of statements:
//! `file:line.column,line.column statements count`. A block that is there several times, once for
//! each test binary under `-coverpkg`, ran when it ran in any. Profiles that were put one behind the
//! other are read as one.
//!
//! Counted in statements, as `go tool cover -func` does. The lines of each block are marked too: a
//! line of two blocks ran when either did, and the comments within a block are lines like others. A
//! block without statements marks none. A file's path is the import path of its package and its
//! name. The facts are from cmd/cover and golang.org/x/tools/cover.
//!
//! A profile that ends within a line is cut off; one that ends between two cannot be told from a
//! whole one.

use std::collections::BTreeMap;

use crate::coverage::{CoverageReport, FileCoverage, Ratio};
use crate::error::ReadError;
use crate::limits::{COVERAGE_FILES_MAX, GO_BLOCKS_MAX, PATH_CHARS_MAX, TooMuch};
use crate::lines::{self, Fault};
use crate::report::{Content, Parsed};
use crate::text;

use super::{Format, Head, Source};

pub(super) const FORMAT: Format = Format {
    name: "gocover",
    sniff,
    read,
};

const MODES: [&str; 3] = ["mode: set", "mode: count", "mode: atomic"];

fn sniff(head: &Head<'_>) -> bool {
    head.lines()
        .next()
        .is_some_and(|line| MODES.contains(&line.trim_end()))
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let name = source.name.to_owned();
    let mut profile = Profile::default();
    lines::each(source, |line| {
        let text = line.text.trim_end();
        let is_mode = MODES.contains(&text);
        let fault = match parse(text).filter(|_| line.number > 1 && !line.is_cut) {
            _ if is_mode || text.is_empty() && line.number > 1 => return Ok(()),
            Some((path, block)) => {
                let noted = profile.note(path, block);
                return noted.map_err(|fault| fault.explain(&name, line.at()));
            }
            None if line.number == 1 => "it does not begin with `mode: set`, `count` or `atomic`",
            None if line.is_open => {
                let (name, at) = (ReadError::name(&name), line.at());
                return Err(ReadError::Truncated { name, at });
            }
            None => "a line is not like `a.go:1.2,3.4 5 6`",
        };
        Err(Fault::Broken(fault).explain(&name, line.at()))
    })?;
    let report = profile.finish();
    let report = report.map_err(|error| ReadError::too_large(&name, error.what, error.limit))?;
    Ok(Content::Coverage(report).into())
}

/// Statements that run together.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Line and column of its begin and its end.
    place: [u32; 4],
    statements: u32,
    ran: bool,
}

/// Reads `file:line.column,line.column statements count`. Only the file may hold other things than
/// numbers.
fn parse(line: &str) -> Option<(&str, Block)> {
    let (rest, count) = line.rsplit_once(' ')?;
    let (rest, statements) = rest.rsplit_once(' ')?;
    let (path, place) = rest.rsplit_once(':')?;
    let (begin, end) = place.split_once(',')?;
    let (begin_line, begin_column) = begin.split_once('.')?;
    let (end_line, end_column) = end.split_once('.')?;
    let block = Block {
        place: [
            begin_line.parse().ok()?,
            begin_column.parse().ok()?,
            end_line.parse().ok()?,
            end_column.parse().ok()?,
        ],
        statements: statements.parse().ok()?,
        ran: count.parse::<u64>().ok()? > 0,
    };
    Some((path, block))
}

/// The blocks of each file: how many statements, and whether they ran.
#[derive(Default)]
struct Profile {
    files: BTreeMap<String, BTreeMap<[u32; 4], (u32, bool)>>,
    blocks: usize,
}

impl Profile {
    /// Notes a block, which Go itself refuses when it is known with other statements.
    fn note(&mut self, path: &str, block: Block) -> Result<(), Fault> {
        let path = text::line(path, PATH_CHARS_MAX);
        let blocks = self.files.entry(path).or_default();
        let before = blocks.len();
        let (statements, ran) = blocks
            .entry(block.place)
            .or_insert((block.statements, block.ran));
        *ran |= block.ran;
        if *statements != block.statements {
            return Err(Fault::Broken(
                "a block is there twice with other numbers of statements",
            ));
        }
        self.blocks += blocks.len() - before;
        for (what, size, limit) in [
            ("number of files", self.files.len(), COVERAGE_FILES_MAX),
            ("number of blocks", self.blocks, GO_BLOCKS_MAX),
        ] {
            if size > limit {
                let limit = limit as u64;
                return Err(TooMuch { what, limit }.into());
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<CoverageReport, TooMuch> {
        let mut report = CoverageReport::default();
        for (path, blocks) in self.files {
            let mut file = FileCoverage::default();
            let mut statements = Ratio::default();
            for &(count, ran) in blocks.values() {
                let count = u64::from(count);
                statements += Ratio::new(if ran { count } else { 0 }, count);
            }
            file.count_instead(statements);
            let real = || blocks.iter().filter(|(_, (count, _))| *count > 0);
            mark(&mut file, real().map(|(place, _)| place), false)?;
            let ran = real().filter(|(_, (_, ran))| *ran);
            mark(&mut file, ran.map(|(place, _)| place), true)?;
            report.add(&path, file)?;
        }
        Ok(report)
    }
}

/// Marks the lines of blocks that come in order, each line once however the blocks overlap.
fn mark<'a>(
    file: &mut FileCoverage,
    places: impl Iterator<Item = &'a [u32; 4]>,
    ran: bool,
) -> Result<(), TooMuch> {
    let mut next = 0;
    for &[first, _, last, _] in places {
        for line in first.max(next)..=last {
            file.mark(line.into(), ran)?;
        }
        next = next.max(last.saturating_add(1));
    }
    Ok(())
}
