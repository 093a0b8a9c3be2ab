//! What a release does next. Pure: the same log and the same look decide the same.

use jiff::{SignedDuration, Timestamp};
use stats::Verdict;

use crate::config::{Approval, LIFE_MAX, Policy, Step};
use crate::{
    Approved, By, Candidate, CheckVerdict, Checked, Effect, Event, HOLD_MAX, Observation, Order,
    Outcome, Phase, Proof, Reason, Release, Weight,
};

/// Windows that a suspicious judge may add to a step before the release goes on (JUDGE, part g).
pub const EXTRA_WINDOWS_MAX: u32 = 15;

/// The fewest comparing windows in a step before early promotion may end it (JUDGE, part e).
const EARLY_WINDOWS_MIN: u32 = 2;

/// For how long after a change of the weight a live one that differs is no drift yet: a control
/// plane may answer with what was.
const DRIFT_GRACE: SignedDuration = SignedDuration::from_secs(30);

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
        // What it would go back to is being taken down.
        Phase::Shifting if release.retiring => Vec::new(),
        Phase::Shifting => vec![
            Event::RollbackDecided { at, because },
            intend(release, at, Weight::ZERO),
        ],
        Phase::RollingBack | Phase::Promoted | Phase::RolledBack => Vec::new(),
    }
}

fn intend(release: &Release, at: Timestamp, weight: Weight) -> Event {
    act(release, at, Effect::SetWeight(weight))
}

