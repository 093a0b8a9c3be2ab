//! What somebody may order by hand while a release is on its way up.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::Step;
use crate::{Candidate, Event, Phase, Release};

/// How long a release may be held in one go.
pub const HOLD_MAX: SignedDuration = SignedDuration::from_hours(12);

/// The longest name or reason that is kept, in characters.
const WORDS_CHARS_MAX: usize = 300;

/// An order. Going back is none: that is a rollback, which [`crate::ask_rollback`] decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Do not raise the weight, whatever the plan says. The judge and the alarms watch on.
    Hold,
    /// Go on with the plan.
    Resume,
    /// End the current wait or judge step.
    SkipWait,
    /// Let the step that waits for approval end.
    Approve,
    /// Skip all steps but the last: everything goes to the candidate now.
    Promote,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::SkipWait => "skip-wait",
            Self::Approve => "approve",
            Self::Promote => "promote",
        })
    }
}

/// Who ordered something, why and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The AWS identity.
    pub who: String,
    /// In their own words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

impl By {
    /// Somebody who gives an order now. Names and reasons are cut to 300 characters.
    pub fn new(who: &str, why: &str, at: Timestamp) -> Self {
        let cut = |text: &str| text.chars().take(WORDS_CHARS_MAX).collect();
        Self {
            who: cut(who),
            why: cut(why),
            at,
        }
    }
}

/// The event of an order that makes sense for the release as it is; else why it does not.
///
/// # Errors
/// Says what the release does instead, and what can be ordered.
pub fn take_order(release: &Release, order: Order, by: By) -> Result<Event, String> {
    let now = match release.phase {
        Phase::Shifting => None,
        Phase::RollingBack => Some("is rolling back, and never goes up again"),
        Phase::Promoted => Some("is promoted already"),
        Phase::RolledBack => Some("has been rolled back"),
    };
    if let Some(now) = now {
        return Err(format!("could not {order}: the release {now}"));
    }
    let step = release.current_step();
    let said = |what: &str| Err(format!("could not {order}: {what}"));
    match (order, step) {
        (Order::Hold, _) if release.held.is_some() => said("the release is held already"),
        (Order::Hold, None) => said("every step is done; use abort"),
        (Order::Hold, Some(_)) if release.intended.is_some() => {
            said("the release is acting on its target; try again, or use abort")
        }
        (Order::Resume, _) if release.held.is_none() => said("the release is not held"),
        (Order::SkipWait | Order::Approve, Some(_)) if release.candidate != Candidate::Ready => {
            said("the candidate is not up yet")
        }
        (Order::SkipWait, Some(Step::Approve(_))) => {
            said("the step waits for approval; use approve")
        }
        (Order::SkipWait, Some(Step::SetWeight(_) | Step::HeaderRoute(_)) | None) => {
            said("no step waits for time, windows or a check now")
        }
        (
            Order::Approve,
            Some(
                Step::SetWeight(_)
                | Step::Judge { .. }
                | Step::Wait(_)
                | Step::Watch(_)
                | Step::Probe(_)
                | Step::RunCheck(_)
                | Step::HeaderRoute(_),
            )
            | None,
        ) => said("no step waits for approval now"),
        (Order::Promote, None) => said("every step is done already"),
        (Order::Hold, Some(_))
        | (Order::Resume, _)
        | (
            Order::SkipWait,
            Some(
                Step::Judge { .. }
                | Step::Wait(_)
                | Step::Watch(_)
                | Step::Probe(_)
                | Step::RunCheck(_),
            ),
        )
        | (Order::Approve, Some(Step::Approve(_)))
        | (Order::Promote, Some(_)) => Ok(Event::Ordered { order, by }),
    }
}
