//! What a pipeline action tells CodePipeline.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ReleaseId;

/// Jobs in a row that may meet a fault before an action fails.
pub const TRIES_MAX: u32 = 20;

/// A continuation token: which story goes on, and how often it was tried in vain. It names the
/// story and never carries its state. Written `web-0f0e`, or `web-0f0e~3` after three faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The story.
    pub story: ReleaseId,
    /// Jobs in a row that met a fault.
    pub tries: u32,
}

impl Token {
    /// The token of a story that goes on as it should.
    pub fn of(story: ReleaseId) -> Self {
        Self { story, tries: 0 }
    }

    /// Reads a token; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (story, tries) = match text.rsplit_once('~') {
            Some((story, tries)) => (story, tries.parse().ok()?),
            None => (text, 0),
        };
        let story = ReleaseId::try_from(story.to_owned()).ok()?;
        Some(Self { story, tries })
    }

    /// The token after one more fault; `None` when these were enough.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        let tries = self.tries.saturating_add(1);
        (tries < TRIES_MAX).then(|| Self {
            story: self.story.clone(),
            tries,
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tries {
            0 => write!(f, "{}", self.story),
            tries => write!(f, "{}~{tries}", self.story),
        }
    }
}

/// The answer to one CodePipeline job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobReply {
    /// Not finished: CodePipeline shall make a new job with this token.
    Continue {
        /// Comes back with the next job.
        token: Token,
        /// What a person sees in the console.
        summary: String,
        /// How far along, 0..=100.
        percent: u8,
    },
    /// The action succeeded.
    Succeed {
        /// What a person sees in the console.
        summary: String,
        /// `#{namespace.key}` for later actions.
        outputs: BTreeMap<String, String>,
    },
    /// The action failed.
    Fail {
        /// CodePipeline's failure type.
        kind: FailureKind,
        /// What a person sees in the console: what happened and how to mend it.
        message: String,
    },
}

/// CodePipeline's failure types, as far as they are used (`FailureDetails.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The release, gate or check said no.
    JobFailed,
    /// The user's configuration is wrong; the message names the fix.
    ConfigurationError,
    /// AWS refused the function's role or the job's credentials.
    PermissionError,
    /// AWS could not be reached or used for too long.
    SystemUnavailable,
}
