//! What hears of the log's new facts.

use release::{Event, ReleaseId};
use serde_json::Value;

use crate::{Invocation, PortError, Ports};

/// A new fact of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Whose.
    pub release: ReleaseId,
    /// Its number in the log, from 1.
    pub seq: u64,
    /// What happened.
    pub event: Event,
}

/// How far a listener came with the records that it was handed.
#[derive(Debug)]
pub struct Heard {
    /// How many records, from the first on, need not be handed over again.
    pub done: usize,
    /// Why not all of them.
    pub stopped_by: Option<PortError>,
}

/// What is handed the records of the log's stream, in the stream's order and each at least once.
#[expect(
    async_fn_in_trait,
    reason = "functions run on one thread; no caller needs Send"
)]
pub trait Listener {
    /// The function's name.
    const NAME: &'static str;

    /// Does what follows from these records. Those after the first that it could not deal with are
    /// handed over again, together with that one. What they hold is for
    /// [`crate::ReleaseLog::fact`] to say.
    async fn run(&self, ports: &impl Ports, call: &Invocation, records: &[Value]) -> Heard;
}
