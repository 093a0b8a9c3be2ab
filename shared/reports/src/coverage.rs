//! What a report of coverage says.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{AddAssign, BitOrAssign, RangeInclusive};

use serde::{Deserialize, Serialize};

use crate::limits::{COVERAGE_FILES_MAX, COVERAGE_LINES_MAX, LINE_MAX, PATH_CHARS_MAX, TooMuch};
use crate::text;

/// `covered` of `valid`; never more than all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    /// How many ran.
    pub covered: u64,
    /// How many there are; zero when nothing was measured.
    pub valid: u64,
}

impl Ratio {
    /// `covered` of `valid`, where a claim of more than all counts as all.
    #[must_use]
    pub fn new(covered: u64, valid: u64) -> Self {
        let covered = covered.min(valid);
        Self { covered, valid }
    }

    /// At least as many of each as either has.
    fn max(self, other: Self) -> Self {
        Self::new(self.covered.max(other.covered), self.valid.max(other.valid))
    }
}

impl AddAssign for Ratio {
    fn add_assign(&mut self, other: Self) {
        self.covered = self.covered.saturating_add(other.covered);
        self.valid = self.valid.saturating_add(other.valid);
    }
}

fn line_number(line: u64) -> Result<u32, TooMuch> {
    let number = u32::try_from(line).ok().filter(|&line| line <= LINE_MAX);
    number.ok_or(TooMuch {
        what: "number of a line",
        limit: LINE_MAX.into(),
    })
}

/// The lines of one file that can run, and which of them did.
#[derive(Debug, Clone, Default)]
pub struct LineMap {
    /// `2 * line + covered`. The first `sealed` are in order, each line once.
    marks: Vec<u32>,
    sealed: usize,
}

impl LineMap {
    /// How many marks may wait before they are put in order.
    const LOOSE_MIN: usize = 1024;

    /// Notes a line, counted from 1. A line noted twice is covered when either says so.
    pub(crate) fn mark(&mut self, line: u64, covered: bool) -> Result<(), TooMuch> {
        self.marks.push(2 * line_number(line)? + u32::from(covered));
        if self.marks.len() >= 2 * self.sealed + Self::LOOSE_MIN {
            self.seal();
        }
        Ok(())
    }

    fn seal(&mut self) {
        if self.sealed == self.marks.len() {
            return;
        }
        // The covered mark of a line comes after the other one, and is the one to keep.
        self.marks.sort_unstable_by(|a, b| b.cmp(a));
        self.marks.dedup_by_key(|mark| *mark / 2);
        self.marks.reverse();
        self.sealed = self.marks.len();
    }

    /// Whether the line ran; None when it cannot run or is not known.
    #[must_use]
    pub fn covered(&self, line: u32) -> Option<bool> {
        let (sealed, loose) = self.marks.split_at(self.sealed);
        let found = sealed.binary_search_by_key(&line, |mark| mark / 2);
        let found = found.ok().map(|index| sealed[index]);
        let marks = loose.iter().copied().filter(|mark| mark / 2 == line);
        marks.chain(found).max().map(|mark| mark % 2 == 1)
    }

    /// The lines in order, each with whether it ran.
    pub fn lines(&self) -> impl Iterator<Item = (u32, bool)> {
        let mut ordered = self.clone();
        ordered.seal();
        ordered
            .marks
            .into_iter()
            .map(|mark| (mark / 2, mark % 2 == 1))
    }

    /// The lines within a range, of a map that a report holds: those are sealed.
    pub(crate) fn within(&self, lines: &RangeInclusive<u32>) -> impl Iterator<Item = (u32, bool)> {
        debug_assert_eq!(self.sealed, self.marks.len());
        let first = self.marks.partition_point(|mark| mark / 2 < *lines.start());
        let end = self.marks.partition_point(|mark| mark / 2 <= *lines.end());
        let marks = self.marks.get(first..end).unwrap_or_default();
        marks.iter().map(|mark| (mark / 2, mark % 2 == 1))
    }

