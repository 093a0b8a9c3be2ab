//! The rules about tests.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reports::{Outcome, TestCase, TestReport};
use serde::Serialize;
use wildmatch::WildMatch;

use super::{Context, Gate, Level, Limit, Percent, Quarantined, RuleVerdict, Rules, Run};

/// How many suites or tests a reason names.
const NAMED_MAX: usize = 3;

/// A failing test, and whether it counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedCase {
    /// The test.
    pub case: TestCase,
    /// Whether it counts.
    pub weighed: Weighed,
}

/// Whether a failing test counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighed {
    /// It counts, and is new: the last run that passed did not have it among its failures.
    New,
    /// It counts, and failed in the last run that passed too.
    Known,
    /// It may fail for a while.
    Quarantined {
        /// Where it is being mended.
        ticket: String,
    },
}

impl Quarantined {
    /// Matches the ids of the tests that it is about.
    pub(super) fn pattern(&self) -> WildMatch {
        WildMatch::new(&self.test)
    }
}

/// Weighs every failing test that is listed.
pub(super) fn weigh(
    gate: &Gate,
    tests: Option<&TestReport>,
    context: &Context<'_>,
) -> Vec<JudgedCase> {
    let patterns: Vec<_> = gate
        .quarantine
        .iter()
        .filter(|entry| !context.is_after(entry.expires))
        .map(|entry| (entry.pattern(), &entry.ticket))
        .collect();
    let mut known: BTreeMap<&str, u64> = match context.last() {
        Some(last) => last
            .failing
            .iter()
            .map(|(id, n)| (id.as_str(), *n))
            .collect(),
        None => BTreeMap::new(),
    };
    let failing = tests.map_or(&[][..], |tests| &tests.failing);
    let judged = failing.iter().map(|case| {
        let id = case.id();
        let entry = patterns.iter().find(|(pattern, _)| pattern.matches(&id));
        let weighed = match (entry, known.get_mut(id.as_str())) {
            (Some((_, ticket)), _) => Weighed::Quarantined {
                ticket: (*ticket).clone(),
            },
            (None, Some(left)) if *left > 0 => {
                *left -= 1;
                Weighed::Known
            }
            (None, _) => Weighed::New,
        };
        let case = case.clone();
        JudgedCase { case, weighed }
    });
    judged.collect()
}

/// Every rule about tests.
pub(super) fn judge(
    rules: &Rules,
    tests: Option<&TestReport>,
    judged: &[JudgedCase],
    context: &Context<'_>,
) -> Vec<RuleVerdict> {
    let Some(report) = tests else {
        return without_tests(rules);
    };
    let failures = match rules.only_new_failures {
        Level::Off => Limit::fail(0),
        Level::Fail | Level::Warn => Limit::off(),
    };
    let said = [
        of_failures(rules.max_failures.unwrap_or(failures), report, judged),
        of_errors(rules.max_errors.unwrap_or(failures), report, judged),
        of_new_failures(rules.only_new_failures, report, judged, context),
        of_skipped(rules.max_skipped, report),
        of_number(rules.min_tests.unwrap_or(Limit::fail(1)), report),
        of_drop(rules.max_test_drop, report, context),
        of_flaky(rules.max_flaky, report),
        of_duration(rules, report),
    ];
    said.into_iter().flatten().collect()
}

/// Every rule that is written and has nothing to judge.
fn without_tests(rules: &Rules) -> Vec<RuleVerdict> {
    fn level<T: Copy>(limit: Option<Limit<T>>) -> Level {
        let active = limit.and_then(|limit| limit.active());
        active.map_or(Level::Off, |(_, level)| level)
    }
    let written = [
        ("max-failures", level(rules.max_failures)),
        ("max-errors", level(rules.max_errors)),
        ("only-new-failures", rules.only_new_failures),
        ("max-skipped", level(rules.max_skipped)),
        ("min-tests", level(rules.min_tests)),
        ("max-test-drop", level(rules.max_test_drop)),
        ("max-flaky", level(rules.max_flaky)),
        ("max-duration", level(rules.max_duration)),
    ];
    let why = "no report of tests was read";
    let said = written
        .into_iter()
        .map(|(rule, level)| RuleVerdict::when(rule, level, false, why.to_owned()));
    said.flatten().collect()
}

/// How many of these are quarantined.
fn quarantined(judged: &[JudgedCase], outcome: Outcome) -> u64 {
    let is_it = |judged: &&JudgedCase| {
        judged.case.outcome == outcome && matches!(judged.weighed, Weighed::Quarantined { .. })
    };
    judged.iter().filter(is_it).count() as u64
}

fn of_failures(
    limit: Limit<u64>,
    report: &TestReport,
    judged: &[JudgedCase],
) -> Option<RuleVerdict> {
    let outcome = Outcome::Failed;
    of_count(
        "max-failures",
        "failed",
        limit,
        report.totals.failed,
        quarantined(judged, outcome),
    )
}

fn of_errors(limit: Limit<u64>, report: &TestReport, judged: &[JudgedCase]) -> Option<RuleVerdict> {
    let outcome = Outcome::Errored;
    let (count, excused) = (report.totals.errors, quarantined(judged, outcome));
    of_count("max-errors", "ended in an error", limit, count, excused)
}

