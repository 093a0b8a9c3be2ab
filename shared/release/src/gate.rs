//! The test gate's rules: reports in, verdict out. What could not be read never passes.

use std::collections::BTreeMap;
use std::fmt;

use reports::{Content, CoverageReport, Format, Ratio, Report, TestCase, TestReport, Totals};
use serde::{Deserialize, Serialize};

use crate::config::Check;

/// How many failing tests a summary names.
const WORST_SHOWN: usize = 3;

/// A gate, as `penstock.yaml` has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gate {
    /// Globs of the reports in the input artifacts; each must find at least one.
    pub reports: Vec<String>,
    /// The name of the reports' format; detected by content when absent.
    #[serde(default)]
    pub format: Option<Format>,
    /// What the reports must show.
    #[serde(default)]
    pub rules: Rules,
}

impl Check for Gate {
    fn check(&self) -> Result<(), String> {
        if self.reports.is_empty() {
            return Err("`reports` is empty: name at least one glob, such as reports/*.xml".into());
        }
        Ok(())
    }
}

/// What the reports must show.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Rules {
    /// The most tests that may fail or end in an error.
    pub max_failures: u64,
    /// The fewest tests that must have run (skipped ones did not).
    pub min_tests: u64,
    /// The least share of lines that tests must reach.
    pub min_line_coverage: Option<Percent>,
    /// The least share of branches that tests must reach.
    pub min_branch_coverage: Option<Percent>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_failures: 0,
            min_tests: 1,
            min_line_coverage: None,
            min_branch_coverage: None,
        }
    }
}

/// A share of 0 to 100 %, written `80%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "String")]
pub struct Percent(f64);

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_suffix('%').map(str::trim_end);
        number
            .and_then(|n| n.parse().ok())
            .filter(|p| (0.0..=100.0).contains(p))
            .map(Self)
            .ok_or_else(|| format!("'{text}' is not a share: write 0% to 100%, such as 80%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0)
    }
}

