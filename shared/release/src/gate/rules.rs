//! What the reports must show.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reports::Severity;
use serde::de::{Error as _, IntoDeserializer, value::StringDeserializer};
use serde::{Deserialize, Deserializer};

use super::check_glob;
use super::limit::{Level, Limit, Percent, Time, map_or_off};

/// Most globs of `min-path-coverage`.
const PATHS_MAX: usize = 100;

/// What the reports must show. A rule that is not written is off, but for those that say otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Rules {
    /// The most tests that may fail. 0 when not written, unless `only-new-failures` is.
    #[serde(deserialize_with = "written")]
    pub max_failures: Option<Limit<u64>>,
    /// The most tests that may end in an error. 0 when not written, unless `only-new-failures` is.
    #[serde(deserialize_with = "written")]
    pub max_errors: Option<Limit<u64>>,
    /// The largest share of the tests that may be skipped.
    #[serde(deserialize_with = "written")]
    pub max_skipped: Option<Limit<Percent>>,
    /// The fewest tests that must have run (skipped ones did not). 1 when not written and there is
    /// a report of tests.
    #[serde(deserialize_with = "written")]
    pub min_tests: Option<Limit<u64>>,
    /// How much smaller the number of tests that ran may be than in the last run that passed.
    #[serde(deserialize_with = "written")]
    pub max_test_drop: Option<Limit<Percent>>,
    /// The most tests that may fail before they pass.
    #[serde(deserialize_with = "written")]
    pub max_flaky: Option<Limit<u64>>,
    /// No test may fail that did not fail in the last run that passed.
    pub only_new_failures: Level,
    /// How long all tests together may take.
    #[serde(deserialize_with = "written")]
    pub max_duration: Option<Limit<Time>>,
    /// The least share of lines that tests must reach.
    #[serde(deserialize_with = "written")]
    pub min_line_coverage: Option<Limit<Percent>>,
    /// The least share of branches that tests must reach.
    #[serde(deserialize_with = "written")]
    pub min_branch_coverage: Option<Limit<Percent>>,
    /// How many percentage points of line coverage may be lost against the last run that passed.
    #[serde(deserialize_with = "written")]
    pub max_coverage_drop: Option<Limit<Percent>>,
    /// The least share of lines that tests must reach in some files.
    #[serde(deserialize_with = "PathCoverage::written")]
    pub min_path_coverage: Option<PathCoverage>,
    /// The least share of the changed lines that tests must reach; not judged below
    /// [`CHANGED_LINES_MIN`](super::CHANGED_LINES_MIN) of them.
    #[serde(deserialize_with = "written")]
    pub min_changed_coverage: Option<Limit<Percent>>,
    /// The most findings, by severity. When not written and there is a report of findings: none that
    /// is critical, high or of unknown severity.
    #[serde(deserialize_with = "Budget::written")]
    pub max_findings: Option<Budget>,
    /// How old a report may be.
    #[serde(deserialize_with = "written")]
    pub max_report_age: Option<Limit<Age>>,
    /// The reports must be of the commit that is being released.
    pub same_commit: Level,
    /// No test may fail that has an entry in the quarantine which has expired. `fail` when not
    /// written.
    pub expired_quarantine: Level,
    /// No finding may count that has an entry in the allow-list which has expired. `fail` when not
    /// written.
    pub expired_allow: Level,
}

/// A key without a value is a mistake, and not a rule that is off.
fn written<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_failures: None,
            max_errors: None,
            max_skipped: None,
            min_tests: None,
            max_test_drop: None,
            max_flaky: None,
            only_new_failures: Level::Off,
            max_duration: None,
            min_line_coverage: None,
            min_branch_coverage: None,
            max_coverage_drop: None,
            min_path_coverage: None,
            min_changed_coverage: None,
            max_findings: None,
            max_report_age: None,
            same_commit: Level::Off,
            expired_quarantine: Level::Fail,
            expired_allow: Level::Fail,
        }
    }
}

