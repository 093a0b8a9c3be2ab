//! Everything that was found where the gate looked, added up.

use std::collections::BTreeSet;

use jiff::Timestamp;
use reports::{Content, CoverageReport, Diff, FindingsReport, Format, Report, TestReport};
use serde::{Serialize, Serializer};

use super::{RuleVerdict, Verdict};

/// Most reports whose time or lack of one is remembered by name.
const DATED_MAX: usize = 1_000;

/// Longest path that is shown, in characters.
const PATH_CHARS_MAX: usize = 300;

/// What was found where the gate looked.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is added up at once"
)]
pub enum Found {
    /// A report.
    Report {
        /// Its path in the artifact.
        path: String,
        /// When the file was last written, where that is known.
        modified: Option<Timestamp>,
        /// What it says.
        report: Report,
    },
    /// The file that holds the commit that was tested.
    Commit(String),
    /// The change that is being released.
    Diff(Diff),
    /// Something that should have been a report.
    Unreadable {
        /// What it is and why it could not be read.
        why: String,
    },
    /// A glob, or the path of a file that the gate names, that matched nothing.
    Missing {
        /// The glob.
        glob: String,
    },
}

impl Found {
    /// What the file of the commit that was tested holds: its name, and blanks around it.
    pub fn commit(path: &str, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let commit = text.trim();
        match !commit.is_empty() && commit.chars().all(|char| char.is_ascii_alphanumeric()) {
            true => Self::Commit(commit.to_owned()),
            false => Self::Unreadable {
                why: format!(
                    "could not read {path}: it does not hold a commit; let the build write the \
                     output of `git rev-parse HEAD` to it"
                ),
            },
        }
    }
}

/// A report that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRead {
    /// Its path in the artifact.
    pub path: String,
    /// The format it was read in.
    #[serde(serialize_with = "by_name")]
    pub format: Format,
}

fn by_name<S: Serializer>(format: &Format, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(format.name())
}

/// The sum of all that was found. Its size does not grow with the number of reports, but for their
/// paths.
#[derive(Debug, Default)]
pub struct Evidence {
    /// All reports of tests.
    pub(super) tests: Option<TestReport>,
    /// All reports of coverage.
    pub(super) coverage: Option<CoverageReport>,
    /// All reports of findings.
    pub(super) findings: Option<FindingsReport>,
    /// The change that is being released.
    pub(super) diff: Option<Diff>,
    pub(super) files: Vec<FileRead>,
    /// The commits that the reports and the commit file say they are of.
    pub(super) commits: BTreeSet<String>,
    /// The report that is the oldest, and when it began.
    pub(super) oldest: Option<(Timestamp, String)>,
    /// Reports of which nobody knows how old they are.
    pub(super) undated: BTreeSet<String>,
    /// Why what should have been there could not be read.
    pub(super) unread: Vec<RuleVerdict>,
}

impl Evidence {
    /// Adds what was found.
    pub fn add(&mut self, found: Found) {
        match found {
            Found::Report {
                path,
                modified,
                report,
            } => self.add_report(path, modified, report),
            Found::Commit(commit) => {
                self.commits.insert(commit);
            }
            Found::Diff(diff) => self.diff = Some(diff),
            Found::Unreadable { why } => self.refuse(why),
            Found::Missing { glob } => self.refuse(format!(
                "no file in the input artifacts matches '{glob}': check that the build writes it \
                 and that its buildspec lists it under artifacts"
            )),
        }
    }

    fn add_report(&mut self, path: String, modified: Option<Timestamp>, report: Report) {
        let path = reports::printable(&path, PATH_CHARS_MAX);
        match report.provenance.began.or(modified) {
            Some(began) => {
                let is_older = self
                    .oldest
                    .as_ref()
                    .is_none_or(|(oldest, _)| began < *oldest);
                if is_older {
                    self.oldest = Some((began, path.clone()));
                }
            }
            None if self.undated.len() < DATED_MAX => {
                self.undated.insert(path.clone());
            }
            None => {}
        }
        self.commits.extend(report.provenance.commits);
        match report.content {
            Content::Tests(tests) => {
                if tests.totals.tests == 0 {
                    self.refuse(format!(
                        "{path}: the report has no tests: did the runner find any?"
                    ));
                }
                *self.tests.get_or_insert_default() += tests;
            }
            Content::Coverage(coverage) => {
                let sum = self.coverage.get_or_insert_default();
                if let Err(error) = sum.merge(coverage) {
                    self.refuse(format!("{path}: {error}"));
                }
            }
            Content::Findings(findings) => self.findings.get_or_insert_default().merge(findings),
        }
        let format = report.format;
        self.files.push(FileRead { path, format });
    }

    fn refuse(&mut self, why: String) {
        let said = RuleVerdict::new("reports", Verdict::Fail, why);
        self.unread.push(said);
    }
}