fn of_count(
    rule: &'static str,
    did: &str,
    limit: Limit<u64>,
    count: u64,
    excused: u64,
) -> Option<RuleVerdict> {
    let (limit, level) = limit.active()?;
    let counted = count.saturating_sub(excused);
    let but = match excused {
        0 => String::new(),
        _ => format!(" and {excused} in quarantine"),
    };
    let why = format!("{counted} {did}{but}, {limit} allowed");
    RuleVerdict::when(rule, level, counted <= limit, why)
}

fn of_new_failures(
    level: Level,
    report: &TestReport,
    judged: &[JudgedCase],
    context: &Context<'_>,
) -> Option<RuleVerdict> {
    let count = |is: fn(&Weighed) -> bool| judged.iter().filter(|j| is(&j.weighed)).count() as u64;
    let known = count(|weighed| *weighed == Weighed::Known);
    let excused = count(|weighed| matches!(weighed, Weighed::Quarantined { .. }));
    // Those that are not listed cannot be recognised.
    let new = report.totals.failing().saturating_sub(known + excused);
    let compared = match context.last() {
        Some(last) => format!("since {}", last.point.run),
        None => context.without_last().to_owned(),
    };
    let why = format!("{new} new and {known} known failures ({compared})");
    RuleVerdict::when("only-new-failures", level, new == 0, why)
}

fn of_skipped(limit: Option<Limit<Percent>>, report: &TestReport) -> Option<RuleVerdict> {
    let (limit, level) = limit?.active()?;
    let (skipped, tests) = (report.totals.skipped, report.totals.tests);
    let share = Percent::share(skipped, tests);
    let [shown, allowed] = share.apart(limit);
    let why = format!("{skipped} of {tests} skipped ({shown} %), {allowed} % allowed");
    RuleVerdict::when("max-skipped", level, share <= limit, why)
}

fn of_number(limit: Limit<u64>, report: &TestReport) -> Option<RuleVerdict> {
    let (limit, level) = limit.active()?;
    let ran = report.totals.ran();
    let why = format!("{ran} ran, at least {limit} needed");
    RuleVerdict::when("min-tests", level, ran >= limit, why)
}

fn of_drop(
    limit: Option<Limit<Percent>>,
    report: &TestReport,
    context: &Context<'_>,
) -> Option<RuleVerdict> {
    let (limit, level) = limit?.active()?;
    let Some(last) = context.last() else {
        let why = context.without_last().to_owned();
        return RuleVerdict::when("max-test-drop", level, true, why);
    };
    let (before, ran) = (last.point.totals.ran(), report.totals.ran());
    let drop = Percent::share(before.saturating_sub(ran), before);
    let mut why = format!("{ran} ran, {before} did before");
    if drop > limit {
        let [shown, allowed] = drop.apart(limit);
        let stopped = stopped(report, last);
        why += &format!(": {shown} % fewer, {allowed} % allowed{stopped}");
    }
    RuleVerdict::when("max-test-drop", level, drop <= limit, why)
}

/// Names the suites that lost the most tests.
fn stopped(report: &TestReport, last: &Run) -> String {
    let lost = last.suites.iter().filter_map(|(suite, before)| {
        let ran = report.suites.get(suite).copied().unwrap_or(0);
        let lost = before.checked_sub(ran).filter(|lost| *lost > 0)?;
        Some((lost, suite.as_str()))
    });
    let mut lost: Vec<_> = lost.collect();
    lost.sort_by(|a, b| b.cmp(a));
    let named = lost.iter().take(NAMED_MAX).map(|(lost, suite)| {
        let suite = if suite.is_empty() {
            "(no suite)"
        } else {
            suite
        };
        format!("{suite} lost {lost}")
    });
    let named: Vec<_> = named.collect();
    match named.is_empty() {
        true => String::new(),
        false => format!("; {}", named.join(", ")),
    }
}

fn of_flaky(limit: Option<Limit<u64>>, report: &TestReport) -> Option<RuleVerdict> {
    let (limit, level) = limit?.active()?;
    let flaky = report.totals.flaky;
    let cases = report.others.iter().filter(|case| case.flaky);
    let names: Vec<_> = cases.take(NAMED_MAX).map(TestCase::id).collect();
    let named = match names.is_empty() {
        true => String::new(),
        false => format!(" ({})", names.join(", ")),
    };
    let why = format!("{flaky} failed before they passed{named}, {limit} allowed");
    RuleVerdict::when("max-flaky", level, flaky <= limit, why)
}

fn of_duration(rules: &Rules, report: &TestReport) -> Option<RuleVerdict> {
    let (limit, level) = rules.max_duration?.active()?;
    let took = SignedDuration::try_from_secs_f64(report.duration_seconds);
    let took = took.unwrap_or(SignedDuration::MAX);
    let whole = SignedDuration::from_secs(took.as_secs());
    let why = format!("the tests took {whole:#}, {limit} allowed");
    RuleVerdict::when("max-duration", level, took <= limit.0, why)
}
