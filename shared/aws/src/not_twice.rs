//! Requests that AWS is to carry out once.

use aws_sdk_dynamodb::config::interceptors::InterceptorContext;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};

/// Sends a request again only where AWS said that it did not carry it out.
///
/// A weight whose answer did not come may have been set, or may be on its way. Were it sent again, and
/// that answered, the first one could arrive when another weight has been set by then.
#[derive(Debug)]
pub(crate) struct NotTwice;

impl ClassifyRetry for NotTwice {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(answer) if answer.status().as_u16() < 500 => RetryAction::NoActionIndicated,
            // A server that failed may have done so after its work.
            Some(_) | None => RetryAction::RetryForbidden,
        }
    }

    fn name(&self) -> &'static str {
        "NotTwice"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use engine::{Class, TrafficTarget};
    use release::config::{AlbRule, TargetSpec};
    use release::{Arms, Weight};

    use crate::answering::serve_raw;

    const ATTEMPTS: u32 = 3;
    const RULE: &str = "<DescribeRulesResponse><DescribeRulesResult><Rules><member><Actions><member>\
        <Type>forward</Type><ForwardConfig><TargetGroups>\
        <member><TargetGroupArn>blue</TargetGroupArn><Weight>1</Weight></member>\
        <member><TargetGroupArn>green</TargetGroupArn><Weight>0</Weight></member>\
        </TargetGroups></ForwardConfig></member></Actions></member></Rules></DescribeRulesResult>\
        </DescribeRulesResponse>";

    fn answer(status: u16, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} -\r\ncontent-type: text/xml\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    }

    fn error(code: &str) -> String {
        format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>")
    }

    /// How often a weight is sent that is answered so, and what the caller may do then.
    async fn sent(modified: fn() -> Option<String>) -> (usize, Option<Class>) {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let aws = serve_raw(ATTEMPTS, move |call| {
            if call.text.contains("Action=ModifyRule") {
                count.fetch_add(1, Ordering::Relaxed);
                return modified();
            }
            Some(answer(200, RULE))
        });
        let rule = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/x/1/2/3".to_owned();
        let target = TargetSpec::AlbRule(AlbRule {
            rule,
            target_groups: ["blue".to_owned(), "green".to_owned()],
        });
        let arms = Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        };
        let set = aws.set_weight(&target, &arms, Weight::FULL, None).await;
        (sent.load(Ordering::Relaxed), set.err().map(|e| e.class))
    }

    #[tokio::test]
    async fn a_weight_that_may_have_been_set_is_not_sent_again() {
        let unknown = (1, Some(Class::Retryable));
        assert_eq!(sent(|| None).await, unknown);
        let failed = || Some(answer(500, &error("InternalFailure")));
        assert_eq!(sent(failed).await, unknown);
    }

    #[tokio::test]
    async fn a_weight_that_was_refused_for_now_is_sent_again() {
        let throttled = || Some(answer(400, &error("Throttling")));
        let (times, class) = sent(throttled).await;
        assert_eq!((times, class), (ATTEMPTS as usize, Some(Class::Retryable)));
    }
}