fn act(release: &Release, at: Timestamp, effect: Effect) -> Event {
    Event::Intended {
        at,
        generation: release.generation.next(),
        effect,
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

/// The windows that the log does not know yet.
fn observed(release: &Release, seen: &Observation) -> Option<Event> {
    let fresh = seen.windows.iter().flatten();
    let windows: Vec<_> = fresh
        .filter(|w| w.start >= release.judged_until)
        .cloned()
        .collect();
    (!windows.is_empty()).then_some(Event::Observed {
        at: seen.now,
        windows,
    })
}

/// What this look saw that the log does not know yet.
fn facts(release: &Release, seen: &Observation) -> Vec<Event> {
    let at = seen.now;
    let observed = observed(release, seen);
    let changed = seen.alarms.as_ref();
    let alarms = changed
        .filter(|firing| **firing != release.alarms_firing)
        .map(|firing| Event::AlarmsChanged {
            at,
            firing: firing.clone(),
        });
    let asks = matches!(
        release.current_step(),
        Some(Step::Probe(_) | Step::RunCheck(_))
    );
    // That it is still too early, in the same words, is nothing new.
    let is_news = |checked: &Checked| {
        checked.verdict != CheckVerdict::Wait || release.checked.as_ref() != Some(checked)
    };
    let checked = seen.checked.clone().filter(|_| asks).filter(is_news);
    let checked = checked.map(|checked| Event::Checked { at, checked });
    let approved = answer(release, seen).filter(|approved| approved.is_approved);
    let approved = approved.map(|approved| Event::Ordered {
        order: Order::Approve,
        by: By {
            at,
            ..approved.by.clone()
        },
    });
    let seen = [observed, alarms, checked, approved];
    seen.into_iter().flatten().collect()
}

fn next_move(release: &Release, seen: &Observation) -> Decision {
    if release.retiring {
        return promote(release, seen);
    }
    if let Some(because) = goes_back(release, seen) {
        return turn_round(release, seen.now, because);
    }
    if release.candidate != Candidate::Ready {
        return deploy(release, seen);
    }
    if let (Some(by), Some(_)) = (&release.held, release.current_step()) {
        return held(release, by, seen.now);
    }
    if blind(release, seen) {
        match release.plan().could_not_observe {
            Policy::Wait => return patience(release, seen.now, "the alarms"),
            Policy::Fail => {
                let because = unseen(release, "the alarms", seen.now);
                return turn_round(release, seen.now, because);
            }
            Policy::GoOn => {}
        }
    }
    match release.current_step() {
        None => match promote(release, seen) {
            // The old version is kept for a while after all is done.
            kept if matches!(kept.because, Reason::Waiting { .. }) => kept,
            wait if wait.events.is_empty() && overdue(release, seen.now) => {
                patience(release, seen.now, "a healthy host of the candidate")
            }
            decision => decision,
        },
        Some(Step::SetWeight(weight)) => raise(release, *weight, seen),
        Some(Step::HeaderRoute(_)) => Decision {
            events: vec![act(release, seen.now, Effect::TestTraffic(true))],
            because: Reason::Done,
        },
        Some(Step::Judge { windows }) => match judge_step(release, *windows, seen.now) {
            StepVerdict::Done(because) => done(release, seen.now, because),
            StepVerdict::GiveUp(because) => turn_round(release, seen.now, because),
            StepVerdict::Wait(because) => Decision::wait(because),
        },
        Some(Step::Wait(time) | Step::Watch(time)) => wait_step(release, *time, seen.now),
        Some(Step::Approve(Approval { within, .. })) => match left(release, *within, seen.now) {
            Some(left) => Decision::wait(Reason::AwaitingApproval { left }),
            None => {
                let because = Reason::NobodyCame { waited: *within };
                turn_round(release, seen.now, because)
            }
        },
        Some(Step::Probe(probe)) => check_step(release, probe.in_a_row, probe.within, seen.now),
        Some(Step::RunCheck(check)) => check_step(release, 1, check.within, seen.now),
    }
}

/// Why a release goes back whatever it is about to do, if it does.
fn goes_back(release: &Release, seen: &Observation) -> Option<Reason> {
    if let Some(alarm) = release.fresh_alarm() {
        return Some(Reason::AlarmFired {
            alarm: alarm.clone(),
            detail: None,
        });
    }
    if release.verdict() == Verdict::Rollback {
        return Some(Reason::Regression {
            evidence: release.evidence(),
        });
    }
    if release.current_step().is_some() && release.lasted(seen.now) > LIFE_MAX {
        return Some(Reason::NobodyCame { waited: LIFE_MAX });
    }
    if let Some(Approved { by, .. }) = answer(release, seen).filter(|a| !a.is_approved) {
        return Some(Reason::Rejected { by: by.clone() });
    }
    let settled = seen.now.duration_since(release.weight_since) > DRIFT_GRACE;
    let live = seen
        .live
        .filter(|live| settled && live.weight != release.weight)?;
    if release.plan().target.may_turn_back() && live.weight < release.weight {
        return Some(Reason::TurnedBack);
    }
    Some(Reason::Drifted {
        logged: release.weight,
        live: live.weight,
    })
}

/// What somebody decided in the pipeline about this release: not what they had decided before it
/// began, when the stage ran before.
fn answer<'a>(release: &Release, seen: &'a Observation) -> Option<&'a Approved> {
    let waits = matches!(release.current_step(), Some(Step::Approve(_)));
    let approved = seen.approval.as_ref();
    let is_up = release.candidate == Candidate::Ready;
    approved.filter(|approved| waits && is_up && approved.by.at >= release.started.at)
}

/// Puts the candidate up, and waits until it is.
fn deploy(release: &Release, seen: &Observation) -> Decision {
    let within = release.plan().ready_within;
    match (release.candidate, seen.live) {
        (Candidate::Due, _) => Decision {
            events: vec![act(release, seen.now, Effect::Deploy)],
            because: Reason::Deploying { left: within },
        },
        (Candidate::Deploying, Some(live))
            if live.candidate_ready && live.weight == release.weight =>
        {
            Decision {
                events: vec![Event::CandidateReady { at: seen.now }],
                because: Reason::Done,
            }
        }
        (Candidate::Deploying | Candidate::Ready, _) => match left(release, within, seen.now) {
            Some(left) => Decision::wait(Reason::Deploying { left }),
            None => {
                let waited = seen.now.duration_since(release.step_since);
                turn_round(release, seen.now, Reason::NotReady { waited })
            }
        },
    }
}

