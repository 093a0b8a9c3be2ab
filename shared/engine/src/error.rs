//! What can go wrong at a port, classified once, where it happens.

use std::error::Error;

use release::{ReleaseId, TargetId};

/// What a port's caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Somebody else is at work or was faster: look again.
    Conflict,
    /// The same call may succeed later.
    Retryable,
    /// AWS refused the caller's permissions.
    Denied,
    /// The world is not as the configuration says; the message names the fix.
    Misconfigured,
    /// The same call will fail again.
    Permanent,
}

impl Class {
    /// Whether the same may succeed later, without anybody mending anything.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Conflict | Self::Retryable => true,
            Self::Denied | Self::Misconfigured | Self::Permanent => false,
        }
    }
}

/// A port call that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}{}", Self::because(.cause.as_deref()))]
pub struct PortError {
    /// What its caller can do about it.
    pub class: Class,
    /// Finishes 'could not ...'.
    pub doing: String,
    /// What the outside world said. Part of the text, so not also a `source()` of its own.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl PortError {
    /// An error with what the outside world said.
    pub fn new(
        class: Class,
        doing: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            class,
            doing: doing.into(),
            cause: Some(cause.into()),
        }
    }

    /// Whether the outside world's word begins with this error code.
    pub fn said(&self, code: &str) -> bool {
        let cause = self.cause.as_ref().map(ToString::to_string);
        cause.is_some_and(|said| said.starts_with(code))
    }

    fn because(cause: Option<&(dyn Error + Send + Sync + 'static)>) -> String {
        cause.map_or_else(String::new, |cause| format!(": {cause}"))
    }
}

/// An append that stored nothing.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log has more events than the caller has seen.
    #[error("could not append: the log has moved on")]
    Moved,
    /// The target of a new release is held by another one.
    #[error(
        "could not begin: {target} is held by release {holder}, which is still active; wait until \
         it has ended, or end it with `penstock abort {holder}`, then retry this stage"
    )]
    Busy {
        /// What both want.
        target: TargetId,
        /// Who has it.
        holder: ReleaseId,
    },
    /// The log could not be written.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// An error and its causes, in one line.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
