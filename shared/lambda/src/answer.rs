//! Errors become answers here and nowhere else.

use engine::{ActionError, AppendError, Class, PortError};
use release::{FailureKind, JobReply, TRIES_MAX, Token};

/// The user's mistake; the message names the fix.
pub(crate) fn refused(message: String) -> JobReply {
    JobReply::Fail {
        kind: FailureKind::ConfigurationError,
        message,
    }
}

/// A fault of this run only.
pub(crate) fn try_again(doing: &str) -> ActionError {
    ActionError::Port(PortError {
        class: Class::Retryable,
        doing: doing.to_owned(),
        cause: None,
    })
}

/// What the pipeline is told of an error. What may pass is tried again by a further job, a bounded
/// number of times; everything else fails the action at once.
pub(crate) fn answer_of(error: ActionError, token: &Token) -> JobReply {
    let message = error.to_string();
    let class = match error {
        ActionError::Refused(_) | ActionError::Config { .. } | ActionError::Id(_) => {
            Class::Misconfigured
        }
        ActionError::Append(AppendError::Busy { .. }) => {
            return failed(FailureKind::JobFailed, message);
        }
        ActionError::Append(AppendError::Moved) => Class::Conflict,
        ActionError::Append(AppendError::Port(error)) | ActionError::Port(error) => error.class,
    };
    tracing::warn!(?class, error = message, "this run has no answer of its own");
    match class {
        Class::Misconfigured => refused(message),
        Class::Denied => failed(
            FailureKind::PermissionError,
            format!(
                "{message}; artifacts are read and written as the pipeline's role, everything else \
                 as the function's (see template.yaml): give that role the permission"
            ),
        ),
        Class::Permanent => failed(
            FailureKind::JobFailed,
            format!("{message}; release {}", token.story),
        ),
        Class::Conflict | Class::Retryable => match token.next() {
            Some(next) => JobReply::Continue {
                token: next,
                summary: format!("trying again: {message}"),
                percent: 0,
            },
            None => failed(
                FailureKind::SystemUnavailable,
                format!(
                    "gave up after {} tries: {message}; release {} may still be active",
                    TRIES_MAX, token.story
                ),
            ),
        },
    }
}

fn failed(kind: FailureKind, message: String) -> JobReply {
    JobReply::Fail { kind, message }
}
