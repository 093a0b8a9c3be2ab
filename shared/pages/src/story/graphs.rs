//! The graphs of a release, on one time axis: weight, requests, bad requests, evidence.
//!
//! Paths are drawn in a box of 1 000 by 100 that the page stretches; everything else is placed in
//! percent, so that words and strokes keep their size.

use std::fmt::Write;

use jiff::Timestamp;
use release::account::{Account, JudgedMetric, JudgedWindow, What};
use release::{Outcome, Phase, Weight};
use stats::Counts;
use stats::numerals::{grouped, odds, percent};

use super::axis::Axis;
use super::{METRIC_CHARS_MAX, clock};
use crate::words;

/// The most points of a line: of more windows, neighbours are drawn as one.
const BINS_MAX: usize = 360;
/// The most metrics with a graph of their own.
pub(super) const METRIC_GRAPHS_MAX: usize = 6;
/// The most marks of decisions in a graph, the last ones.
const MARKS_MAX: usize = 120;
/// The most changes of weight that are drawn, the last ones.
const WEIGHTS_MAX: usize = 400;
/// Evidence is drawn down to this ln E, and up to so many times the threshold.
const LOG_E_LOW: f64 = -5.0;
const THRESHOLDS_HIGH: f64 = 3.0;

/// One graph.
pub(super) struct Graph {
    /// Names it within the page.
    pub(super) key: String,
    pub(super) name: String,
    /// What it says at the end.
    pub(super) latest: String,
    /// What its edges stand for.
    pub(super) top: String,
    pub(super) bottom: String,
    /// For those who cannot see it.
    pub(super) story: String,
    /// Class and word of each colour.
    pub(super) legend: &'static [(&'static str, &'static str)],
    pub(super) shapes: Vec<Shape>,
    /// Lines from left to right.
    pub(super) levels: Vec<Level>,
    /// Words within it.
    pub(super) notes: Vec<Note>,
    /// What is said of each window when pointed at.
    pub(super) spots: Vec<Spot>,
}

/// A path, and the class of its colour.
pub(super) struct Shape {
    pub(super) class: &'static str,
    pub(super) path: String,
}

/// A value that means something, in percent from the top.
pub(super) struct Level {
    pub(super) class: &'static str,
    pub(super) y: String,
    pub(super) label: String,
}

/// Words at a place, in percent.
pub(super) struct Note {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) text: String,
    /// Whether they end there rather than begin.
    pub(super) is_last: bool,
}

/// A stretch of time, in percent, and what is said of it.
pub(super) struct Spot {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) title: String,
}

/// A decision: a line through all graphs.
pub(super) struct Mark {
    pub(super) x: String,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// Neighbouring windows, drawn as one.
struct Bin<'a> {
    from: Timestamp,
    until: Timestamp,
    windows: &'a [JudgedWindow],
}

/// All of them.
pub(super) fn all(account: &Account, axis: &Axis) -> Vec<Graph> {
    let bins = bins(account);
    let mut graphs = vec![weight(account, axis)];
    graphs.extend(requests(&bins, axis));
    graphs.extend(
        shown_metrics(account)
            .enumerate()
            .filter_map(|(place, metric)| rates(place, metric, &bins, axis)),
    );
    graphs.extend(evidence(account, &bins, axis));
    graphs
}

/// Metrics that are judged come first.
pub(super) fn shown_metrics(account: &Account) -> impl Iterator<Item = &str> {
    let judged = |name: &&String| account.end.judge.metric(name).is_some();
    let all = account.metrics.iter();
    let others = all.clone().filter(move |name| !judged(name));
    let judged = all.filter(judged).chain(others);
    judged.take(METRIC_GRAPHS_MAX).map(String::as_str)
}

fn bins(account: &Account) -> Vec<Bin<'_>> {
    let size = account.windows.len().div_ceil(BINS_MAX).max(1);
    let length = account.plan().window;
    let chunks = account.windows.chunks(size);
    let bins = chunks.filter_map(|windows| {
        let (first, last) = (windows.first()?, windows.last()?);
        Some(Bin {
            from: first.start,
            until: last.start.saturating_add(length).unwrap_or(last.start),
            windows,
        })
    });
    bins.collect()
}

