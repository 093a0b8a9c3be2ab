//! What a report of coverage says.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{AddAssign, BitOrAssign, RangeInclusive};

use serde::{Deserialize, Serialize};

use crate::limits::{
    COVERAGE_FILES_MAX, COVERAGE_LINES_MAX, LINE_MAX, PATH_CHARS_MAX, SAME_PATH_MAX, TooMuch,
};
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

/// Things that ran or did not, each `2 * thing + ran`, in as little memory as they take.
#[derive(Debug, Clone, Default)]
struct Marks<T> {
    /// The first `sealed` are in order, each thing once.
    all: Vec<T>,
    sealed: usize,
}

/// How many marks may wait before they are put in order.
const LOOSE_MIN: usize = 1024;

impl<T: Copy + Ord + Into<u64>> Marks<T> {
    /// Notes a thing. One noted twice ran when either says so.
    fn push(&mut self, mark: T) {
        self.all.push(mark);
        if self.all.len() >= 2 * self.sealed + LOOSE_MIN {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if self.sealed == self.all.len() {
            return;
        }
        // The mark of what ran comes after the other one, and is the one to keep.
        self.all.sort_unstable_by(|a, b| b.cmp(a));
        self.all.dedup_by_key(|mark| (*mark).into() / 2);
        self.all.reverse();
        self.sealed = self.all.len();
    }

    /// All of them in order.
    fn ordered(&self) -> Vec<T> {
        let mut ordered = self.clone();
        ordered.seal();
        ordered.all
    }
}

impl<T: Copy + Ord + Into<u64>> PartialEq for Marks<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ordered() == other.ordered()
    }
}

impl<T: Copy + Ord + Into<u64>> BitOrAssign for Marks<T> {
    fn bitor_assign(&mut self, other: Self) {
        self.all.extend(other.all);
        self.sealed = 0;
        self.seal();
    }
}

/// The lines of one file that can run, and which of them did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineMap(Marks<u32>);

impl LineMap {
    /// Notes a line, counted from 1. A line noted twice is covered when either says so.
    pub(crate) fn mark(&mut self, line: u64, covered: bool) -> Result<(), TooMuch> {
        self.0.push(2 * line_number(line)? + u32::from(covered));
        Ok(())
    }

    /// Whether the line ran; None when it cannot run or is not known.
    #[must_use]
    pub fn covered(&self, line: u32) -> Option<bool> {
        let (sealed, loose) = self.0.all.split_at(self.0.sealed);
        let found = sealed.binary_search_by_key(&line, |mark| mark / 2);
        let found = found.ok().map(|index| sealed[index]);
        let marks = loose.iter().copied().filter(|mark| mark / 2 == line);
        marks.chain(found).max().map(|mark| mark % 2 == 1)
    }

    /// The lines in order, each with whether it ran.
    pub fn lines(&self) -> impl Iterator<Item = (u32, bool)> {
        let marks = self.0.ordered().into_iter();
        marks.map(|mark| (mark / 2, mark % 2 == 1))
    }

    /// The lines within a range, of a map that a report holds: those are sealed.
    pub(crate) fn within(&self, lines: &RangeInclusive<u32>) -> impl Iterator<Item = (u32, bool)> {
        let marks = &self.0.all;
        debug_assert_eq!(self.0.sealed, marks.len());
        let first = marks.partition_point(|mark| mark / 2 < *lines.start());
        let end = marks.partition_point(|mark| mark / 2 <= *lines.end());
        let marks = marks.get(first..end).unwrap_or_default();
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
        self.0.all.is_empty()
    }
}

/// The ways out of the conditions of one file that can be told from each other, and which of them
/// ran. A mark is the line, the identity of the way in [`IDENTITY_BITS`], and whether it ran.
#[derive(Debug, Clone, Default, PartialEq)]
struct Ways(Marks<u64>);

/// Of the hash of a way's identity so many bits are kept: the line before it and whether it ran
/// after it take the others.
const IDENTITY_BITS: u32 = 43;
const _: () = assert!(LINE_MAX < 1 << (u64::BITS - 1 - IDENTITY_BITS));

impl Ways {
    fn mark(&mut self, line: u32, identity: impl Hash, ran: bool) {
        let identity = hash(identity) >> (u64::BITS - IDENTITY_BITS);
        let way = u64::from(line) << IDENTITY_BITS | identity;
        self.0.push(2 * way + u64::from(ran));
    }

