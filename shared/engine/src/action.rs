//! What a pipeline action is.

use release::config::ConfigError;
use release::sources::OutsideEvent;
use release::{IdError, JobReply};

use crate::{AppendError, Invocation, Job, PortError, Ports};

/// A pipeline action: one job in, one answer out.
#[expect(
    async_fn_in_trait,
    reason = "functions run on one thread; no caller needs Send"
)]
pub trait Action {
    /// The function's name, and the prefix of its stories' ids where no section is named.
    const NAME: &'static str;

    /// Does what this job asks for, as far as it goes now.
    async fn run(
        &self,
        ports: &impl Ports,
        call: &Invocation,
        job: &Job,
    ) -> Result<JobReply, ActionError>;
}

/// What heeds outside events.
#[expect(
    async_fn_in_trait,
    reason = "functions run on one thread; no caller needs Send"
)]
pub trait Trigger {
    /// The function's name.
    const NAME: &'static str;

    /// Does what this event asks for. An error means that it must be delivered again.
    async fn run(
        &self,
        ports: &impl Ports,
        call: &Invocation,
        event: &OutsideEvent<'_>,
    ) -> Result<(), PortError>;
}

/// Why an action has no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The user's mistake; the text names the fix.
    #[error("{0}")]
    Refused(String),
    /// The configuration's mistake.
    #[error("could not use {path}: {source}")]
    Config {
        /// The configuration's path in its artifact.
        path: String,
        /// What is wrong where.
        source: ConfigError,
    },
    /// UserParameters that make no id.
    #[error("could not name the release: {0}; correct \"section\" in UserParameters")]
    Id(#[from] IdError),
    /// The log refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
}
