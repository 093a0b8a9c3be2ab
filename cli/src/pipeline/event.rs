//! What happened in an execution, in order: the stream that a person follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::clock;

/// So many events of one execution are kept; beyond it the oldest go, and the numbers show the gap.
pub const EVENTS_MAX: usize = 20_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Event {
    /// A stage begins.
    StageStarted {
        /// The stage.
        stage: String,
    },
    /// An action begins.
    ActionStarted {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// CodeBuild, Lambda ..
        provider: String,
    },
    /// An action that goes on tells how far it is.
    ActionProgress {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// In words.
        summary: Option<String>,
        /// The name of the work where it is done.
        external_execution_id: Option<String>,
        /// 0..=100.
        percent: Option<u8>,
    },
    /// A line that a build printed, or a note of the player.
    Output {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// The line, without its end.
        line: String,
    },
    /// A person is asked.
    ApprovalNeeded {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// What PutApprovalResult wants.
        token: String,
        /// The question, from the action's `CustomData`.
        message: Option<String>,
        /// Where to look, from `ExternalEntityLink`.
        link: Option<String>,
    },
    /// An action ended well.
    ActionSucceeded {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// Its last words.
        summary: Option<String>,
        /// How long it took, in milliseconds.
        milliseconds: u64,
        /// Its output variables.
        variables: BTreeMap<String, String>,
    },
    /// An action failed.
    ActionFailed {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
        /// The kind of failure: `JobFailed`, `ConfigurationError` ..
        code: String,
        /// Why.
        message: String,
        /// How long it took, in milliseconds.
        milliseconds: u64,
    },
    /// An action was left alone because its execution was stopped.
    ActionAbandoned {
        /// The stage.
        stage: String,
        /// The action.
        action: String,
    },
    /// A stage ended.
    StageEnded {
        /// The stage.
        stage: String,
        /// How.
        status: Status,
    },
    /// Somebody has asked to stop it.
    ExecutionStopping,
    /// The last event.
    ExecutionEnded {
        /// How.
        status: Status,
        /// Why, where it did not succeed.
        message: Option<String>,
    },
}

/// How an execution or a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Running.
    InProgress,
    /// Told to stop; running actions finish first.
    Stopping,
    /// Ended because it was told to.
    Stopped,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Replaced by a newer execution while it waited for a stage.
    Superseded,
}

/// An event with its number and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// From 0, without gap unless the oldest were dropped.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// The bounded history of one execution.
#[derive(Debug)]
pub struct Journal {
    entries: Mutex<VecDeque<Entry>>,
    /// The number that the next entry gets.
    next: watch::Sender<u64>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            next: watch::Sender::new(0),
        }
    }
}

impl Journal {
    /// Appends an event.
    pub fn record(&self, event: Event) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = *self.next.borrow();
        if entries.len() == EVENTS_MAX {
            entries.pop_front();
        }
        entries.push_back(Entry {
            sequence,
            at: clock::now(),
            event,
        });
        self.next.send_replace(sequence + 1);
    }

    /// The first entry whose number is at least `sequence`; waits until there is one.
    pub async fn entry(&self, sequence: u64) -> Entry {
        let mut next = self.next.subscribe();
        loop {
            // Marked as seen before looking, so that an entry made in between wakes us.
            next.borrow_and_update();
            if let Some(entry) = self.find(sequence) {
                return entry;
            }
            if next.changed().await.is_err() {
                std::future::pending::<()>().await; // the journal lives as long as this borrow: never
            }
        }
    }

    fn find(&self, sequence: u64) -> Option<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let first = entries.front()?.sequence;
        let index = usize::try_from(sequence.saturating_sub(first)).ok()?;
        entries.get(index).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: String) -> Event {
        Event::Output {
            stage: "s".into(),
            action: "a".into(),
            line: text,
        }
    }

    #[tokio::test]
    async fn every_reader_gets_the_whole_history_in_order() {
        let journal = Journal::default();
        journal.record(line("0".into()));
        let (first, second) = tokio::join!(journal.entry(0), async {
            let waiting = journal.entry(1);
            tokio::task::yield_now().await;
            journal.record(line("1".into()));
            waiting.await
        });
        assert_eq!((first.sequence, second.sequence), (0, 1));
        assert_eq!(journal.entry(0).await, first);
    }

    #[tokio::test]
    async fn a_full_history_drops_its_oldest_and_shows_the_gap() {
        let journal = Journal::default();
        for number in 0..EVENTS_MAX + 5 {
            journal.record(line(number.to_string()));
        }
        assert_eq!(journal.entry(0).await.sequence, 5);
        assert_eq!(journal.entry(6).await.sequence, 6);
    }

    #[test]
    fn an_event_is_one_flat_json_object() {
        let journal = Journal::default();
        journal.record(Event::ExecutionEnded {
            status: Status::Failed,
            message: None,
        });
        let json = serde_json::to_value(journal.find(0).unwrap()).unwrap();
        assert_eq!(
            (json["type"].as_str(), json["status"].as_str()),
            (Some("ExecutionEnded"), Some("Failed"))
        );
    }
}