    /// Their lines, each with whether the way ran.
    fn lines(&self) -> impl Iterator<Item = (u32, bool)> {
        let marks = self.0.ordered().into_iter();
        marks.map(|mark| {
            let line = mark >> (1 + IDENTITY_BITS);
            // It was one of 32 bits.
            (u32::try_from(line).unwrap_or(LINE_MAX), mark % 2 == 1)
        })
    }
}

/// The coverage of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileCoverage {
    map: LineMap,
    /// The ways out of the conditions of each line.
    branch_map: BTreeMap<u32, Ratio>,
    /// The ways that can be told from each other.
    ways: Ways,
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
        self.ways.mark(line_number(line)?, identity, covered);
        // Those that are not in order yet may be there twice.
        match self.ways.0.sealed > COVERAGE_LINES_MAX {
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
            for (line, covered) in self.ways.lines() {
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

    /// Tells it from a file of other lines: by which lines can run and how many are counted, and not
    /// by which of them ran.
    fn outline(&self) -> u64 {
        let lines = self.map.0.all.iter().map(|mark| mark / 2);
        let counted = self.counted.map(|ratio| ratio.valid);
        hash((lines.collect::<Vec<_>>(), counted))
    }

    /// Whether nothing is known of it.
    pub(crate) fn is_empty(&self) -> bool {
        let counted = self.counted.or(self.counted_branches);
        let has_ways = !self.branch_map.is_empty() || !self.ways.0.all.is_empty();
        self.map.is_empty() && !has_ways && counted.is_none()
    }

    /// How much room it takes, in lines: so many of them take the memory of the other things.
    fn places(&self) -> usize {
        const OF_A_WAY: usize = 2;
        const OF_A_NUMBER: usize = 10;
        let ways = self.ways.0.all.len().saturating_mul(OF_A_WAY);
        let numbers = self.branch_map.len().saturating_mul(OF_A_NUMBER);
        self.map.0.all.len() + ways + numbers
    }

    /// Puts everything in order, as a report holds it.
    fn seal(&mut self) {
        self.map.0.seal();
        self.ways.0.seal();
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
        self.map.0 |= other.map.0;
        self.ways.0 |= other.ways.0;
        for (line, ways) in other.branch_map {
            let known = self.branch_map.entry(line).or_default();
            *known = known.max(ways);
        }
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A part of the code in which a path names one file: what one report says, or one of its modules.
/// Only whether two are alike is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Module(u64);

impl Module {
    /// The module of this name in the whole.
    pub fn named(name: impl Hash) -> Self {
        Self::default().part(name)
    }

    /// The part of this module that has this name.
    pub(crate) fn part(self, name: impl Hash) -> Self {
        Self(hash((self.0, name)))
    }
}

/// A file of a path.
#[derive(Debug, Clone, PartialEq)]
struct Placed {
    module: Module,
    file: FileCoverage,
    /// The file's [`FileCoverage::outline`].
    outline: u64,
}

/// How much of the code ran, by file.
///
/// Paths are often relative to a module, and then files of several modules may have the same one,
/// such as `src/index.js`. Reports of one module and path are of one file. Those of two modules are
/// too when the same lines can run in both, as when shards of a test run write a report each; else
/// they are two files, which count one by one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CoverageReport {
    files: BTreeMap<String, Vec<Placed>>,
    /// How many files there are.
    listed: usize,
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
    pub(crate) fn add(&mut self, path: &str, file: FileCoverage) -> Result<(), TooMuch> {
        self.add_of(Module::default(), path, file)
    }

    /// Adds what is known of a file of a module.
    pub(crate) fn add_of(
        &mut self,
        module: Module,
        path: &str,
        mut file: FileCoverage,
    ) -> Result<(), TooMuch> {
        file.seal();
        let outline = file.outline();
        let path = text::line(&path.replace('\\', "/"), PATH_CHARS_MAX);
        let alike = self
            .files
            .entry(path)
            .or_insert_with(|| Vec::with_capacity(1));
        let of_module = alike.iter().position(|known| known.module == module);
        let known = of_module.or_else(|| alike.iter().position(|known| known.outline == outline));
        match known.and_then(|known| alike.get_mut(known)) {
            Some(known) => {
                self.mapped -= known.file.places();
                known.file |= file;
                known.outline = known.file.outline();
                self.mapped += known.file.places();
            }
            None => {
                self.mapped += file.places();
                self.listed += 1;
                alike.push(Placed {
                    module,
                    file,
                    outline,
                });
            }
        }
        let bounds = [
            ("number of files", self.listed, COVERAGE_FILES_MAX),
            ("number of files of one path", alike.len(), SAME_PATH_MAX),
            (
                "number of lines and branches",
                self.mapped,
                COVERAGE_LINES_MAX,
            ),
        ];
        let broken = bounds.into_iter().find(|(_, count, limit)| count > limit);
        broken.map_or(Ok(()), |(what, _, limit)| {
            let limit = limit as u64;
            Err(TooMuch { what, limit })
        })
    }

    /// The files in order of their paths, with `/` between the parts. A path is absolute or
    /// relative, as the report has it; it comes again for each module that has another file of it.
    pub fn files(&self) -> impl Iterator<Item = (&str, &FileCoverage)> {
        self.files.iter().flat_map(|(path, alike)| {
            let files = alike.iter().map(|placed| &placed.file);
            files.map(move |file| (path.as_str(), file))
        })
    }

    /// Lines that can run.
    #[must_use]
    pub fn lines(&self) -> Ratio {
        let mut sum = self.unlisted_lines;
        self.files().for_each(|(_, file)| sum += file.lines());
        sum
    }

    /// Ways out of a condition.
    #[must_use]
    pub fn branches(&self) -> Ratio {
        let mut sum = self.unlisted_branches;
        self.files().for_each(|(_, file)| sum += file.branches());
        sum
    }

    /// The code of both reports, where `other` is about `module`: a line that both of them hold
    /// counts once.
    ///
    /// # Errors
    ///
    /// [`TooMuch`] when both together are larger than a single report may be.
    pub fn merge(&mut self, other: Self, module: Module) -> Result<(), TooMuch> {
        self.add_whole(other.unlisted_lines, other.unlisted_branches);
        for (path, alike) in other.files {
            for Placed {
                module: of, file, ..
            } in alike
            {
                self.add_of(module.part(of.0), &path, file)?;
            }
        }
        Ok(())
    }

    /// Adds what is known of the whole only.
    pub(crate) fn add_whole(&mut self, lines: Ratio, branches: Ratio) {
        self.unlisted_lines += lines;
        self.unlisted_branches += branches;
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

    /// A report of one file with these lines, of which the first so many ran.
    fn report(lines: RangeInclusive<u64>, ran: u64) -> CoverageReport {
        let lines: Vec<_> = lines.map(|line| (line, line <= ran)).collect();
        let mut report = CoverageReport::default();
        let map = map(&lines);
        let file = FileCoverage {
            map,
            ..FileCoverage::default()
        };
        report.add("src/index.js", file).unwrap();
        report
    }

    #[test]
    fn files_of_one_path_in_two_modules_are_two_unless_the_same_lines_can_run() {
        let merged = |reports: &[(&str, RangeInclusive<u64>, u64)]| {
            let mut sum = CoverageReport::default();
            for (module, lines, ran) in reports {
                let report = report(lines.clone(), *ran);
                sum.merge(report, Module::named(module)).unwrap();
            }
            (sum.lines(), sum.files().count())
        };
        let two = [("cart", 1..=10, 10), ("shop", 1..=20, 0)];
        assert_eq!(merged(&two), (Ratio::new(10, 30), 2));
        let shards = [("1", 1..=10, 4), ("2", 1..=10, 6)];
        assert_eq!(merged(&shards), (Ratio::new(6, 10), 1));
        let one_module = [("cart", 1..=10, 10), ("cart", 1..=20, 0)];
        assert_eq!(merged(&one_module), (Ratio::new(10, 20), 1));
        let shards_of_two = [&two[..], &two[..]].concat();
        assert_eq!(merged(&shards_of_two), (Ratio::new(10, 30), 2));
    }

    #[test]
    fn more_modules_with_a_file_of_one_path_than_the_bound_are_refused() {
        let mut sum = CoverageReport::default();
        for number in 1..=SAME_PATH_MAX as u64 {
            let module = Module::named(number);
            sum.merge(report(1..=number, 0), module).unwrap();
        }
        let one_more = report(1..=SAME_PATH_MAX as u64 + 1, 0);
        assert!(sum.merge(one_more, Module::named("more")).is_err());
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