impl Bin<'_> {
    /// Where it begins and ends in the box of paths.
    fn place(&self, axis: &Axis) -> (f64, f64) {
        (10.0 * axis.x(self.from), 10.0 * axis.x(self.until))
    }

    fn spot(&self, axis: &Axis, what: &str) -> Spot {
        let (x, end) = (axis.x(self.from), axis.x(self.until));
        let times = match self.windows {
            [_] => clock(self.from),
            _ => format!("{} to {}", clock(self.from), clock(self.until)),
        };
        Spot {
            x: format!("{x:.2}"),
            width: format!("{:.2}", end - x),
            title: format!("{times}: {what}"),
        }
    }

    /// The counts of both arms by one metric, added up.
    fn counts(&self, metric: &str) -> Option<(Counts, Counts)> {
        let seen = self.windows.iter().filter_map(|w| w.metrics.get(metric));
        let add = |a: Counts, b: Counts| Counts {
            count: a.count.saturating_add(b.count),
            bad: a.bad.saturating_add(b.bad),
        };
        seen.map(|m: &JudgedMetric| (m.canary, m.baseline))
            .reduce(|a, b| (add(a.0, b.0), add(a.1, b.1)))
    }
}

/// A path through one value for each bin, broken where one is missing or windows are.
fn line(bins: &[Bin<'_>], axis: &Axis, y: impl Fn(&Bin<'_>) -> Option<f64>) -> String {
    let mut path = String::new();
    let mut before: Option<Timestamp> = None;
    for bin in bins {
        let Some(y) = y(bin) else {
            before = None;
            continue;
        };
        let (from, until) = bin.place(axis);
        let x = f64::midpoint(from, until);
        // Writing to a string does not fail.
        let _ = match before == Some(bin.from) {
            true => write!(path, "L{x:.1} {y:.1}"),
            // A line of no length is drawn as a dot: so is a value of its own.
            false => write!(path, "M{x:.1} {y:.1}h0"),
        };
        before = Some(bin.until);
    }
    path
}

/// The least round number that is not below `value`; 1 for nothing.
fn round_up(value: f64) -> f64 {
    if !(value > 0.0 && value.is_finite()) {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let fits = [1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]
        .into_iter()
        .find(|n| n * power >= value);
    fits.unwrap_or(10.0) * power
}

fn weight(account: &Account, axis: &Axis) -> Graph {
    let mut path = "M0 100".to_owned();
    let mut notes: Vec<Note> = Vec::new();
    let changes = account
        .moments
        .iter()
        .filter_map(|moment| match moment.what {
            What::Weight {
                weight,
                performed: Some(at),
                ..
            } => Some((at, weight)),
            What::Weight { .. }
            | What::Began { .. }
            | What::Act { .. }
            | What::CleanupFailed { .. }
            | What::CandidateReady
            | What::Checked { .. }
            | What::Frozen { .. }
            | What::Alarms { .. }
            | What::StepDone { .. }
            | What::Ordered { .. }
            | What::RollbackDecided
            | What::RollbackStuck { .. }
            | What::Ended { .. } => None,
        });
    let changes: Vec<_> = changes.collect();
    let mut highest = Weight::ZERO;
    let mut labelled = f64::NEG_INFINITY;
    for (at, weight) in &changes[changes.len().saturating_sub(WEIGHTS_MAX)..] {
        let (x, y) = (
            axis.x(*at),
            100.0 - f64::from(weight.basis_points()) / 100.0,
        );
        highest = highest.max(*weight);
        let _ = write!(path, "H{:.1}V{y:.1}", 10.0 * x);
        // A label needs room: where steps are close, the first of them has it.
        if x - labelled >= 7.0 || *weight == Weight::ZERO {
            labelled = x;
            notes.push(Note {
                x: format!("{x:.2}"),
                y: format!("{:.1}", y.clamp(18.0, 92.0)),
                text: weight.to_string(),
                is_last: x > 90.0,
            });
        }
    }
    let _ = write!(path, "H1000");
    let now = account.end.weight;
    Graph {
        key: "weight".to_owned(),
        name: "Weight of the candidate".to_owned(),
        latest: now.to_string(),
        top: "100%".to_owned(),
        bottom: "0%".to_owned(),
        story: format!("The candidate's weight in steps: {highest} at most, {now} at the end."),
        legend: &[],
        shapes: vec![
            Shape {
                class: "area candidate",
                path: format!("{path}V100z"),
            },
            Shape {
                class: "curve candidate",
                path,
            },
        ],
        levels: Vec::new(),
        notes,
        spots: Vec::new(),
    }
}

/// Requests of both versions, one on top of the other: so the split is seen.
#[expect(clippy::cast_precision_loss, reason = "a graph needs no 16 digits")]
fn requests(bins: &[Bin<'_>], axis: &Axis) -> Option<Graph> {
    let mean = |bin: &Bin<'_>, count: fn(&JudgedWindow) -> u64| {
        let sum: f64 = bin.windows.iter().map(|w| count(w) as f64).sum();
        sum / bin.windows.len() as f64
    };
    let split = |bin: &Bin<'_>| {
        let candidate = mean(bin, |w| w.requests.candidate);
        (candidate, mean(bin, |w| w.requests.stable))
    };
    let highest = bins.iter().map(|bin| {
        let (candidate, stable) = split(bin);
        candidate + stable
    });
    let top = round_up(highest.fold(0.0, f64::max));
    let y = |value: f64| 100.0 - 100.0 * (value / top).clamp(0.0, 1.0);
    let (mut below, mut above) = (String::new(), String::new());
    let mut spots = Vec::new();
    for bin in bins {
        let (candidate, stable) = split(bin);
        let (from, until) = bin.place(axis);
        let (low, high) = (y(candidate), y(candidate + stable));
        let _ = write!(below, "M{from:.1} 100V{low:.1}H{until:.1}V100z");
        let _ = write!(above, "M{from:.1} {low:.1}V{high:.1}H{until:.1}V{low:.1}z");
        let what = format!(
            "{} requests to the candidate, {} to the stable version",
            whole(candidate),
            whole(stable)
        );
        spots.push(bin.spot(axis, &what));
    }
    let (candidate, stable) = split(bins.last()?);
    Some(Graph {
        key: "requests".to_owned(),
        name: "Requests in a window".to_owned(),
        latest: whole(candidate + stable),
        top: whole(top),
        bottom: "0".to_owned(),
        story: format!(
            "Requests of each window, the stable version's on top of the candidate's: in the last \
             one {} and {}.",
            whole(stable),
            whole(candidate)
        ),
        legend: &[("candidate", "candidate"), ("stable", "stable version")],
        shapes: vec![
            Shape {
                class: "block stable",
                path: above,
            },
            Shape {
                class: "block candidate",
                path: below,
            },
        ],
        levels: Vec::new(),
        notes: Vec::new(),
        spots,
    })
}

