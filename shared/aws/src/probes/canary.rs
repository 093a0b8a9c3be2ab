//! The last run of a canary of CloudWatch Synthetics.

use aws_sdk_synthetics::types::{CanaryRun as Run, CanaryRunState};
use engine::{Class, Clock, PortError};
use jiff::Timestamp;
use release::check::{CanaryProbe, CanaryRun, Probed};

use crate::Aws;
use crate::error::failed;

/// How many of the latest runs are looked at: the last one may still be running, and its retries are
/// runs of their own.
const RUNS: i32 = 10;

pub(super) async fn probe(aws: &Aws, probe: &CanaryProbe) -> Result<Probed, PortError> {
    let call = aws.synthetics().get_canary_runs().name(&probe.name);
    let answer = call.max_results(RUNS).send().await;
    let answer = answer.map_err(|e| {
        let mut error = failed(format!("read the runs of canary {}", probe.name), e);
        if error.said("ResourceNotFound") {
            error.class = Class::Misconfigured;
        }
        error
    })?;
    let ended = answer.canary_runs().iter().filter_map(ended);
    let last = ended.max_by_key(|run| run.ended_at);
    Ok(probe.judge(last, aws.now()))
}

/// A run that has ended, and when.
fn ended(run: &Run) -> Option<CanaryRun> {
    let status = run.status()?;
    let ended_at = run.timeline()?.completed()?;
    let passed = match status.state()? {
        CanaryRunState::Passed => Ok(()),
        CanaryRunState::Running => return None,
        // Failed, and whatever AWS may add.
        other => Err(status.state_reason().unwrap_or(other.as_str()).to_owned()),
    };
    Some(CanaryRun {
        ended_at: Timestamp::from_second(ended_at.secs()).ok()?,
        passed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::answering::{Call, serve};

    async fn seen(status: u16, answer: Value) -> Result<Probed, PortError> {
        let aws = serve(move |call: Call| {
            assert_eq!(
                (&*call.method, &*call.path),
                ("POST", "/canary/shop-buy/runs")
            );
            assert_eq!(call.body, json!({"MaxResults": RUNS}));
            (status, answer.clone())
        });
        let name = json!({"name": "shop-buy", "max-age": "10m"});
        probe(&aws, &serde_json::from_value(name).unwrap()).await
    }

    /// A run that began so many seconds ago, and ended after a second unless it is running.
    fn run(ago: i64, state: &str) -> Value {
        let now = aws_now();
        let completed = (state != "RUNNING").then(|| now - ago + 1);
        json!({
            "Name": "shop-buy",
            "Status": {"State": state, "StateReason": "no button"},
            "Timeline": {"Started": now - ago, "Completed": completed},
        })
    }

    fn aws_now() -> i64 {
        serve(|_| (200, Value::Null)).now().as_second()
    }

    #[tokio::test]
    async fn the_last_run_that_ended_counts_in_whatever_order_they_come() {
        for (runs, healthy, said) in [
            (
                json!([run(60, "PASSED"), run(120, "FAILED")]),
                true,
                "passed at",
            ),
            (
                json!([run(120, "PASSED"), run(60, "FAILED")]),
                false,
                "no button",
            ),
            (
                json!([run(5, "RUNNING"), run(60, "PASSED")]),
                true,
                "passed at",
            ),
            (json!([run(5, "RUNNING")]), false, "no run that ended"),
            (json!([]), false, "no run that ended"),
            (json!([run(3600, "PASSED")]), false, "more than 10m ago"),
        ] {
            let probed = seen(200, json!({"CanaryRuns": runs})).await.unwrap();
            assert_eq!(probed.healthy, healthy, "{probed:?}");
            assert!(probed.detail.contains(said), "{probed:?}");
        }
    }

    #[tokio::test]
    async fn a_canary_that_is_not_there_never_will_be_healthy() {
        let error = json!({"__type": "ResourceNotFoundException", "Message": "no such canary"});
        let error = seen(404, error).await.unwrap_err();
        assert_eq!(error.class, Class::Misconfigured, "{error}");
    }
}
