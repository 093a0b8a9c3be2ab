//! What happened apart from windows, why, and who did it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    By, CheckVerdict, Checked, Effect, Event, Generation, Order, Outcome, Phase, Proof, Reason,
    Release, Weight,
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// Why, where there was a choice.
    pub because: Option<Reason>,
    /// Who decided it, or saw it.
    pub who: Who,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// The release began and took its target.
    Began {
        /// The pipeline execution that asked for it, when it is known.
        execution: Option<String>,
        /// Alarms that were firing already, each ignored until it clears.
        alarms_firing: BTreeSet<String>,
    },
    /// The candidate was to get another weight.
    Weight {
        /// Which.
        weight: Weight,
        /// Outranks every weight before it.
        generation: Generation,
        /// When the target had it, read back; `None` when it has not, as far as the log knows.
        performed: Option<Timestamp>,
    },
    /// Something else was to be done.
    Act {
        /// What.
        effect: Effect,
        /// Outranks everything before it.
        generation: Generation,
        /// When it was done; `None` when it was not, as far as the log knows.
        performed: Option<Timestamp>,
    },
    /// The candidate had come up.
    CandidateReady,
    /// The step's probes or function had an answer.
    Checked {
        /// What they said.
        checked: Checked,
    },
    /// A freeze window held the next weight back.
    Frozen {
        /// When it ended.
        until: Timestamp,
        /// Why there was one.
        because: String,
    },
    /// What was to be tidied up was left.
    CleanupFailed {
        /// What was to be done.
        effect: Effect,
        /// Why it could not be.
        why: String,
    },
    /// Other alarms were firing than before.
    Alarms {
        /// Those that began to.
        fired: BTreeSet<String>,
        /// Those that ceased to.
        cleared: BTreeSet<String>,
    },
    /// A judge step was done.
    StepDone {
        /// Counted from 0.
        step: usize,
    },
    /// Somebody gave an order by hand.
    Ordered {
        /// What.
        order: Order,
        /// Who, why and when.
        by: By,
    },
    /// From here on the release only went back.
    RollbackDecided,
    /// The rollback should have been over and was not.
    RollbackStuck {
        /// What stood in its way.
        why: String,
    },
    /// It was over.
    Ended {
        /// How.
        outcome: Outcome,
        /// What the target looked like.
        proof: Proof,
    },
}

/// Who decided something, or saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The pipeline, by running the action.
    Pipeline,
    /// The plan in `penstock.yaml`.
    Plan,
    /// The judge, by its evidence.
    Judge,
    /// A CloudWatch alarm.
    Alarm,
    /// Something outside: the pipeline's execution, a deployment, a scanner.
    Outside,
    /// Somebody, by hand.
    Somebody,
    /// Penstock itself: it could not go on, or it read the target back.
    Penstock,
}

impl Who {
    /// Whom a reason names.
    pub fn by(reason: &Reason) -> Self {
        match reason {
            Reason::NextWeight { .. }
            | Reason::Watching { .. }
            | Reason::Inconclusive { .. }
            | Reason::EveryStepDone
            | Reason::Waiting { .. }
            | Reason::Waited
            | Reason::AwaitingApproval { .. }
            | Reason::NobodyCame { .. }
            | Reason::Deploying { .. }
            | Reason::Done
            | Reason::Frozen { .. }
            | Reason::Checking { .. }
            | Reason::Passed { .. }
            | Reason::CheckFailed { .. }
            | Reason::TooFewRequests { .. } => Self::Plan,
            Reason::Holding { .. }
            | Reason::StepJudged { .. }
            | Reason::EarlyPromotion { .. }
            | Reason::Regression { .. } => Self::Judge,
            Reason::AlarmFired { .. } => Self::Alarm,
            Reason::Happened { .. } => Self::Outside,
            Reason::Asked { .. } | Reason::Held { .. } | Reason::Rejected { .. } => Self::Somebody,
            Reason::Abandoned { .. }
            | Reason::Proving { .. }
            | Reason::Stuck { .. }
            | Reason::NotReady { .. }
            | Reason::Drifted { .. }
            | Reason::TurnedBack
            | Reason::CouldNotObserve { .. }
            | Reason::AwaitingStage { .. }
            | Reason::ReadingBack
            | Reason::Over => Self::Penstock,
        }
    }
}

