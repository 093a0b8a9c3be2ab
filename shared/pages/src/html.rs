//! What the template of the HTML page shows.

mod cases;
mod coverage;
mod findings;
mod runs;

use askama::Template;
use release::gate::{FileRead, GateVerdict, Percent, Point, RuleVerdict, Verdict};
use reports::{Ratio, Severity};

use crate::listing::{Listing, Room};
use crate::{GatePage, HEAD_CHARS_MAX, Look, State, words};

use cases::Cases;
use coverage::Coverage;
use findings::Findings;
use runs::Runs;

/// Largest page, in bytes: the room of all lists, and what stands around them.
pub const HTML_BYTES_MAX: usize = 5 * 1024 * KIB;

/// Most rules that are listed, the broken ones first.
pub const RULES_ROWS_MAX: usize = 500;

/// Most tests in each of the lists: failing, flaky, skipped, passed.
pub const TESTS_ROWS_MAX: usize = 10_000;

/// Most files in the table of coverage, those with the most uncovered lines first.
pub const COVERAGE_ROWS_MAX: usize = 500;

/// Most findings that are listed, those that count first.
pub const FINDINGS_ROWS_MAX: usize = 1_000;

/// Most reports that are listed.
pub const FILES_ROWS_MAX: usize = 1_000;

/// Longest reason that is shown, in characters.
const WHY_CHARS_MAX: usize = 2_000;

const KIB: usize = 1024;

const RULES_ROOM: Room = Room {
    rows: RULES_ROWS_MAX,
    bytes: 200 * KIB,
};

const FILES_ROOM: Room = Room {
    rows: FILES_ROWS_MAX,
    bytes: 150 * KIB,
};

/// The page.
#[derive(Template)]
#[template(path = "gate.html", whitespace = "minimize")]
struct Page {
    gate: String,
    pipeline: Option<String>,
    execution: Option<String>,
    commit: Option<String>,
    made: String,
    made_at: String,
    look: Look,
    lede: String,
    figures: Vec<Figure>,
    rules: Listing<Rule>,
    cases: Cases,
    coverage: Option<Coverage>,
    findings: Option<Findings>,
    runs: Runs,
    files: Listing<FileRead>,
}

/// A number at a glance.
pub(crate) struct Figure {
    pub(crate) label: String,
    pub(crate) value: String,
    /// How it has changed, or what it is made of; empty for nothing.
    pub(crate) note: String,
    /// The classes of its colour and its width; empty for the usual ones.
    pub(crate) tone: &'static str,
    /// The class of its colour in the bar of outcomes; empty when it is not in it.
    pub(crate) mark: &'static str,
}

/// What one rule says.
struct Rule {
    state: State,
    rule: &'static str,
    why: String,
}

pub(crate) fn page(page: &GatePage<'_>) -> String {
    let verdict = page.verdict;
    let head = |text: &str| words::cut(text, HEAD_CHARS_MAX);
    let files = verdict.files.iter().cloned();
    let view = Page {
        gate: head(page.gate),
        pipeline: page.pipeline.map(head),
        execution: page.execution.map(head),
        commit: page.commit.map(head),
        made: words::moment(page.made),
        made_at: page.made.to_string(),
        look: page.state().look(),
        lede: lede(verdict),
        figures: figures(page),
        rules: rules(verdict),
        cases: Cases::of(verdict),
        coverage: Coverage::of(page),
        findings: Findings::of(verdict),
        runs: Runs::of(page),
        files: Listing::of(files, 0, FILES_ROOM, |file| 60 + escaped(&file.path)),
    };
    // Writing to a string fails only when a Display does, and none here does.
    view.render().unwrap_or_default()
}

/// How many bytes a text has once it is escaped: askama writes each of these five as `&#NN;`.
pub(crate) fn escaped(text: &str) -> usize {
    let special = |byte: &u8| b"<>&\"'".contains(byte);
    text.len() + 4 * text.bytes().filter(|byte| special(byte)).count()
}

/// The verdict in a sentence.
fn lede(verdict: &GateVerdict) -> String {
    let count = |of| {
        verdict
            .rules
            .iter()
            .filter(|rule| rule.verdict == of)
            .count() as u64
    };
    let (broken, warnings) = (count(Verdict::Fail), count(Verdict::Warn));
    let rules = verdict.rules.len() as u64;
    let broken_are = match broken {
        1 => "1 rule is broken".to_owned(),
        _ => format!("{} rules are broken", words::count(broken)),
    };
    let warn = match warnings {
        1 => "1 warns".to_owned(),
        _ => format!("{} warn", words::count(warnings)),
    };
    match (broken, warnings) {
        (0, 0) if rules == 0 => "No rule was judged.".to_owned(),
        (0, 0) => format!("{} kept.", words::counted(rules, "rule", "rules")),
        (0, _) => format!("No rule is broken, {warn}."),
        (_, 0) => format!("{broken_are}."),
        (..) => format!("{broken_are}, {warn}."),
    }
}

