//! What the gate says, for people and for machines.

use std::collections::BTreeMap;

use reports::{
    ChangedCoverage, CoverageReport, Outcome, Ratio, Severity, TestCase, TestReport, Totals,
};
use serde::{Serialize, Serializer};

use super::{
    Context, Evidence, FileRead, History, JudgedCase, JudgedFinding, Level, Percent, Point, Run,
    Standing, Verdict, Weighed, findings,
};

/// Longest reason of a rule, in characters.
const WHY_CHARS_MAX: usize = 1_000;

/// How many failing tests a summary names.
const WORST_SHOWN: usize = 3;

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleVerdict {
    /// The rule's key in `penstock.yaml`; `reports` for whether everything could be read.
    pub rule: &'static str,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// With the numbers, and when it is broken how to mend it.
    pub why: String,
}

impl RuleVerdict {
    /// Paths and patterns in a reason come from outside, so it is made fit to print.
    pub(super) fn new(rule: &'static str, verdict: Verdict, why: String) -> Self {
        let why = reports::printable(&why, WHY_CHARS_MAX);
        Self { rule, verdict, why }
    }

    /// What a rule of this level says; None when it is off.
    pub(super) fn when(
        rule: &'static str,
        level: Level,
        is_kept: bool,
        why: String,
    ) -> Option<Self> {
        let verdict = level.verdict(is_kept)?;
        Some(Self::new(rule, verdict, why))
    }

    /// The same, of a reason why the rule is kept or why not.
    pub(super) fn of(
        rule: &'static str,
        level: Level,
        said: Result<String, String>,
    ) -> Option<Self> {
        let is_kept = said.is_ok();
        let why = said.unwrap_or_else(|why| why);
        Self::when(rule, level, is_kept, why)
    }
}

/// What the gate says. As JSON it has the verdict, the numbers, the rules and the files; the tests
/// and findings themselves are for the pages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateVerdict {
    /// Pass or fail; a rule that only warns lets the gate pass.
    pub verdict: Verdict,
    /// All tests.
    pub totals: Totals,
    /// How long all tests took, in seconds.
    pub duration_seconds: f64,
    /// All coverage; absent when there is no report of it.
    pub coverage: Option<CoverageSummary>,
    /// How many findings count, by how bad they are; absent when there is no report of them.
    #[serde(serialize_with = "with_every_severity")]
    pub findings: Option<BTreeMap<Severity, u64>>,
    /// In the order they were judged; each has its reason.
    pub rules: Vec<RuleVerdict>,
    /// The reports that were read.
    pub files: Vec<FileRead>,
    /// The failing tests.
    #[serde(skip)]
    pub failing: Vec<JudgedCase>,
    /// The other tests, as far as they are listed.
    #[serde(skip)]
    pub others: Vec<TestCase>,
    /// How many tests ran, by suite.
    #[serde(skip)]
    pub suites: BTreeMap<String, u64>,
    /// The coverage of each file.
    #[serde(skip)]
    pub covered: CoverageReport,
    /// The findings, the worst first.
    #[serde(skip)]
    pub found: Vec<JudgedFinding>,
    /// This run's numbers.
    #[serde(skip)]
    pub point: Point,
}

/// The coverage of all reports together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoverageSummary {
    /// Lines that can run.
    pub lines: Ratio,
    /// Ways out of a condition.
    pub branches: Ratio,
    /// Changed lines that can run; absent when there is no diff.
    pub changed: Option<Ratio>,
}

impl Serialize for CoverageSummary {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Share {
            covered: u64,
            valid: u64,
            percent: Option<f64>,
        }
        let share = |ratio: Ratio| Share {
            covered: ratio.covered,
            valid: ratio.valid,
            percent: Percent::of(ratio).map(Percent::value),
        };
        let mut parts = BTreeMap::from([
            ("lines", share(self.lines)),
            ("branches", share(self.branches)),
        ]);
        parts.extend(self.changed.map(|changed| ("changed", share(changed))));
        parts.serialize(to)
    }
}

