//! Everything that was found where the gate looked, added up.

use std::collections::BTreeSet;

use jiff::Timestamp;
use reports::{
    ChangedCoverage, Content, CoverageReport, Diff, FindingsReport, Format, Module, Provenance,
    Report, TestReport,
};
use serde::{Serialize, Serializer};

use super::{RuleVerdict, Verdict};

/// Most reports whose time or lack of one is remembered by name.
const DATED_MAX: usize = 1_000;

/// Most reasons why something could not be read that are told one by one.
const UNREAD_NAMED_MAX: usize = 50;

/// Most commits that are remembered.
const COMMITS_MAX: usize = 100;

/// Longest path that is shown, in characters.
const PATH_CHARS_MAX: usize = 300;

/// What was found where the gate looked.
#[derive(Debug, Clone)]
pub enum Found {
    /// A report.
    Report {
        /// Which of the places where the gate looked has it, from 0.
        place: usize,
        /// Its path in that place.
        path: String,
        /// When the file was last written, where that is known.
        modified: Option<Timestamp>,
        /// What it says.
        report: Report,
    },
    /// A report that AWS keeps.
    Kept(Kept),
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

/// A report that AWS keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The service that keeps it.
    pub by: Keeper,
    /// What people know it by: a report's or an image's name.
    pub name: String,
    /// What it says.
    pub content: Content,
    /// What the service says of its making.
    pub provenance: Provenance,
}

/// A service that keeps reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// A report group of CodeBuild.
    CodeBuild,
    /// A scan of an image in ECR.
    Ecr,
}

impl Found {
    /// What the file of the commit that was tested holds: its name, and blanks around it.
    pub fn commit(path: &str, bytes: &[u8]) -> Self {
        // PowerShell writes UTF-16, and others put a byte order mark before UTF-8.
        let text = reports::decoded(bytes);
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
    /// Its path in the artifact, or its name at the service that keeps it.
    pub path: String,
    /// How it was read.
    pub format: ReadAs,
}

/// How a report was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// From a file in this format.
    Format(Format),
    /// From the service that keeps it.
    Kept(Keeper),
}

impl ReadAs {
    /// The format's name, or the service's: `codebuild` or `ecr`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Format(format) => format.name(),
            Self::Kept(Keeper::CodeBuild) => "codebuild",
            Self::Kept(Keeper::Ecr) => "ecr",
        }
    }
}

impl Serialize for ReadAs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
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
    /// How many more could not be read.
    pub(super) more_unread: u64,
}

impl Evidence {
    /// Adds what was found.
    pub fn add(&mut self, found: Found) {
        match found {
            Found::Report {
                place,
                path,
                modified,
                report,
            } => {
                let format = ReadAs::Format(report.format);
                let began = report.provenance.began.or(modified);
                let folder = path.rsplit_once('/').map(|(folder, _)| folder);
                let module = Module::named((place, folder));
                self.add_report(FileRead { path, format }, began, report.content, module);
                self.note_commits(report.provenance.commits);
            }
            Found::Kept(kept) => {
                let (path, format) = (kept.name, ReadAs::Kept(kept.by));
                let began = kept.provenance.began;
                let module = Module::named(&path);
                self.add_report(FileRead { path, format }, began, kept.content, module);
                self.note_commits(kept.provenance.commits);
            }
            Found::Commit(commit) => self.note_commits([commit]),
            Found::Diff(diff) => self.diff = Some(diff),
            Found::Unreadable { why } => self.refuse(why),
            Found::Missing { glob } => self.refuse(format!(
                "no file in the input artifacts matches '{glob}': check that the build writes it \
                 and that its buildspec lists it under artifacts"
            )),
        }
    }

    /// `module` tells whose the paths in a report of coverage are: the reports in one folder are of
    /// one build.
    fn add_report(
        &mut self,
        mut file: FileRead,
        began: Option<Timestamp>,
        content: Content,
        module: Module,
    ) {
        file.path = reports::printable(&file.path, PATH_CHARS_MAX);
        let path = &file.path;
        match began {
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
        match content {
            Content::Tests(tests) => {
                if tests.totals.tests == 0 {
                    self.refuse(format!(
                        "{path}: the report has no tests: did the runner find any?"
                    ));
                }
                *self.tests.get_or_insert_default() += tests;
            }
            Content::Coverage(coverage) => {
                if coverage.lines().valid == 0 && coverage.branches().valid == 0 {
                    self.refuse(format!(
                        "{path}: the report has no lines: did the tests run with coverage?"
                    ));
                }
                let sum = self.coverage.get_or_insert_default();
                if let Err(error) = sum.merge(coverage, module) {
                    self.refuse(format!("{path}: {error}"));
                }
            }
            Content::Findings(findings) => self.findings.get_or_insert_default().merge(findings),
        }
        self.files.push(file);
    }

    /// How much of the change ran; None without a diff or without coverage.
    pub(super) fn changed(&self) -> Option<ChangedCoverage> {
        let coverage = self.coverage.as_ref()?;
        let diff = self.diff.as_ref()?;
        Some(coverage.of_changed(diff))
    }

    /// Two commits are one too many, so a few more than that say all there is to say.
    fn note_commits(&mut self, commits: impl IntoIterator<Item = String>) {
        for commit in commits {
            if self.commits.len() < COMMITS_MAX {
                self.commits.insert(commit);
            }
        }
    }

    fn refuse(&mut self, why: String) {
        if self.unread.len() >= UNREAD_NAMED_MAX {
            self.more_unread += 1;
            return;
        }
        let said = RuleVerdict::new("reports", Verdict::Fail, why);
        self.unread.push(said);
    }

    /// Why something that should have been read was not; nothing when all was.
    pub(super) fn unread(&self) -> Vec<RuleVerdict> {
        let nothing = self.files.is_empty() && self.unread.is_empty();
        let nothing =
            nothing.then(|| "no report was read, so there is nothing to judge".to_owned());
        let more = (self.more_unread > 0).then(|| format!("and {} more", self.more_unread));
        let said = nothing.into_iter().chain(more);
        let said = said.map(|why| RuleVerdict::new("reports", Verdict::Fail, why));
        self.unread.iter().cloned().chain(said).collect()
    }
}
