//! A log as a file: one event a line, as JSON.

use jiff::{SignedDuration, Timestamp};
use stats::METRICS_MAX;

use crate::config::{ALARMS_MAX, Plan, STEPS_MAX, Step, duration};
use crate::{Event, Generation, Started};

/// The largest log that is read from a file, in bytes.
pub const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most events of a log that is read.
pub const LOG_EVENTS_MAX: usize = 100_000;
/// No release has so many intents; so there is always a next generation.
const GENERATION_MAX: Generation = Generation(1 << 32);
/// The latest time that a log may name, in seconds since the epoch: the year 9000. Durations of a
/// day can be added to it.
const SECONDS_MAX: i64 = 221_845_392_000;

/// Why a text is not the log of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It has more bytes or events than are read.
    #[error("could not read the log: it has more than {max} {what}")]
    TooLarge {
        /// How many are read.
        max: usize,
        /// Of what.
        what: &'static str,
    },
    /// There is nothing in it.
    #[error("could not read the log: it has no events; {ADVICE}")]
    Empty,
    /// A line is not an event that a release can have there.
    #[error("could not read line {line} of the log: {why}; {ADVICE}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

const ADVICE: &str = "write the log with `penstock report RELEASE --format log`";

/// The events as text, one a line.
///
/// # Errors
/// When an event has a number that JSON has not.
pub fn write_log(events: &[Event]) -> Result<String, serde_json::Error> {
    let lines = events.iter().map(serde_json::to_string);
    let lines: Result<Vec<_>, _> = lines.collect();
    lines.map(|lines| lines.join("\n") + "\n")
}

/// The events of a log that was written by [`write_log`], or by anybody. Empty lines are passed over.
///
/// # Errors
/// When it is too large, or a line is not an event that can stand there.
pub fn read_log(text: &str) -> Result<Vec<Event>, LogError> {
    if text.len() > LOG_BYTES_MAX {
        let (max, what) = (LOG_BYTES_MAX, "bytes");
        return Err(LogError::TooLarge { max, what });
    }
    let mut events = Vec::new();
    let mut plan = None;
    let lines = text.lines().enumerate();
    for (index, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
        let wrong = |why: String| LogError::Line {
            line: index + 1,
            why,
        };
        if events.len() == LOG_EVENTS_MAX {
            let (max, what) = (LOG_EVENTS_MAX, "events");
            return Err(LogError::TooLarge { max, what });
        }
        let event = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        check(&event, plan.as_ref()).map_err(wrong)?;
        if let Event::Started(started) = &event {
            plan = Some(started.plan.clone());
        }
        events.push(event);
    }
    match events.is_empty() {
        true => Err(LogError::Empty),
        false => Ok(events),
    }
}

/// Whether an event is one that the log of a release with this plan may have. What a function stores
/// always is; a file may hold anything, and folding it must neither fail nor overflow.
fn check(event: &Event, plan: Option<&Plan>) -> Result<(), String> {
    check_time(event.at())?;
    match (event, plan) {
        (Event::Started(started), None) => check_started(started),
        (Event::Started(_), Some(_)) => Err("the release began before".to_owned()),
        (_, None) => Err("a log begins with \"event\":\"started\"".to_owned()),
        (Event::Intended { generation, .. } | Event::Performed { generation, .. }, Some(_))
            if *generation > GENERATION_MAX =>
        {
            Err(format!(
                "generation {generation} is beyond {GENERATION_MAX}"
            ))
        }
        (Event::StepDone { step, .. }, Some(plan)) if *step >= plan.steps.len() => {
            let steps = plan.steps.len();
            Err(format!(
                "step {step} (from 0) is done, and the plan has {steps} steps"
            ))
        }
        (Event::Observed { windows, .. }, Some(_)) => windows.iter().try_for_each(|window| {
            check_time(window.start)?;
            match window.metrics.len() {
                0..=METRICS_MAX => Ok(()),
                count => Err(format!(
                    "a window has {count} metrics; {METRICS_MAX} are allowed"
                )),
            }
        }),
        (Event::Frozen { until, .. }, Some(_)) => check_time(*until),
        (Event::AlarmsChanged { firing, .. }, Some(_)) => {
            bounded("firing", firing.len(), ALARMS_MAX)
        }
        (
            Event::Intended { .. }
            | Event::Performed { .. }
            | Event::CandidateReady { .. }
            | Event::CleanupFailed { .. }
            | Event::Checked { .. }
            | Event::StepDone { .. }
            | Event::Ordered { .. }
            | Event::RollbackDecided { .. }
            | Event::RollbackStuck { .. }
            | Event::Ended { .. },
            Some(_),
        ) => Ok(()),
    }
}

fn check_time(at: Timestamp) -> Result<(), String> {
    match (0..=SECONDS_MAX).contains(&at.as_second()) {
        true => Ok(()),
        false => Err(format!("{at} is no time of a release")),
    }
}

fn bounded(key: &str, count: usize, most: usize) -> Result<(), String> {
    match count > most {
        true => Err(format!("{key} has {count} entries; {most} are allowed")),
        false => Ok(()),
    }
}

/// A stored plan may have what later versions refuse, but nothing that cannot be folded.
fn check_started(started: &Started) -> Result<(), String> {
    let plan = &started.plan;
    bounded("alarms", plan.alarms.len(), ALARMS_MAX)?;
    bounded("alarms_firing", started.alarms_firing.len(), ALARMS_MAX)?;
    bounded("steps", plan.steps.len(), STEPS_MAX)?;
    duration("window", plan.window, SignedDuration::from_secs(1))?;
    duration("settle", plan.settle, SignedDuration::ZERO)?;
    duration("patience", plan.patience, SignedDuration::ZERO)?;
    duration("ready-within", plan.ready_within, SignedDuration::ZERO)?;
    duration("retire-after", plan.retire_after, SignedDuration::ZERO)?;
    duration("abandon-after", plan.abandon_after, SignedDuration::ZERO)?;
    for step in &plan.steps {
        match step {
            Step::Wait(time) => duration("wait", *time, SignedDuration::ZERO)?,
            Step::Watch(time) => duration("watch", *time, SignedDuration::ZERO)?,
            Step::Approve(approval) => duration("approve", approval.within, SignedDuration::ZERO)?,
            Step::Probe(probe) => duration("probe", probe.within, SignedDuration::ZERO)?,
            Step::RunCheck(check) => duration("run-check", check.within, SignedDuration::ZERO)?,
            Step::SetWeight(_) | Step::Judge { .. } | Step::HeaderRoute(_) => {}
        }
    }
    started.judge_config().validate().map_err(|e| e.to_string())
}