/// Severities without a finding are written as 0.
fn with_every_severity<S: Serializer>(
    findings: &Option<BTreeMap<Severity, u64>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let all = findings.as_ref().map(|counts| {
        let count = |severity| (severity, counts.get(&severity).copied().unwrap_or(0));
        Severity::ALL
            .map(count)
            .into_iter()
            .collect::<BTreeMap<_, _>>()
    });
    all.serialize(to)
}

/// Sums up what the rules say.
pub(super) fn conclude(
    rules: Vec<RuleVerdict>,
    evidence: Evidence,
    changed: Option<ChangedCoverage>,
    failing: Vec<JudgedCase>,
    found: Vec<JudgedFinding>,
    context: &Context<'_>,
) -> GateVerdict {
    let is_broken = rules.iter().any(|rule| rule.verdict == Verdict::Fail);
    let findings = evidence.findings.as_ref();
    let findings = findings.map(|report| findings::counted(report, &found));
    let coverage = evidence.coverage.as_ref().map(|seen| CoverageSummary {
        lines: seen.lines(),
        branches: seen.branches(),
        changed: changed.as_ref().map(|changed| changed.lines),
    });
    let tests: TestReport = evidence.tests.unwrap_or_default();
    let point = Point {
        run: context.run.to_owned(),
        at: context.now,
        commit: context.commit.map(str::to_owned),
        totals: tests.totals,
        duration_seconds: tests.duration_seconds,
        lines: coverage.and_then(|coverage| Percent::of(coverage.lines)),
        branches: coverage.and_then(|coverage| Percent::of(coverage.branches)),
        findings: findings.clone().unwrap_or_default(),
    };
    GateVerdict {
        verdict: if is_broken {
            Verdict::Fail
        } else {
            Verdict::Pass
        },
        totals: tests.totals,
        duration_seconds: tests.duration_seconds,
        coverage,
        findings,
        rules,
        files: evidence.files,
        failing,
        others: tests.others,
        suites: tests.suites,
        covered: evidence.coverage.unwrap_or_default(),
        found,
        point,
    }
}

impl GateVerdict {
    /// Whether the gate passes.
    pub fn passed(&self) -> bool {
        self.verdict != Verdict::Fail
    }

    /// What is remembered when this run passes. A test in quarantine is not a known failure: when
    /// its entry goes, it is a new one.
    pub fn run(&self) -> Run {
        let mut failing: BTreeMap<String, u64> = BTreeMap::new();
        let counted = self.failing.iter().filter(|judged| match judged.weighed {
            Weighed::New | Weighed::Known => true,
            Weighed::Quarantined { .. } => false,
        });
        for judged in counted {
            *failing.entry(judged.case.id()).or_default() += 1;
        }
        let mut findings: BTreeMap<String, (Severity, u64)> = BTreeMap::new();
        let counted = self.found.iter().filter(|judged| match judged.standing {
            Standing::Counts | Standing::Known => true,
            // When what excuses it goes, it is a new one.
            Standing::Suppressed | Standing::Allowed { .. } | Standing::NotFixable => false,
        });
        for JudgedFinding { finding, .. } in counted {
            let (severity, count) = findings.entry(finding.key()).or_default();
            *severity = finding.severity.max(*severity);
            *count += 1;
        }
        Run {
            point: self.point.clone(),
            suites: self.suites.clone(),
            failing,
            findings,
        }
    }

    /// What is remembered after this run. Only a run that passes is.
    #[must_use]
    pub fn remembered(&self, history: History) -> History {
        match self.passed() {
            true => history.after(self.run()),
            false => history,
        }
    }

