//! Health checks: every target of a group in use is asked twice a second.
//!
//! The rules are those of an ALB: one passed check makes a new target healthy; after that it takes
//! `UnhealthyThresholdCount` failures in a row to fall and `HealthyThresholdCount` passes to return.
//! Only the interval differs: a group keeps and returns the interval it was given, but is asked
//! every [`INTERVAL`], because a release on a laptop should not wait 30 s for its first target.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::error::ApiError;
use super::wire;

/// How often each target is asked.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long a target may take to answer. It delays the next round, never another target's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The states of a target that is in use, as far as checks decide them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Initial,
    Healthy,
    Unhealthy,
}

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Passed,
    WrongStatus(u16),
    TimedOut,
    Failed,
}

/// How many checks in a row it takes to change a target's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thresholds {
    pub(super) healthy: u16,
    pub(super) unhealthy: u16,
}

/// One target's health: its state and the row of equal checks that may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    state: State,
    passed_in_a_row: u16,
    failed_in_a_row: u16,
    last_failure: Check,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            state: State::Initial,
            passed_in_a_row: 0,
            failed_in_a_row: 0,
            last_failure: Check::Failed,
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.state == State::Healthy
    }

    pub(super) fn observe(&mut self, check: Check, thresholds: Thresholds) {
        if check == Check::Passed {
            self.failed_in_a_row = 0;
            self.passed_in_a_row = self.passed_in_a_row.saturating_add(1);
            if self.state == State::Initial || self.passed_in_a_row >= thresholds.healthy {
                self.state = State::Healthy;
            }
        } else {
            self.passed_in_a_row = 0;
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            self.last_failure = check;
            if self.failed_in_a_row >= thresholds.unhealthy {
                self.state = State::Unhealthy;
            }
        }
    }

    pub(super) fn to_wire(&self) -> wire::TargetHealth {
        let health = |state, reason, description| wire::TargetHealth {
            state,
            reason,
            description,
        };
        match (self.state, self.last_failure) {
            (State::Healthy, _) => health("healthy", None, None),
            (State::Initial, _) => health(
                "initial",
                Some("Elb.InitialHealthChecking"),
                Some("Initial health checks in progress".to_owned()),
            ),
            (State::Unhealthy, Check::WrongStatus(status)) => health(
                "unhealthy",
                Some("Target.ResponseCodeMismatch"),
                Some(format!("Health checks failed with these codes: [{status}]")),
            ),
            (State::Unhealthy, Check::TimedOut) => health(
                "unhealthy",
                Some("Target.Timeout"),
                Some("Request timed out".to_owned()),
            ),
            (State::Unhealthy, Check::Failed | Check::Passed) => health(
                "unhealthy",
                Some("Target.FailedHealthChecks"),
                Some("Health checks failed".to_owned()),
            ),
        }
    }
}

/// Which status codes pass a check: `200`, `200,202` or `200-299`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    text: String,
    ranges: Vec<RangeInclusive<u16>>,
}

impl Matcher {
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let range = from.trim().parse().ok()?..=to.trim().parse().ok()?;
            (200..=499)
                .contains(range.start())
                .then_some(range)
                .filter(|range| *range.end() <= 499)
        };
        let ranges = text.split(',').map(range).collect::<Option<Vec<_>>>();
        let ranges = ranges.ok_or_else(|| {
            ApiError::validation(format!(
                "HttpCode must be codes from 200 to 499 like '200,202' or '200-299', not '{text}'"
            ))
        })?;
        Ok(Self {
            text: text.to_owned(),
            ranges,
        })
    }

    fn accepts(&self, status: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&status))
    }

    pub(super) fn to_wire(&self) -> wire::Matcher {
        wire::Matcher {
            http_code: self.text.clone(),
        }
    }
}

/// One check to make: whom to ask for what, and which answer passes.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) group_arn: String,
    pub(super) address: SocketAddr,
    pub(super) path: String,
    pub(super) matcher: Matcher,
}

