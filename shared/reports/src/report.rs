//! What one file reported, whatever wrote it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::case::TestReport;
use crate::coverage::CoverageReport;
use crate::findings::FindingsReport;
use crate::formats::Format;
use crate::text;

/// Most commits that one report may name.
const COMMITS_MAX: usize = 16;

/// Longest name of a commit kept, in characters: a SHA-256 has 64.
const COMMIT_CHARS_MAX: usize = 80;

/// What one file reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The format it was read in.
    pub format: Format,
    /// What it says.
    pub content: Content,
    /// What it says of its own making.
    pub provenance: Provenance,
}

/// What a report says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Tests that ran.
    Tests(TestReport),
    /// Code that ran.
    Coverage(CoverageReport),
    /// What a scanner or a linter found.
    Findings(FindingsReport),
}

/// What a report says of its own making. Anyone who can write the report can write this too: it
/// tells an old report from a new one, not an honest one from a forged one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The earliest time that the report gives itself or one of its suites; None when it gives
    /// none. A time without a zone is taken to be UTC, which build machines keep.
    pub began: Option<Timestamp>,
    /// The commits that it says it is of.
    pub commits: BTreeSet<String>,
}

impl Provenance {
    /// Of a report that was made at this time.
    #[must_use]
    pub fn of(began: Option<Timestamp>) -> Self {
        Self {
            began,
            ..Self::default()
        }
    }

    /// Notes a time as a report writes it: RFC 3339, with or without zone. What is not a time is
    /// passed over.
    pub(crate) fn began(&mut self, time: &str) {
        let time = time.trim();
        let instant = time.parse::<Timestamp>().ok().or_else(|| {
            let civil: DateTime = time.parse().ok()?;
            civil.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
        });
        self.began_at(instant);
    }

    /// Notes a time in milliseconds since 1970.
    pub(crate) fn began_at_millis(&mut self, millis: i64) {
        self.began_at(Timestamp::from_millisecond(millis).ok());
    }

    /// Notes a time in seconds since 1970.
    pub(crate) fn began_at_seconds(&mut self, seconds: i64) {
        self.began_at(Timestamp::from_second(seconds).ok());
    }

    /// 1970 itself is what tools write that were not given a clock.
    fn began_at(&mut self, instant: Option<Timestamp>) {
        let instant = instant.filter(|&at| at > Timestamp::UNIX_EPOCH);
        self.began = self.began.into_iter().chain(instant).min();
    }

    /// Notes a commit that the report says it is of.
    pub(crate) fn of_commit(&mut self, commit: &str) {
        let commit = text::line(commit, COMMIT_CHARS_MAX);
        if !commit.is_empty() && self.commits.len() < COMMITS_MAX {
            self.commits.insert(commit);
        }
    }
}

/// What a format has read.
pub(crate) struct Parsed {
    pub(crate) content: Content,
    pub(crate) provenance: Provenance,
}

impl From<Content> for Parsed {
    fn from(content: Content) -> Self {
        let provenance = Provenance::default();
        Self {
            content,
            provenance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_time_counts_and_what_is_no_time_does_not() {
        let mut provenance = Provenance::default();
        for time in ["soon", "", "1970-01-01T00:00:00Z", "99999-01-01"] {
            provenance.began(time);
            assert_eq!(provenance.began, None, "{time}");
        }
        provenance.began("2026-11-02T10:00:00");
        provenance.began("2026-11-02T10:00:00+02:00");
        provenance.began("2026-11-02T09:30:00.123456Z");
        let earliest = "2026-11-02T08:00:00Z".parse().unwrap();
        assert_eq!(provenance.began, Some(earliest));
    }

    #[test]
    fn the_commits_are_bounded_and_fit_to_print() {
        let mut provenance = Provenance::default();
        provenance.of_commit(" \n");
        assert!(provenance.commits.is_empty());
        for number in 0..100 {
            provenance.of_commit(&format!("{number}\u{1b}[2J"));
        }
        assert_eq!(provenance.commits.len(), COMMITS_MAX);
        assert!(provenance.commits.contains("0"));
    }
}
