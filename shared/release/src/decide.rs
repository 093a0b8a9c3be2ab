//! What a release does next. Pure: the same log and the same look decide the same.

use jiff::{SignedDuration, Timestamp};
use stats::Verdict;

use crate::config::{Inconclusive, LIFE_MAX, Step};
use crate::{
    By, Effect, Event, HOLD_MAX, Observation, Outcome, Phase, Proof, Reason, Release, Weight,
};

/// Windows that a suspicious judge may add to a step before the release goes on (JUDGE, part g).
pub const EXTRA_WINDOWS_MAX: u32 = 15;

/// The fewest comparing windows in a step before early promotion may end it (JUDGE, part e).
const EARLY_WINDOWS_MIN: u32 = 2;

/// New facts, to be stored together, and why. No events: there is nothing to do but wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// In order.
    pub events: Vec<Event>,
    /// Why these, or why none.
    pub because: Reason,
}

impl Decision {
    fn wait(because: Reason) -> Self {
        Self {
            events: Vec::new(),
            because,
        }
    }
}

/// Decides what a release does, given one look at the world. A release with an intent that has not
/// been performed does that first; nothing is decided meanwhile.
pub fn decide(release: &Release, seen: &Observation) -> Decision {
    if release.intended.is_some() {
        return Decision::wait(Reason::ReadingBack);
    }
    match release.phase {
        Phase::Shifting => shifting(release, seen),
        Phase::RollingBack => rolling_back(release, seen),
        Phase::Promoted | Phase::RolledBack => Decision::wait(Reason::Over),
    }
}

/// The events that turn a release round, whatever it was about to do; none when it is already on
/// the way back or over.
pub fn ask_rollback(release: &Release, at: Timestamp, because: Reason) -> Vec<Event> {
    match release.phase {
        Phase::Shifting => vec![
            Event::RollbackDecided { at, because },
            intend(release, at, Weight::ZERO),
        ],
        Phase::RollingBack | Phase::Promoted | Phase::RolledBack => Vec::new(),
    }
}

fn intend(release: &Release, at: Timestamp, weight: Weight) -> Event {
    Event::Intended {
        at,
        generation: release.generation.next(),
        effect: Effect::SetWeight(weight),
    }
}

fn shifting(release: &Release, seen: &Observation) -> Decision {
    let mut events = facts(release, seen);
    let mut release = release.clone();
    for event in &events {
        release.take(event);
    }
    let next = next_move(&release, seen);
    events.extend(next.events);
    Decision {
        events,
        because: next.because,
    }
}

/// What this look saw that the log does not know yet.
fn facts(release: &Release, seen: &Observation) -> Vec<Event> {
    let at = seen.now;
    let fresh = seen.windows.iter().flatten();
    let windows: Vec<_> = fresh
        .filter(|w| w.start >= release.judged_until)
        .cloned()
        .collect();
    let observed = (!windows.is_empty()).then_some(Event::Observed { at, windows });
    let changed = seen.alarms.as_ref();
    let alarms = changed
        .filter(|firing| **firing != release.alarms_firing)
        .map(|firing| Event::AlarmsChanged {
            at,
            firing: firing.clone(),
        });
    observed.into_iter().chain(alarms).collect()
}

