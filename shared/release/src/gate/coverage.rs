//! The rules about coverage.

use std::collections::BTreeSet;

use reports::{ChangedCoverage, CoverageReport, Diff};

use super::{Context, Evidence, Limit, Percent, RuleVerdict, Rules};

/// Below so many changed lines that can run, their coverage says nothing and is not judged.
pub const CHANGED_LINES_MIN: u64 = 20;

/// What a difference of two shares may be off by, in percentage points.
const ROUNDING: f64 = 1e-9;

/// How many files a reason names.
const FILES_NAMED_MAX: usize = 3;

/// Every rule about coverage.
pub(super) fn judge(
    rules: &Rules,
    evidence: &Evidence,
    changed: Option<&ChangedCoverage>,
    context: &Context<'_>,
) -> Vec<RuleVerdict> {
    let seen = evidence.coverage.as_ref();
    let lines = seen.and_then(|seen| Percent::of(seen.lines()));
    let branches = seen.and_then(|seen| Percent::of(seen.branches()));
    let mut said = vec![
        of_share("min-line-coverage", "lines", rules.min_line_coverage, lines),
        of_share(
            "min-branch-coverage",
            "branches",
            rules.min_branch_coverage,
            branches,
        ),
        of_drop(rules.max_coverage_drop, lines, context),
    ];
    said.extend(of_paths(rules, seen));
    said.push(of_changes(rules.min_changed_coverage, evidence, changed));
    said.into_iter().flatten().collect()
}

fn of_share(
    rule: &'static str,
    what: &str,
    least: Option<Limit<Percent>>,
    seen: Option<Percent>,
) -> Option<RuleVerdict> {
    let (least, level) = least?.active()?;
    let is_kept = seen.is_some_and(|seen| seen >= least);
    let why = match seen {
        Some(seen) => {
            let [seen, least] = seen.apart(least);
            format!("{seen} % of the {what} covered, at least {least} % needed")
        }
        None => format!("no report covers any {what}, at least {least} needed"),
    };
    RuleVerdict::when(rule, level, is_kept, why)
}

fn of_drop(
    limit: Option<Limit<Percent>>,
    seen: Option<Percent>,
    context: &Context<'_>,
) -> Option<RuleVerdict> {
    let rule = "max-coverage-drop";
    let (limit, level) = limit?.active()?;
    let before = context.last().map(|last| last.point.lines);
    let (is_kept, why) = match (seen, before) {
        (None, _) => (false, "no report covers any lines".to_owned()),
        (Some(_), None) => (true, context.without_last().to_owned()),
        (Some(_), Some(None)) => (true, "the last run that passed has no coverage".to_owned()),
        (Some(seen), Some(Some(before))) => {
            let drop = seen.below(before);
            let is_within = drop.value() <= limit.value() + ROUNDING;
            let [lost, allowed] = drop.apart(limit);
            let [seen, before] = seen.apart(before);
            let why = format!(
                "{seen} % of the lines covered, {before} % before: {lost} points lost, {allowed} \
                 allowed"
            );
            (is_within, why)
        }
    };
    RuleVerdict::when(rule, level, is_kept, why)
}

fn of_paths(rules: &Rules, seen: Option<&CoverageReport>) -> Vec<Option<RuleVerdict>> {
    let Some(wanted) = &rules.min_path_coverage else {
        return Vec::new();
    };
    let judged = wanted.paths.iter().map(|(glob, least)| {
        let ratio = match seen.map(|seen| seen.of_paths(glob)) {
            Some(Ok(ratio)) => Percent::of(ratio),
            Some(Err(error)) => {
                let why = error.to_string();
                return RuleVerdict::when("min-path-coverage", wanted.level, false, why);
            }
            None => None,
        };
        let is_kept = ratio.is_some_and(|share| share >= *least);
        let why = match ratio {
            Some(share) => {
                let [share, least] = share.apart(*least);
                format!("{share} % of the lines of {glob} covered, at least {least} % needed")
            }
            None => format!("no report covers any lines of {glob}, at least {least} needed"),
        };
        RuleVerdict::when("min-path-coverage", wanted.level, is_kept, why)
    });
    judged.collect()
}

fn of_changes(
    least: Option<Limit<Percent>>,
    evidence: &Evidence,
    changed: Option<&ChangedCoverage>,
) -> Option<RuleVerdict> {
    let (least, level) = least?.active()?;
    let said = match (&evidence.diff, &evidence.coverage, changed) {
        (None, ..) => Err(
            "there is no diff to tell which lines changed: let the build write one (git diff \
             BASE > change.diff) and name it as `diff`"
                .to_owned(),
        ),
        (Some(diff), Some(seen), Some(changed)) => of_change(least, diff, seen, changed),
        (Some(_), ..) => Err("no report covers any lines".to_owned()),
    };
    RuleVerdict::of("min-changed-coverage", level, said)
}

/// The reason why the changed lines are covered well enough, or why not.
fn of_change(
    least: Percent,
    diff: &Diff,
    seen: &CoverageReport,
    changed: &ChangedCoverage,
) -> Result<String, String> {
    let lines = changed.lines;
    let (unknown, files) = unmeasured(diff, seen, changed);
    let named = match files.as_slice() {
        [] => String::new(),
        files => format!("; no report knows {}", files.join(", ")),
    };
    match Percent::of(lines) {
        // More of the change is in code that no report knows than in code that one does.
        _ if unknown > lines.valid => Err(format!(
            "{unknown} changed lines of code are in no report{named}: are these files measured, \
             and does the report have the repository's paths?"
        )),
        Some(share) if lines.valid >= CHANGED_LINES_MIN => {
            let [shown, needed] = share.apart(least);
            let why = format!(
                "{shown} % of the changed lines covered, at least {needed} % needed{named}"
            );
            if share >= least { Ok(why) } else { Err(why) }
        }
        Some(_) | None => Ok(format!(
            "{} changed lines can run: too few to judge, {CHANGED_LINES_MIN} needed{named}",
            lines.valid
        )),
    }
}

/// How many changed lines are in code that no report knows, and the first such files. Only files with
/// enough changed lines to matter count. What is code is told by the endings of the files that the
/// reports do know; a path with `test` or `spec` in it is a test, which nobody measures.
fn unmeasured(diff: &Diff, seen: &CoverageReport, changed: &ChangedCoverage) -> (u64, Vec<String>) {
    let ending = |path: &str| {
        let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
        Some(ending.to_owned())
    };
    let code: BTreeSet<_> = seen.files().filter_map(|(path, _)| ending(path)).collect();
    let is_code = |path: &str| {
        let lower = path.to_lowercase();
        let is_test = lower.contains("test") || lower.contains("spec");
        !is_test && ending(path).is_some_and(|ending| code.contains(&ending))
    };
    let files = diff.files().filter_map(|(path, lines)| {
        let touched = lines
            .iter()
            .map(|range| u64::from(range.end() - range.start()) + 1);
        let touched: u64 = touched.sum();
        let counts = changed.unmeasured.contains(path) && is_code(path);
        (counts && touched >= CHANGED_LINES_MIN).then_some((path, touched))
    });
    let (mut sum, mut names) = (0, Vec::new());
    for (path, touched) in files {
        sum += touched;
        if names.len() < FILES_NAMED_MAX {
            names.push(path.to_owned());
        }
    }
    (sum, names)
}
