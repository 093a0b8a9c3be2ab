//! The test gate: reports in, verdict out. What could not be read never passes.
//!
//! | part | holds |
//! |---|---|
//! | [`Gate`], [`Rules`] | the gate as `penstock.yaml` has it |
//! | [`Evidence`] | everything that was found where the gate looked, added up |
//! | [`Context`] | what the reports are compared with: the time, the commit, the last run that passed |
//! | [`GateVerdict`] | what each rule says, and why; what people are shown |
//! | [`History`] | what is kept of the runs that passed |
//! | [`CodeBuildReports`], [`ImageScan`] | what the gate looks at that AWS itself keeps |
//! | [`GateWait`] | how long it waits until AWS has finished |

mod cases;
mod coverage;
mod evidence;
mod findings;
mod history;
mod image;
mod limit;
mod metric;
mod origin;
mod rules;
mod sources;
mod verdict;
mod wait;

use jiff::civil::Date;
use reports::Format;
use serde::{Deserialize, Deserializer};

use crate::config::Check;

pub use cases::{JudgedCase, Weighed};
pub use coverage::CHANGED_LINES_MIN;
pub use evidence::{Evidence, FileRead, Found, Keeper, Kept, ReadAs};
pub use findings::{JudgedFinding, Standing};
pub use history::{History, POINTS_MAX, Point, Run};
pub(crate) use image::is_digest;
pub use image::{
    IMAGE_FILE_BYTES_MAX, IMAGES_MAX, ImageRef, ImageVersion, digest_of, digests, images,
};
pub use limit::{Level, Limit, Percent, Time, Verdict};
pub use origin::{Caller, Context};
pub use rules::{Age, Budget, PathCoverage, Rules};
pub use sources::{CodeBuildReports, ImageScan};
pub use verdict::{CoverageSummary, GateVerdict, RuleVerdict};
pub use wait::{GateWait, Patience, Pending, WaitEvent};

/// Most entries of a quarantine or of an allow-list.
const ENTRIES_MAX: usize = 1_000;

/// A gate, as `penstock.yaml` has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gate {
    /// Globs of the reports in the input artifacts; each must find at least one.
    #[serde(default)]
    pub reports: Vec<ReportGlob>,
    /// The reports that CodeBuild keeps of the build.
    #[serde(default)]
    pub codebuild: Option<CodeBuildReports>,
    /// The images whose scan ECR keeps.
    #[serde(default)]
    pub image_scan: Option<ImageScan>,
    /// The name of the reports' format; detected by content when absent.
    #[serde(default)]
    pub format: Option<Format>,
    /// What the reports must show.
    #[serde(default)]
    pub rules: Rules,
    /// Tests that run and may fail for a while.
    #[serde(default)]
    pub quarantine: Vec<Quarantined>,
    /// Findings that are accepted for a while.
    #[serde(default)]
    pub allow: Vec<Allowed>,
    /// The path of a file in the input artifacts that holds the commit that was tested.
    #[serde(default)]
    pub commit_file: Option<String>,
    /// The path of a unified diff in the input artifacts, for the coverage of changed lines.
    #[serde(default)]
    pub diff: Option<String>,
}

/// Where reports are: a glob, or `{path: GLOB, format: NAME}`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportGlob {
    /// `*` and `?` stay within one part of a path, `**` spans any number of them.
    pub path: String,
    /// The name of their format; the gate's, or detected by content, when absent.
    pub format: Option<Format>,
}

impl<'de> Deserialize<'de> for ReportGlob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            path: String,
            #[serde(default)]
            format: Option<Format>,
        }
        limit::text_or_map(from, |path| Long { path, format: None })
            .map(|Long { path, format }| Self { path, format })
    }
}

/// A test that runs and may fail for a while.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quarantined {
    /// Matches the test's id, which is its suite, class and name with `::` between those that the
    /// report has; `*` stands for anything.
    pub test: String,
    /// Where it is being mended.
    pub ticket: String,
    /// The last day (in UTC) on which it may fail.
    #[serde(deserialize_with = "limit::day")]
    pub expires: Date,
}

/// A finding that is accepted for a while.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Allowed {
    /// The vulnerability or rule, by its id or any other name of it; `*` stands for anything.
    pub id: String,
    /// Matches the path or the package (`name@version`) that has it; everywhere when absent.
    #[serde(default)]
    pub at: Option<String>,
    /// Why it is accepted.
    pub reason: String,
    /// The last day (in UTC) on which it is.
    #[serde(deserialize_with = "limit::day")]
    pub expires: Date,
}