    /// Rules that are broken, those that fail the gate first.
    pub fn broken(&self) -> impl Iterator<Item = &RuleVerdict> {
        let of = |verdict| {
            self.rules
                .iter()
                .filter(move |rule| rule.verdict == verdict)
        };
        of(Verdict::Fail).chain(of(Verdict::Warn))
    }

    /// The verdict in a word, and the counts.
    pub fn headline(&self) -> String {
        let word = if self.passed() { "passed" } else { "failed" };
        format!("{word}: {}", self.numbers())
    }

    /// One line for the pipeline's console: verdict, counts, first reasons, worst tests.
    pub fn summary(&self) -> String {
        let mut line = format!("test gate {}", self.headline());
        for rule in self.broken() {
            let mark = match rule.verdict {
                Verdict::Warn => "warning: ",
                Verdict::Pass | Verdict::Fail => "",
            };
            line += &format!("; {mark}{}: {}", rule.rule, rule.why);
        }
        let shown = if self.passed() { 0 } else { WORST_SHOWN };
        let mut worst: Vec<_> = self.failing.iter().collect();
        worst.sort_by_key(|judged| {
            (
                judged.weighed != Weighed::New,
                judged.case.outcome != Outcome::Errored,
            )
        });
        for JudgedCase { case, .. } in worst.into_iter().take(shown) {
            line += &format!("; {}: {}", case.id(), case.message);
        }
        line
    }

    /// The counts, in words.
    fn numbers(&self) -> String {
        let t = &self.totals;
        let mut parts = Vec::new();
        if t.tests > 0 || (self.coverage.is_none() && self.findings.is_none()) {
            parts.push(format!(
                "{} tests, {} passed, {} failed, {} errors, {} flaky, {} skipped",
                t.tests, t.passed, t.failed, t.errors, t.flaky, t.skipped
            ));
        }
        let lines = self
            .coverage
            .and_then(|coverage| Percent::of(coverage.lines));
        parts.extend(lines.map(|lines| format!("{lines} of the lines covered")));
        if let Some(findings) = &self.findings {
            let counts = findings.iter().rev().filter(|(_, count)| **count > 0);
            let counts: Vec<_> = counts
                .map(|(severity, count)| format!("{count} {}", severity.name()))
                .collect();
            parts.push(match counts.is_empty() {
                true => "no findings".to_owned(),
                false => format!("findings: {}", counts.join(", ")),
            });
        }
        parts.join(", ")
    }

    /// `#{namespace.key}` for later actions.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let t = &self.totals;
        let verdict = if self.passed() { "pass" } else { "fail" };
        let warned = |rule: &&RuleVerdict| rule.verdict == Verdict::Warn;
        let mut outputs = BTreeMap::from([
            ("verdict".to_owned(), verdict.to_owned()),
            (
                "warnings".to_owned(),
                self.rules.iter().filter(warned).count().to_string(),
            ),
        ]);
        for (key, count) in [
            ("tests", t.tests),
            ("passed", t.passed),
            ("failed", t.failed),
            ("errors", t.errors),
            ("flaky", t.flaky),
            ("skipped", t.skipped),
        ] {
            outputs.insert(key.to_owned(), count.to_string());
        }
        let coverage = self.coverage;
        for (key, ratio) in [
            ("coverage", coverage.map(|coverage| coverage.lines)),
            (
                "branch_coverage",
                coverage.map(|coverage| coverage.branches),
            ),
            (
                "changed_coverage",
                coverage.and_then(|coverage| coverage.changed),
            ),
        ] {
            if let Some(share) = ratio.and_then(Percent::of) {
                outputs.insert(key.to_owned(), format!("{:.1}", share.value()));
            }
        }
        for severity in self.findings.iter().flat_map(|_| Severity::ALL) {
            let counts = self.findings.as_ref();
            let count = counts.and_then(|counts| counts.get(&severity)).copied();
            outputs.insert(severity.name().to_owned(), count.unwrap_or(0).to_string());
        }
        outputs
    }
}