/// The rules, the broken ones first.
fn rules(verdict: &GateVerdict) -> Listing<Rule> {
    let kept = |rule: &&RuleVerdict| rule.verdict == Verdict::Pass;
    let all = verdict.broken().chain(verdict.rules.iter().filter(kept));
    let all = all.map(|said| Rule {
        state: State::of(said.verdict),
        rule: said.rule,
        // A number stays on one line with its unit.
        why: words::cut(&said.why, WHY_CHARS_MAX).replace(" %", "\u{a0}%"),
    });
    Listing::of(all, 0, RULES_ROOM, |rule| 150 + escaped(&rule.why))
}

/// The numbers at a glance, with what has changed since the last run that passed.
fn figures(page: &GatePage<'_>) -> Vec<Figure> {
    let verdict = page.verdict;
    let before = page.history.last.as_ref().map(|last| &last.point);
    let mut figures = Vec::new();
    if verdict.totals.tests > 0 || (verdict.coverage.is_none() && verdict.findings.is_none()) {
        figures.extend(of_tests(verdict, before));
    }
    if let Some(coverage) = verdict.coverage {
        let lines = of_share(
            "Lines covered",
            coverage.lines,
            before.and_then(|p| p.lines),
        );
        figures.push(lines);
        if coverage.branches.valid > 0 {
            let before = before.and_then(|point| point.branches);
            figures.push(of_share("Branches covered", coverage.branches, before));
        }
        let changed = coverage.changed;
        figures.extend(changed.map(|changed| of_share("Changed lines", changed, None)));
    }
    figures.extend(of_findings(verdict));
    figures
}

fn of_tests(verdict: &GateVerdict, before: Option<&Point>) -> [Figure; 7] {
    let totals = &verdict.totals;
    let since = |now: u64, before: Option<u64>| {
        before.map_or_else(String::new, |before| words::change(now, before))
    };
    let figure = |label: &str, mark, now: u64, before: Option<u64>, tone| Figure {
        label: label.to_owned(),
        mark,
        value: words::count(now),
        note: since(now, before),
        tone: if now == 0 { "quiet" } else { tone },
    };
    let then = before.map(|point| point.totals);
    [
        figure("Tests", "", totals.tests, then.map(|t| t.tests), ""),
        figure(
            "Passed",
            "passed",
            totals.passed,
            then.map(|t| t.passed),
            "",
        ),
        figure(
            "Failed",
            "failed",
            totals.failed,
            then.map(|t| t.failed),
            "fail",
        ),
        figure(
            "Errors",
            "failed",
            totals.errors,
            then.map(|t| t.errors),
            "fail",
        ),
        figure("Flaky", "", totals.flaky, then.map(|t| t.flaky), "warn"),
        figure(
            "Skipped",
            "skipped",
            totals.skipped,
            then.map(|t| t.skipped),
            "",
        ),
        Figure {
            label: "Took".to_owned(),
            value: words::duration(verdict.duration_seconds),
            note: before.map_or_else(String::new, |point| {
                format!("was {}", words::duration(point.duration_seconds))
            }),
            tone: "",
            mark: "",
        },
    ]
}

fn of_share(label: &str, ratio: Ratio, before: Option<Percent>) -> Figure {
    let share = Percent::of(ratio);
    let change = share.zip(before).map(|(now, before)| {
        format!(
            "{} points",
            words::change_of_tenths(now.value(), before.value())
        )
    });
    let of = || {
        format!(
            "{} of {}",
            words::count(ratio.covered),
            words::count(ratio.valid)
        )
    };
    Figure {
        label: label.to_owned(),
        value: words::share(ratio),
        note: change.unwrap_or_else(of),
        tone: "",
        mark: "",
    }
}

/// How many findings count, and how bad they are.
fn of_findings(verdict: &GateVerdict) -> Option<Figure> {
    let counts = verdict.findings.as_ref()?;
    let parts = counts.iter().rev().filter(|(_, count)| **count > 0);
    let parts =
        parts.map(|(severity, count)| format!("{} {}", words::count(*count), severity.name()));
    let total = counts
        .values()
        .fold(0_u64, |sum, count| sum.saturating_add(*count));
    let is_bad = |severity| counts.get(&severity).is_some_and(|count| *count > 0);
    let tone = match (total, is_bad(Severity::Critical) || is_bad(Severity::High)) {
        (0, _) => "wide quiet",
        (_, true) => "wide fail",
        (_, false) => "wide",
    };
    let note = match total {
        0 => "none counts".to_owned(),
        _ => parts.collect::<Vec<_>>().join(", "),
    };
    Some(Figure {
        label: "Findings".to_owned(),
        value: words::count(total),
        note,
        tone,
        mark: "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use askama::filters::{Escaper, Html};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_size_of_an_escaped_text_is_known_before_it_is_written(text in any::<String>()) {
            let mut written = String::new();
            Html.write_escaped_str(&mut written, &text).unwrap();
            prop_assert_eq!(escaped(&text), written.len());
        }
    }
}
