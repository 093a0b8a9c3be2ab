//! The event bus: what AWS's own services tell EventBridge, and the emulator's do not.
//!
//! The emulator refuses events whose source begins with `aws.`, as AWS does, so the laptop's begin
//! with `local.`; their details have exactly the shapes that AWS documents.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::error::BoxError;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

/// So many events wait for a bus that does not answer; what comes after them is lost.
const WAITING_MAX: usize = 1_000;
/// An event is tried again so often, and so long after.
const TRIES_MAX: u32 = 5;
const REST: Duration = Duration::from_millis(500);

/// An event for the default bus.
#[derive(Debug, Clone, PartialEq)]
pub struct BusEvent {
    /// Who says it: `local.codepipeline`.
    pub source: String,
    /// What kind of event it is.
    pub detail_type: String,
    /// The ARNs of what it tells of.
    pub resources: Vec<String>,
    /// What it tells.
    pub detail: Value,
    /// When it happened, which may be long before the bus hears of it.
    pub at: Timestamp,
}

/// Why an event is not on the bus.
#[derive(Debug, thiserror::Error)]
#[error("could not put an event on the bus")]
pub struct BusError(#[source] BoxError);

/// Puts events on the default bus.
#[derive(Debug, Clone)]
pub struct Bus(aws_sdk_eventbridge::Client);

impl Bus {
    /// The bus of these settings.
    pub fn new(config: &SdkConfig) -> Self {
        Self(aws_sdk_eventbridge::Client::new(config))
    }

    /// Puts one event.
    ///
    /// # Errors
    /// When the bus does not answer, or refuses the event.
    pub async fn put(&self, event: &BusEvent) -> Result<(), BusError> {
        let entry = PutEventsRequestEntry::builder()
            .source(&event.source)
            .detail_type(&event.detail_type)
            .set_resources(Some(event.resources.clone()))
            .detail(event.detail.to_string())
            .time(DateTime::from_millis(event.at.as_millisecond()))
            .build();
        let answer = self.0.put_events().entries(entry).send().await;
        let answer = answer.map_err(|error| BusError(error.into()))?;
        let mut refused = answer.entries().iter().filter_map(|e| e.error_message());
        match refused.next() {
            Some(message) => Err(BusError(message.into())),
            None => Ok(()),
        }
    }

    /// Where to say what happened; whoever says it does not wait. The second part puts the events on
    /// the bus, in order, until nobody can say anything any more.
    pub fn teller(self) -> (Teller, impl Future<Output = ()> + Send + 'static) {
        let (teller, mut events) = Teller::new();
        let telling = async move {
            while let Some(event) = events.recv().await {
                self.tell(&event).await;
            }
        };
        (teller, telling)
    }

    async fn tell(&self, event: &BusEvent) {
        for rest in 1..=TRIES_MAX {
            match self.put(event).await {
                Ok(()) => return,
                Err(error) if rest == TRIES_MAX => {
                    let detail_type = &event.detail_type;
                    tracing::warn!(detail_type, "event lost: {}", engine::chain(&error));
                }
                Err(_) => tokio::time::sleep(REST * rest).await,
            }
        }
    }
}

/// Where the laptop's services say what happened. Without a bus nobody hears it.
#[derive(Debug, Clone, Default)]
pub struct Teller(Option<mpsc::Sender<BusEvent>>);

impl Teller {
    /// Where to say what happened, and who hears it.
    pub fn new() -> (Self, mpsc::Receiver<BusEvent>) {
        let (sender, events) = mpsc::channel(WAITING_MAX);
        (Self(Some(sender)), events)
    }

    /// Says that this happened.
    pub fn say(&self, event: BusEvent) {
        if let Some(sender) = &self.0
            && let Err(error) = sender.try_send(event)
        {
            tracing::warn!(%error, "event lost");
        }
    }
}