/// A mean of counts, to the nearest whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cast to the nearest number there is, and no count is negative"
)]
fn whole(value: f64) -> String {
    grouped(value.round() as u64)
}

/// Bad requests a request of both versions, by one metric.
fn rates(place: usize, metric: &str, bins: &[Bin<'_>], axis: &Axis) -> Option<Graph> {
    let seen: Vec<_> = bins.iter().filter_map(|bin| bin.counts(metric)).collect();
    let last = seen.last()?;
    let both = seen
        .iter()
        .flat_map(|(canary, baseline)| [canary, baseline]);
    let highest = both.filter_map(|counts| counts.rate()).fold(0.0, f64::max);
    let top = round_up(highest).min(1.0);
    let y = |rate: f64| 100.0 - 100.0 * (rate / top).clamp(0.0, 1.0);
    let of = |arm: fn((Counts, Counts)) -> Counts| {
        line(bins, axis, move |bin| {
            bin.counts(metric).and_then(|c| arm(c).rate()).map(y)
        })
    };
    let spots = bins.iter().filter_map(|bin| {
        let (canary, baseline) = bin.counts(metric)?;
        let what = format!(
            "candidate {}, stable version {}",
            share(canary),
            share(baseline)
        );
        Some(bin.spot(axis, &what))
    });
    Some(Graph {
        key: format!("bad-{place}"),
        name: format!("{}: bad requests", words::cut(metric, METRIC_CHARS_MAX)),
        latest: match (last.0.rate(), last.1.rate()) {
            (Some(canary), Some(baseline)) => {
                format!("{} against {}", percent(canary), percent(baseline))
            }
            (Some(rate), None) | (None, Some(rate)) => percent(rate),
            (None, None) => "no requests".to_owned(),
        },
        top: percent(top),
        bottom: "0 %".to_owned(),
        story: format!(
            "Share of bad requests in each window, as two lines: in the last one {} of the \
             candidate's, {} of the stable version's.",
            share(last.0),
            share(last.1)
        ),
        legend: &[("candidate", "candidate"), ("stable", "stable version")],
        shapes: vec![
            Shape {
                class: "curve stable",
                path: of(|(_, baseline)| baseline),
            },
            Shape {
                class: "curve candidate",
                path: of(|(canary, _)| canary),
            },
        ],
        levels: Vec::new(),
        notes: Vec::new(),
        spots: spots.collect(),
    })
}

fn share(counts: Counts) -> String {
    match counts.rate() {
        Some(rate) => format!(
            "{} ({} of {})",
            percent(rate),
            grouped(counts.bad),
            grouped(counts.count)
        ),
        None => "no requests".to_owned(),
    }
}

/// The evidence that the candidate is worse, as odds on a logarithmic scale, with its threshold.
fn evidence(account: &Account, bins: &[Bin<'_>], axis: &Axis) -> Option<Graph> {
    let threshold = account.log_e_rollback;
    // Of neighbours, the most suspicious is drawn: a peak is what the verdict is about.
    let whole = |bin: &Bin<'_>| {
        let all = bin.windows.iter().map(|w| w.log_e);
        all.filter(|log_e| log_e.is_finite()).reduce(f64::max)
    };
    let values: Vec<f64> = bins.iter().filter_map(whole).collect();
    let (least, most) = values
        .iter()
        .fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(*v), h.max(*v)));
    let low = least.clamp(LOG_E_LOW, -1.0);
    let high = (1.05 * most).clamp(1.25 * threshold, THRESHOLDS_HIGH * threshold);
    let y = |log_e: f64| 100.0 * (1.0 - ((log_e - low) / (high - low)).clamp(0.0, 1.0));
    let level = |class, log_e: f64, label: String| Level {
        class,
        y: format!("{:.2}", y(log_e)),
        label,
    };
    let mut levels = vec![level(
        "rollback",
        threshold,
        format!("rolls back from {}", odds(threshold)),
    )];
    levels.extend(
        account
            .log_e_hold
            .map(|hold| level("hold", hold, format!("holds from {}", odds(hold)))),
    );
    let mut shapes: Vec<_> = shown_metrics(account)
        .filter(|_| account.end.judge.metrics().count() > 1)
        .map(|metric| Shape {
            class: "curve part",
            path: line(bins, axis, |bin| {
                let seen = bin
                    .windows
                    .iter()
                    .filter_map(|w| w.metrics.get(metric)?.log_e);
                seen.reduce(f64::max).map(y)
            }),
        })
        .collect();
    shapes.push(Shape {
        class: "curve whole",
        path: line(bins, axis, |bin| whole(bin).map(y)),
    });
    let spots = bins.iter().filter_map(|bin| {
        let last = bin.windows.last()?;
        let what = format!("evidence {}, {}", odds(last.log_e), last.verdict);
        Some(bin.spot(axis, &what))
    });
    let latest = account.windows.last()?;
    Some(Graph {
        key: "evidence".to_owned(),
        name: "Evidence that the candidate is worse".to_owned(),
        latest: odds(latest.log_e),
        top: odds(high),
        bottom: odds(low),
        story: format!(
            "The odds that the candidate is worse, after each window: {} at most, {} after the \
             last one. From {} on a release goes back.",
            odds(most),
            odds(latest.log_e),
            odds(threshold)
        ),
        legend: match shapes.len() {
            1 => &[],
            _ => &[("whole", "all metrics together"), ("part", "each metric")],
        },
        shapes,
        levels,
        notes: Vec::new(),
        spots: spots.collect(),
    })
}

