//! Why something was decided, with the numbers, in words for a person.

use std::fmt;

use jiff::SignedDuration;
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
            Self::ReadingBack => f.write_str("reading the target back"),
            Self::Over => f.write_str("the release is over"),
        }
    }
}

fn whole_seconds(time: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(time.as_secs())
}
