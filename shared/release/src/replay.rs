//! The same facts under another plan: what would have been decided, and where the two part.
//!
//! The facts of a log (windows, alarms, what was done from outside) are shown again, in time, to a
//! release that began in the same way under another plan, and [`decide`](crate::decide()) decides as
//! it would have. Until the two part, this is what would have happened. From there on it is what the
//! other plan makes of requests that were served at the recorded weights: with more or fewer of them
//! it might have decided a little earlier or later.
//!
//! The target, the arms, and how windows are cut and settled stay those of the log.

mod look;
mod words;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use stats::Verdict;

use crate::account::Requests;
use crate::config::Plan;
use crate::{
    By, Effect, Event, Order, Outcome, Phase, Reason, Release, Started, Story, Weight, Window,
    ask_rollback, take_order,
};

use look::{Seen, decide_on};

/// What the recorded plan and another one make of the same facts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// The release as it was.
    pub recorded: Course,
    /// The release as it would have been.
    pub other: Course,
    /// Where they part for the first time; `None` when they decide the same.
    pub parted: Option<Parting>,
    /// What each made of every window, in order of time.
    pub windows: Vec<Compared>,
    /// When the log ends.
    pub until: Timestamp,
}

/// How a release went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Where it stands at the end of the log.
    pub phase: Phase,
    /// When it was promoted or turned round; `None` while neither.
    pub decided: Option<Timestamp>,
    /// The candidate's weight at that moment; the last one while there is none.
    pub weight: Weight,
    /// Why it was turned round.
    pub because: Option<Reason>,
    /// The candidate's requests in the windows that it had judged by then.
    pub candidate_requests: u64,
    /// The judge's sentence at the end.
    pub evidence: String,
}

/// The first moment at which the two do not decide the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parting {
    /// When.
    pub at: Timestamp,
    /// What was done, and why.
    pub recorded: Turn,
    /// What would have been done, and why.
    pub other: Turn,
}

/// What is decided at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turn {
    /// In order; nothing while it waits.
    pub moves: Vec<Move>,
    /// Why these, or why none.
    pub because: Reason,
}

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// This is to be done.
    Act(Effect),
    /// This step, counted from 0, is done.
    StepDone(usize),
    /// From here on it goes back.
    RollBack,
    /// It is over.
    End(Outcome),
}

/// What each made of one window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The window's first instant.
    pub start: Timestamp,
    /// When it was judged.
    pub at: Timestamp,
    /// As it was. `None` when the window came after its end.
    pub recorded: Option<View>,
    /// As it would have been.
    pub other: Option<View>,
}

/// What a release made of one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct View {
    /// The candidate's weight when the window began: for the other plan, what it would have been.
    pub weight: Weight,
    /// ln E of all metrics together.
    pub log_e: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// Why there is nothing to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("could not replay the log: it does not begin with the beginning of a release")]
pub struct NoBeginning;

impl Replay {
    /// Shows the facts of a log to `plan`.
    ///
    /// # Errors
    /// When the log does not begin with [`Event::Started`].
    pub fn of(events: &[Event], plan: &Plan) -> Result<Self, NoBeginning> {
        let Some((Event::Started(started), rest)) = events.split_first() else {
            return Err(NoBeginning);
        };
        let mut replaying = Replaying {
            recorded: Side::begin((**started).clone()),
            other: Side::begin(under(started, plan)),
            parted: None,
            windows: Vec::new(),
        };
        let mut rest = rest;
        while let Some((first, after)) = rest.split_first() {
            rest = match first {
                Event::Started(_) => after, // a release begins once
                Event::Performed { .. }
                | Event::CleanupFailed { .. }
                | Event::RollbackStuck { .. } => {
                    replaying.perform(first);
                    after
                }
                Event::Ordered { order, by } => {
                    replaying.order(first, *order, by);
                    after
                }
                Event::Intended { .. }
                | Event::Observed { .. }
                | Event::AlarmsChanged { .. }
                | Event::CandidateReady { .. }
                | Event::Checked { .. }
                | Event::Frozen { .. }
                | Event::StepDone { .. }
                | Event::RollbackDecided { .. }
                | Event::Ended { .. } => {
                    let (run, after) = rest.split_at(look::run(rest));
                    replaying.look(run);
                    after
                }
            };
        }
        let until = events.iter().map(Event::at).max().unwrap_or(started.at);
        Ok(Self {
            recorded: replaying.recorded.course(),
            other: replaying.other.course(),
            parted: replaying.parted,
            windows: replaying.windows,
            until,
        })
    }

    /// Windows of which the two made something else: another verdict, or one of them none.
    pub fn verdicts_apart(&self) -> usize {
        let verdict = |view: &Option<View>| view.map(|view| view.verdict);
        let apart = |w: &&Compared| verdict(&w.recorded) != verdict(&w.other);
        self.windows.iter().filter(apart).count()
    }
}

