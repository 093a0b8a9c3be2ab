//! What a release does next, and when at the latest, for the people who watch it.
//!
//! It is told from the log and the plan alone, so it knows what is due and not what will be seen:
//! the judge or an alarm may take the release back at any time, and a candidate that is shown to be no
//! worse goes on sooner. What is due happens at the first look after its time; CodePipeline looks every
//! half minute or so.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use stats::Verdict;

use crate::config::{Approval, LIFE_MAX, Step};
use crate::{Candidate, EXTRA_WINDOWS_MAX, Effect, HOLD_MAX, Phase, Release, Weight};

/// What a release waits for, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forecast {
    /// What has to come to pass.
    pub awaits: Awaited,
    /// When it may at the earliest, by the plan; `None` at the next look, or when nobody can say.
    pub from: Option<Timestamp>,
    /// From when on it is not waited for any longer: then the release goes back, or on where the plan
    /// says so. Windows that are yet to come, and are suspicious, prolong it. `None` when nothing is
    /// waited for, or the release is on its way back.
    pub until: Option<Timestamp>,
    /// What follows once it has.
    pub then: Option<Then>,
}

/// What has to come to pass before a release goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaited {
    /// Nothing: it is over.
    Nothing,
    /// The next look.
    Look,
    /// That this is done and read back.
    Effect(Effect),
    /// That the candidate comes up.
    Candidate,
    /// That windows are judged.
    Windows {
        /// Those with requests in both versions so far.
        seen: u32,
        /// Those that the step asks for.
        needed: u32,
    },
    /// That time passes.
    Time,
    /// That somebody approves.
    Approval,
    /// That somebody resumes.
    Resume {
        /// Who holds it.
        who: String,
        /// Why.
        why: String,
    },
    /// That probes or a function pass.
    Check {
        /// Which, in a few words.
        what: String,
    },
    /// That a freeze ends.
    Thaw {
        /// Why there is one.
        because: String,
    },
    /// That the metrics show a rollback.
    Proof,
    /// That the target shows what was set.
    ReadBack,
    /// That the stage ends, so that it can be rolled back.
    Stage,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// The candidate gets this share.
    Weight(Weight),
    /// Another step of the plan, in a few words.
    Step(String),
    /// The release is over: the candidate serves everything.
    Promoted,
    /// The release is over: the stable version serves everything.
    RolledBack,
}

/// What this release does next.
pub fn next(release: &Release, now: Timestamp) -> Forecast {
    match release.phase {
        Phase::Shifting => shifting(release, now),
        Phase::RollingBack => Forecast {
            awaits: match (
                release.intended,
                release.proving(now),
                release.awaits_stage(),
            ) {
                (Some(effect), _, _) => Awaited::Effect(effect),
                (None, Some(_), _) => Awaited::Proof,
                (None, None, Some(_)) => Awaited::Stage,
                (None, None, None) => Awaited::ReadBack,
            },
            from: None,
            until: release.proving(now).map(|left| later(now, left)),
            then: Some(Then::RolledBack),
        },
        Phase::Promoted | Phase::RolledBack => Forecast {
            awaits: Awaited::Nothing,
            from: None,
            until: None,
            then: None,
        },
    }
}

fn shifting(release: &Release, now: Timestamp) -> Forecast {
    let since = release.step_since;
    let patience = release.plan().step_time(0);
    if let Some(effect) = release.intended {
        let next = match effect {
            Effect::SetWeight(_) | Effect::TestTraffic(_) => release.step + 1,
            Effect::Deploy | Effect::Retire | Effect::StopAlongside | Effect::HoldStage => {
                release.step
            }
        };
        return forecast(release, Awaited::Effect(effect), None, None, next);
    }
    match release.candidate {
        Candidate::Due => return forecast(release, Awaited::Look, None, None, release.step),
        Candidate::Deploying => {
            let until = later(since, release.plan().ready_within);
            let until = match release.current_step() {
                Some(_) => in_its_life(release, until),
                None => until,
            };
            return forecast(release, Awaited::Candidate, None, Some(until), release.step);
        }
        Candidate::Ready => {}
    }
    let Some(step) = release.current_step() else {
        let kept = later(release.weight_since, release.plan().retire_after);
        if release.to_retire && kept > now {
            return forecast(release, Awaited::Time, Some(kept), None, release.step);
        }
        let until = (!release.retiring).then(|| later(since, patience));
        return forecast(release, Awaited::ReadBack, None, until, release.step);
    };
    let until = |time| Some(in_its_life(release, later(since, time)));
    if let Some(by) = &release.held {
        let awaits = Awaited::Resume {
            who: by.who.clone(),
            why: by.why.clone(),
        };
        let until = in_its_life(release, later(by.at, HOLD_MAX));
        return forecast(release, awaits, None, Some(until), release.step);
    }
    let (awaits, from, until) = match step {
        Step::SetWeight(_) => return set_weight(release, now, patience),
        Step::HeaderRoute(_) => (Awaited::Look, None, None),
        Step::Judge { windows } => (
            Awaited::Windows {
                seen: release.step_windows,
                needed: *windows,
            },
            Some(windows_end(release, *windows)),
            until(watched(release, *windows)),
        ),
        Step::Wait(time) | Step::Watch(time) => (
            Awaited::Time,
            Some(later(since, *time)),
            until(time.saturating_add(watched(release, 0))),
        ),
        Step::Approve(Approval { within, .. }) => (Awaited::Approval, None, until(*within)),
        Step::Probe(probe) => (check(step), None, until(probe.within)),
        Step::RunCheck(check_by) => (check(step), None, until(check_by.within)),
    };
    let next = match step {
        Step::HeaderRoute(_) => release.step,
        Step::SetWeight(_)
        | Step::Judge { .. }
        | Step::Wait(_)
        | Step::Watch(_)
        | Step::Approve(_)
        | Step::Probe(_)
        | Step::RunCheck(_) => release.step + 1,
    };
    forecast(release, awaits, from, until, next)
}

