//! The records of the table's stream, as Lambda hands them over.
//!
//! Source: "Using AWS Lambda with Amazon DynamoDB" in the Lambda developer guide: a record has an
//! `eventName` (`INSERT`, `MODIFY` or `REMOVE`), and under `dynamodb` the `Keys` and the `NewImage` of
//! its item in DynamoDB's own JSON, where a text is `{"S": ..}`.

use engine::{Class, Fact, PortError};
use release::{Event, ReleaseId, Story};
use serde_json::Value;

/// The new event of a release that a record tells of, if it does: most items are something else.
pub(super) fn fact(record: &Value) -> Result<Option<Fact>, PortError> {
    let text = |path: &str| record.pointer(path).and_then(Value::as_str);
    if text("/eventName") != Some("INSERT") {
        return Ok(None);
    }
    let kind = <Option<release::Release> as Story>::KIND;
    let id = text("/dynamodb/Keys/pk/S").and_then(|pk| pk.strip_prefix(kind)?.strip_prefix('#'));
    let seq = text("/dynamodb/Keys/sk/S").and_then(|sk| sk.strip_prefix("event#"));
    let (Some(id), Some(seq)) = (id, seq) else {
        return Ok(None);
    };
    let broken = |why: String| {
        let doing = "read a new event of a release in the table's stream";
        PortError::new(Class::Permanent, doing, why)
    };
    let release = ReleaseId::try_from(id.to_owned()).map_err(|e| broken(e.to_string()))?;
    let seq: u64 = seq
        .parse()
        .map_err(|_| broken(format!("{release} has an event without a number")))?;
    let event = text("/dynamodb/NewImage/event/S")
        .ok_or_else(|| broken(format!("event {seq} of {release} is not in its record")))?;
    // What serde says of a text that it cannot read may repeat the text.
    let event: Event = serde_json::from_str(event).map_err(|error| {
        let line = error.column();
        broken(format!(
            "event {seq} of {release} is none that this version knows (at character {line})"
        ))
    })?;
    Ok(Some(Fact {
        release,
        seq,
        event,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> Value {
        let sample = include_str!("../../../../events/announce.json");
        let event: Value = serde_json::from_str(sample).unwrap();
        event["Records"][0].clone()
    }

    #[test]
    fn an_inserted_event_of_a_release_is_its_fact() {
        let fact = fact(&record()).unwrap().unwrap();
        assert_eq!(
            fact.release.as_str(),
            "web-0f0e0d0c-1111-4222-8333-444455556666"
        );
        assert_eq!(fact.seq, 3);
        assert!(matches!(fact.event, Event::Performed { .. }));
    }

    #[test]
    fn what_is_no_new_event_of_a_release_is_nothing() {
        for (path, value) in [
            ("/eventName", json!("MODIFY")),
            ("/eventName", json!("REMOVE")),
            ("/eventName", Value::Null),
            ("/dynamodb/Keys/pk/S", json!("check#web-1")),
            ("/dynamodb/Keys/pk/S", json!("target#arn")),
            ("/dynamodb/Keys/sk/S", json!("holder")),
            ("/dynamodb/Keys", json!([])),
            ("/dynamodb", json!(7)),
        ] {
            let mut record = record();
            *record.pointer_mut(path).unwrap() = value;
            assert_eq!(fact(&record).unwrap(), None, "{path}");
        }
        assert_eq!(fact(&json!("text")).unwrap(), None);
    }

    #[test]
    fn an_event_that_cannot_be_read_is_refused_for_good_and_not_repeated() {
        for (path, value) in [
            ("/dynamodb/Keys/pk/S", json!("release#a b")),
            ("/dynamodb/Keys/sk/S", json!("event#x")),
            ("/dynamodb/NewImage", Value::Null),
            (
                "/dynamodb/NewImage/event/S",
                json!("{\"event\":\"s3cret\"}"),
            ),
            ("/dynamodb/NewImage/event/S", json!("{")),
        ] {
            let mut record = record();
            *record.pointer_mut(path).unwrap() = value;
            let error = fact(&record).unwrap_err();
            assert_eq!(error.class, Class::Permanent, "{path}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