/// Gives the candidate more, when the target is as the log says, the candidate is all up, and no
/// freeze forbids it.
fn raise(release: &Release, weight: Weight, seen: &Observation) -> Decision {
    let now = seen.now;
    if let Some(frozen) = release.frozen(now) {
        let because = Reason::Frozen {
            until: frozen.until,
            because: frozen.because.clone(),
        };
        let is_known = release.frozen_until == Some(frozen.until);
        let event = Event::Frozen {
            at: now,
            until: frozen.until,
            because: frozen.because,
        };
        return Decision {
            events: (!is_known).then_some(event).into_iter().collect(),
            because,
        };
    }
    match seen.live {
        Some(live) if live.weight == release.weight && live.candidate_ready => Decision {
            events: vec![intend(release, now, weight)],
            because: Reason::NextWeight { weight },
        },
        Some(live) if live.weight == release.weight => {
            let waited = now.duration_since(release.step_since);
            match overdue(release, now) {
                true => turn_round(release, now, Reason::NotReady { waited }),
                false => {
                    let left = allowed(release).saturating_sub(waited);
                    Decision::wait(Reason::Deploying { left })
                }
            }
        }
        // Within the grace that drift has.
        Some(_) => Decision::wait(Reason::ReadingBack),
        None => patience(release, now, "the target"),
    }
}

/// Waits for what cannot be seen, as long as the plan has patience; then goes back.
fn patience(release: &Release, now: Timestamp, what: &str) -> Decision {
    match overdue(release, now) {
        true => turn_round(release, now, gave_up(release, what, now)),
        false => Decision::wait(unseen(release, what, now)),
    }
}

fn done(release: &Release, now: Timestamp, because: Reason) -> Decision {
    Decision {
        events: vec![Event::StepDone {
            at: now,
            step: release.step,
            because: because.clone(),
        }],
        because,
    }
}