/// Asks all targets in use, round after round, until it is dropped.
pub(super) async fn poll(shared: Arc<Shared>) {
    // A fresh connection each time, as an ALB does: a target that accepts no more connections is not healthy.
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(TIMEOUT));
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A target in several groups is asked once a round for all of them.
        let mut questions: BTreeMap<(SocketAddr, String), Vec<Question>> = BTreeMap::new();
        for question in shared.state().health_questions() {
            let whom = (question.address, question.path.clone());
            questions.entry(whom).or_default().push(question);
        }
        let mut round = JoinSet::new();
        for ((address, path), questions) in questions {
            let client = client.clone();
            round.spawn(async move { (questions, ask(&client, address, &path).await) });
        }
        while let Some(finished) = round.join_next().await {
            let Ok((questions, answer)) = finished else {
                continue;
            };
            let mut state = shared.state();
            for question in questions {
                let check = match answer {
                    Ok(status) if question.matcher.accepts(status) => Check::Passed,
                    Ok(status) => Check::WrongStatus(status),
                    Err(failed) => failed,
                };
                state.observe_health(&question, check);
            }
        }
    }
}

/// The status that this target answers with.
async fn ask(
    client: &Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
    path: &str,
) -> Result<u16, Check> {
    let request = Request::get(format!("http://{address}{path}"))
        .header(hyper::header::USER_AGENT, "ELB-HealthChecker/2.0")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| Check::Failed)?;
    match tokio::time::timeout(TIMEOUT, client.request(request)).await {
        Err(_) => Err(Check::TimedOut),
        Ok(Err(_)) => Err(Check::Failed),
        Ok(Ok(answer)) => Ok(answer.status().as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        healthy: 3,
        unhealthy: 2,
    };

    fn after(checks: &[Check]) -> &'static str {
        let mut health = Health::new();
        checks
            .iter()
            .for_each(|check| health.observe(*check, THRESHOLDS));
        health.to_wire().state
    }

    #[test]
    fn one_pass_makes_a_new_target_healthy() {
        use Check::{Failed, Passed};
        assert_eq!(after(&[]), "initial");
        assert_eq!(after(&[Failed]), "initial");
        assert_eq!(after(&[Passed]), "healthy");
        assert_eq!(after(&[Failed, Passed]), "healthy");
    }

    #[test]
    fn a_state_changes_only_after_its_threshold_of_checks_in_a_row() {
        use Check::{Failed, Passed};
        assert_eq!(after(&[Passed, Failed]), "healthy");
        assert_eq!(after(&[Passed, Failed, Passed, Failed]), "healthy");
        assert_eq!(after(&[Passed, Failed, Failed]), "unhealthy");
        assert_eq!(after(&[Failed, Failed, Passed, Passed]), "unhealthy");
        assert_eq!(after(&[Failed, Failed, Passed, Passed, Passed]), "healthy");
    }

    #[test]
    fn an_unhealthy_target_says_why() {
        for (check, reason) in [
            (Check::WrongStatus(500), "Target.ResponseCodeMismatch"),
            (Check::TimedOut, "Target.Timeout"),
            (Check::Failed, "Target.FailedHealthChecks"),
        ] {
            let mut health = Health::new();
            (0..THRESHOLDS.unhealthy).for_each(|_| health.observe(check, THRESHOLDS));
            assert_eq!(health.to_wire().reason, Some(reason));
        }
    }

    #[test]
    fn a_matcher_takes_codes_lists_and_ranges() {
        let accepts = |text, status| Matcher::parse(text).expect("a matcher").accepts(status);
        assert!(accepts("200", 200) && !accepts("200", 204));
        assert!(accepts("200,301", 301));
        assert!(accepts("200-299", 299) && !accepts("200-299", 300));
        for wrong in ["", "ok", "200-", "100", "200-500"] {
            assert!(Matcher::parse(wrong).is_err(), "{wrong}");
        }
    }
}
