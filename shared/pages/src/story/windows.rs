//! The numbers of each window.

use release::account::{Account, JudgedMetric, JudgedWindow};
use stats::Counts;
use stats::numerals::{grouped, odds, percent};

use super::{METRIC_CHARS_MAX, clock, sentence};
use crate::html::escaped;
use crate::listing::{Listing, Room};
use crate::words;

/// Most rows in the table of windows: one for each metric of a window. Of more windows some are
/// shown, and each that changed the verdict.
pub const WINDOWS_ROWS_MAX: usize = 3_000;

const WINDOWS_ROOM: Room = Room {
    rows: WINDOWS_ROWS_MAX,
    bytes: 1_200 * 1024,
};

/// The table.
pub(super) struct Rows {
    pub(super) rows: Listing<Row>,
    /// How many windows were judged.
    pub(super) judged: String,
    /// What is not in the table, in words; empty when all of it is.
    pub(super) note: String,
}

/// One metric of one window.
pub(super) struct Row {
    /// What belongs to the window as a whole; empty below the first of its metrics.
    pub(super) start: String,
    pub(super) weight: String,
    pub(super) verdict: String,
    pub(super) metric: String,
    pub(super) canary: String,
    pub(super) baseline: String,
    pub(super) evidence: String,
    /// The judge's sentence, where the verdict changed.
    pub(super) said: String,
}

impl Rows {
    pub(super) fn of(account: &Account) -> Self {
        let windows = &account.windows;
        let rows: usize = windows.iter().map(|w| w.metrics.len().max(1)).sum();
        let stride = rows.div_ceil(WINDOWS_ROWS_MAX / 2).max(1);
        let stride = if rows <= WINDOWS_ROWS_MAX { 1 } else { stride };
        let mut before = None;
        let (mut shown, mut told) = (Vec::new(), 0);
        for (index, window) in windows.iter().enumerate() {
            let has_changed = before.replace(window.verdict) != Some(window.verdict);
            let is_last = index + 1 == windows.len();
            if has_changed || is_last || index.is_multiple_of(stride) {
                told += 1;
                shown.extend(Row::all(window, has_changed));
            }
        }
        let size = |row: &Row| 180 + escaped(&row.metric) + escaped(&row.said);
        Self {
            rows: Listing::of(shown, 0, WINDOWS_ROOM, size),
            judged: grouped(account.windows_judged),
            note: match account.windows_judged.saturating_sub(told) {
                0 => String::new(),
                more => format!(
                    "{} are not listed; every change of the verdict is.",
                    grouped(more)
                ),
            },
        }
    }
}

impl Row {
    fn all(window: &JudgedWindow, has_changed: bool) -> Vec<Self> {
        let mut rows: Vec<_> = window
            .metrics
            .iter()
            .map(|(name, metric)| Self::of(name, metric))
            .collect();
        if let Some(first) = rows.first_mut() {
            first.start = clock(window.start);
            first.weight = window.weight.to_string();
            first.verdict = window.verdict.to_string();
            if has_changed {
                first.said = sentence(&window.evidence);
            }
        }
        rows
    }

    fn of(name: &str, metric: &JudgedMetric) -> Self {
        Self {
            start: String::new(),
            weight: String::new(),
            verdict: String::new(),
            metric: words::cut(name, METRIC_CHARS_MAX),
            canary: written(metric.canary),
            baseline: written(metric.baseline),
            evidence: metric.log_e.map_or_else(|| "not judged".to_owned(), odds),
            said: String::new(),
        }
    }
}

fn written(counts: Counts) -> String {
    let Counts { count, bad } = counts;
    match counts.rate() {
        Some(rate) => format!("{} of {}, {}", grouped(bad), grouped(count), percent(rate)),
        None => "no requests".to_owned(),
    }
}