/// How the release would have begun under this plan.
fn under(started: &Started, plan: &Plan) -> Started {
    let recorded = &started.plan;
    Started {
        plan: Plan {
            target: recorded.target.clone(),
            window: recorded.window,
            settle: recorded.settle,
            ..plan.clone()
        },
        alarms_firing: watched(plan, &started.alarms_firing),
        judge: match plan == recorded {
            true => started.judge.clone(),
            false => None,
        },
        ..started.clone()
    }
}

/// Of these alarms, those that the plan watches.
fn watched(plan: &Plan, firing: &BTreeSet<String>) -> BTreeSet<String> {
    let watched = firing.iter().filter(|name| plan.alarms.contains(name));
    watched.cloned().collect()
}

struct Replaying {
    recorded: Side,
    other: Side,
    parted: Option<Parting>,
    windows: Vec<Compared>,
}

impl Replaying {
    /// While they agree, what is performed is performed at the same time for both.
    fn perform(&mut self, event: &Event) {
        self.recorded.apply(event);
        if self.parted.is_none() {
            self.other.apply(event);
        }
    }

    /// What somebody ordered by hand, where it makes sense for the other one as well.
    fn order(&mut self, event: &Event, order: Order, by: &By) {
        self.recorded.apply(event);
        if let Ok(event) = take_order(&self.other.release, order, by.clone()) {
            self.other.apply(&event);
        }
    }

    /// One look at the world, which led to these events.
    fn look(&mut self, run: &[Event]) {
        let Some(at) = run.first().map(Event::at) else {
            return;
        };
        let seen = Seen::by(&self.recorded.release, run);
        self.compare_windows(at, &seen.windows);
        let turn = self.other_turn(&seen, run);
        run.iter().for_each(|event| self.recorded.apply(event));
        if self.parted.is_none() {
            let recorded = Turn {
                moves: moves(run),
                because: seen.because.clone(),
            };
            if recorded.moves != turn.moves {
                let other = turn;
                self.parted = Some(Parting {
                    at,
                    recorded,
                    other,
                });
            }
        }
        if self.parted.is_some() {
            self.other.go_on(&seen);
        }
    }

    /// What the other one does: by itself, and when somebody outside turned the release round.
    fn other_turn(&mut self, seen: &Seen, run: &[Event]) -> Turn {
        let rounds = match self.parted {
            None => seen.rounds,
            Some(_) => look::ROUNDS_MAX,
        };
        let asked = seen.asked_outside(run);
        // Whoever asks from outside asks, and does not look.
        let rounds = match asked.is_some() && seen.is_empty() {
            true => 0,
            false => rounds,
        };
        let (mut events, mut because) = decide_on(&self.other.release, seen, rounds);
        events.iter().for_each(|event| self.other.apply(event));
        if let Some(why) = asked
            && heeds(&self.other.release, &why)
        {
            let asked = ask_rollback(&self.other.release, seen.at, why.clone());
            asked.iter().for_each(|event| self.other.apply(event));
            events.extend(asked);
            because = why;
        }
        Turn {
            moves: moves(&events),
            because,
        }
    }

    fn compare_windows(&mut self, at: Timestamp, windows: &[Window]) {
        let views = [&self.recorded, &self.other].map(|side| side.views(at, windows));
        let [recorded, other] = views;
        let each = windows.iter().zip(recorded).zip(other);
        let each = each.filter(|((_, recorded), other)| recorded.is_some() || other.is_some());
        self.windows
            .extend(each.map(|((window, recorded), other)| Compared {
                start: window.start,
                at,
                recorded,
                other,
            }));
    }
}

/// Whether a release is turned round for this reason: an alarm concerns those who watch it.
fn heeds(release: &Release, because: &Reason) -> bool {
    match because {
        Reason::AlarmFired { alarm, .. } => release.plan().alarms.contains(alarm),
        Reason::Happened { .. }
        | Reason::Abandoned { .. }
        | Reason::Stuck { .. }
        | Reason::Asked { .. }
        | Reason::Rejected { .. } => true,
        Reason::NextWeight { .. }
        | Reason::Watching { .. }
        | Reason::Holding { .. }
        | Reason::Inconclusive { .. }
        | Reason::StepJudged { .. }
        | Reason::EarlyPromotion { .. }
        | Reason::EveryStepDone
        | Reason::Regression { .. }
        | Reason::Waiting { .. }
        | Reason::Waited
        | Reason::AwaitingApproval { .. }
        | Reason::NobodyCame { .. }
        | Reason::Held { .. }
        | Reason::Deploying { .. }
        | Reason::NotReady { .. }
        | Reason::Done
        | Reason::Drifted { .. }
        | Reason::TurnedBack
        | Reason::Frozen { .. }
        | Reason::Checking { .. }
        | Reason::Passed { .. }
        | Reason::CheckFailed { .. }
        | Reason::CouldNotObserve { .. }
        | Reason::TooFewRequests { .. }
        | Reason::Proving { .. }
        | Reason::AwaitingStage { .. }
        | Reason::ReadingBack
        | Reason::Over => false,
    }
}

