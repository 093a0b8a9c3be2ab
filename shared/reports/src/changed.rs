//! The coverage of a part of the code: of what a change touches, or of some of the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use crate::coverage::{CoverageReport, FileCoverage, Ratio};
use crate::diff::Diff;
use crate::error::ReadError;

/// Most lines that a [`ChangedCoverage`] lists; its `lines` counts them all.
pub const MISSED_LISTED_MAX: usize = 1_000;

/// Most files of a report that one changed file may be. With more it is none of them.
pub const CANDIDATES_MAX: usize = 16;

/// How many parts of a path are compared, from its end.
const PARTS_MAX: usize = 64;

/// How much of a change ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedCoverage {
    /// Changed lines that can run. Lines that cannot (comments, declarations) are none of them.
    pub lines: Ratio,
    /// The first changed lines that did not run, [`MISSED_LISTED_MAX`] at most: path and number.
    pub missed: Vec<(String, u32)>,
    /// The changed files whose lines the report does not know: documents and tests, but also code
    /// that nothing measured. Whoever judges decides which of them should have been.
    pub unmeasured: BTreeSet<String>,
}

impl CoverageReport {
    /// How much of a change ran.
    ///
    /// A path of the diff and one of the report are of the same file when one of them ends with the
    /// other, part by part: a report's path is absolute (`/build/src/cart.js`), or begins with a
    /// module (`example.com/shop/cart/cart.go` for `cart/cart.go`), or is relative to some folder
    /// with sources (`com/acme/Cart.java` for `src/main/java/com/acme/Cart.java`). The same path
    /// comes first, then the one with the most parts in common. Where that leaves a doubt, nothing
    /// is taken to have run that may not have:
    ///
    /// - A changed file that may be several of the report's: a line can run when it can in any of
    ///   them, and ran when it did in all of those. Beyond [`CANDIDATES_MAX`] it is unmeasured.
    /// - Several changed files that may all be one of the report's: they are unmeasured, unless one
    ///   has more parts in common with it than the others, which alone are.
    /// - A file of which the report knows numbers only, and not lines, is unmeasured.
    #[must_use]
    pub fn of_changed(&self, diff: &Diff) -> ChangedCoverage {
        let index = Index::of(self);
        let matches: Vec<_> = diff
            .files()
            .map(|(path, lines)| (path, lines, index.candidates(path)))
            .collect();
        let owners = Owners::of(matches.iter().map(|(_, _, candidates)| candidates));
        let mut changed = ChangedCoverage::default();
        for (path, lines, candidates) in &matches {
            let files: Vec<_> = candidates
                .files
                .iter()
                .filter(|&&file| owners.belongs(file, candidates.parts))
                .map(|&file| index.files[file])
                .filter(|file| !file.map().is_empty())
                .collect();
            match files.is_empty() {
                true => drop(changed.unmeasured.insert((*path).to_owned())),
                false => changed.count(path, lines, &files),
            }
        }
        changed
    }

    /// The lines of the files whose path matches a pattern, for a minimum of its own.
    ///
    /// `*` and `?` stay within one part of a path, `**` spans any number of them, `{a,b}` and
    /// `[a-z]` mean what they do in a shell. A pattern such as `src/**` matches a relative path from
    /// its begin, and an absolute one from any of its parts. Where none matches it is 0 of 0.
    ///
    /// # Errors
    ///
    /// [`ReadError::Glob`] for what is not a pattern.
    pub fn of_paths(&self, glob: &str) -> Result<Ratio, ReadError> {
        let relative = glob.strip_prefix("./").unwrap_or(glob);
        let whole = crate::glob(relative)?;
        let trailing = crate::glob(&format!("**/{relative}"))?;
        let mut sum = Ratio::default();
        for (path, file) in self.files() {
            let path = path.strip_prefix("./").unwrap_or(path);
            if whole.is_match(path) || is_absolute(path) && trailing.is_match(path) {
                sum += file.lines();
            }
        }
        Ok(sum)
    }
}