fn check(step: &Step) -> Awaited {
    Awaited::Check { what: step.words() }
}

/// How long a step of so many windows may last, as far as is known now: each window that doubt adds
/// adds its time.
fn watched(release: &Release, windows: u32) -> SignedDuration {
    let extra = match (release.verdict(), windows) {
        // A wait is prolonged for as long as there is doubt.
        (Verdict::Hold, 0) => EXTRA_WINDOWS_MAX,
        (_, _) => release.step_windows.saturating_sub(windows),
    };
    let windows = windows.saturating_add(extra.min(EXTRA_WINDOWS_MAX));
    release.plan().step_time(windows)
}

/// A weight is set at the next look, unless there is a freeze.
fn set_weight(release: &Release, now: Timestamp, patience: SignedDuration) -> Forecast {
    let (awaits, from, begin) = match release.frozen(now) {
        Some(frozen) => {
            let because = frozen.because;
            (Awaited::Thaw { because }, Some(frozen.until), frozen.until)
        }
        None => (Awaited::Look, None, release.step_since),
    };
    let until = in_its_life(release, later(begin, patience));
    forecast(release, awaits, from, Some(until), release.step)
}

fn forecast(
    release: &Release,
    awaits: Awaited,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    next_step: usize,
) -> Forecast {
    let then = match release.plan().steps.get(next_step) {
        Some(Step::SetWeight(weight)) => Then::Weight(*weight),
        Some(step) => Then::Step(step.words()),
        None => Then::Promoted,
    };
    Forecast {
        awaits,
        // What is missing so far cannot come in time any more.
        from: from.filter(|from| until.is_none_or(|until| *from <= until)),
        until,
        then: Some(then),
    }
}

/// When the windows that a judge step still needs can have been seen, if each compares.
fn windows_end(release: &Release, needed: u32) -> Timestamp {
    let length = release.plan().window.as_secs().max(1);
    let begin = release.step_since.max(release.judged_until);
    let whole = i64::from(begin.subsec_nanosecond() != 0);
    let aligned = (begin.as_second() + whole + length - 1).div_euclid(length) * length;
    let missing = i64::from(needed.saturating_sub(release.step_windows));
    let end = aligned.saturating_add(missing.saturating_mul(length));
    let end = Timestamp::from_second(end).unwrap_or(Timestamp::MAX);
    later(end, release.plan().settle)
}

/// No release outlives the pipeline's action.
fn in_its_life(release: &Release, at: Timestamp) -> Timestamp {
    at.min(later(release.started.at, LIFE_MAX))
}

fn later(at: Timestamp, time: SignedDuration) -> Timestamp {
    at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing: it is over"),
            Self::Look => f.write_str("the next look"),
            Self::Effect(Effect::SetWeight(weight)) => write!(f, "{weight} being set"),
            Self::Effect(Effect::Deploy) => f.write_str("the candidate being put up"),
            Self::Effect(Effect::Retire) => f.write_str("the idle version being taken down"),
            Self::Effect(Effect::TestTraffic(true)) => f.write_str("test traffic being sent"),
            Self::Effect(Effect::TestTraffic(false)) => f.write_str("test traffic being ended"),
            Self::Effect(Effect::StopAlongside) => {
                f.write_str("the deployments alongside being stopped")
            }
            Self::Effect(Effect::HoldStage) => f.write_str("the stage being held"),
            Self::Candidate => f.write_str("the candidate to come up"),
            Self::Windows { seen, needed } => write!(f, "windows: {seen} of {needed} judged"),
            Self::Time => f.write_str("time to pass"),
            Self::Approval => f.write_str("approval: penstock approve"),
            Self::Resume { who, why } => write!(f, "penstock resume: held by {who}: {why}"),
            Self::Check { what } => f.write_str(what),
            Self::Thaw { because } => write!(f, "the end of a freeze: {because}"),
            Self::ReadBack => f.write_str("the target to be read back"),
            Self::Proof => f.write_str("metrics that show it"),
            Self::Stage => f.write_str("the stage to end"),
        }
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(weight) => write!(f, "{weight}"),
            Self::Step(words) => f.write_str(words),
            Self::Promoted => f.write_str("promoted"),
            Self::RolledBack => f.write_str("rolled back"),
        }
    }
}

#[cfg(test)]
mod tests;