impl Rules {
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(budget) = &self.max_findings
            && budget.level != Level::Off
            && Severity::ALL
                .into_iter()
                .all(|s| budget.allowed(s).is_none())
        {
            return Err(
                "`max-findings` limits nothing: name at least one severity, such as \
                 {critical: 0, high: 0}"
                    .to_owned(),
            );
        }
        let paths = self.min_path_coverage.as_ref();
        let Some(paths) = paths.filter(|paths| paths.level != Level::Off) else {
            return Ok(());
        };
        match paths.paths.len() {
            1..=PATHS_MAX => paths.paths.keys().try_for_each(|glob| check_glob(glob)),
            count => Err(format!(
                "`min-path-coverage` has {count} paths: 1 to {PATHS_MAX} are allowed, such as \
                 paths: {{\"src/billing/**\": 90%}}"
            )),
        }
    }

    /// Whether any rule looks at the last run that passed.
    pub(super) fn compares(&self) -> bool {
        let is_on = |limit: &Option<Limit<Percent>>| limit.is_some_and(|l| l.active().is_some());
        let new_findings = self.max_findings.as_ref();
        is_on(&self.max_test_drop)
            || is_on(&self.max_coverage_drop)
            || self.only_new_failures != Level::Off
            || new_findings.is_some_and(|b| b.only_new && b.level != Level::Off)
    }
}

/// The least share of lines in some files, written
/// `{paths: {"src/billing/**": 90%}, level: warn}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathCoverage {
    /// By glob. Each must match a file that has lines.
    pub paths: BTreeMap<String, Percent>,
    /// What happens below.
    #[serde(default)]
    pub level: Level,
}

impl PathCoverage {
    /// As it is written: `off`, too.
    fn written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let off = || Self {
            paths: BTreeMap::new(),
            level: Level::Off,
        };
        map_or_off(from).map(|written| Some(written.unwrap_or_else(off)))
    }
}

/// The most findings by severity, written `{critical: 0, high: 5, level: warn}`. A severity that is
/// not written has no limit; `unknown` counts as `high` where it is not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Budget {
    /// CVSS 9.0 and above.
    #[serde(deserialize_with = "written")]
    pub critical: Option<u64>,
    /// CVSS 7.0 to 8.9.
    #[serde(deserialize_with = "written")]
    pub high: Option<u64>,
    /// Of which the report does not say how bad they are.
    #[serde(deserialize_with = "written")]
    pub unknown: Option<u64>,
    /// CVSS 4.0 to 6.9.
    #[serde(deserialize_with = "written")]
    pub medium: Option<u64>,
    /// CVSS 0.1 to 3.9.
    #[serde(deserialize_with = "written")]
    pub low: Option<u64>,
    /// Worth knowing.
    #[serde(deserialize_with = "written")]
    pub info: Option<u64>,
    /// Count only those that the last run that passed did not have.
    pub only_new: bool,
    /// Count only those for which there is a version that mends them.
    pub fixable_only: bool,
    /// What happens beyond.
    pub level: Level,
}

impl Budget {
    /// As it is written: `off`, too.
    fn written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let off = || Self {
            level: Level::Off,
            ..Self::default()
        };
        map_or_off(from).map(|written| Some(written.unwrap_or_else(off)))
    }

    /// What holds for findings where the rule is not written.
    pub(super) fn unwritten() -> Self {
        Self {
            critical: Some(0),
            high: Some(0),
            ..Self::default()
        }
    }

    /// How many of this severity are allowed; None for any number.
    pub(super) fn allowed(&self, severity: Severity) -> Option<u64> {
        match severity {
            Severity::Critical => self.critical,
            Severity::High => self.high,
            Severity::Unknown => self.unknown,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
            Severity::Info => self.info,
        }
    }

    /// Under which severity one of this severity is counted.
    pub(super) fn counted_as(&self, severity: Severity) -> Severity {
        match severity {
            Severity::Unknown if self.unknown.is_none() => Severity::High,
            Severity::Critical
            | Severity::High
            | Severity::Unknown
            | Severity::Medium
            | Severity::Low
            | Severity::Info => severity,
        }
    }
}

/// How old a report may be, written `execution` or a time such as `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// As old as the pipeline execution.
    Execution,
    /// So long.
    Time(Time),
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "execution" {
            return Ok(Self::Execution);
        }
        if text.parse::<SignedDuration>().is_err() {
            return Err(D::Error::custom(format!(
                "'{text}' is not an age: write execution, or a time such as 2h"
            )));
        }
        let again: StringDeserializer<D::Error> = text.into_deserializer();
        Time::deserialize(again).map(Self::Time)
    }
}