impl Check for Gate {
    fn check(&self) -> Result<(), String> {
        let of_aws = self.codebuild.is_some() || self.image_scan.is_some();
        if self.reports.is_empty() && !of_aws {
            return Err("`reports` is empty: name at least one glob, such as reports/*.xml".into());
        }
        for glob in &self.reports {
            check_glob(&glob.path)?;
        }
        for (key, count) in [
            ("reports", self.reports.len()),
            ("quarantine", self.quarantine.len()),
            ("allow", self.allow.len()),
        ] {
            if count > ENTRIES_MAX {
                return Err(format!(
                    "`{key}` has {count} entries: at most {ENTRIES_MAX} are allowed"
                ));
            }
        }
        let quarantined = self.quarantine.iter().flat_map(|e| [&e.test, &e.ticket]);
        let allowed = self.allow.iter().flat_map(|e| [&e.id, &e.reason]);
        if quarantined
            .chain(allowed)
            .any(|text| text.contains(char::is_control))
        {
            return Err("an entry of `quarantine` or `allow` has a control character".to_owned());
        }
        let blank = |text: &str| text.trim().is_empty();
        for entry in &self.quarantine {
            if blank(&entry.test) || blank(&entry.ticket) {
                return Err(
                    "a quarantine entry needs `test` (a pattern) and `ticket` (where it is \
                     being mended)"
                        .to_owned(),
                );
            }
        }
        for entry in &self.allow {
            if blank(&entry.id) || blank(&entry.reason) {
                return Err(
                    "an allow entry needs `id` (a vulnerability or rule) and `reason` (why it is \
                     accepted)"
                        .to_owned(),
                );
            }
        }
        if let Some(codebuild) = &self.codebuild {
            codebuild.check()?;
        }
        if let Some(scan) = &self.image_scan {
            scan.check()?;
        }
        self.rules.check()
    }
}

/// Whether it is a pattern, as where it is used it is too late to say so.
fn check_glob(glob: &str) -> Result<(), String> {
    reports::glob(glob).map(drop).map_err(|error| chain(&error))
}

/// An error and what is underneath, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let said = causes.map(|cause| format!(": {cause}"));
    error.to_string() + &said.collect::<String>()
}

impl Gate {
    /// Judges everything that was found.
    pub fn judge(&self, evidence: Evidence, context: &Context<'_>) -> GateVerdict {
        let rules = &self.rules;
        let tests = cases::weigh(self, evidence.tests.as_ref(), context);
        let findings = findings::weigh(self, evidence.findings.as_ref(), context);
        let changed = evidence.changed();
        let mut said = evidence.unread();
        said.extend(cases::judge(
            rules,
            evidence.tests.as_ref(),
            &tests,
            context,
        ));
        said.extend(coverage::judge(rules, &evidence, changed.as_ref(), context));
        said.extend(findings::judge(
            rules,
            evidence.findings.as_ref(),
            &findings,
        ));
        said.extend(self.expired(&tests, &findings, context));
        said.extend(origin::judge(rules, &evidence, context));
        said.extend(context.judge_history());
        verdict::conclude(said, evidence, changed, tests, findings, context)
    }

    /// Whether the gate looks at the last run that passed.
    pub fn compares(&self) -> bool {
        self.rules.compares()
    }

    /// Whether the gate asks when the pipeline execution began.
    pub fn dates_the_execution(&self) -> bool {
        let age = self.rules.max_report_age.and_then(|limit| limit.active());
        age.is_some_and(|(age, _)| age == Age::Execution)
    }

    /// What the entries of the quarantine and the allow-list say that have expired. One that is not
    /// needed any more never fails the gate.
    fn expired(
        &self,
        tests: &[JudgedCase],
        findings: &[JudgedFinding],
        context: &Context<'_>,
    ) -> Vec<RuleVerdict> {
        let mut said = Vec::new();
        let ids: Vec<_> = tests.iter().map(|judged| judged.case.id()).collect();
        for entry in self
            .quarantine
            .iter()
            .filter(|e| context.is_after(e.expires))
        {
            let (test, ticket, day) = (&entry.test, &entry.ticket, entry.expires);
            let pattern = entry.pattern();
            let fails = ids.iter().any(|id| pattern.matches(id));
            let fix = match fails {
                true => "mend the test or renew the entry",
                false => "it does not fail any more: remove the entry",
            };
            let why = format!("the entry for {test} ({ticket}) expired on {day}: {fix}");
            let level = self.rules.expired_quarantine.at_most_warn_unless(fails);
            said.extend(RuleVerdict::when("expired-quarantine", level, false, why));
        }
        for entry in self.allow.iter().filter(|e| context.is_after(e.expires)) {
            let (id, reason, day) = (&entry.id, &entry.reason, entry.expires);
            let counts = |judged: &&JudgedFinding| judged.standing == Standing::Counts;
            let mut counting = findings.iter().filter(counts);
            let pattern = entry.pattern();
            let found = counting.any(|judged| pattern.matches(&judged.finding));
            let fix = match found {
                true => "mend it or renew the entry",
                false => "it is not found any more: remove the entry",
            };
            let why = format!("the entry for {id} ({reason}) expired on {day}: {fix}");
            let level = self.rules.expired_allow.at_most_warn_unless(found);
            said.extend(RuleVerdict::when("expired-allow", level, false, why));
        }
        said
    }
}

#[cfg(test)]
mod laws;
