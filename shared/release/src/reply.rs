//! What a pipeline action tells CodePipeline.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer to one CodePipeline job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobReply {
    /// Not finished: CodePipeline shall make a new job with this token.
    Continue {
        /// Comes back with the next job; names the story, never its state.
        token: String,
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
