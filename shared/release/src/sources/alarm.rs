//! A CloudWatch alarm changed its state. Metric, composite and metric-math alarms look alike here:
//! only the name, the state and its time are read.

use jiff::Timestamp;
use jiff::fmt::strtime;
use serde::Deserialize;

use super::{OutsideEvent, RollbackRequest, SourceError};
use crate::Reason;

const DETAIL_TYPE: &str = "CloudWatch Alarm State Change";
/// The longest state reason that is repeated, in characters.
const DETAIL_CHARS_MAX: usize = 300;

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
    let malformed = |why: String| SourceError::Malformed {
        detail_type: DETAIL_TYPE,
        why,
    };
    let detail = Detail::deserialize(event.detail).map_err(|e| malformed(e.to_string()))?;
    if detail.state.value != "ALARM" {
        return Ok(None);
    }
    let at = timestamp(&detail.state.timestamp).map_err(malformed)?;
    let first = |text: String| text.chars().take(DETAIL_CHARS_MAX).collect();
    Ok(Some(RollbackRequest {
        watch: format!("alarm:{}", detail.alarm_name),
        at,
        because: Reason::AlarmFired {
            alarm: detail.alarm_name,
            detail: detail.state.reason.map(first),
        },
    }))
}

/// CloudWatch writes `2026-01-02T03:04:05.678+0000`: no colon in the offset, so not RFC 3339.
fn timestamp(text: &str) -> Result<Timestamp, String> {
    strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text)
        .and_then(|time| time.to_timestamp())
        .or_else(|_| text.parse())
        .map_err(|_| format!("'{text}' is not a time"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(detail: &serde_json::Value) -> Result<Option<RollbackRequest>, SourceError> {
        super::super::read(&OutsideEvent {
            detail_type: DETAIL_TYPE,
            detail,
        })
    }

    #[test]
    fn an_alarm_that_fires_asks_for_a_rollback_under_its_name() {
        let state = json!({"value": "ALARM", "reason": "too slow", "timestamp": "2026-01-02T03:04:05.678+0000"});
        let request = event(&json!({"alarmName": "slow", "state": state, "configuration": {}}));
        let request = request.unwrap().unwrap();
        assert_eq!(request.watch, "alarm:slow");
        assert_eq!(request.at, "2026-01-02T03:04:05.678Z".parse().unwrap());
        assert_eq!(request.because.to_string(), "alarm 'slow' fired: too slow");
    }

    #[test]
    fn an_alarm_that_clears_asks_for_nothing() {
        for value in ["OK", "INSUFFICIENT_DATA"] {
            let state = json!({"value": value, "timestamp": "2026-01-02T03:04:05.678+0000"});
            let detail = json!({"alarmName": "slow", "state": state});
            assert_eq!(event(&detail).unwrap(), None);
        }
    }

    #[test]
    fn a_detail_that_is_no_alarm_is_an_error_that_says_what_is_wrong() {
        for (detail, part) in [
            (json!({}), "alarmName"),
            (
                json!({"alarmName": "a", "state": {"value": "ALARM", "timestamp": "noon"}}),
                "noon",
            ),
            (json!([]), "invalid"),
        ] {
            let error = event(&detail).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
