//! The one place that asks the machine for the time, and corrects it.
//!
//! Who may touch a target is decided by comparing times that different machines wrote. A clock that is
//! minutes off, of an operator's laptop say, would take a fence from a run that is still at work. So
//! the time is DynamoDB's, as its answers tell it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use engine::Clock;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use crate::Aws;

/// HTTP's `Date` has whole seconds (RFC 9110, 5.6.7).
const DATE_UNIT: SignedDuration = SignedDuration::from_secs(1);
/// A clock that is less off than this is right: a service may date its answers a little late.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

impl Clock for Aws {
    /// By DynamoDB's clock, as soon as it has answered once.
    fn now(&self) -> Timestamp {
        let (now, behind) = (self.machine_time(), self.server_time.behind());
        now.saturating_add(behind).unwrap_or(now)
    }

    fn machine_time(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, time: SignedDuration) {
        tokio::time::sleep(time.unsigned_abs()).await;
    }
}

/// How far this machine's clock is behind that of a service, as its answers tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerTime(Arc<AtomicI64>);

impl ServerTime {
    fn behind(&self) -> SignedDuration {
        SignedDuration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// An answer was dated at some time between these two of this machine's clock.
    fn learn(&self, sent: Timestamp, received: Timestamp, date: Timestamp) {
        let least = date.duration_since(received);
        let most = date.duration_since(sent) + DATE_UNIT;
        let known = self.behind();
        if (least - TOLERANCE..=most + TOLERANCE).contains(&known) {
            return;
        }
        let behind = least + (most - least) / 2;
        tracing::warn!(%behind, "this machine's clock is not that of AWS; it is corrected");
        let millis = i64::try_from(behind.as_millis()).unwrap_or_default();
        self.0.store(millis, Ordering::Relaxed);
    }
}

/// When an attempt was sent.
#[derive(Debug, Clone, Copy)]
struct Sent(Timestamp);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for ServerTime {
    fn name(&self) -> &'static str {
        "ServerTime"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(Sent(Timestamp::now()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        if let (Some(Sent(sent)), Some(date)) = (bag.load::<Sent>(), date) {
            self.learn(*sent, Timestamp::now(), date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use engine::{Invocation, ReleaseLog};
    use proptest::prelude::*;
    use release::TargetId;

    use super::*;
    use crate::answering::serve_raw;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    proptest! {
        #[test]
        fn a_clock_is_corrected_to_within_the_time_of_an_answer(
            behind in -100_000_000..100_000_000_i64,
            answers in prop::collection::vec((0..3_000_i64, 0..1_000_i64), 1..6),
        ) {
            let time = ServerTime::default();
            let mut now = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
            let ms = SignedDuration::from_millis;
            for (took, dated) in answers {
                let (sent, received) = (now, now + ms(took));
                let served = sent + ms(behind) + ms(dated.min(took));
                let date = at(served.as_second());
                time.learn(sent, received, date);
                let error = (time.behind() - ms(behind)).abs();
                prop_assert!(error <= TOLERANCE + DATE_UNIT + ms(took), "{error:#}");
                now = received + ms(777);
            }
        }

        #[test]
        fn a_clock_that_is_right_is_left_alone(took in 0..5_000_i64, dated in 0..5_000_i64) {
            let time = ServerTime::default();
            let sent = Timestamp::from_millisecond(1_800_000_000_456).unwrap();
            let received = sent + SignedDuration::from_millis(took);
            let served = sent + SignedDuration::from_millis(dated.min(took));
            time.learn(sent, received, at(served.as_second()));
            prop_assert_eq!(time.behind(), SignedDuration::ZERO);
        }
    }

    /// What stands in a request's expression values under this name.
    fn millis(body: &serde_json::Value, name: &str) -> i64 {
        let number = body["ExpressionAttributeValues"][name]["N"].as_str();
        number.unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn a_fence_is_kept_in_the_services_time_and_a_run_ends_by_its_machines() {
        const BEHIND: SignedDuration = SignedDuration::from_mins(3);
        let (sender, receiver) = std::sync::mpsc::channel();
        let aws = serve_raw(1, move |call| {
            sender.send(call.body).unwrap();
            let date = Timestamp::now() + BEHIND;
            let date = jiff::fmt::rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&date)
                .unwrap();
            Some(format!(
                "HTTP/1.1 200 -\r\ndate: {date}\r\nconnection: close\r\n\
                 content-length: 2\r\n\r\n{{}}"
            ))
        });
        let deadline = aws.machine_time() + SignedDuration::from_secs(30);
        let call = Invocation::new("run", deadline);
        let (target, id) = (
            TargetId("t".to_owned()),
            "web-1".to_owned().try_into().unwrap(),
        );
        for is_known in [false, true] {
            let generation = release::Generation(1);
            aws.fence(&target, &id, generation, &call).await.unwrap();
            let body = receiver.recv().unwrap();
            let (now, until) = (millis(&body, ":now"), millis(&body, ":until"));
            let ahead = now - Timestamp::now().as_millisecond();
            let expected = i64::from(is_known) * 180_000;
            assert!((ahead - expected).abs() < 10_000, "{ahead}");
            let life = until - now;
            assert!((20_000..=35_000).contains(&life), "{life}");
        }
        let left = call.time_left(&aws);
        assert!(left <= SignedDuration::from_secs(30), "{left:#}");
    }
}