/// Whether it begins at a root, or with a drive's letter.
fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.as_bytes().get(1) == Some(&b':')
}

impl ChangedCoverage {
    fn count(&mut self, path: &str, lines: &[RangeInclusive<u32>], files: &[&FileCoverage]) {
        let mut ran: BTreeMap<u32, bool> = BTreeMap::new();
        for file in files {
            for (line, covered) in lines.iter().flat_map(|lines| file.map().within(lines)) {
                *ran.entry(line).or_insert(true) &= covered;
            }
        }
        for (line, ran) in ran {
            self.lines += Ratio::new(ran.into(), 1);
            if !ran && self.missed.len() < MISSED_LISTED_MAX {
                self.missed.push((path.to_owned(), line));
            }
        }
    }
}

/// A report's files by their paths written backwards, `Cart.java/acme/com/`: paths that end alike
/// begin alike there.
struct Index<'a> {
    places: BTreeMap<String, Vec<usize>>,
    files: Vec<&'a FileCoverage>,
}

/// The files of a report that a changed file may be.
#[derive(Default)]
struct Candidates {
    files: Vec<usize>,
    /// How many parts their paths have in common with the changed file's; one more when they are
    /// the same.
    parts: usize,
}

impl<'a> Index<'a> {
    fn of(report: &'a CoverageReport) -> Self {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut files = Vec::new();
        for (path, file) in report.files() {
            places.entry(backwards(path)).or_default().push(files.len());
            files.push(file);
        }
        Self { places, files }
    }

    fn candidates(&self, path: &str) -> Candidates {
        let path = backwards(path);
        let parts = path.matches('/').count();
        if path.is_empty() {
            return Candidates::default();
        }
        if let Some(files) = self.places.get(&path) {
            let files = files.clone();
            let parts = parts + 1;
            return Candidates { files, parts };
        }
        let longer = self.places.range(path.clone()..);
        let longer = longer.take_while(|(place, _)| place.starts_with(&path));
        let longer = longer.flat_map(|(_, files)| files).copied();
        let files: Vec<_> = longer.take(CANDIDATES_MAX + 1).collect();
        match files.len() {
            0 => self.shorter(&path),
            1..=CANDIDATES_MAX => Candidates { files, parts },
            _ => Candidates::default(),
        }
    }

    /// The files with the longest path that `path` ends with.
    fn shorter(&self, path: &str) -> Candidates {
        let mut rest = path;
        // What is before the last slash, with the slash before it.
        while let Some(end) = rest.trim_end_matches('/').rfind('/') {
            rest = &path[..=end];
            if let Some(files) = self.places.get(rest) {
                return Candidates {
                    files: files.clone(),
                    parts: rest.matches('/').count(),
                };
            }
        }
        Candidates::default()
    }
}

/// The parts of a path from its end, each followed by a slash, without `.` and what `..` takes back.
fn backwards(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut backwards = String::with_capacity(path.len() + 1);
    for part in parts.iter().rev().take(PARTS_MAX) {
        backwards.push_str(part);
        backwards.push('/');
    }
    backwards
}

/// Which changed file each of a report's files belongs to: the one with the most parts in common.
struct Owners {
    /// By file: how many parts, and how many changed files have as many.
    claims: HashMap<usize, (usize, usize)>,
}

impl Owners {
    fn of<'a>(matches: impl Iterator<Item = &'a Candidates>) -> Self {
        let mut claims: HashMap<usize, (usize, usize)> = HashMap::new();
        for candidates in matches {
            for &file in &candidates.files {
                let claim = claims.entry(file).or_default();
                if claim.0 < candidates.parts {
                    *claim = (candidates.parts, 0);
                }
                claim.1 += usize::from(claim.0 == candidates.parts);
            }
        }
        Self { claims }
    }

    /// Whether a file belongs to the one changed file that has so many parts in common with it.
    fn belongs(&self, file: usize, parts: usize) -> bool {
        self.claims.get(&file) == Some(&(parts, 1))
    }
}
