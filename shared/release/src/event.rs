//! The facts that a release is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stats::{Counts, JudgeConfig};

use crate::config::{Counting, Plan};
use crate::{By, Checked, Generation, Order, Reason, ReleaseId, Weight};

/// The two sides of a release, as the target names them (target group ARNs for a load balancer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arms {
    /// Served everything when the release began, and serves everything again after a rollback.
    pub stable: String,
    /// The new version.
    pub candidate: String,
}

/// How a release began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// When.
    pub at: Timestamp,
    /// Which release.
    pub release: ReleaseId,
    /// The pipeline execution that asked for it, when UserParameters passed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// The pipeline, when UserParameters passed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The whole plan, so that the release can be replayed without its repository.
    pub plan: Plan,
    /// Which side is which.
    pub arms: Arms,
    /// Alarms that were firing already; each is ignored until it clears once.
    pub alarms_firing: BTreeSet<String>,
    /// The digests of the images that it releases, as far as they are known: a finding in one of
    /// them may turn it round.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<String>,
    /// What people should know of it: what its target does to weights, what is missing already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The times that the metrics of slow requests count from, where the stable version's own speed
    /// before the release says so. One that is not here was not known, and is not judged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slower_than: BTreeMap<String, SignedDuration>,
    /// What its judge runs on, whatever later versions make of the plan; theirs when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeConfig>,
}

impl Started {
    /// What is counted in each window, by metric.
    pub fn counting(&self) -> Vec<(&str, Counting<'_>)> {
        self.plan.metrics.counting(&self.slower_than)
    }

    /// What the judge of this release runs on.
    pub fn judge_config(&self) -> JudgeConfig {
        let stored = self.judge.clone();
        stored.unwrap_or_else(|| self.plan.judge_config())
    }
}

/// What both arms did in one observation window, by metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The window's first instant; it lasts as long as the plan says.
    pub start: Timestamp,
    /// The counts, by metric name (`errors`).
    pub metrics: BTreeMap<String, ArmCounts>,
}

impl Window {
    /// Whether both arms had requests, by each metric that is `required`; by any, if none is.
    pub fn compares(&self, required: &BTreeSet<String>) -> bool {
        let both = |c: &ArmCounts| c.canary.count > 0 && c.baseline.count > 0;
        match required.is_empty() {
            true => self.metrics.values().any(both),
            false => required
                .iter()
                .all(|name| self.metrics.get(name).is_some_and(both)),
        }
    }
}

/// Requests and bad requests of both arms in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmCounts {
    /// The candidate's.
    pub canary: Counts,
    /// The stable version's, over the same time.
    pub baseline: Counts,
}

/// A command to the outside world. Absolute, so performing it twice is performing it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The candidate gets this share of the requests.
    SetWeight(Weight),
    /// The candidate is put up beside the stable version.
    Deploy,
    /// The side that serves nothing is taken down, once it is known which one that stays.
    Retire,
    /// The plan's test traffic goes to the candidate, or no longer.
    TestTraffic(bool),
    /// The deployments alongside are stopped, with their own rollback.
    StopAlongside,
    /// The stage of the pipeline is closed or rolled back, as the plan says.
    HoldStage,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetWeight(weight) => write!(f, "give the candidate {weight}"),
            Self::Deploy => f.write_str("put the candidate up"),
            Self::Retire => f.write_str("take the idle version down"),
            Self::TestTraffic(true) => f.write_str("send test traffic to the candidate"),
            Self::TestTraffic(false) => f.write_str("end the test traffic"),
            Self::StopAlongside => f.write_str("stop the deployments alongside"),
            Self::HoldStage => f.write_str("close or roll back the stage"),
        }
    }
}

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The candidate serves everything.
    Promoted,
    /// The stable version serves everything again.
    RolledBack,
}

/// What was read back from the target before a release was called over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The candidate's live weight.
    pub weight: Weight,
    /// Healthy hosts of the side that serves everything.
    pub healthy_hosts: u32,
    /// What the metrics said of a candidate that was turned back; absent when it never had a request,
    /// or where the target has no metrics of each side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_requests: Option<CandidateRequests>,
}

