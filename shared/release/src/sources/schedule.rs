//! The schedule asks for a sweep. It names no release: what it turns round is found by the time for
//! which nobody has looked after it.

use super::{OutsideEvent, RollbackRequest, SourceError};

/// The detail type of the schedule's event.
pub const SWEEP: &str = "Penstock Sweep";

/// Its source.
pub const SWEEP_SOURCE: &str = "penstock.schedule";

#[expect(
    clippy::unnecessary_wraps,
    reason = "it is one source among others, which may fail"
)]
pub(super) fn read(_: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    Ok(None)
}
