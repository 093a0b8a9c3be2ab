//! Why something was decided, with the numbers, in words for a person.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{By, Weight};

/// Why a decision was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// The plan's next weight is due.
    NextWeight {
        /// The weight.
        weight: Weight,
    },
    /// A judge step needs more windows.
    Watching {
        /// Windows with requests in both arms so far.
        seen: u32,
        /// Windows the step asks for.
        needed: u32,
    },
    /// A step lets time pass.
    Waiting {
        /// How long it still lasts.
        left: SignedDuration,
    },
    /// A wait step is over.
    Waited,
    /// A step waits for somebody to approve.
    AwaitingApproval {
        /// How long it still waits.
        left: SignedDuration,
    },
    /// Nobody approved, or nobody resumed, in time.
    NobodyCame {
        /// How long it waited.
        waited: SignedDuration,
    },
    /// Somebody holds the release.
    Held {
        /// Who, why and since when.
        by: By,
    },
    /// The evidence is suspicious: look again before raising the weight.
    Holding {
        /// The judge's sentence.
        evidence: String,
    },
    /// Too few requests to tell; waiting for more.
    Inconclusive {
        /// The judge's sentence.
        evidence: String,
    },
    /// The step's windows were judged and nothing speaks against the candidate.
    StepJudged {
        /// The judge's sentence.
        evidence: String,
    },
    /// The candidate is shown to be no worse than the margin before the step's time is over.
    EarlyPromotion {
        /// The judge's sentence.
        evidence: String,
    },
    /// The plan is through.
    EveryStepDone,
    /// The candidate fails more often than the stable version.
    Regression {
        /// The judge's sentence.
        evidence: String,
    },
    /// An alarm fired that was not firing when the release began.
    AlarmFired {
        /// Its name.
        alarm: String,
        /// What CloudWatch says about it, if it said anything.
        detail: Option<String>,
    },
    /// Something happened outside that speaks against going on: the pipeline's execution ended, a
    /// deployment failed, a vulnerability was found.
    Happened {
        /// What, in words.
        what: String,
    },
    /// Its pipeline has not asked for it any more: it was abandoned or stopped, or it timed out.
    Abandoned {
        /// For how long.
        quiet: SignedDuration,
    },
    /// The release could not go on.
    Stuck {
        /// What could not be done.
        why: String,
    },
    /// Somebody asked for it.
    Asked {
        /// In their own words.
        why: String,
        /// Their AWS identity, when it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// What decides could not be seen.
    CouldNotObserve {
        /// What: the metrics, the alarms, a healthy host.
        what: String,
        /// How long the step lasted.
        waited: SignedDuration,
    },
    /// The step stayed inconclusive for too long, or at all where the policy is to fail.
    TooFewRequests {
        /// How long the step lasted.
        waited: SignedDuration,
        /// The judge's sentence.
        evidence: String,
    },
    /// The candidate is being put up.
    Deploying {
        /// How long it may still take.
        left: SignedDuration,
    },
    /// The candidate has not come up in time, or is no longer all up.
    NotReady {
        /// How long it was waited for.
        waited: SignedDuration,
    },
    /// The candidate is up, or the test traffic is on: the step that asked for it is done.
    Done,
    /// Somebody else has moved the target.
    Drifted {
        /// The candidate's weight by the log.
        logged: Weight,
        /// The candidate's live weight.
        live: Weight,
    },
    /// The target has put the stable version back by itself.
    TurnedBack,
    /// A freeze window holds the weight.
    Frozen {
        /// When it ends.
        until: Timestamp,
        /// Why there is one.
        because: String,
    },
    /// The step's probes or function have not passed yet.
    Checking {
        /// What they said last.
        said: String,
        /// How long they still may take.
        left: SignedDuration,
    },
    /// The step's probes or function have passed.
    Passed {
        /// What they said.
        said: String,
    },
    /// The step's probes or function have failed, or have not passed in time.
    CheckFailed {
        /// What they said last.
        said: String,
    },
    /// Somebody refused to approve.
    Rejected {
        /// Who and why.
        by: By,
    },
    /// The stable version has everything again; the metrics are to show it.
    Proving {
        /// For how long they are waited for at most.
        left: SignedDuration,
    },
    /// The stable version has everything back; the stage is rolled back once it has ended.
    AwaitingStage {
        /// Which, in words.
        stage: String,
        /// How long it is still waited for.
        left: SignedDuration,
    },
    /// The weight is set; the target is being read back.
    ReadingBack,
    /// The release is over.
    Over,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextWeight { weight } => write!(f, "the next weight is {weight}"),
            Self::Watching { seen, needed } => write!(f, "watched {seen} of {needed} windows"),
            Self::Waiting { left } => write!(f, "waiting for another {:#}", whole_seconds(*left)),
            Self::Waited => f.write_str("its time is over"),
            Self::AwaitingApproval { left } => write!(
                f,
                "waiting for approval for another {:#}: penstock approve",
                whole_seconds(*left)
            ),
            Self::NobodyCame { waited } => {
                write!(f, "nobody decided within {:#}", whole_seconds(*waited))
            }
            Self::Held { by } => write!(f, "held by {}: {}", by.who, by.why),
            Self::Holding { evidence } => write!(f, "holding the weight: {evidence}"),
            Self::Inconclusive { evidence } => write!(f, "too few requests to tell: {evidence}"),
            Self::StepJudged { evidence } => write!(f, "nothing speaks against it: {evidence}"),
            Self::EarlyPromotion { evidence } => write!(f, "shown to be no worse: {evidence}"),
            Self::EveryStepDone => f.write_str("every step is done"),
            Self::Regression { evidence } => write!(f, "the candidate is worse: {evidence}"),
            Self::AlarmFired { alarm, detail } => {
                write!(f, "alarm '{alarm}' fired")?;
                match detail {
                    Some(detail) => write!(f, ": {detail}"),
                    None => Ok(()),
                }
            }
            Self::Happened { what } => f.write_str(what),
            Self::Abandoned { quiet } => write!(
                f,
                "its pipeline has not asked for it for {:#}: the action was abandoned, stopped or \
                 timed out",
                whole_seconds(*quiet)
            ),
            Self::Stuck { why } => f.write_str(why),
            Self::Asked { why, by } => {
                let by = by.as_deref().unwrap_or("somebody");
                write!(f, "{by} asked for it: {why}")
            }
            Self::CouldNotObserve { what, waited } => write!(
                f,
                "could not observe {what} for {:#}: check that the target has traffic, that its \
                 metrics and alarms are in CloudWatch, and that the function's role may read them",
                whole_seconds(*waited)
            ),
            Self::TooFewRequests { waited, evidence } => write!(
                f,
                "too few requests to judge after {:#}: {evidence}; raise the weight or \
                 `patience`, or set `inconclusive: go-on`",
                whole_seconds(*waited)
            ),
            Self::Deploying { left } => write!(
                f,
                "the candidate is coming up; it may take another {:#}",
                whole_seconds(*left)
            ),
            Self::NotReady { waited } => write!(
                f,
                "the candidate is not up and healthy after {:#}: look at its tasks' and targets' \
                 reasons, or raise `ready-within` or `patience`",
                whole_seconds(*waited)
            ),
            Self::Done => f.write_str("it is done"),
            Self::Drifted { logged, live } => write!(
                f,
                "somebody else has moved the target: the candidate has {live} where this release \
                 set {logged}; let nothing else write its weights during a release"
            ),
            Self::TurnedBack => f.write_str(
                "the target has put the stable version back by itself, as ECS's circuit breaker does: \
                 look at the service's events",
            ),
            Self::Frozen { until, because } => {
                write!(f, "frozen until {until:.0}: {because}")
            }
            Self::Checking { said, left } => {
                write!(f, "checking for another {:#}: {said}", whole_seconds(*left))
            }
            Self::Passed { said } => write!(f, "the check passed: {said}"),
            Self::CheckFailed { said } => write!(f, "the check failed: {said}"),
            Self::Rejected { by } => write!(f, "{} refused to approve: {}", by.who, by.why),
            Self::Proving { left } => write!(
                f,
                "the stable version has every request again; waiting up to {:#} for metrics that \
                 show it",
                whole_seconds(*left)
            ),
            Self::AwaitingStage { stage, left } => write!(
                f,
                "{stage} is rolled back once it has ended, if it does within {:#}",
                whole_seconds(*left)
            ),
            Self::ReadingBack => f.write_str("reading the target back"),
            Self::Over => f.write_str("the release is over"),
        }
    }
}

fn whole_seconds(time: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(time.as_secs())
}