/// What was found where the gate looked.
#[derive(Debug)]
pub enum Found {
    /// A report.
    Report {
        /// Its path in the artifact.
        path: String,
        /// What it says.
        report: Report,
    },
    /// Something that should have been a report.
    Unreadable {
        /// What it is and why it could not be read.
        why: String,
    },
    /// A glob that matched nothing.
    Missing {
        /// The glob.
        glob: String,
    },
}

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleVerdict {
    /// The rule's key in `penstock.yaml`; `reports` for whether everything could be read.
    pub rule: &'static str,
    /// Whether it is kept.
    pub passed: bool,
    /// With the numbers.
    pub why: String,
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateVerdict {
    /// Whether every rule is kept.
    pub passed: bool,
    /// All test reports together.
    pub tests: TestReport,
    /// All coverage reports together; absent when there was none.
    #[serde(skip)]
    pub coverage: Option<CoverageReport>,
    /// In the order they were judged; each has its reason.
    pub rules: Vec<RuleVerdict>,
}

impl Gate {
    /// Judges everything that was found.
    pub fn judge(&self, found: &[Found]) -> GateVerdict {
        let mut sum = Sum::default();
        found.iter().for_each(|f| sum.add(f));
        let mut rules = sum.unread;
        rules.extend(self.rules.of_tests(&sum.tests.totals));
        rules.extend(self.rules.of_coverage(sum.coverage.as_ref()));
        GateVerdict {
            passed: rules.iter().all(|rule| rule.passed),
            tests: sum.tests,
            coverage: sum.coverage,
            rules,
        }
    }
}

#[derive(Default)]
struct Sum {
    tests: TestReport,
    coverage: Option<CoverageReport>,
    unread: Vec<RuleVerdict>,
}

impl Sum {
    fn add(&mut self, found: &Found) {
        match found {
            Found::Report { path, report } => match &report.content {
                Content::Tests(tests) => {
                    if tests.totals.tests == 0 {
                        self.refuse(format!("{path}: the report has no tests"));
                    }
                    self.tests += tests.clone();
                }
                Content::Coverage(coverage) => {
                    let sum = self.coverage.get_or_insert_default();
                    if let Err(error) = sum.merge(coverage.clone()) {
                        self.refuse(format!("{path}: {error}"));
                    }
                }
                Content::Findings(_) => {}
            },
            Found::Unreadable { why } => self.refuse(why.clone()),
            Found::Missing { glob } => self.refuse(format!(
                "no file in the input artifacts matches '{glob}': check that the build writes it \
                 and that its buildspec lists it under artifacts"
            )),
        }
    }

    fn refuse(&mut self, why: String) {
        self.unread.push(RuleVerdict {
            rule: "reports",
            passed: false,
            why,
        });
    }
}

impl Rules {
    fn of_tests(&self, totals: &Totals) -> [RuleVerdict; 2] {
        let failed = totals.failing();
        let ran = totals.tests.saturating_sub(totals.skipped);
        [
            RuleVerdict {
                rule: "max-failures",
                passed: failed <= self.max_failures,
                why: format!("{failed} failed, {} allowed", self.max_failures),
            },
            RuleVerdict {
                rule: "min-tests",
                passed: ran >= self.min_tests,
                why: format!("{ran} ran, at least {} needed", self.min_tests),
            },
        ]
    }

    fn of_coverage(&self, seen: Option<&CoverageReport>) -> Vec<RuleVerdict> {
        let lines = seen.map(|coverage| coverage.lines());
        let branches = seen.map(|coverage| coverage.branches());
        let rules = [
            ("min-line-coverage", "lines", self.min_line_coverage, lines),
            (
                "min-branch-coverage",
                "branches",
                self.min_branch_coverage,
                branches,
            ),
        ];
        let judged = rules.into_iter().filter_map(|(rule, what, least, seen)| {
            let least = least?;
            let seen = seen.and_then(Percent::of);
            Some(RuleVerdict {
                rule,
                passed: seen.is_some_and(|seen| seen >= least),
                why: match seen {
                    Some(seen) => format!("{seen} of the {what} covered, at least {least} needed"),
                    None => format!("no report covers any {what}, at least {least} needed"),
                },
            })
        });
        judged.collect()
    }
}

impl Percent {
    /// `None` when nothing was measured.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 16 digits")]
    fn of(ratio: Ratio) -> Option<Self> {
        (ratio.valid > 0).then(|| Self(100.0 * ratio.covered as f64 / ratio.valid as f64))
    }
}

impl GateVerdict {
    /// One line for the pipeline's console: verdict, counts, first reasons, worst tests.
    pub fn summary(&self) -> String {
        let t = &self.tests.totals;
        let word = if self.passed { "passed" } else { "failed" };
        let mut line = format!(
            "test gate {word}: {} tests, {} passed, {} failed, {} flaky, {} skipped",
            t.tests,
            t.passed,
            t.failing(),
            t.flaky,
            t.skipped
        );
        if let Some(lines) = self.lines() {
            line += &format!(", {lines} of the lines covered");
        }
        for rule in self.rules.iter().filter(|rule| !rule.passed) {
            line += &format!("; {}: {}", rule.rule, rule.why);
        }
        let shown = if self.passed { 0 } else { WORST_SHOWN };
        for TestCase { name, message, .. } in self.tests.failing.iter().take(shown) {
            line += &format!("; {name}: {message}");
        }
        line
    }

    fn lines(&self) -> Option<Percent> {
        Percent::of(self.coverage.as_ref()?.lines())
    }

    /// `#{namespace.key}` for later actions.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let t = &self.tests.totals;
        let verdict = if self.passed { "pass" } else { "fail" };
        let mut outputs = BTreeMap::from([
            ("verdict".to_owned(), verdict.to_owned()),
            ("tests".to_owned(), t.tests.to_string()),
            ("failed".to_owned(), t.failing().to_string()),
            ("flaky".to_owned(), t.flaky.to_string()),
            ("skipped".to_owned(), t.skipped.to_string()),
        ]);
        if let Some(Percent(lines)) = self.lines() {
            outputs.insert("coverage".to_owned(), format!("{lines:.1}"));
        }
        outputs
    }
}

#[cfg(test)]
mod tests;
