//! A gate's memory: which runs share one, how a run is added to it, and what happens when it is
//! lost.

use std::fmt;

use release::ReleaseId;
use release::gate::{History, Run};
use serde::{Deserialize, Serialize};

use crate::{Class, GateHistory, PortError};

/// The longest name of a stream, in characters: a pipeline's (100), a stage's (100) and a section's
/// (103), with slashes between them.
pub const STREAM_CHARS_MAX: usize = 305;

/// How often a run is folded in again because another one was faster. After that the caller is told
/// [`Class::Conflict`], and a further job goes on.
pub const REMEMBER_TRIES_MAX: usize = 8;

/// Why a text names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not name the gate's history '{0}': 1 to {STREAM_CHARS_MAX} characters without control \
     characters name one; correct \"pipeline\" and \"stage\" in UserParameters"
)]
pub struct StreamError(String);

/// Names the runs that are compared with each other: those of one gate in one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(String);

impl Stream {
    /// The name as text, as it appears in logs and keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Stream {
    type Error = StreamError;

    fn try_from(text: String) -> Result<Self, StreamError> {
        // A character has four bytes at most, so the first check bounds the second.
        let fits = text.len() <= 4 * STREAM_CHARS_MAX && text.chars().count() <= STREAM_CHARS_MAX;
        if fits && !text.is_empty() && !text.contains(char::is_control) {
            Ok(Self(text))
        } else {
            let shown = text.chars().filter(|c| !c.is_control());
            Err(StreamError(shown.take(STREAM_CHARS_MAX).collect()))
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is stored of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Memory {
    /// The runs that passed.
    Kept(History),
    /// They were stored, but cannot be read any more.
    Lost(Lost),
}

/// A history that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Why not.
    pub why: String,
    /// Who has been told; None when it has been found only now.
    pub told: Option<ReleaseId>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::Kept(History::default())
    }
}

/// What a stream held when it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recalled {
    /// The memory; an empty history when there was none.
    pub memory: Memory,
    /// Unlike that of every other write to this stream; None when there was none.
    pub version: Option<String>,
}

/// What is known of the runs that passed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// The runs; empty when there were none, or when they are lost.
    pub history: History,
    /// Why what was stored of them cannot be read; None when it can, or nothing was stored.
    pub lost: Option<String>,
}

/// What the runs that passed are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Asking<'a> {
    /// To compare with them, in the job of this story.
    ToCompare(&'a ReleaseId),
    /// To show them: no rule looks at them.
    ToShow,
}

/// The runs that passed.
///
/// A history that cannot be read is not an empty one: a gate that would fail by comparison might
/// pass. Nor may it stand in the way for good. So the first who finds it lost when it would compare
/// fails, with a message that says so; duplicates and continuations of its job carry its story and
/// are told the same. Whoever asks after that, be it the stage that a person has retried or the next
/// execution, goes on without a history and is told why in [`Past::lost`], for its verdict to say
/// so, until a run that passes begins a new one.
pub async fn recall_history(
    ports: &impl GateHistory,
    stream: &Stream,
    asking: Asking<'_>,
) -> Result<Past, PortError> {
    let seen = ports.recall(stream).await?;
    let lost = match seen.memory.clone() {
        Memory::Kept(history) => {
            let lost = None;
            return Ok(Past { history, lost });
        }
        Memory::Lost(lost) => lost,
    };
    let without = |why| Past {
        history: History::default(),
        lost: Some(why),
    };
    let story = match asking {
        Asking::ToShow => return Ok(without(lost.why)),
        Asking::ToCompare(story) => story,
    };
    match &lost.told {
        Some(told) if told != story => return Ok(without(lost.why)),
        Some(_) => {}
        None => {
            let told = Some(story.clone());
            let why = lost.why.clone();
            let memory = Memory::Lost(Lost { why, told });
            ports.remember(stream, &seen, &memory).await?;
        }
    }
    Err(PortError::new(
        Class::Permanent,
        format!("compare with the runs of {stream} that passed"),
        format!(
            "what is stored of them cannot be read ({}); this run fails once to say so. Retry the \
             stage: the history then begins anew with the next run that passes",
            lost.why
        ),
    ))
}

/// Adds a run that passed to what is remembered. Runs that end at once are all remembered, in
/// whatever order they come, and a run that is there already changes nothing.
pub async fn remember_run(
    ports: &impl GateHistory,
    stream: &Stream,
    run: &Run,
) -> Result<(), PortError> {
    for _ in 0..REMEMBER_TRIES_MAX {
        let seen = ports.recall(stream).await?;
        let before = match &seen.memory {
            Memory::Kept(history) => history.clone(),
            Memory::Lost(lost) => {
                tracing::warn!(%stream, why = lost.why, "the gate's history begins anew");
                History::default()
            }
        };
        let after = Memory::Kept(before.after(run.clone()));
        if after == seen.memory {
            return Ok(());
        }
        match ports.remember(stream, &seen, &after).await {
            Err(error) if error.class == Class::Conflict => {
                tracing::info!(%stream, %error, "another run was faster");
            }
            stored => return stored,
        }
    }
    Err(PortError::new(
        Class::Conflict,
        format!("remember run {} of {stream}", run.point.run),
        format!("other runs were faster {REMEMBER_TRIES_MAX} times"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_name_that_fits_every_key_and_log() {
        let named = |text: &str| Stream::try_from(text.to_owned());
        assert_eq!(named("shop/Test").unwrap().as_str(), "shop/Test");
        assert!(named(&"ä".repeat(STREAM_CHARS_MAX)).is_ok());
        for bad in ["", "a\nb", "a\u{0}", &"a".repeat(STREAM_CHARS_MAX + 1)] {
            let error = named(bad).unwrap_err().to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
            assert!(error.contains("UserParameters"), "{error}");
        }
    }
}
