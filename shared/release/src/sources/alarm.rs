//! A CloudWatch alarm changed its state. Metric, composite and metric-math alarms look alike here:
//! only the name, the state and its time are read.

use jiff::Timestamp;
use jiff::fmt::strtime;
use serde::Deserialize;

use super::{HeededBy, OutsideEvent, RollbackRequest, SourceError, words};
use crate::{Reason, watches};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    alarm_name: String,
    state: State,
}

#[derive(Deserialize)]
struct State {
    value: String,
    #[serde(default)]
    reason: Option<String>,
    timestamp: String,
}

pub(super) fn read(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let detail: Detail = event.detail()?;
    if detail.state.value != "ALARM" {
        return Ok(None);
    }
    let at = timestamp(&detail.state.timestamp).map_err(|why| event.malformed(why))?;
    Ok(Some(RollbackRequest {
        watches: vec![watches::alarm(&detail.alarm_name)],
        at,
        because: Reason::AlarmFired {
            alarm: detail.alarm_name,
            detail: detail.state.reason.map(words),
        },
        heeded_by: HeededBy::All,
    }))
}

/// CloudWatch writes `2026-01-02T03:04:05.678+0000`: no colon in the offset, so not RFC 3339.
fn timestamp(text: &str) -> Result<Timestamp, String> {
    strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text)
        .and_then(|time| time.to_timestamp())
        .or_else(|_| text.parse())
        .map_err(|_| format!("'{text}' is not a time"))
}
