//! The envelope of an EventBridge event: what is the same for every kind.

use jiff::Timestamp;
use release::sources::OutsideEvent;
use serde::Deserialize;
use serde_json::Value;
use tracing::Span;

/// How much of an id or a type is logged, in characters. EventBridge's own are shorter.
const LOGGED_CHARS_MAX: usize = 100;

/// As EventBridge documents it; further fields are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Fields {
    id: String,
    detail_type: String,
    source: String,
    account: String,
    region: String,
    /// What does not say when it happened is older than any release.
    #[serde(default)]
    time: Timestamp,
    #[serde(default)]
    resources: Vec<String>,
}

/// An event, opened.
pub(crate) struct Envelope<'a> {
    fields: Fields,
    detail: &'a Value,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope and leaves what is in it.
    ///
    /// # Errors
    /// Says which field is not as documented.
    pub(crate) fn open(event: &'a Value) -> Result<Self, String> {
        let fields = Fields::deserialize(event).map_err(|e| logged(&e.to_string()))?;
        let detail = &event["detail"];
        Ok(Self { fields, detail })
    }

    pub(crate) fn event(&self) -> OutsideEvent<'_> {
        let fields = &self.fields;
        OutsideEvent {
            id: &fields.id,
            source: &fields.source,
            account: &fields.account,
            region: &fields.region,
            at: fields.time,
            resources: &fields.resources,
            detail_type: &fields.detail_type,
            detail: self.detail,
        }
    }

    /// What every line about it says. Nothing else of an event is logged as it came.
    pub(crate) fn span(&self) -> Span {
        let fields = &self.fields;
        tracing::info_span!(
            "event",
            event = logged(&fields.id),
            source = logged(&fields.source),
            detail_type = logged(&fields.detail_type)
        )
    }
}

/// The beginning of a text, without control characters.
fn logged(text: &str) -> String {
    let start = text.chars().take(LOGGED_CHARS_MAX);
    start
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
