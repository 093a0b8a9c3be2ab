//! ECS gave a deployment of a service up, is rolling it back, or cannot start its tasks.

use serde::Deserialize;

use super::{OutsideEvent, RollbackRequest, SourceError};
use crate::watches;

/// Of both kinds of event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    event_name: String,
    #[serde(default)]
    reason: Option<String>,
}

/// `ECS Deployment State Change`: a deployment failed, or ECS is rolling it back. That it does so,
/// by its circuit breaker or by its alarms, only the reason tells: the event's name is that of any
/// deployment under way.
pub(super) fn deployment(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let detail: Detail = event.detail()?;
    let reason = detail.reason.unwrap_or_default();
    let is_going_back = || reason.to_ascii_lowercase().contains("rolling back");
    let how = match detail.event_name.as_str() {
        "SERVICE_DEPLOYMENT_FAILED" => "failed",
        "SERVICE_DEPLOYMENT_IN_PROGRESS" if is_going_back() => "is being rolled back by ECS",
        _ => return Ok(None), // it goes on, or is complete
    };
    request(event, "the deployment of", how, &reason).map(Some)
}

/// `ECS Service Action`: the tasks of a service fail.
///
/// Only two of its events say that waiting cannot help: tasks that fail to start again and again,
/// and a configuration that none can be started with. A shortage of room for tasks
/// (`SERVICE_TASK_PLACEMENT_FAILURE`) or of ECS's own patience (`.._THROTTLED`) passes by itself
/// and says nothing about the version; if it does not, the plan's `ready-within` and `patience`
/// turn the release round.
pub(super) fn service_action(
    event: &OutsideEvent<'_>,
) -> Result<Option<RollbackRequest>, SourceError> {
    let detail: Detail = event.detail()?;
    let how = match detail.event_name.as_str() {
        "SERVICE_TASK_START_IMPAIRED" => "cannot start its tasks",
        "SERVICE_TASK_CONFIGURATION_FAILURE" => "has a configuration that no task starts with",
        _ => return Ok(None), // steady, scaled, short of room, throttled
    };
    let reason = detail.reason.unwrap_or_default();
    request(event, "", how, &reason).map(Some)
}

/// The detail does not name the service, the event's resources do.
fn request(
    event: &OutsideEvent<'_>,
    of: &str,
    how: &str,
    reason: &str,
) -> Result<RollbackRequest, SourceError> {
    let is_service = |arn: &&String| arn.starts_with("arn:") && arn.contains(":service/");
    let arn = event.resources.iter().find(is_service);
    let arn = arn.ok_or_else(|| event.malformed("its resources name no service"))?;
    let short = arn.split_once(":service/").map_or("", |(_, name)| name);
    let reason = match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let what = format!("{of} service {short} {how}{reason}");
    let what = what.trim_start().to_owned();
    Ok(RollbackRequest::happened(
        watches::service(arn),
        event,
        what,
    ))
}