/// The decisions, as lines through all graphs.
pub(super) fn marks(account: &Account, axis: &Axis) -> Vec<Mark> {
    let marks = account.moments.iter().filter_map(|moment| {
        let (class, what) = match &moment.what {
            What::Began { .. }
            | What::StepDone { .. }
            | What::Act { .. }
            | What::CleanupFailed { .. }
            | What::CandidateReady
            | What::Checked { .. } => return None,
            What::Frozen { .. } => ("hand", "frozen".to_owned()),
            What::Weight { weight, .. } => match account.end.phase {
                Phase::RollingBack | Phase::RolledBack if *weight == Weight::ZERO => return None,
                Phase::Shifting | Phase::RollingBack | Phase::Promoted | Phase::RolledBack => {
                    ("up", format!("candidate to {weight}"))
                }
            },
            What::Alarms { fired, .. } if fired.is_empty() => return None,
            What::Alarms { .. } => ("alarm", "an alarm fired".to_owned()),
            What::Ordered { order, .. } => ("hand", format!("ordered: {order}")),
            What::RollbackDecided => ("back", "rollback decided".to_owned()),
            What::RollbackStuck { .. } => ("alarm", "rollback stuck".to_owned()),
            What::Ended {
                outcome: Outcome::Promoted,
                ..
            } => ("done", "promoted".to_owned()),
            What::Ended {
                outcome: Outcome::RolledBack,
                ..
            } => return None,
        };
        Some(Mark {
            x: format!("{:.2}", axis.x(moment.at)),
            class,
            title: format!("{}: {what}", clock(moment.at)),
        })
    });
    let marks: Vec<_> = marks.collect();
    let skipped = marks.len().saturating_sub(MARKS_MAX);
    marks.into_iter().skip(skipped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_edge_is_round_and_not_below_what_is_drawn(value in 1e-9..1e18_f64) {
            let edge = round_up(value);
            prop_assert!(edge >= value && edge <= 1.6 * value, "{edge} for {value}");
        }
    }

    #[test]
    fn nothing_has_an_edge_too() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(round_up(value), 1.0);
        }
    }
}
