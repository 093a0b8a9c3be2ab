//! What AWS said, classified once.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use engine::{Class, PortError, chain};

/// The longest message of AWS that is repeated, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// Classifies a failed call; `doing` finishes 'could not ...'.
pub(crate) fn failed<E>(doing: impl Into<String>, error: SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let class = class(&error);
    let said = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => chain(&error),
    };
    let said: String = said.chars().take(MESSAGE_CHARS_MAX).collect();
    PortError::new(class, doing, said)
}

/// The same error, which is the configuration's mistake if AWS answered with one of these codes.
pub(crate) fn misconfigured_if(error: PortError, codes: &[&str]) -> PortError {
    match codes.iter().any(|code| error.said(code)) {
        true => PortError {
            class: Class::Misconfigured,
            ..error
        },
        false => error,
    }
}

fn class<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Class {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            Class::Retryable
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            of_code(service.err().code().unwrap_or_default(), status)
        }
        // Construction failures, and whatever the SDK may add.
        _ => Class::Permanent,
    }
}

/// Classifies an error code that stands in an answer, without a status of its own.
pub(crate) fn class_of_code(code: &str) -> Class {
    let status = if code.starts_with("Internal") {
        500
    } else {
        400
    };
    of_code(code, status)
}

fn of_code(code: &str, status: u16) -> Class {
    let has = |part: &str| code.contains(part);
    if has("AccessDenied") || has("Unauthorized") || has("UnrecognizedClient") {
        Class::Denied
    } else if has("TransactionConflict") || has("TransactionInProgress") {
        Class::Conflict
    } else if status >= 500 || has("Throttl") || has("TooManyRequests") || has("Exceeded") {
        Class::Retryable
    } else {
        Class::Permanent
    }
}

/// A call that worked, but whose answer is not what the API promises.
pub(crate) fn odd_answer(doing: impl Into<String>, what: &str) -> PortError {
    PortError::new(Class::Retryable, doing, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_later_is_told_from_what_never_will() {
        for (code, status, class) in [
            ("AccessDeniedException", 400, Class::Denied),
            ("ThrottlingException", 400, Class::Retryable),
            (
                "ProvisionedThroughputExceededException",
                400,
                Class::Retryable,
            ),
            ("InternalFailure", 500, Class::Retryable),
            ("", 503, Class::Retryable),
            ("TransactionConflictException", 400, Class::Conflict),
            ("ValidationError", 400, Class::Permanent),
            ("RuleNotFound", 400, Class::Permanent),
        ] {
            assert_eq!(of_code(code, status), class, "{code} {status}");
        }
    }
}
