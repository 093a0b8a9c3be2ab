//! An execution of a pipeline ended badly, or a stage or an action of it did: the execution will not
//! come to its end, or whoever waited for the release has gone.
//!
//! - An execution that is stopping still serves its actions to their end, so `STOPPING` turns nothing
//!   round.
//! - `FAILED` of another action turns a release round that is still on its way up: the execution that
//!   it belongs to has failed.
//! - `FAILED` of the release's own action comes when the release is over, and then changes nothing.
//!   When it comes earlier, CodePipeline has given the action up, and nobody drives the release.

use serde::Deserialize;

use super::{HeededBy, OutsideEvent, RollbackRequest, SourceError, words};
use crate::watches;

/// As far as it is read. `version` is a number, a text or absent.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    pipeline: String,
    execution_id: String,
    state: String,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    execution_result: Option<Outcome>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Outcome {
    #[serde(default)]
    external_execution_summary: Option<String>,
    #[serde(default)]
    error_code: Option<String>,
}

pub(super) fn read(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let detail: Detail = event.detail()?;
    let failed = || match &detail.action {
        Some(action) => HeededBy::NotWaitingFor(action.clone()),
        None => HeededBy::All,
    };
    let (how, heeded_by) = match detail.state.as_str() {
        "FAILED" => ("failed", failed()),
        "STOPPED" => ("was stopped", HeededBy::Unfinished),
        "ABANDONED" => ("was abandoned", HeededBy::Unfinished),
        "CANCELED" => ("was cancelled", HeededBy::Unfinished),
        "SUPERSEDED" => ("was superseded by a newer one", HeededBy::Unfinished),
        _ => return Ok(None), // it began, goes on, succeeded, or is only asked to stop
    };
    let what = match (&detail.stage, &detail.action) {
        (Some(stage), Some(action)) => format!("action {} in stage {}", name(action), name(stage)),
        (Some(stage), None) => format!("stage {}", name(stage)),
        (None, _) => "the pipeline's execution".to_owned(),
    };
    let told = detail.execution_result.map(told).unwrap_or_default();
    let watch = watches::execution(&detail.pipeline, &detail.execution_id);
    let what = format!("{what} {how}{told}");
    Ok(Some(RollbackRequest {
        heeded_by,
        ..RollbackRequest::happened(watch, event, what)
    }))
}

/// What the action says about itself.
fn told(outcome: Outcome) -> String {
    let code = outcome.error_code.map(|code| format!(" ({})", name(&code)));
    let summary = outcome.external_execution_summary;
    let summary = summary.map(|summary| format!(": {summary}"));
    code.into_iter().chain(summary).collect()
}

/// The longest name of a pipeline, stage or action, in characters (CodePipeline's limit).
const NAME_CHARS_MAX: usize = 100;

fn name(text: &str) -> String {
    words(text).chars().take(NAME_CHARS_MAX).collect()
}
