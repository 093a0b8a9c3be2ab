//! The rules about findings.

use std::collections::BTreeMap;

use reports::{Finding, FindingsReport, Severity};
use serde::Serialize;
use wildmatch::WildMatch;

use super::{Allowed, Budget, Context, Gate, RuleVerdict, Rules};

/// How many findings a reason names.
const NAMED_MAX: usize = 3;

/// A finding, and whether it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgedFinding {
    /// The finding.
    pub finding: Finding,
    /// Whether it counts.
    pub standing: Standing,
}

/// Whether a finding counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It counts.
    Counts,
    /// The scanner's own configuration accepts it.
    Suppressed,
    /// The gate's allow-list accepts it.
    Allowed {
        /// Why.
        reason: String,
    },
    /// It is not new, and only new ones count.
    Known,
    /// No version mends it, and only those count that one does.
    NotFixable,
}

/// Matches the findings that an entry of the allow-list is about.
pub(super) struct AllowedPattern {
    id: WildMatch,
    at: Option<WildMatch>,
}

impl Allowed {
    pub(super) fn pattern(&self) -> AllowedPattern {
        AllowedPattern {
            id: WildMatch::new(&self.id),
            at: self.at.as_deref().map(WildMatch::new),
        }
    }
}

impl AllowedPattern {
    pub(super) fn matches(&self, finding: &Finding) -> bool {
        let mut names = finding.aliases.iter().chain([&finding.id]);
        let at = self.at.as_ref();
        let is_there =
            at.is_none_or(|at| at.matches(&finding.path) || at.matches(&finding.package));
        is_there && names.any(|name| self.id.matches(name))
    }
}

/// Weighs every finding that is listed, the worst first.
pub(super) fn weigh(
    gate: &Gate,
    findings: Option<&FindingsReport>,
    context: &Context<'_>,
) -> Vec<JudgedFinding> {
    let budget = gate.rules.max_findings.clone().unwrap_or_default();
    let entries = gate
        .allow
        .iter()
        .filter(|entry| !context.is_after(entry.expires))
        .map(|entry| (entry.pattern(), &entry.reason));
    let entries: Vec<_> = entries.collect();
    let mut known = match context.last() {
        Some(last) => last.findings.clone(),
        None => BTreeMap::new(),
    };
    // Of one key as many are known as there were, and none that has become worse.
    let mut is_known = |finding: &Finding| {
        let before = known.get_mut(&(finding.key()));
        let before = before.filter(|(severity, left)| *severity >= finding.severity && *left > 0);
        let listed = before.map(|(_, left)| *left -= 1).is_some();
        finding.known || listed
    };
    let listed = findings.map_or(&[][..], |findings| &findings.listed);
    let judged = listed.iter().map(|finding| {
        let entry = entries.iter().find(|(pattern, _)| pattern.matches(finding));
        let standing = match entry {
            _ if finding.suppressed => Standing::Suppressed,
            Some((_, reason)) => Standing::Allowed {
                reason: (*reason).clone(),
            },
            None if budget.only_new && is_known(finding) => Standing::Known,
            // What is in the code itself is always mended there.
            None if budget.fixable_only
                && !finding.package.is_empty()
                && finding.fixed_in.is_empty() =>
            {
                Standing::NotFixable
            }
            None => Standing::Counts,
        };
        let finding = finding.clone();
        JudgedFinding { finding, standing }
    });
    let mut judged: Vec<_> = judged.collect();
    judged.sort_by_key(|judged| std::cmp::Reverse(judged.finding.severity));
    judged
}

/// How many findings count, by how bad they are. Those that are not listed cannot be excused.
pub(super) fn counted(
    findings: &FindingsReport,
    judged: &[JudgedFinding],
) -> BTreeMap<Severity, u64> {
    let mut counts = findings.unlisted.clone();
    for judged in judged.iter().filter(|j| j.standing == Standing::Counts) {
        let count = counts.entry(judged.finding.severity).or_default();
        *count = count.saturating_add(1);
    }
    counts
}

pub(super) fn judge(
    rules: &Rules,
    findings: Option<&FindingsReport>,
    judged: &[JudgedFinding],
) -> Option<RuleVerdict> {
    let (budget, findings) = match (&rules.max_findings, findings) {
        (Some(budget), Some(findings)) => (budget.clone(), findings),
        (None, Some(findings)) => (Budget::unwritten(), findings),
        (Some(budget), None) => {
            let why = "no report of findings was found to judge".to_owned();
            return RuleVerdict::when("max-findings", budget.level, false, why);
        }
        (None, None) => return None,
    };
    let mut counts: BTreeMap<Severity, u64> = BTreeMap::new();
    for (severity, count) in counted(findings, judged) {
        let sum = counts.entry(budget.counted_as(severity)).or_default();
        *sum = sum.saturating_add(count);
    }
    let mut said = Vec::new();
    let mut is_kept = true;
    for severity in Severity::ALL.into_iter().rev() {
        let Some(allowed) = budget.allowed(severity) else {
            continue;
        };
        let count = counts.get(&severity).copied().unwrap_or(0);
        let is_over = count > allowed;
        let named = match is_over {
            true => named(&budget, severity, judged),
            false => String::new(),
        };
        said.push(format!(
            "{count} {}{named}, {allowed} allowed",
            severity.name()
        ));
        is_kept &= !is_over;
    }
    let excused = judged
        .iter()
        .filter(|j| j.standing != Standing::Counts)
        .count();
    if excused > 0 {
        said.push(format!("{excused} not counted"));
    }
    RuleVerdict::when("max-findings", budget.level, is_kept, said.join("; "))
}

/// The first findings that count as of this severity.
fn named(budget: &Budget, severity: Severity, judged: &[JudgedFinding]) -> String {
    let those = judged.iter().filter(|judged| {
        judged.standing == Standing::Counts
            && budget.counted_as(judged.finding.severity) == severity
    });
    let those = those
        .take(NAMED_MAX)
        .map(|JudgedFinding { finding, .. }| match finding.place() {
            Some(place) => format!("{} in {place}", finding.id),
            None => finding.id.clone(),
        });
    let those: Vec<_> = those.collect();
    match those.is_empty() {
        true => String::new(),
        false => format!(" ({})", those.join(", ")),
    }
}
