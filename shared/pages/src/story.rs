//! What the template of a release's page shows.

mod axis;
mod graphs;
mod plan;
mod timeline;
mod windows;

use askama::Template;
use jiff::{SignedDuration, Timestamp};
use release::account::{Account, What};
use release::{Phase, Reason, Weight};
use stats::numerals::{grouped, odds, percent};

use crate::html::Figure;
use crate::listing::Listing;
use crate::{AMBER, BLUE, GREEN, HEAD_CHARS_MAX, Look, RED, ReleasePage, words};

use axis::{Axis, Tick};
use graphs::{Graph, METRIC_GRAPHS_MAX, Mark};
use plan::PlanShown;
use timeline::Happened;
use windows::Rows;

pub use timeline::{MOMENTS_ROWS_MAX, Told, told};
pub use windows::WINDOWS_ROWS_MAX;

/// Largest page of a release, in bytes: the room of its lists and graphs, and what stands around.
pub const RELEASE_HTML_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Longest reason or sentence that is shown, in characters.
const WHY_CHARS_MAX: usize = 1_000;

/// Longest name of a metric that is shown, in characters.
const METRIC_CHARS_MAX: usize = 64;

/// The page.
#[derive(Template)]
#[template(path = "release.html", whitespace = "minimize")]
struct Page {
    release: String,
    pipeline: Option<String>,
    execution: Option<String>,
    target: String,
    stable: String,
    candidate: String,
    began: String,
    began_at: String,
    made: String,
    look: Look,
    lede: String,
    sub: String,
    figures: Vec<Figure>,
    ticks: Vec<Tick>,
    marks: Vec<Mark>,
    graphs: Vec<Graph>,
    happened: Listing<Happened>,
    rows: Rows,
    plan: PlanShown,
}

pub(crate) fn page(page: &ReleasePage<'_>) -> String {
    let account = page.account;
    let started = &account.end.started;
    let head = |text: &str| words::cut(text, HEAD_CHARS_MAX);
    let axis = axis(account);
    let view = Page {
        release: started.release.to_string(),
        pipeline: page.pipeline.map(head),
        execution: started.execution.as_deref().map(head),
        target: head(&account.plan().target.id().0),
        stable: head(&started.arms.stable),
        candidate: head(&started.arms.candidate),
        began: words::moment(started.at),
        began_at: started.at.to_string(),
        made: words::moment(page.made),
        look: look(account.end.phase),
        lede: lede(account),
        sub: sub(account),
        figures: figures(account),
        ticks: axis.ticks(),
        marks: graphs::marks(account, &axis),
        graphs: graphs::all(account, &axis),
        happened: timeline::of(account),
        rows: Rows::of(account),
        plan: PlanShown::of(account),
    };
    // Writing to a string fails only when a Display does, and none here does.
    view.render().unwrap_or_default()
}

/// From the beginning to a little beyond the end, so that the last step is seen.
fn axis(account: &Account) -> Axis {
    let (from, until) = (account.end.started.at, account.until());
    let beyond = until.duration_since(from) / 25;
    Axis::of(from, until.saturating_add(beyond).unwrap_or(until))
}

fn look(phase: Phase) -> Look {
    let (class, words, colour) = match phase {
        Phase::Shifting => ("now", "Still shifting", BLUE),
        Phase::RollingBack => ("warn", "Rolling back", AMBER),
        Phase::Promoted => ("pass", "Promoted", GREEN),
        Phase::RolledBack => ("fail", "Rolled back", RED),
    };
    Look {
        class,
        words,
        colour,
    }
}

/// A time of day, in UTC.
fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// How long something took, in the units that matter.
fn took(time: SignedDuration) -> String {
    words::duration(time.as_secs_f64())
}

/// A reason or a sentence of the judge, with its numbers kept on one line with their units.
fn sentence(text: &str) -> String {
    words::cut(text, WHY_CHARS_MAX).replace(" %", "\u{a0}%")
}

/// The sentence that decided, or that stands now.
fn lede(account: &Account) -> String {
    let end = &account.end;
    let why = |because: &Option<Reason>| {
        let because = because.as_ref().map(Reason::to_string);
        sentence(&because.unwrap_or_else(|| account.evidence.clone()))
    };
    let text = match end.phase {
        Phase::Promoted | Phase::Shifting => sentence(&account.evidence),
        Phase::RollingBack | Phase::RolledBack => why(&end.because),
    };
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => text,
    }
}

/// Where it stands, in a sentence.
fn sub(account: &Account) -> String {
    let end = &account.end;
    let after = |at: Timestamp| took(at.duration_since(end.started.at));
    let serving = end.serving();
    let until = account.until();
    match end.phase {
        Phase::Shifting => format!(
            "The candidate has {}, step {} of {}, {} after the release began.",
            end.weight,
            (end.step + 1).min(end.plan().steps.len()),
            end.plan().steps.len(),
            after(until)
        ),
        Phase::RollingBack => {
            let stuck = end.stuck_since.map_or_else(String::new, |since| {
                let since = clock(since);
                format!(" The rollback is stuck since {since} UTC, and goes on being tried.")
            });
            format!(
                "The candidate still has {}; it had {} at most.{stuck}",
                end.weight,
                highest(account)
            )
        }
        Phase::Promoted => format!(
            "The candidate has served 100% since {} UTC, {} after the release began, from {serving}.",
            clock(until),
            after(until)
        ),
        Phase::RolledBack => format!(
            "The stable version has served 100% again since {} UTC, {} after the release began, \
             from {serving}. The candidate had {} at most.",
            clock(until),
            after(until),
            highest(account)
        ),
    }
}

/// The most that the candidate ever had.
fn highest(account: &Account) -> Weight {
    let weights = account
        .moments
        .iter()
        .filter_map(|moment| match moment.what {
            What::Weight {
                weight,
                performed: Some(_),
                ..
            } => Some(weight),
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
    weights.max().unwrap_or(Weight::ZERO)
}

/// The numbers at a glance.
fn figures(account: &Account) -> Vec<Figure> {
    let end = &account.end;
    let figure = |label: &str, value: String, note: String| Figure {
        label: label.to_owned(),
        value,
        note: sentence(&note),
        tone: "",
        mark: "",
    };
    let mut figures = vec![
        figure(
            "Candidate's weight",
            end.weight.to_string(),
            format!("{} at most", highest(account)),
        ),
        figure(
            "Took",
            took(account.until().duration_since(end.started.at)),
            words::counted(account.windows_judged, "window judged", "windows judged"),
        ),
        figure(
            "Candidate's requests",
            grouped(account.requests.candidate),
            format!("{} to the stable version", grouped(account.requests.stable)),
        ),
    ];
    for (name, metric) in end.judge.metrics().take(METRIC_GRAPHS_MAX) {
        let (canary, baseline) = (metric.canary(), metric.baseline());
        if let (Some(rate), Some(before)) = (canary.rate(), baseline.rate()) {
            figures.push(figure(
                &format!("{}, candidate", words::cut(name, METRIC_CHARS_MAX)),
                percent(rate),
                format!("stable version {}", percent(before)),
            ));
        }
    }
    let peak = end.judge.peak_log_e();
    figures.push(Figure {
        tone: match peak >= account.log_e_rollback {
            true => "wide fail",
            false => "wide",
        },
        ..figure(
            "Strongest evidence against it",
            odds(peak),
            format!("rolls back from {}", odds(account.log_e_rollback)),
        )
    });
    figures
}
