//! Somebody asks for a rollback: any tool that may put events on the bus, and knows the release, its
//! target, or the pipeline's execution.

use serde::Deserialize;

use super::{HeededBy, OutsideEvent, RollbackRequest, SourceError, words};
use crate::{Reason, ReleaseId, watches};

/// What to write.
const SHAPES: &str = "name the release as {\"release\": ID}, as {\"target\": ARN}, or as \
                      {\"pipeline\": NAME, \"execution\": ID}";

#[derive(Deserialize)]
struct Detail {
    reason: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    release: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    pipeline: Option<String>,
    #[serde(default)]
    execution: Option<String>,
}

pub(super) fn read(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let detail: Detail = event.detail()?;
    let named = (
        detail.release,
        detail.target,
        detail.pipeline,
        detail.execution,
    );
    let watch = match named {
        (Some(release), None, None, None) => {
            let id = ReleaseId::try_from(release);
            watches::release(&id.map_err(|e| event.malformed(e.to_string()))?)
        }
        (None, Some(target), None, None) => watches::target(&target),
        (None, None, Some(pipeline), Some(execution)) => watches::execution(&pipeline, &execution),
        (None, None, None, None) => return Err(event.malformed(format!("it names none; {SHAPES}"))),
        _ => return Err(event.malformed(format!("it names several, or half of one; {SHAPES}"))),
    };
    if detail.reason.trim().is_empty() {
        return Err(event.malformed("its reason is empty: say why"));
    }
    // Who it is nobody has checked, so the event's own source is told with it.
    let by = match detail.by {
        Some(by) => format!("{} ({})", words(by), words(event.source)),
        None => words(event.source),
    };
    Ok(Some(RollbackRequest {
        watches: vec![watch],
        at: event.latest(),
        because: Reason::Asked {
            why: words(detail.reason),
            by: Some(by),
        },
        heeded_by: HeededBy::All,
    }))
}