    /// How many lines, and how many of them ran.
    #[must_use]
    pub fn ratio(&self) -> Ratio {
        let mut ratio = Ratio::default();
        for (_, covered) in self.lines() {
            ratio += Ratio::new(covered.into(), 1);
        }
        ratio
    }

    /// Whether no line is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}

impl PartialEq for LineMap {
    fn eq(&self, other: &Self) -> bool {
        self.lines().eq(other.lines())
    }
}

impl BitOrAssign for LineMap {
    fn bitor_assign(&mut self, other: Self) {
        self.marks.extend(other.marks);
        self.sealed = 0;
        self.seal();
    }
}

/// The coverage of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileCoverage {
    map: LineMap,
    /// The ways out of the conditions of each line.
    branch_map: BTreeMap<u32, Ratio>,
    /// The ways that can be told from each other, by line and identity, and which of them ran.
    ways: BTreeMap<(u32, u64), bool>,
    counted: Option<Ratio>,
    counted_branches: Option<Ratio>,
}

impl FileCoverage {
    /// A file of which only numbers are known: None where not even those are.
    pub(crate) fn counted(lines: Option<Ratio>, branches: Option<Ratio>) -> Self {
        Self {
            counted: lines,
            counted_branches: branches,
            ..Self::default()
        }
    }

    /// Says what is counted in place of the lines that are marked: Go counts statements.
    pub(crate) fn count_instead(&mut self, lines: Ratio) {
        self.counted = Some(lines);
    }

    /// Says what is counted in place of the ways out of conditions that are noted.
    pub(crate) fn count_branches_instead(&mut self, branches: Ratio) {
        self.counted_branches = Some(branches);
    }

    /// Notes a line, counted from 1. A line noted twice is covered when either says so.
    pub(crate) fn mark(&mut self, line: u64, covered: bool) -> Result<(), TooMuch> {
        self.map.mark(line, covered)
    }

    /// Notes one way out of a condition of a line. `identity` tells it from the others of the line,
    /// alike in every report of the file: a way noted twice is covered when either says so.
    pub(crate) fn way(
        &mut self,
        line: u64,
        identity: impl Hash,
        covered: bool,
    ) -> Result<(), TooMuch> {
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        let key = (line_number(line)?, hasher.finish());
        *self.ways.entry(key).or_default() |= covered;
        match self.ways.len() > COVERAGE_LINES_MAX {
            true => Err(TooMuch {
                what: "number of branches",
                limit: COVERAGE_LINES_MAX as u64,
            }),
            false => Ok(()),
        }
    }

    /// Notes further ways out of the conditions of a line, of which only the number is known.
    pub(crate) fn branch(&mut self, line: u64, ways: Ratio) -> Result<(), TooMuch> {
        if ways.valid > 0 {
            *self.branch_map.entry(line_number(line)?).or_default() += ways;
        }
        Ok(())
    }

    /// Which lines ran.
    #[must_use]
    pub fn map(&self) -> &LineMap {
        &self.map
    }

    /// Lines that can run; statements, where the format counts those.
    #[must_use]
    pub fn lines(&self) -> Ratio {
        self.counted.unwrap_or_else(|| self.map.ratio())
    }

    /// Ways out of a condition.
    #[must_use]
    pub fn branches(&self) -> Ratio {
        self.counted_branches.unwrap_or_else(|| {
            let mut by_line: BTreeMap<u32, Ratio> = BTreeMap::new();
            for (&(line, _), &covered) in &self.ways {
                *by_line.entry(line).or_default() += Ratio::new(covered.into(), 1);
            }
            for (&line, &ways) in &self.branch_map {
                let known = by_line.entry(line).or_default();
                *known = known.max(ways);
            }
            let mut sum = Ratio::default();
            by_line.into_values().for_each(|ways| sum += ways);
            sum
        })
    }

    /// Whether nothing is known of it.
    pub(crate) fn is_empty(&self) -> bool {
        let counted = self.counted.or(self.counted_branches);
        let has_ways = !self.branch_map.is_empty() || !self.ways.is_empty();
        self.map.is_empty() && !has_ways && counted.is_none()
    }

