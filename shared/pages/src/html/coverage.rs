//! The coverage.

use release::gate::Percent;
use reports::{CoverageReport, FileCoverage, Ratio};

use super::{COVERAGE_ROWS_MAX, KIB, Room, escaped};
use crate::listing::Listing;
use crate::{GatePage, words};

const ROOM: Room = Room {
    rows: COVERAGE_ROWS_MAX,
    bytes: 350 * KIB,
};

/// The markup of a row, in bytes.
const ROW_BYTES: usize = 330;

/// How many stretches of uncovered lines a file shows.
const STRETCHES_MAX: usize = 12;

/// The coverage of all reports together.
pub(super) struct Coverage {
    pub(super) bars: Vec<Bar>,
    pub(super) files: Listing<File>,
}

/// A share and its numbers.
pub(super) struct Bar {
    pub(super) label: &'static str,
    pub(super) share: String,
    pub(super) of: String,
    /// 0 to 100.
    pub(super) width: String,
}

/// The coverage of one file.
pub(super) struct File {
    pub(super) path: String,
    pub(super) share: String,
    pub(super) missed: String,
    pub(super) of: String,
    /// 0 to 100.
    pub(super) width: String,
    /// The first uncovered lines; empty when they are not known.
    pub(super) lines: String,
}

impl Coverage {
    pub(super) fn of(page: &GatePage<'_>) -> Option<Self> {
        let summary = page.verdict.coverage?;
        let bars = [
            ("Lines", Some(summary.lines)),
            (
                "Branches",
                Some(summary.branches).filter(|ratio| ratio.valid > 0),
            ),
            ("Changed lines", summary.changed),
        ];
        let bars = bars
            .into_iter()
            .filter_map(|(label, ratio)| Some(bar(label, ratio?)));
        Some(Self {
            bars: bars.collect(),
            files: files(&page.verdict.covered),
        })
    }
}

fn bar(label: &'static str, ratio: Ratio) -> Bar {
    Bar {
        label,
        share: words::share(ratio),
        of: format!(
            "{} of {}",
            words::count(ratio.covered),
            words::count(ratio.valid)
        ),
        width: width(ratio),
    }
}

fn width(ratio: Ratio) -> String {
    let share = Percent::of(ratio).map_or(0.0, Percent::value);
    format!("{share:.1}")
}

/// The files, those with the most uncovered lines first.
fn files(covered: &CoverageReport) -> Listing<File> {
    let mut files: Vec<_> = covered
        .files()
        .map(|(path, file)| (file.lines(), path, file))
        .collect();
    files.sort_by_key(|(ratio, ..)| std::cmp::Reverse(ratio.valid - ratio.covered));
    // Which lines a file misses takes time to find out: it is done for those that are shown.
    let total = files.len() as u64;
    let shown = files
        .into_iter()
        .take(COVERAGE_ROWS_MAX)
        .map(|(ratio, path, file)| File {
            path: path.to_owned(),
            share: words::share(ratio),
            missed: words::count(ratio.valid - ratio.covered),
            of: words::count(ratio.valid),
            width: width(ratio),
            lines: uncovered(file),
        });
    Listing::of(shown, total, ROOM, |file| {
        ROW_BYTES + escaped(&file.path) + file.lines.len()
    })
}

/// The first lines that could run and did not: `12–18, 40`. Lines that cannot run stand between those
/// that can, and do not end a stretch.
fn uncovered(file: &FileCoverage) -> String {
    let mut stretches: Vec<(u32, u32)> = Vec::new();
    let mut goes_on = false;
    let mut end = "";
    for (line, covered) in file.map().lines() {
        if covered {
            goes_on = false;
            continue;
        }
        if !goes_on && stretches.len() == STRETCHES_MAX {
            end = ", …";
            break;
        }
        match stretches.last_mut().filter(|_| goes_on) {
            Some(stretch) => stretch.1 = line,
            None => stretches.push((line, line)),
        }
        goes_on = true;
    }
    let written = stretches.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}–{last}"),
    });
    written.collect::<Vec<_>>().join(", ") + end
}
