//! The tests.

use std::cmp::Ordering;

use release::gate::{GateVerdict, JudgedCase, Weighed};
use reports::{Outcome, TestCase, Totals};

use super::{KIB, Room, TESTS_ROWS_MAX, escaped};
use crate::listing::Listing;
use crate::words;

/// Room for so much of one list.
const fn room(kib: usize) -> Room {
    Room {
        rows: TESTS_ROWS_MAX,
        bytes: kib * KIB,
    }
}

const FAILING_ROOM: Room = room(1_600);
const FLAKY_ROOM: Room = room(200);
const SKIPPED_ROOM: Room = room(400);
const PASSED_ROOM: Room = room(1_400);

/// The markup of a row, in bytes: of a failing test, of another.
const FAILING_ROW_BYTES: usize = 160;
const ROW_BYTES: usize = 70;

/// All tests, by how they ended.
pub(super) struct Cases {
    pub(super) failing: Listing<Failing>,
    /// How many of `failing` are new, known and quarantined, in words.
    pub(super) weighed: String,
    pub(super) flaky: Listing<Case>,
    pub(super) skipped: Listing<Case>,
    pub(super) passed: Listing<Case>,
    /// The shares of the outcomes; empty when there are no tests.
    pub(super) bar: Vec<Part>,
}

/// A test.
pub(super) struct Case {
    /// What holds it, with the `::` between; empty for nothing.
    pub(super) held: String,
    pub(super) name: String,
    pub(super) message: String,
    /// Empty when it is not known.
    pub(super) took: String,
}

/// A failing test.
pub(super) struct Failing {
    pub(super) case: Case,
    /// Whether it counts: the word, and the class of its colour.
    pub(super) tag: &'static str,
    /// Where it is being mended; empty when it is not in quarantine.
    pub(super) ticket: String,
    pub(super) is_error: bool,
}

/// A part of the bar of outcomes.
pub(super) struct Part {
    pub(super) class: &'static str,
    /// In thousandths of all tests.
    pub(super) x: String,
    pub(super) width: String,
}

impl Cases {
    pub(super) fn of(verdict: &GateVerdict) -> Self {
        let totals = &verdict.totals;
        let mut failing: Vec<_> = verdict.failing.iter().collect();
        failing.sort_by_key(|judged| (rank(&judged.weighed), !is_error(&judged.case)));
        let failing = failing.into_iter().map(Failing::of);
        let others = |outcome, flaky| {
            let those = verdict.others.iter();
            let those = those.filter(move |c| c.outcome == outcome && (c.flaky == flaky));
            let mut those: Vec<_> = those.collect();
            those.sort_by(|a, b| slower(a, b));
            those.into_iter().map(Case::of)
        };
        let skipped = verdict.others.iter();
        let skipped = skipped.filter(|case| case.outcome == Outcome::Skipped);
        let steady = totals.passed.saturating_sub(totals.flaky);
        Self {
            failing: Listing::of(failing, totals.failing(), FAILING_ROOM, Failing::bytes),
            weighed: weighed(&verdict.failing),
            flaky: Listing::of(
                others(Outcome::Passed, true),
                totals.flaky,
                FLAKY_ROOM,
                Case::bytes,
            ),
            skipped: Listing::of(
                skipped.map(Case::of),
                totals.skipped,
                SKIPPED_ROOM,
                Case::bytes,
            ),
            passed: Listing::of(
                others(Outcome::Passed, false),
                steady,
                PASSED_ROOM,
                Case::bytes,
            ),
            bar: bar(totals),
        }
    }
}

impl Case {
    fn of(case: &TestCase) -> Self {
        let (held, name) = words::id_parts(case);
        Self {
            held,
            name,
            message: case.message.clone(),
            took: case.seconds.map_or_else(String::new, words::duration),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.held, &self.name, &self.message, &self.took];
        ROW_BYTES + texts.into_iter().map(|text| escaped(text)).sum::<usize>()
    }
}

impl Failing {
    fn of(judged: &JudgedCase) -> Self {
        let (tag, ticket) = match &judged.weighed {
            Weighed::New => ("new", ""),
            Weighed::Known => ("known", ""),
            Weighed::Quarantined { ticket } => ("quarantined", ticket.as_str()),
        };
        Self {
            case: Case::of(&judged.case),
            tag,
            ticket: words::cut(ticket, 200),
            is_error: is_error(&judged.case),
        }
    }

    fn bytes(&self) -> usize {
        FAILING_ROW_BYTES + self.case.bytes() + escaped(&self.ticket)
    }
}

fn is_error(case: &TestCase) -> bool {
    case.outcome == Outcome::Errored
}

/// New failures come first.
fn rank(weighed: &Weighed) -> u8 {
    match weighed {
        Weighed::New => 0,
        Weighed::Known => 1,
        Weighed::Quarantined { .. } => 2,
    }
}

/// The slowest first, those of which nothing is known last.
fn slower(a: &TestCase, b: &TestCase) -> Ordering {
    let seconds = |case: &TestCase| case.seconds.unwrap_or(-1.0);
    seconds(b).total_cmp(&seconds(a))
}

fn weighed(failing: &[JudgedCase]) -> String {
    let named = ["new", "known", "in quarantine"];
    let counts = named.into_iter().zip(0_u8..).map(|(word, of)| {
        let those = failing.iter().filter(|judged| rank(&judged.weighed) == of);
        (those.count(), word)
    });
    let counts = counts.filter(|(count, _)| *count > 0);
    let counts = counts.map(|(count, word)| format!("{} {word}", words::count(count)));
    counts.collect::<Vec<_>>().join(", ")
}

/// A part is wide enough to be seen however few tests it stands for.
#[expect(clippy::cast_precision_loss, reason = "a width needs no 16 digits")]
fn bar(totals: &Totals) -> Vec<Part> {
    const VISIBLE: f64 = 6.0;
    let parts = [
        ("passed", totals.passed),
        ("failed", totals.failing()),
        ("skipped", totals.skipped),
    ];
    let parts = parts.into_iter().filter(|(_, count)| *count > 0);
    let widths = parts.map(|(class, count)| {
        let share = count as f64 / totals.tests.max(1) as f64;
        (class, (1_000.0 * share).max(VISIBLE))
    });
    let widths: Vec<_> = widths.collect();
    let sum: f64 = widths.iter().map(|(_, width)| width).sum();
    let mut x = 0.0;
    let placed = widths.into_iter().map(|(class, width)| {
        let width = 1_000.0 * width / sum;
        let part = Part {
            class,
            x: format!("{x:.1}"),
            width: format!("{width:.1}"),
        };
        x += width;
        part
    });
    placed.collect()
}
