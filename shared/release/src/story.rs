//! What the release log needs to know of a state that is folded from events.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use crate::TargetId;

/// A state that is nothing but its events, applied in order.
pub trait Story: Clone + Default + Serialize + DeserializeOwned + 'static {
    /// One past fact.
    type Event: Clone + Serialize + DeserializeOwned + 'static;

    /// Names the kind of story in keys of the log.
    const KIND: &'static str;

    /// Takes one more fact into account.
    fn apply(&mut self, event: &Self::Event);

    /// What storing this event, next, claims or gives back in the same write.
    fn claim(&self, _event: &Self::Event) -> Option<Claim> {
        None
    }
}

/// Makes a target exclusive, and lets outside events, and the sweep, find the story that concerns
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The target is held from now on; storing fails when somebody else holds it.
    Take {
        /// What is held.
        target: TargetId,
        /// Names under which [`crate::sources`] find this story, such as `alarm:checkout-5xx`.
        watches: Vec<String>,
        /// Since when somebody looks after the story.
        since: Timestamp,
        /// Until when the sweep leaves it to them.
        until: Timestamp,
    },
    /// The sweep looks after the story from this time on, whoever else may.
    Wake {
        /// When.
        at: Timestamp,
    },
    /// The target is free again, and neither the names nor the sweep find anything any more.
    GiveBack {
        /// What was held.
        target: TargetId,
        /// The names that were registered.
        watches: Vec<String>,
    },
}

/// A story as somebody saw it: the state after event number `seq` (0: nothing has happened yet).
/// An append names the head it saw, and is refused when the log has moved on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head<S> {
    /// How many events have been stored.
    pub seq: u64,
    /// What they add up to.
    pub state: S,
}

impl<S: Story> Head<S> {
    /// The head after these further events.
    #[must_use]
    pub fn after(&self, events: &[S::Event]) -> Self {
        let mut next = self.clone();
        for event in events {
            next.state.apply(event);
            next.seq += 1;
        }
        next
    }
}