    /// How much room it takes.
    fn places(&self) -> usize {
        self.map.marks.len() + self.branch_map.len() + self.ways.len()
    }
}

/// Two reports of one file: a line ran when it ran in either, and so did a way out of a condition.
/// Of what is known by its number only the larger number counts: never more than ran.
impl BitOrAssign for FileCoverage {
    fn bitor_assign(&mut self, other: Self) {
        let either = |a: Option<Ratio>, b: Option<Ratio>, of_a: Ratio, of_b: Ratio| {
            let known = a.or(b).is_some();
            known.then(|| a.unwrap_or(of_a).max(b.unwrap_or(of_b)))
        };
        let lines = either(self.counted, other.counted, self.lines(), other.lines());
        let branches = either(
            self.counted_branches,
            other.counted_branches,
            self.branches(),
            other.branches(),
        );
        (self.counted, self.counted_branches) = (lines, branches);
        self.map |= other.map;
        for (line, ways) in other.branch_map {
            let known = self.branch_map.entry(line).or_default();
            *known = known.max(ways);
        }
        for (way, covered) in other.ways {
            *self.ways.entry(way).or_default() |= covered;
        }
    }
}

/// How much of the code ran, by file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CoverageReport {
    files: BTreeMap<String, FileCoverage>,
    /// How many lines the maps of all files have.
    mapped: usize,
    /// What is known of the whole only.
    unlisted_lines: Ratio,
    unlisted_branches: Ratio,
}

impl CoverageReport {
    /// What a report says that lists no files.
    #[must_use]
    pub fn of_whole(lines: Ratio, branches: Ratio) -> Self {
        Self {
            unlisted_lines: lines,
            unlisted_branches: branches,
            ..Self::default()
        }
    }

    /// Adds a file of which only numbers are known, of a path as the report writes it.
    ///
    /// # Errors
    ///
    /// [`TooMuch`] when the report has more files than a report may have.
    pub fn add_counted(
        &mut self,
        path: &str,
        lines: Ratio,
        branches: Ratio,
    ) -> Result<(), TooMuch> {
        self.add(path, FileCoverage::counted(Some(lines), Some(branches)))
    }

    /// Adds what is known of a file, of a path as the report writes it.
    pub(crate) fn add(&mut self, path: &str, mut file: FileCoverage) -> Result<(), TooMuch> {
        file.map.seal();
        let path = text::line(&path.replace('\\', "/"), PATH_CHARS_MAX);
        match self.files.get_mut(&path) {
            Some(known) => {
                self.mapped -= known.places();
                *known |= file;
                self.mapped += known.places();
            }
            None => {
                self.mapped += file.places();
                self.files.insert(path, file);
            }
        }
        let bounds = [
            ("number of files", self.files.len(), COVERAGE_FILES_MAX),
            ("number of lines", self.mapped, COVERAGE_LINES_MAX),
        ];
        let broken = bounds.into_iter().find(|(_, count, limit)| count > limit);
        broken.map_or(Ok(()), |(what, _, limit)| {
            let limit = limit as u64;
            Err(TooMuch { what, limit })
        })
    }

    /// The files in order of their paths, with `/` between the parts. A path is absolute or
    /// relative, as the report has it.
    pub fn files(&self) -> impl Iterator<Item = (&str, &FileCoverage)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Lines that can run.
    #[must_use]
    pub fn lines(&self) -> Ratio {
        let mut sum = self.unlisted_lines;
        self.files.values().for_each(|file| sum += file.lines());
        sum
    }

    /// Ways out of a condition.
    #[must_use]
    pub fn branches(&self) -> Ratio {
        let mut sum = self.unlisted_branches;
        self.files.values().for_each(|file| sum += file.branches());
        sum
    }

