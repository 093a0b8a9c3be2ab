//! What one look at the outside world saw.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{By, Checked, Weight, Window};

/// One look at the world. `None` means 'could not observe', which is never the same as healthy.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When.
    pub now: Timestamp,
    /// Settled windows from [`crate::Release::judged_until`] on; a window without data is absent.
    pub windows: Option<Vec<Window>>,
    /// The watched alarms that are firing.
    pub alarms: Option<BTreeSet<String>>,
    /// The target, as it is.
    pub live: Option<Live>,
    /// What the current step's probes or function say, if it has any.
    pub checked: Option<Checked>,
    /// What somebody decided in the pipeline, if the current step waits for them.
    pub approval: Option<Approved>,
    /// Whether the release's execution is still in its stage, if the release waits for its end.
    pub in_stage: Option<bool>,
}

impl Observation {
    /// A look that has seen nothing yet.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            windows: None,
            alarms: None,
            live: None,
            checked: None,
            approval: None,
            in_stage: None,
        }
    }
}

/// The target as it is, not as the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// The candidate's share of the requests.
    pub weight: Weight,
    /// Healthy hosts that serve the stable version.
    pub stable_healthy: u32,
    /// Healthy hosts that serve the candidate.
    pub candidate_healthy: u32,
    /// Whether the candidate may be given more: all of it that was asked for runs and is healthy.
    pub candidate_ready: bool,
}

/// What somebody decided in the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Whether the release may go on.
    pub is_approved: bool,
    /// Who, why and when.
    pub by: By,
}
