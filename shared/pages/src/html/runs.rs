//! The runs that passed before, and this one.

use release::gate::{POINTS_MAX, Percent, Point};

use crate::chart::{Chart, Mark, SLOTS_MIN, Scale};
use crate::{GatePage, words};

/// Longest name of a run or a commit that is shown, in characters.
const RUN_CHARS_MAX: usize = 64;

/// The charts, and the numbers behind them.
pub(super) struct Runs {
    /// Empty when no run has passed before.
    pub(super) charts: Vec<Chart>,
    /// The newest first.
    pub(super) rows: Vec<Run>,
    /// From when to when.
    pub(super) first: String,
    pub(super) last: String,
    /// How many there are before this one.
    pub(super) before: usize,
}

/// The numbers of a run.
pub(super) struct Run {
    pub(super) at: String,
    pub(super) name: String,
    pub(super) commit: String,
    pub(super) tests: String,
    pub(super) failed: String,
    pub(super) skipped: String,
    pub(super) lines: String,
    pub(super) took: String,
    pub(super) is_now: bool,
}

impl Runs {
    pub(super) fn of(page: &GatePage<'_>) -> Self {
        let now = &page.verdict.point;
        let before = page
            .history
            .points
            .iter()
            .filter(|point| point.run != now.run);
        let before: Vec<_> = before.collect();
        let skipped = before.len().saturating_sub(POINTS_MAX);
        let points: Vec<_> = before.into_iter().skip(skipped).chain([now]).collect();
        let charts = match points.as_slice() {
            [] | [_] => Vec::new(),
            points => [tests(points), lines(points), took(points)]
                .into_iter()
                .flatten()
                .collect(),
        };
        let day = |point: Option<&&Point>| point.map_or_else(String::new, |p| words::day(p.at));
        Self {
            charts,
            first: day(points.first()),
            last: day(points.last()),
            before: points.len().saturating_sub(1),
            rows: points
                .iter()
                .rev()
                .map(|point| Run::of(point, now))
                .collect(),
        }
    }
}

impl Runs {
    /// Whether they begin somewhere within the charts.
    pub(super) fn are_few(&self) -> bool {
        self.rows.len() < SLOTS_MIN
    }
}

impl Run {
    fn of(point: &Point, now: &Point) -> Self {
        let name = |text: &str| words::cut(text, RUN_CHARS_MAX);
        Self {
            at: words::moment(point.at),
            name: name(&point.run),
            commit: point.commit.as_deref().map(name).unwrap_or_default(),
            tests: words::count(point.totals.tests),
            failed: words::count(point.totals.failing()),
            skipped: words::count(point.totals.skipped),
            lines: point
                .lines
                .map_or_else(|| "–".to_owned(), |lines| lines.to_string()),
            took: words::duration(point.duration_seconds),
            is_now: std::ptr::eq(point, now),
        }
    }
}

/// What a mark of a run is called: its day, what it shows, and the run.
fn title(point: &Point, what: &str) -> String {
    let run = words::cut(&point.run, RUN_CHARS_MAX);
    format!("{}: {what} ({run})", words::day(point.at))
}

/// How many tests passed, failed and were skipped.
#[expect(clippy::cast_precision_loss, reason = "a bar needs no 16 digits")]
fn tests(points: &[&Point]) -> Option<Chart> {
    let highest = points.iter().map(|point| point.totals.tests).max()?;
    let scale = Scale::from_zero(highest as f64)?;
    let marks = points.iter().map(|point| {
        let totals = &point.totals;
        let parts = [
            ("failed", totals.failing() as f64),
            ("skipped", totals.skipped as f64),
            ("passed", totals.passed as f64),
        ];
        let what = format!(
            "{}, {} failed, {} skipped",
            words::counted(totals.tests, "test", "tests"),
            words::count(totals.failing()),
            words::count(totals.skipped)
        );
        Mark::stacked(title(point, &what), &scale, parts)
    });
    let (first, last) = (points.first()?, points.last()?);
    Some(Chart {
        key: "tests",
        name: "Tests",
        latest: words::count(last.totals.tests),
        top: words::count(highest),
        bottom: "0".to_owned(),
        story: format!(
            "Tests of each run, as bars of failed, skipped and passed: {} in the first, {} in this \
             one, {} at most.",
            words::count(first.totals.tests),
            words::count(last.totals.tests),
            words::count(highest)
        ),
        legend: &[
            ("passed", "passed"),
            ("failed", "failed"),
            ("skipped", "skipped"),
        ],
        marks: marks.collect(),
        line: String::new(),
        dot: String::new(),
    })
}

/// The share of the lines covered.
fn lines(points: &[&Point]) -> Option<Chart> {
    let shares = points.iter().map(|point| point.lines.map(Percent::value));
    let shares: Vec<_> = shares.collect();
    let scale = Scale::around(shares.iter().copied().flatten(), 0.0, 100.0)?;
    let written = |share: Option<Percent>| {
        share.map_or_else(|| "not measured".to_owned(), |share| share.to_string())
    };
    let marks = points.iter().map(|point| {
        let what = format!("{} of the lines covered", written(point.lines));
        Mark::plain(title(point, &what))
    });
    let last = points.last()?;
    let (line, dot) = scale.line(&shares);
    Some(Chart {
        key: "lines",
        name: "Lines covered",
        latest: written(last.lines),
        top: format!("{:.0} %", scale.high),
        bottom: format!("{:.0} %", scale.low),
        story: format!(
            "Share of the lines covered in each run, as a line between {:.0} % and {:.0} %: {} in \
             the first, {} in this one.",
            scale.low,
            scale.high,
            written(points.first()?.lines),
            written(last.lines)
        ),
        legend: &[],
        marks: marks.collect(),
        line,
        dot,
    })
}

/// How long the tests took.
fn took(points: &[&Point]) -> Option<Chart> {
    let seconds = points.iter().map(|point| point.duration_seconds);
    let longest = seconds.fold(0.0, f64::max);
    let scale = Scale::from_zero(longest)?;
    let marks = points.iter().map(|point| {
        let what = words::duration(point.duration_seconds);
        Mark::stacked(
            title(point, &what),
            &scale,
            [("passed", point.duration_seconds)],
        )
    });
    let (first, last) = (points.first()?, points.last()?);
    Some(Chart {
        key: "took",
        name: "Duration",
        latest: words::duration(last.duration_seconds),
        top: words::duration(longest),
        bottom: "0".to_owned(),
        story: format!(
            "How long the tests of each run took, as bars: {} in the first, {} in this one, {} at \
             most.",
            words::duration(first.duration_seconds),
            words::duration(last.duration_seconds),
            words::duration(longest)
        ),
        legend: &[],
        marks: marks.collect(),
        line: String::new(),
        dot: String::new(),
    })
}
