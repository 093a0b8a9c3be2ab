//! A deployment of CodeDeploy failed or was stopped, in a group that a release registered.

use serde::Deserialize;

use super::{OutsideEvent, RollbackRequest, SourceError};
use crate::watches;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    application: String,
    deployment_group: String,
    state: String,
    #[serde(default)]
    deployment_id: Option<String>,
}

pub(super) fn read(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let detail: Detail = event.detail()?;
    // These words are the events'; the API's differ.
    let how = match detail.state.as_str() {
        "FAILURE" => "failed",
        "STOP" => "was stopped",
        _ => return Ok(None), // it was made, waits, or succeeded
    };
    let (application, group) = (&detail.application, &detail.deployment_group);
    let is_group = |arn: &&String| arn.starts_with("arn:") && arn.contains(":deploymentgroup:");
    let arn = event.resources.iter().find(is_group);
    let arn = arn.ok_or_else(|| event.malformed("its resources name no deployment group"))?;
    let id = detail.deployment_id.as_deref().unwrap_or("of unknown id");
    let what = format!("deployment {id} of {application}/{group} {how}");
    let watch = watches::deployment_group(arn);
    Ok(Some(RollbackRequest::happened(watch, event, what)))
}
