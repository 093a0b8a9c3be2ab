//! Looks after releases that nobody else does.
//!
//! A release is driven by its pipeline's jobs. One whose pipeline has gone quiet, or whose rollback was
//! decided by a run that died, is found here: every active release has an item that says until when
//! it is to be left alone, and whoever looks after it moves that time.

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use release::{Head, Release, SWEEP_PAUSE, ask_rollback};

use crate::drive::{drive, drive_after};
use crate::{Class, Driven, Due, Invocation, PortError, Ports};

/// The most releases that one run looks after. Those that are left over are the next run's, which
/// finds them first.
pub const SWEEP_PAGE: usize = 200;
/// How many of them at once.
const SIDE_BY_SIDE: usize = 16;
/// A release that is begun with in the end of a run would be cut off: it is left to the next one.
const TIME_FOR_ONE: SignedDuration = SignedDuration::from_secs(20);

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Releases that nobody looked after.
    pub due: usize,
    /// Of those, the ones that were driven as far as they go now.
    pub driven: usize,
    /// Those that another run was faster with, or is at work on.
    pub busy: usize,
    /// Those that could not be driven; the log says why, and the next sweep tries again.
    pub failed: usize,
    /// Those for which there was no time; the next sweep begins with them.
    pub left: usize,
}

/// Drives every release that nobody looks after, up to [`SWEEP_PAGE`] of them. What one of them meets
/// does not keep the others waiting.
pub async fn sweep(ports: &impl Ports, call: &Invocation) -> Result<Swept, PortError> {
    let due = ports.due(ports.now(), SWEEP_PAGE).await?;
    let mut swept = Swept {
        due: due.len(),
        ..Swept::default()
    };
    let mut runs = stream::iter(&due)
        .map(async |due| (&due.id, look_after(ports, call, due).await))
        .buffer_unordered(SIDE_BY_SIDE);
    while let Some((release, outcome)) = runs.next().await {
        match outcome {
            Ok(Looked::Driven(driven)) => {
                let (phase, because) = (driven.release.phase, driven.because);
                tracing::info!(%release, ?phase, %because, "looked after");
                swept.driven += 1;
            }
            Ok(Looked::Busy) => swept.busy += 1,
            Ok(Looked::Late) => swept.left += 1,
            Err(error) if error.class == Class::Conflict => swept.busy += 1,
            Err(error) => {
                tracing::error!(%release, %error, "could not look after a release");
                swept.failed += 1;
            }
        }
    }
    Ok(swept)
}

enum Looked {
    Driven(Box<Driven>),
    Busy,
    Late,
}

async fn look_after(ports: &impl Ports, call: &Invocation, due: &Due) -> Result<Looked, PortError> {
    if call.time_left(ports) < TIME_FOR_ONE {
        return Ok(Looked::Late);
    }
    let Some(asked) = ports.take_due(due, ports.now() + SWEEP_PAUSE).await? else {
        return Ok(Looked::Busy);
    };
    let head: Head<Option<Release>> = ports.load(&due.id).await?;
    let now = ports.now();
    let turned = head.state.as_ref().and_then(|release| {
        let because = release.abandoned(asked, now)?;
        Some(ask_rollback(release, now, because))
    });
    let driven = match turned.filter(|events| !events.is_empty()) {
        // Somebody who was faster looks after it: this one only goes on from there.
        Some(events) => drive_after(ports, call, &due.id, &head, &events).await?,
        None => drive(ports, call, &due.id, head).await?,
    };
    Ok(Looked::Driven(Box::new(driven)))
}
