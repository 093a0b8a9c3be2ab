//! What the judge says after a window.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the evidence so far says about a release.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to report: go on as planned.
    Continue,
    /// Suspicious: do not raise the weight, look again.
    Hold,
    /// Clearly good enough: the rest of the current step may be skipped.
    Promote,
    /// Worse, beyond the doubt that `alpha` allows. This verdict never changes back.
    Rollback,
    /// Too few requests to notice even a large regression.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Continue => "continue",
            Self::Hold => "hold",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Inconclusive => "inconclusive",
        })
    }
}
