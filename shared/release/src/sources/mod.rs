//! Outside events that can turn a release round. One file a source.

mod alarm;

use jiff::Timestamp;
use serde_json::Value;

use crate::{Phase, Reason, Release};

/// Reads one kind of event: `Ok(None)` when the event says nothing that a release must heed.
type Read = fn(&OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError>;

/// The detail type with which the schedule asks for a sweep. No release registers for it.
pub const SWEEP: &str = "Penstock Sweep";

/// The source of that event, which is of the stack's own making.
pub const SWEEP_SOURCE: &str = "penstock.schedule";

/// The detail types that are understood. One line a source.
const SOURCES: &[(&str, Read)] = &[("CloudWatch Alarm State Change", alarm::read)];

/// An EventBridge event, as far as the sources look at it.
#[derive(Debug, Clone, Copy)]
pub struct OutsideEvent<'a> {
    /// EventBridge's `detail-type`.
    pub detail_type: &'a str,
    /// EventBridge's `detail`.
    pub detail: &'a Value,
}

/// What an event asks for, and of whom.
#[derive(Debug, Clone, PartialEq)]
pub struct RollbackRequest {
    /// The name under which a release registered that this concerns it, such as `alarm:5xx`.
    pub watch: String,
    /// When what the event tells of happened.
    pub at: Timestamp,
    /// Why a release that it concerns must go back.
    pub because: Reason,
}

impl RollbackRequest {
    /// Whether this turns `release` round: it must be on its way up, and the event must tell of
    /// something that happened after it began, since events may be late.
    pub fn concerns(&self, release: &Release) -> bool {
        release.phase == Phase::Shifting && self.at >= release.started.at
    }
}

/// Why an event could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No source reads this detail type.
    #[error("could not use an event of detail-type '{0}': no source reads it")]
    UnknownDetailType(String),
    /// The detail is not what its type promises.
    #[error("could not read the detail of a '{detail_type}': {why}")]
    Malformed {
        /// The event's detail type.
        detail_type: &'static str,
        /// What is missing or wrong.
        why: String,
    },
}

/// What this event asks for, if anything.
pub fn read(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let source = SOURCES.iter().find(|(name, _)| *name == event.detail_type);
    match source {
        Some((_, read)) => read(event),
        None => Err(SourceError::UnknownDetailType(event.detail_type.to_owned())),
    }
}
