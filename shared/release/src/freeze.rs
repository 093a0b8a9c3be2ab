//! Times in which no weight is raised.

use jiff::Timestamp;

/// A freeze, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The first moment after it.
    pub until: Timestamp,
    /// Why there is one.
    pub because: String,
}
