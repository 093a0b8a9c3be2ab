//! The inbound transitions of stages: a disabled one holds back every execution that has not entered.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::Timestamp;
use tokio::sync::watch;

use super::clock;
use super::engine::lock;

/// All of them; what is not named here is enabled. Bounded by the pipelines and their stages.
#[derive(Debug, Default)]
pub struct Transitions(Mutex<HashMap<Stage, watch::Sender<Option<Disabled>>>>);

/// A pipeline and a stage, by name.
type Stage = (String, String);

/// Why a transition is disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    /// In the words of whoever disabled it.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl Transitions {
    /// Lets nobody into this stage any more.
    pub fn disable(&self, pipeline: &str, stage: &str, reason: String) {
        let at = clock::now();
        self.set(pipeline, stage, Some(Disabled { reason, at }));
    }

    /// Lets executions in again.
    pub fn enable(&self, pipeline: &str, stage: &str) {
        self.set(pipeline, stage, None);
    }

    /// Why the transition into this stage is disabled, if it is.
    pub fn disabled(&self, pipeline: &str, stage: &str) -> Option<Disabled> {
        self.inbound(pipeline, stage).0.borrow().clone()
    }

    fn set(&self, pipeline: &str, stage: &str, disabled: Option<Disabled>) {
        let mut all = lock(&self.0);
        let key = (pipeline.to_owned(), stage.to_owned());
        let transition = all.entry(key).or_insert_with(|| watch::Sender::new(None));
        transition.send_replace(disabled);
    }

    /// The transition into this stage.
    pub(super) fn inbound(&self, pipeline: &str, stage: &str) -> Inbound {
        let mut all = lock(&self.0);
        let key = (pipeline.to_owned(), stage.to_owned());
        let transition = all.entry(key).or_insert_with(|| watch::Sender::new(None));
        Inbound(transition.subscribe())
    }
}

/// The transition into one stage.
#[derive(Debug, Clone)]
pub(super) struct Inbound(watch::Receiver<Option<Disabled>>);

impl Inbound {
    pub(super) fn is_open(&self) -> bool {
        self.0.borrow().is_none()
    }

    /// Waits until it is enabled.
    pub(super) async fn opened(&self) {
        if self.0.clone().wait_for(Option::is_none).await.is_err() {
            std::future::pending::<()>().await; // the sender lives in the engine: never
        }
    }
}