fn next_move(release: &Release, seen: &Observation) -> Decision {
    let roll_back = |because: Reason| turn_round(release, seen.now, because);
    if let Some(alarm) = release.fresh_alarm() {
        return roll_back(Reason::AlarmFired {
            alarm: alarm.clone(),
            detail: None,
        });
    }
    if release.verdict() == Verdict::Rollback {
        return roll_back(Reason::Regression {
            evidence: release.evidence(),
        });
    }
    if release.current_step().is_some() && release.lasted(seen.now) > LIFE_MAX {
        return roll_back(Reason::NobodyCame { waited: LIFE_MAX });
    }
    if let (Some(by), Some(_)) = (&release.held, release.current_step()) {
        return held(release, by, seen.now);
    }
    match release.current_step() {
        _ if blind(release, seen) => match overdue(release, seen.now) {
            true => roll_back(gave_up(release, "the alarms", seen.now)),
            false => Decision::wait(unseen(release, "the alarms", seen.now)),
        },
        None => match promote(release, seen) {
            wait if wait.events.is_empty() && overdue(release, seen.now) => roll_back(gave_up(
                release,
                "a healthy host of the candidate",
                seen.now,
            )),
            decision => decision,
        },
        Some(Step::SetWeight(weight)) => Decision {
            events: vec![intend(release, seen.now, *weight)],
            because: Reason::NextWeight { weight: *weight },
        },
        Some(Step::Judge { windows }) => match judge_step(release, *windows) {
            StepVerdict::Done(because) => Decision {
                events: vec![Event::StepDone {
                    at: seen.now,
                    step: release.step,
                    because: because.clone(),
                }],
                because,
            },
            StepVerdict::GiveUp(because) => roll_back(because),
            StepVerdict::Wait(_) if overdue(release, seen.now) => {
                roll_back(gave_up(release, "the metrics", seen.now))
            }
            StepVerdict::Wait(because) => Decision::wait(because),
        },
        Some(Step::Wait(time)) => wait_step(release, *time, seen.now),
        Some(Step::Approve(within)) => match left(release, *within, seen.now) {
            Some(left) => Decision::wait(Reason::AwaitingApproval { left }),
            None => roll_back(Reason::NobodyCame { waited: *within }),
        },
    }
}

/// What of this time of the current step is left.
fn left(release: &Release, time: SignedDuration, now: Timestamp) -> Option<SignedDuration> {
    let left = time - now.duration_since(release.step_since);
    (left > SignedDuration::ZERO).then_some(left)
}

/// Lets time pass, and some more while the judge is suspicious or has not seen enough.
fn wait_step(release: &Release, time: SignedDuration, now: Timestamp) -> Decision {
    if let Some(left) = left(release, time, now) {
        return Decision::wait(Reason::Waiting { left });
    }
    let prolonged = time.saturating_add(release.plan().step_time(EXTRA_WINDOWS_MAX));
    if release.verdict() == Verdict::Hold && left(release, prolonged, now).is_some() {
        let evidence = release.evidence();
        return Decision::wait(Reason::Holding { evidence });
    }
    match judge_step(release, 1) {
        StepVerdict::Done(_) => Decision {
            events: vec![Event::StepDone {
                at: now,
                step: release.step,
                because: Reason::Waited,
            }],
            because: Reason::Waited,
        },
        StepVerdict::GiveUp(because) => turn_round(release, now, because),
        StepVerdict::Wait(_) if overdue(release, now) => {
            turn_round(release, now, gave_up(release, "the metrics", now))
        }
        StepVerdict::Wait(because) => Decision::wait(because),
    }
}

fn turn_round(release: &Release, now: Timestamp, because: Reason) -> Decision {
    Decision {
        events: ask_rollback(release, now, because.clone()),
        because,
    }
}

/// A release that somebody holds stays where it is, but not for ever.
fn held(release: &Release, by: &By, now: Timestamp) -> Decision {
    if now.duration_since(by.at) <= HOLD_MAX {
        return Decision::wait(Reason::Held { by: by.clone() });
    }
    turn_round(release, now, Reason::NobodyCame { waited: HOLD_MAX })
}

enum StepVerdict {
    Done(Reason),
    Wait(Reason),
    GiveUp(Reason),
}