/// What an event tells, given the alarms that fired `before` it, unless it is the first, and the
/// release `after` it. Windows are told apart, and that a weight was performed is told with the
/// weight.
pub(super) fn of(
    event: &Event,
    before: Option<&BTreeSet<String>>,
    after: &Release,
) -> Option<Moment> {
    let (what, because, who) = match event {
        Event::Observed { .. } | Event::Performed { .. } => return None,
        Event::Started(_) if before.is_some() => return None, // a release begins once
        Event::Started(started) => {
            let what = What::Began {
                execution: started.execution.clone(),
                alarms_firing: started.alarms_firing.clone(),
            };
            (what, None, Who::Pipeline)
        }
        Event::Intended {
            generation, effect, ..
        } => {
            let (effect, generation) = (*effect, *generation);
            let because = why_intended(after, effect);
            let who = Who::by(&because);
            let what = match effect {
                Effect::SetWeight(weight) => What::Weight {
                    weight,
                    generation,
                    performed: None,
                },
                Effect::Deploy
                | Effect::Retire
                | Effect::TestTraffic(_)
                | Effect::StopAlongside
                | Effect::HoldStage => What::Act {
                    effect,
                    generation,
                    performed: None,
                },
            };
            (what, Some(because), who)
        }
        Event::AlarmsChanged { firing, .. } => {
            let were = before.cloned().unwrap_or_default();
            let what = What::Alarms {
                fired: firing.difference(&were).cloned().collect(),
                cleared: were.difference(firing).cloned().collect(),
            };
            (what, None, Who::Alarm)
        }
        Event::CandidateReady { .. } => (What::CandidateReady, None, Who::Penstock),
        // Told once it means something.
        Event::Checked { checked, .. } if checked.verdict == CheckVerdict::Wait => return None,
        Event::Checked { checked, .. } => {
            let checked = checked.clone();
            (What::Checked { checked }, None, Who::Penstock)
        }
        Event::Frozen { until, because, .. } => {
            let (until, because) = (*until, because.clone());
            (What::Frozen { until, because }, None, Who::Plan)
        }
        Event::CleanupFailed { effect, why, .. } => {
            let (effect, why) = (*effect, why.clone());
            (What::CleanupFailed { effect, why }, None, Who::Penstock)
        }
        Event::StepDone { step, because, .. } => {
            let what = What::StepDone { step: *step };
            (what, Some(because.clone()), Who::by(because))
        }
        Event::Ordered { order, by } => {
            let (order, by) = (*order, by.clone());
            (What::Ordered { order, by }, None, Who::Somebody)
        }
        Event::RollbackDecided { because, .. } => (
            What::RollbackDecided,
            Some(because.clone()),
            Who::by(because),
        ),
        Event::RollbackStuck { why, .. } => {
            let why = why.clone();
            (What::RollbackStuck { why }, None, Who::Penstock)
        }
        Event::Ended { outcome, proof, .. } => {
            let what = What::Ended {
                outcome: *outcome,
                proof: *proof,
            };
            (what, Some(why_ended(after, *outcome)), Who::Penstock)
        }
    };
    Some(Moment {
        at: event.at(),
        what,
        because,
        who,
    })
}

/// The log stores no reason with an intent: the phase says which one it is.
fn why_intended(release: &Release, effect: Effect) -> Reason {
    match (release.phase, &release.because) {
        (Phase::RollingBack | Phase::RolledBack, Some(because)) => because.clone(),
        (
            Phase::Shifting | Phase::Promoted | Phase::RollingBack | Phase::RolledBack,
            Some(_) | None,
        ) => match effect {
            Effect::SetWeight(weight) => Reason::NextWeight { weight },
            Effect::Retire => Reason::EveryStepDone,
            Effect::Deploy | Effect::TestTraffic(_) | Effect::StopAlongside | Effect::HoldStage => {
                Reason::Done
            }
        },
    }
}

fn why_ended(release: &Release, outcome: Outcome) -> Reason {
    match (outcome, &release.because) {
        (Outcome::RolledBack, Some(because)) => because.clone(),
        (Outcome::Promoted | Outcome::RolledBack, Some(_) | None) => Reason::EveryStepDone,
    }
}
