//! Functions that are asked: one invocation, whose answer is awaited.

use std::time::Duration;

use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use engine::{Class, PortError};
use jiff::SignedDuration;
use release::check::{BODY_BYTES_MAX, Checked, LambdaProbe, Probed, RunCheck};
use serde_json::Value;

use crate::Aws;
use crate::error::{failed, odd_answer};

/// How much longer than the function may take its answer may take to arrive.
const ON_THE_WAY: SignedDuration = SignedDuration::from_secs(1);
/// How much of what a failed function says is repeated, in bytes.
const SAID_BYTES_MAX: usize = 300;

/// Asks a function whether to go on. A function that fails, or whose answer cannot be understood, has
/// not been observed: that is an error, which asking again may mend.
pub(super) async fn run_check(
    aws: &Aws,
    check: &RunCheck,
    context: &Value,
) -> Result<Checked, PortError> {
    let event = check.event(context);
    let answer = invoke(aws, &check.function, &event, check.timeout).await?;
    let doing = || format!("ask {}", check.function);
    match failure(&answer) {
        Some(why) => Err(odd_answer(doing(), &why)),
        None => Checked::read(payload(&answer, usize::MAX))
            .map_err(|e| PortError::new(Class::Retryable, doing(), e)),
    }
}

/// Whether a function answers as it should.
pub(super) async fn probe(aws: &Aws, probe: &LambdaProbe) -> Result<Probed, PortError> {
    let answer = invoke(aws, &probe.function, &probe.payload, probe.timeout).await?;
    let name = probe.function.rsplit(":function:").next();
    let name = name.unwrap_or(&probe.function);
    if let Some(why) = failure(&answer) {
        return Ok(Probed::unhealthy(format!("function {name}: {why}")));
    }
    let said = payload(&answer, BODY_BYTES_MAX);
    let whole = said.len() == payload(&answer, usize::MAX).len();
    Ok(match probe.expected().unmet(said, whole) {
        Some(lack) => Probed::unhealthy(format!("function {name} answered, but its answer {lack}")),
        None => Probed::healthy(format!("function {name} answered as it should")),
    })
}

/// What a function that failed says.
fn failure(answer: &InvokeOutput) -> Option<String> {
    let kind = answer.function_error()?;
    let said = String::from_utf8_lossy(payload(answer, SAID_BYTES_MAX));
    let said = reports::printable(&said, SAID_BYTES_MAX);
    Some(format!("it failed ({kind}): {said}"))
}

/// Invokes a function once and waits for its answer: an invocation may have an effect, so it is not
/// tried again behind anybody's back.
async fn invoke(
    aws: &Aws,
    function: &str,
    event: &Value,
    timeout: SignedDuration,
) -> Result<InvokeOutput, PortError> {
    let doing = || format!("invoke {function}");
    let attempt: Duration = (timeout + ON_THE_WAY).unsigned_abs();
    let once = Builder::new()
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(attempt)
                .build(),
        );
    let call = aws.lambda().invoke().function_name(function);
    let call = call.payload(Blob::new(event.to_string()));
    let answer = call.customize().config_override(once).send().await;
    answer.map_err(|e| {
        let mut error = failed(doing(), e);
        if error.said("ResourceNotFound") {
            error.class = Class::Misconfigured;
        }
        error
    })
}

/// What the function returned, or the beginning of it.
fn payload(answer: &InvokeOutput, bytes_max: usize) -> &[u8] {
    let whole = answer.payload().map(AsRef::as_ref).unwrap_or_default();
    let whole: &[u8] = whole;
    &whole[..whole.len().min(bytes_max)]
}

#[cfg(test)]
mod tests {
    use release::check::CheckVerdict;
    use serde_json::json;

    use super::*;
    use crate::answering::{Call, serve};

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:smoke:live";

    fn check() -> RunCheck {
        let check = json!({"function": ARN, "payload": {"paths": ["/"]}});
        serde_json::from_value(check).unwrap()
    }

    #[tokio::test]
    async fn a_function_is_told_what_it_is_asked_about_and_its_verdict_is_read() {
        let aws = serve(|call: Call| {
            assert_eq!(call.method, "POST");
            assert!(call.path.ends_with("/invocations"), "{}", call.path);
            let context = json!({"release": "web-1"});
            let told = json!({"penstock": context, "payload": {"paths": ["/"]}});
            assert_eq!(call.body, told);
            (200, json!({"verdict": "wait", "message": "2 of 3"}))
        });
        let context = json!({"release": "web-1"});
        let answer = run_check(&aws, &check(), &context).await.unwrap();
        assert_eq!(
            (answer.verdict, &*answer.said),
            (CheckVerdict::Wait, "2 of 3")
        );
    }

    #[tokio::test]
    async fn what_says_nothing_was_not_observed_and_what_is_not_there_never_will_be() {
        for (status, answer, class) in [
            (200, json!("fine"), Class::Retryable),
            (500, json!({"__type": "ServiceException"}), Class::Retryable),
            (
                429,
                json!({"__type": "TooManyRequestsException"}),
                Class::Retryable,
            ),
            (
                404,
                json!({"__type": "ResourceNotFoundException"}),
                Class::Misconfigured,
            ),
            (
                403,
                json!({"__type": "AccessDeniedException"}),
                Class::Denied,
            ),
        ] {
            let said = answer.to_string();
            let aws = serve(move |_| (status, answer.clone()));
            let error = run_check(&aws, &check(), &Value::Null).await.unwrap_err();
            assert_eq!(error.class, class, "{said}: {error}");
        }
    }
}