/// Waits for probes or a function to pass so many times in a row.
fn check_step(
    release: &Release,
    in_a_row: u32,
    within: SignedDuration,
    now: Timestamp,
) -> Decision {
    let verdict = release.checked.as_ref().map(|checked| checked.verdict);
    let said = || {
        let said = release.checked.as_ref().map(|checked| checked.said.clone());
        said.unwrap_or_else(|| "it could not be asked yet".to_owned())
    };
    if release.step_passes >= in_a_row {
        return done(release, now, Reason::Passed { said: said() });
    }
    match left(release, within, now) {
        Some(left) if verdict != Some(CheckVerdict::Fail) => {
            Decision::wait(Reason::Checking { said: said(), left })
        }
        Some(_) | None => turn_round(release, now, Reason::CheckFailed { said: said() }),
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
    if release.weight == Weight::ZERO || release.weight == Weight::FULL {
        // One side has no requests, so there is nothing to compare.
        return done(release, now, Reason::Waited);
    }
    match judge_step(release, 1, now) {
        StepVerdict::Done(_) => done(release, now, Reason::Waited),
        StepVerdict::GiveUp(because) => turn_round(release, now, because),
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

/// What becomes of a step that is to see so many windows.
fn judge_step(release: &Release, needed: u32, now: Timestamp) -> StepVerdict {
    let is_overdue = overdue(release, now);
    match windows_judged(release, needed) {
        // Neither of the versions was seen, though there was time enough.
        StepVerdict::Wait(_) if release.step_windows == 0 && without_patience(release, now) => {
            let because = unseen(release, "the metrics", now);
            match release.plan().could_not_observe {
                Policy::Wait if is_overdue => StepVerdict::GiveUp(because),
                Policy::Wait => StepVerdict::Wait(because),
                Policy::Fail => StepVerdict::GiveUp(because),
                Policy::GoOn => StepVerdict::Done(because),
            }
        }
        StepVerdict::Wait(_) if is_overdue => {
            StepVerdict::GiveUp(gave_up(release, "the metrics", now))
        }
        verdict => verdict,
    }
}

fn windows_judged(release: &Release, needed: u32) -> StepVerdict {
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
            Policy::Wait => StepVerdict::Wait(Reason::Inconclusive {
                evidence: evidence(),
            }),
            Policy::GoOn => StepVerdict::Done(Reason::Inconclusive {
                evidence: evidence(),
            }),
            Policy::Fail => StepVerdict::GiveUp(Reason::TooFewRequests {
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
    now.duration_since(release.step_since) > allowed(release)
}

/// The same, were there no patience.
fn without_patience(release: &Release, now: Timestamp) -> bool {
    let allowed = allowed(release).saturating_sub(release.plan().patience);
    now.duration_since(release.step_since) > allowed
}

fn allowed(release: &Release) -> SignedDuration {
    let (windows, time) = match release.current_step() {
        Some(Step::Judge { windows }) => (*windows, SignedDuration::ZERO),
        Some(Step::Wait(time) | Step::Watch(time)) => (0, *time),
        Some(Step::Approve(Approval { within, .. })) => (0, *within),
        Some(Step::Probe(probe)) => (0, probe.within),
        Some(Step::RunCheck(check)) => (0, check.within),
        Some(Step::SetWeight(_) | Step::HeaderRoute(_)) | None => (0, SignedDuration::ZERO),
    };
    let extra = release.step_windows.saturating_sub(windows);
    let windows = windows.saturating_add(extra.min(EXTRA_WINDOWS_MAX));
    release.plan().step_time(windows).saturating_add(time)
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
    let mut events: Vec<_> = observed(release, seen).into_iter().collect();
    let mut release = release.clone();
    for event in &events {
        release.take(event);
    }
    let because = release.because.clone().unwrap_or(Reason::Over);
    let next = ended(&release, seen, Weight::ZERO, Outcome::RolledBack, because);
    events.extend(next.events);
    Decision {
        events,
        because: next.because,
    }
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
    let act = |effect, because| Decision {
        events: vec![act(release, seen.now, effect)],
        because,
    };
    if live.weight != weight {
        return match outcome {
            // It was read back when it was set: this is a late answer, or soon drift.
            Outcome::Promoted if !release.retiring => Decision::wait(Reason::ReadingBack),
            Outcome::Promoted | Outcome::RolledBack => {
                act(Effect::SetWeight(weight), Reason::NextWeight { weight })
            }
        };
    }
    if outcome == Outcome::RolledBack
        && let Some(effect) = release.company()
    {
        return act(effect, because);
    }
    if release.test_traffic {
        return act(Effect::TestTraffic(false), because);
    }
    let healthy_hosts = match outcome {
        Outcome::Promoted
            if !release.retiring && (live.candidate_healthy == 0 || !live.candidate_ready) =>
        {
            return Decision::wait(Reason::ReadingBack);
        }
        Outcome::Promoted => live.candidate_healthy,
        Outcome::RolledBack => live.stable_healthy,
    };
    match still_owed(release, seen, healthy_hosts) {
        Some(Owed::Wait(reason)) => return Decision::wait(reason),
        Some(Owed::Effect(effect)) => return act(effect, because),
        None => {}
    }
    let proof = Proof {
        weight: live.weight,
        healthy_hosts,
        candidate_requests: match outcome {
            Outcome::RolledBack if release.exposed && release.plan().target.divides() => {
                Some(release.candidate_requests)
            }
            Outcome::Promoted | Outcome::RolledBack => None,
        },
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

/// What a release whose traffic is where it belongs still owes.
enum Owed {
    Wait(Reason),
    Effect(Effect),
}

fn still_owed(release: &Release, seen: &Observation, healthy_hosts: u32) -> Option<Owed> {
    if let Some(left) = release.proving(seen.now) {
        return Some(Owed::Wait(Reason::Proving { left }));
    }
    // A candidate is left up when nothing else is.
    if release.to_retire && healthy_hosts > 0 {
        let kept = release.plan().retire_after;
        let left = kept - seen.now.duration_since(release.weight_since);
        return Some(match left > SignedDuration::ZERO && !release.retiring {
            true => Owed::Wait(Reason::Waiting { left }),
            false => Owed::Effect(Effect::Retire),
        });
    }
    let stage = release.awaits_stage()?;
    Some(match release.stage_left(seen.in_stage, seen.now) {
        Some(left) => Owed::Wait(Reason::AwaitingStage {
            stage: stage.to_string(),
            left,
        }),
        None => Owed::Effect(Effect::HoldStage),
    })
}