fn moves(events: &[Event]) -> Vec<Move> {
    let moves = events.iter().filter_map(|event| match event {
        Event::Intended { effect, .. } => Some(Move::Act(*effect)),
        Event::StepDone { step, .. } => Some(Move::StepDone(*step)),
        Event::RollbackDecided { .. } => Some(Move::RollBack),
        Event::Ended { outcome, .. } => Some(Move::End(*outcome)),
        Event::Started(_)
        | Event::Performed { .. }
        | Event::Observed { .. }
        | Event::CandidateReady { .. }
        | Event::CleanupFailed { .. }
        | Event::RollbackStuck { .. }
        | Event::Checked { .. }
        | Event::Frozen { .. }
        | Event::Ordered { .. }
        | Event::AlarmsChanged { .. } => None,
    });
    moves.collect()
}

/// One of the two.
struct Side {
    release: Release,
    /// The weights that it had, in order.
    weights: Vec<(Timestamp, Weight)>,
    /// When it was promoted or turned round, and at which weight.
    decided: Option<(Timestamp, Weight)>,
    candidate_requests: u64,
}

impl Side {
    fn begin(started: Started) -> Self {
        Self {
            release: Release::begin(started),
            weights: Vec::new(),
            decided: None,
            candidate_requests: 0,
        }
    }

    fn apply(&mut self, event: &Event) {
        let before = (self.release.weight, self.release.judged_until);
        let mut story = Some(self.release.clone());
        story.apply(event);
        if let Some(after) = story {
            self.release = after;
        }
        match event {
            Event::Performed {
                at,
                effect: Effect::SetWeight(_),
                ..
            } => self.weights.push((*at, self.release.weight)),
            Event::RollbackDecided { at, .. } => self.decided = Some((*at, before.0)),
            Event::Ended { at, .. } => {
                self.decided.get_or_insert((*at, self.release.weight));
            }
            Event::Observed { windows, .. } if self.decided.is_none() => {
                let fresh = windows.iter().filter(|window| window.start >= before.1);
                let seen = fresh.map(|window| Requests::of(window).candidate);
                self.candidate_requests = seen.fold(self.candidate_requests, u64::saturating_add);
            }
            Event::Observed { .. }
            | Event::Performed { .. }
            | Event::Started(_)
            | Event::Intended { .. }
            | Event::AlarmsChanged { .. }
            | Event::Ordered { .. }
            | Event::CandidateReady { .. }
            | Event::CleanupFailed { .. }
            | Event::RollbackStuck { .. }
            | Event::Checked { .. }
            | Event::Frozen { .. }
            | Event::StepDone { .. } => {}
        }
    }

    /// What it makes of each window, one after the other; nothing once it no longer looks at them.
    fn views(&self, at: Timestamp, windows: &[Window]) -> Vec<Option<View>> {
        let mut story = Some(self.release.clone());
        let views = windows.iter().map(|window| {
            let judged_until = story.as_ref()?.judged_until;
            story.apply(&Event::Observed {
                at,
                windows: vec![window.clone()],
            });
            let release = story.as_ref()?;
            let is_used = release.judged_until != judged_until;
            (is_used && release.phase == Phase::Shifting).then(|| View {
                weight: self.weight_at(window.start),
                log_e: release.judge.log_e(&release.judge_config()),
                verdict: release.verdict(),
            })
        });
        views.collect()
    }

    fn weight_at(&self, start: Timestamp) -> Weight {
        let since = self.weights.iter().rev().find(|(at, _)| *at <= start);
        since.map_or(Weight::ZERO, |(_, weight)| *weight)
    }

    /// On its own: what it intends is performed at once, and what follows is decided on the same
    /// look, but for the windows, which have been judged.
    fn go_on(&mut self, seen: &Seen) {
        for _ in 0..look::ROUNDS_MAX {
            if let Some(effect) = self.release.intended {
                let (at, generation) = (seen.at, self.release.generation);
                self.apply(&Event::Performed {
                    at,
                    generation,
                    effect,
                });
            }
            let (events, _) = decide_on(&self.release, seen, look::ROUNDS_MAX);
            if events.is_empty() {
                return;
            }
            events.iter().for_each(|event| self.apply(event));
        }
    }

    fn course(self) -> Course {
        let release = self.release;
        Course {
            phase: release.phase,
            decided: self.decided.map(|(at, _)| at),
            weight: self.decided.map_or(release.weight, |(_, weight)| weight),
            candidate_requests: self.candidate_requests,
            evidence: release.evidence(),
            because: release.because,
        }
    }
}
