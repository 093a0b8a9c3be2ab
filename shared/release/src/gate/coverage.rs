//! The rules about coverage.

use reports::CoverageReport;

use super::{Context, Evidence, Limit, Percent, RuleVerdict, Rules, Run};

/// Below so many changed lines that can run, their coverage says nothing and is not judged.
pub const CHANGED_LINES_MIN: u64 = 20;

/// Every rule about coverage.
pub(super) fn judge(rules: &Rules, evidence: &Evidence, context: &Context<'_>) -> Vec<RuleVerdict> {
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
        of_drop(rules.max_coverage_drop, lines, context.last()),
    ];
    said.extend(of_paths(rules, seen));
    said.push(of_changes(rules.min_changed_coverage, evidence));
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
        Some(seen) => format!("{seen} of the {what} covered, at least {least} needed"),
        None => format!("no report covers any {what}, at least {least} needed"),
    };
    RuleVerdict::when(rule, level, is_kept, why)
}

fn of_drop(
    limit: Option<Limit<Percent>>,
    seen: Option<Percent>,
    last: Option<&Run>,
) -> Option<RuleVerdict> {
    let rule = "max-coverage-drop";
    let (limit, level) = limit?.active()?;
    let before = last.and_then(|last| last.point.lines);
    let (is_kept, why) = match (seen, before) {
        (_, None) => (true, "no earlier run that passed has coverage".to_owned()),
        (None, Some(before)) => (
            false,
            format!("no report covers any lines, {before} were covered before"),
        ),
        (Some(seen), Some(before)) => {
            let drop = seen.below(before);
            let why = format!(
                "{seen} of the lines covered, {before} before: {:.1} points lost, {:.1} allowed",
                drop.value(),
                limit.value()
            );
            (drop <= limit, why)
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
                format!("{share} of the lines of {glob} covered, at least {least} needed")
            }
            None => format!("no report covers any lines of {glob}, at least {least} needed"),
        };
        RuleVerdict::when("min-path-coverage", wanted.level, is_kept, why)
    });
    judged.collect()
}

fn of_changes(least: Option<Limit<Percent>>, evidence: &Evidence) -> Option<RuleVerdict> {
    let (least, level) = least?.active()?;
    let (is_kept, why) = match (&evidence.diff, &evidence.coverage) {
        (None, _) => (
            false,
            "there is no diff to tell which lines changed: let the build write one (git diff \
             BASE > change.diff) and name it as `diff`"
                .to_owned(),
        ),
        (Some(_), None) => (false, "no report covers any lines".to_owned()),
        (Some(diff), Some(seen)) => {
            let changed = seen.of_changed(diff).lines;
            match Percent::of(changed) {
                Some(share) if changed.valid >= CHANGED_LINES_MIN => (
                    share >= least,
                    format!("{share} of the changed lines covered, at least {least} needed"),
                ),
                Some(_) | None => (
                    true,
                    format!(
                        "{} changed lines can run: too few to judge, {CHANGED_LINES_MIN} needed",
                        changed.valid
                    ),
                ),
            }
        }
    };
    RuleVerdict::when("min-changed-coverage", level, is_kept, why)
}