/// The candidate's requests in one window each, before and after it was turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CandidateRequests {
    /// In the last window that began before; unknown when none was seen.
    pub before: Option<u64>,
    /// In the last window that began after; unknown when none was seen.
    pub after: Option<u64>,
}

impl CandidateRequests {
    /// Whether they were seen to fall, or to be none.
    pub fn fell(&self) -> bool {
        match (self.before, self.after) {
            (_, Some(0)) => true,
            (Some(before), Some(after)) => after < before,
            (None, Some(_)) | (_, None) => false,
        }
    }
}

impl fmt::Display for CandidateRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.before, self.after) {
            (Some(before), Some(after)) if self.fell() => write!(
                f,
                "the candidate's requests fell from {before} to {after} in a window"
            ),
            (None, Some(0)) => f.write_str("the candidate has no requests any more"),
            (_, Some(after)) => write!(
                f,
                "but the candidate still had {after} requests in a window: look for sticky clients \
                 and for connections that stay open"
            ),
            (_, None) => {
                f.write_str("but no metrics have shown yet that the candidate's requests fell")
            }
        }
    }
}

/// One past fact of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The release began and holds its target.
    Started(Box<Started>),
    /// An effect was decided on; stored before anybody acts.
    Intended {
        /// When.
        at: Timestamp,
        /// Outranks every intent before it.
        generation: Generation,
        /// What shall be done.
        effect: Effect,
    },
    /// The effect of this generation was carried out and read back.
    Performed {
        /// When.
        at: Timestamp,
        /// Of the intent.
        generation: Generation,
        /// What was done.
        effect: Effect,
    },
    /// Settled windows were read from the metrics.
    Observed {
        /// When.
        at: Timestamp,
        /// In order of time; each is used once.
        windows: Vec<Window>,
    },
    /// Other alarms are firing than before.
    AlarmsChanged {
        /// When it was seen.
        at: Timestamp,
        /// Every watched alarm that is firing now.
        firing: BTreeSet<String>,
    },
    /// The candidate has come up; the steps begin.
    CandidateReady {
        /// When it was seen.
        at: Timestamp,
    },
    /// The current step's probes or function were asked.
    Checked {
        /// When.
        at: Timestamp,
        /// What they said.
        checked: Checked,
    },
    /// A freeze window holds the next weight back.
    Frozen {
        /// When it was seen.
        at: Timestamp,
        /// When it ends.
        until: Timestamp,
        /// Why there is one.
        because: String,
    },
    /// What was to be tidied up at the end could not be, and is left.
    CleanupFailed {
        /// When.
        at: Timestamp,
        /// What: the end of test traffic, taking a version down, stopping what is alongside, or
        /// holding the stage.
        effect: Effect,
        /// Why not, and what is left.
        why: String,
    },
    /// A step is done, the next one begins.
    StepDone {
        /// When.
        at: Timestamp,
        /// Counted from 0.
        step: usize,
        /// Why it may go on.
        because: Reason,
    },
    /// Somebody gave an order by hand.
    Ordered {
        /// What.
        order: Order,
        /// Who, why and when.
        by: By,
    },
    /// From here on the release only goes back.
    RollbackDecided {
        /// When.
        at: Timestamp,
        /// Why.
        because: Reason,
    },
    /// The rollback should be over by now and is not. It goes on being tried.
    RollbackStuck {
        /// When that was found.
        at: Timestamp,
        /// What stands in its way.
        why: String,
    },
    /// Nothing more will happen; the target is free.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// What the target looked like.
        proof: Proof,
    },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Started(started) => started.at,
            Self::Ordered { by, .. } => by.at,
            Self::Intended { at, .. }
            | Self::Performed { at, .. }
            | Self::Observed { at, .. }
            | Self::AlarmsChanged { at, .. }
            | Self::CandidateReady { at }
            | Self::Checked { at, .. }
            | Self::Frozen { at, .. }
            | Self::CleanupFailed { at, .. }
            | Self::StepDone { at, .. }
            | Self::RollbackDecided { at, .. }
            | Self::RollbackStuck { at, .. }
            | Self::Ended { at, .. } => *at,
        }
    }
}