fn judge_step(release: &Release, needed: u32) -> StepVerdict {
    let seen = release.step_windows;
    let evidence = || release.evidence();
    match release.verdict() {
        Verdict::Promote if seen >= EARLY_WINDOWS_MIN => {
            StepVerdict::Done(Reason::EarlyPromotion {
                evidence: evidence(),
            })
        }
        _ if seen < needed => StepVerdict::Wait(Reason::Watching { seen, needed }),
        Verdict::Hold if seen < needed.saturating_add(EXTRA_WINDOWS_MAX) => {
            StepVerdict::Wait(Reason::Holding {
                evidence: evidence(),
            })
        }
        Verdict::Inconclusive => match release.plan().inconclusive {
            Inconclusive::Wait => StepVerdict::Wait(Reason::Inconclusive {
                evidence: evidence(),
            }),
            Inconclusive::GoOn => StepVerdict::Done(Reason::Inconclusive {
                evidence: evidence(),
            }),
            Inconclusive::Fail => StepVerdict::GiveUp(Reason::TooFewRequests {
                waited: SignedDuration::ZERO,
                evidence: evidence(),
            }),
        },
        // Held for as long as allowed: more traffic decides faster than more waiting.
        Verdict::Hold | Verdict::Continue | Verdict::Promote | Verdict::Rollback => {
            StepVerdict::Done(Reason::StepJudged {
                evidence: evidence(),
            })
        }
    }
}

/// Alarms that guard a release and cannot be read are not alarms that do not fire.
fn blind(release: &Release, seen: &Observation) -> bool {
    !release.plan().alarms.is_empty() && seen.alarms.is_none()
}

/// Whether the current step has lasted longer than its windows, the judge's extra ones, their
/// settling and the patience for gaps allow. Nothing is waited for without an end.
fn overdue(release: &Release, now: Timestamp) -> bool {
    let (windows, time) = match release.current_step() {
        Some(Step::Judge { windows }) => (*windows, SignedDuration::ZERO),
        Some(Step::Wait(time) | Step::Approve(time)) => (0, *time),
        Some(Step::SetWeight(_)) | None => (0, SignedDuration::ZERO),
    };
    let extra = release.step_windows.saturating_sub(windows);
    let allowed = windows.saturating_add(extra.min(EXTRA_WINDOWS_MAX));
    let allowed = release.plan().step_time(allowed).saturating_add(time);
    now.duration_since(release.step_since) > allowed
}

fn gave_up(release: &Release, what: &str, now: Timestamp) -> Reason {
    if release.step_windows == 0 || what != "the metrics" {
        return unseen(release, what, now);
    }
    Reason::TooFewRequests {
        waited: now.duration_since(release.step_since),
        evidence: release.evidence(),
    }
}

fn unseen(release: &Release, what: &str, now: Timestamp) -> Reason {
    Reason::CouldNotObserve {
        what: what.to_owned(),
        waited: now.duration_since(release.step_since),
    }
}

fn promote(release: &Release, seen: &Observation) -> Decision {
    let because = Reason::EveryStepDone;
    ended(release, seen, Weight::FULL, Outcome::Promoted, because)
}

fn rolling_back(release: &Release, seen: &Observation) -> Decision {
    let because = release.because.clone().unwrap_or(Reason::Over);
    ended(release, seen, Weight::ZERO, Outcome::RolledBack, because)
}

/// Over only when the target itself, read back, says so; otherwise the weight is set once more.
fn ended(
    release: &Release,
    seen: &Observation,
    weight: Weight,
    outcome: Outcome,
    because: Reason,
) -> Decision {
    let Some(live) = seen.live else {
        return Decision::wait(Reason::ReadingBack);
    };
    if live.weight != weight {
        return Decision {
            events: vec![intend(release, seen.now, weight)],
            because: Reason::NextWeight { weight },
        };
    }
    let healthy_hosts = match outcome {
        Outcome::Promoted if live.candidate_healthy == 0 => {
            return Decision::wait(Reason::ReadingBack);
        }
        Outcome::Promoted => live.candidate_healthy,
        Outcome::RolledBack => live.stable_healthy,
    };
    let proof = Proof {
        weight: live.weight,
        healthy_hosts,
    };
    Decision {
        events: vec![Event::Ended {
            at: seen.now,
            outcome,
            proof,
        }],
        because,
    }
}
