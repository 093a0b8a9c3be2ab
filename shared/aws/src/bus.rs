//! Announcements on EventBridge's default bus.

use aws_sdk_eventbridge::operation::put_events::PutEventsOutput;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use engine::{EventBus, PortError};
use release::announce::{Announcement, SOURCE};

use crate::Aws;
use crate::error::{class_of_code, failed, odd_answer};

const DOING: &str = "put an announcement on the event bus";

impl EventBus for Aws {
    async fn put(&self, announcements: &[Announcement]) -> Result<usize, PortError> {
        let entries = announcements.iter().map(entry).collect();
        let put = self.eventbridge().put_events().set_entries(Some(entries));
        let answer = put.send().await.map_err(|e| failed(DOING, e))?;
        taken(&answer, announcements.len())
    }
}

fn entry(announcement: &Announcement) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .source(SOURCE)
        .detail_type(announcement.kind.detail_type())
        .time(DateTime::from_secs(announcement.at.as_second()))
        .resources(&announcement.detail.target)
        .detail(announcement.detail_json())
        .build()
}

/// How many entries were taken, from the first on: the answer has one for each, in the same order,
/// with an error code where it was not.
fn taken(answer: &PutEventsOutput, put: usize) -> Result<usize, PortError> {
    let entries = answer.entries();
    if entries.len() != put {
        return Err(odd_answer(DOING, "EventBridge answered other entries"));
    }
    let refused = entries
        .iter()
        .position(|entry| entry.error_code().is_some());
    match refused {
        None => Ok(put),
        Some(0) => {
            let code = entries.iter().find_map(|entry| entry.error_code());
            let code = code.unwrap_or_default();
            Err(PortError::new(class_of_code(code), DOING, code))
        }
        Some(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use engine::Class;
    use release::announce::{Detail, Kind};
    use serde_json::{Value, json};

    use super::*;
    use crate::answering;

    fn announcements(count: u64) -> Vec<Announcement> {
        let one = |seq| Announcement {
            kind: Kind::Promoted,
            at: "2026-11-23T09:00:12.5Z".parse().unwrap(),
            detail: Detail {
                version: 1,
                id: format!("web-1/{seq}"),
                release: "web-1".to_owned(),
                seq,
                at: "2026-11-23T09:00:12.5Z".parse().unwrap(),
                target: "arn:aws:lambda:eu-west-1:123456789012:function:shop:live".to_owned(),
                pipeline: None,
                execution: None,
                stable: "7".to_owned(),
                candidate: "8".to_owned(),
                weight: 10_000,
                step: 3,
                steps: 2,
                reason: None,
                by: None,
                text: "web-1 is promoted".to_owned(),
            },
        };
        (1..=count).map(one).collect()
    }

    async fn put(entries: Value) -> Result<usize, PortError> {
        let count = entries.as_array().map_or(0, Vec::len);
        let aws = answering::serve(move |call| {
            assert_eq!(call.operation.as_deref(), Some("PutEvents"));
            let sent = &call.body["Entries"][0];
            assert_eq!(sent["Source"], "penstock");
            assert_eq!(sent["DetailType"], "Promoted");
            let detail: Value = serde_json::from_str(sent["Detail"].as_str().unwrap()).unwrap();
            assert_eq!(detail["id"], "web-1/1");
            (200, json!({"FailedEntryCount": 0, "Entries": entries}))
        });
        aws.put(&announcements(count as u64)).await
    }

    #[tokio::test]
    async fn what_was_taken_is_counted_up_to_the_first_that_was_not() {
        let (taken, not) = (
            json!({"EventId": "1"}),
            json!({"ErrorCode": "InternalFailure"}),
        );
        assert_eq!(put(json!([taken, taken])).await.unwrap(), 2);
        assert_eq!(put(json!([taken, not, taken])).await.unwrap(), 1);
        let error = put(json!([not, taken])).await.unwrap_err();
        assert_eq!(error.class, Class::Retryable, "{error}");
        let error = put(json!([{"ErrorCode": "MalformedDetail"}]))
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Permanent, "{error}");
        let error = put(json!([{"ErrorCode": "ThrottlingException"}]))
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Retryable, "{error}");
    }
}