    /// The code of both reports: a line that both of them hold counts once.
    ///
    /// # Errors
    ///
    /// [`TooMuch`] when both together are larger than a single report may be.
    pub fn merge(&mut self, other: Self) -> Result<(), TooMuch> {
        self.unlisted_lines += other.unlisted_lines;
        self.unlisted_branches += other.unlisted_branches;
        for (path, file) in other.files {
            self.add(&path, file)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(lines: &[(u64, bool)]) -> LineMap {
        let mut map = LineMap::default();
        for &(line, covered) in lines {
            map.mark(line, covered).unwrap();
        }
        map
    }

    #[test]
    fn a_ratio_never_covers_more_than_all() {
        assert_eq!(Ratio::new(3, 2), Ratio::new(2, 2));
    }

    #[test]
    fn a_line_beyond_the_bound_is_refused() {
        let mut map = LineMap::default();
        map.mark(LINE_MAX.into(), true).unwrap();
        assert!(map.mark(u64::from(LINE_MAX) + 1, true).is_err());
        assert!(map.mark(u64::MAX, true).is_err());
    }

    #[test]
    fn a_line_of_two_reports_counts_once() {
        let mut report = CoverageReport::default();
        for lines in [[(1, true), (2, false)], [(2, true), (3, false)]] {
            let map = map(&lines);
            let file = FileCoverage {
                map,
                ..FileCoverage::default()
            };
            report.add("src\\a.rs", file).unwrap();
        }
        assert_eq!(report.lines(), Ratio::new(2, 3));
        assert_eq!(report.files().next().unwrap().0, "src/a.rs");
    }

    #[test]
    fn what_is_known_by_its_number_only_is_never_counted_twice() {
        let of = |covered, valid| FileCoverage::counted(Some(Ratio::new(covered, valid)), None);
        let mut report = CoverageReport::default();
        report.add("a", of(3, 10)).unwrap();
        report.add("a", of(5, 10)).unwrap();
        assert_eq!(report.lines(), Ratio::new(5, 10));
    }

    #[test]
    fn the_conditions_of_a_line_of_two_reports_count_once() {
        let mut report = CoverageReport::default();
        for (covered, line) in [(1, 3), (2, 3), (1, 4)] {
            let mut file = FileCoverage::default();
            file.branch(line, Ratio::new(covered, 2)).unwrap();
            report.add("a", file).unwrap();
        }
        assert_eq!(report.branches(), Ratio::new(3, 4));
    }

    #[test]
    fn a_way_of_two_reports_counts_once_and_ran_when_it_ran_in_either() {
        let mut report = CoverageReport::default();
        for ran in [0, 1] {
            let mut file = FileCoverage::default();
            for way in 0..2 {
                file.way(3, way, way == ran).unwrap();
            }
            report.add("a", file).unwrap();
            assert_eq!(report.branches(), Ratio::new(1 + ran, 2));
        }
        // What another writer knows by its number only are the same ways.
        let mut file = FileCoverage::default();
        file.branch(3, Ratio::new(1, 4)).unwrap();
        report.add("a", file).unwrap();
        assert_eq!(report.branches(), Ratio::new(2, 4));
    }

    #[test]
    fn more_lines_than_the_bound_are_refused() {
        let mut report = CoverageReport::default();
        let lines: Vec<_> = (1..=u64::from(LINE_MAX)).map(|line| (line, true)).collect();
        let file = FileCoverage {
            map: map(&lines),
            ..FileCoverage::default()
        };
        let files = COVERAGE_LINES_MAX / lines.len();
        for number in 0..files {
            report.add(&number.to_string(), file.clone()).unwrap();
        }
        // The same file again takes no more room.
        report.add("0", file.clone()).unwrap();
        assert!(report.add("one more", file).is_err());
    }

    proptest! {
        #[test]
        fn the_order_and_the_number_of_marks_do_not_matter(
            marks in prop::collection::vec((1..3000u64, any::<bool>()), 0..5000),
        ) {
            let mut expected = BTreeMap::new();
            for &(line, covered) in &marks {
                *expected.entry(line as u32).or_insert(false) |= covered;
            }
            let map = map(&marks);
            prop_assert!(map.lines().eq(expected.iter().map(|(&line, &covered)| (line, covered))));
            for line in [1, 2, 1500, 3000] {
                prop_assert_eq!(map.covered(line), expected.get(&line).copied());
            }
        }
    }
}
