//! A health check: probes that must all be healthy several times in a row, within a time.

mod allowed;
mod run_check;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use allowed::AllowedChecks;
pub use run_check::{
    ANSWER_BYTES_MAX, NoAnswer, PAYLOAD_BYTES_MAX, RunAnswer, RunCheck, RunVerdict,
};

use crate::config::{self, check_alarms, duration, read_duration};
use crate::{FailureKind, JobReply, ReleaseId, Story, Token};

/// The most probes of one health check.
const PROBES_MAX: usize = 20;
/// The most rounds in a row that may be asked for.
const ROUNDS_MAX: u32 = 1_000;
/// A call to AWS with its retries.
const AWS_PROBE_TIME: SignedDuration = SignedDuration::from_secs(15);

/// A health check, as `penstock.yaml` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CheckPlan {
    /// All of them must be healthy.
    pub probes: Vec<ProbeSpec>,
    /// The time from one round to the next.
    #[serde(default = "CheckPlan::ten_seconds", deserialize_with = "read_duration")]
    pub interval: SignedDuration,
    /// Healthy rounds in a row that make the target healthy.
    #[serde(default = "CheckPlan::three")]
    pub in_a_row: u32,
    /// The time after which the check fails.
    #[serde(
        default = "CheckPlan::five_minutes",
        deserialize_with = "read_duration"
    )]
    pub within: SignedDuration,
}

impl CheckPlan {
    fn ten_seconds() -> SignedDuration {
        SignedDuration::from_secs(10)
    }

    fn three() -> u32 {
        3
    }

    fn five_minutes() -> SignedDuration {
        SignedDuration::from_mins(5)
    }

    /// How long one round of all probes may take; they run side by side.
    pub fn round_time(&self) -> SignedDuration {
        let times = self.probes.iter().map(|probe| match probe {
            ProbeSpec::Http(http) => http.timeout,
            ProbeSpec::Alarm(_) | ProbeSpec::EcsService(_) => AWS_PROBE_TIME,
        });
        times.max().unwrap_or_default()
    }
}

impl config::Check for CheckPlan {
    fn check(&self) -> Result<(), String> {
        if self.probes.is_empty() || self.probes.len() > PROBES_MAX {
            let count = self.probes.len();
            return Err(format!(
                "`probes` has {count} entries: 1 to {PROBES_MAX} are allowed"
            ));
        }
        if !(1..=ROUNDS_MAX).contains(&self.in_a_row) {
            return Err(format!(
                "`in-a-row` is {}: 1 to {ROUNDS_MAX} is allowed",
                self.in_a_row
            ));
        }
        self.probes.iter().try_for_each(ProbeSpec::check)?;
        duration("interval", self.interval, SignedDuration::from_secs(1))?;
        duration("within", self.within, self.interval)
    }
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeSpec {
    /// A URL answers as expected.
    Http(HttpProbe),
    /// CloudWatch alarms, metric or composite, are not firing.
    Alarm(AlarmProbe),
    /// An ECS service runs steadily on the expected task definition.
    EcsService(EcsProbe),
}

/// A GET that must be answered as expected. Redirects are not followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpProbe {
    /// `http://` or `https://`.
    pub url: String,
    /// The expected status.
    #[serde(default = "HttpProbe::ok")]
    pub status: u16,
    /// Text that the body must contain.
    #[serde(default)]
    pub body_contains: Option<String>,
    /// How long the whole answer may take.
    #[serde(default = "HttpProbe::timeout", deserialize_with = "read_duration")]
    pub timeout: SignedDuration,
}

impl HttpProbe {
    fn ok() -> u16 {
        200
    }

    fn timeout() -> SignedDuration {
        SignedDuration::from_secs(5)
    }
}

/// Alarms that must exist and not fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AlarmProbe {
    /// Their names.
    pub names: Vec<String>,
}

/// An ECS service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EcsProbe {
    /// Name or ARN.
    pub cluster: String,
    /// Name or ARN.
    pub service: String,
    /// `family:revision` or ARN that must be running; after ECS's own rollback the service is
    /// steady again on the old one, so steadiness alone says little.
    #[serde(default)]
    pub task_definition: Option<String>,
}

impl ProbeSpec {
    /// The function that it invokes, by ARN.
    pub fn function(&self) -> Option<&str> {
        match self {
            Self::Http(_) | Self::Alarm(_) | Self::EcsService(_) => None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Http(http) => {
                let scheme = ["http://", "https://"];
                if !scheme.iter().any(|s| http.url.starts_with(s)) {
                    return Err(format!(
                        "`url` is '{}': write http://... or https://...",
                        http.url
                    ));
                }
                if !(100..=599).contains(&http.status) {
                    return Err(format!(
                        "`status` is {}: 100 to 599 is allowed",
                        http.status
                    ));
                }
                let (least, most) = (
                    SignedDuration::from_millis(1),
                    SignedDuration::from_secs(30),
                );
                if !(least..=most).contains(&http.timeout) {
                    return Err(format!(
                        "`timeout` is {:#}: {least:#} to {most:#} is allowed",
                        http.timeout
                    ));
                }
                Ok(())
            }
            Self::Alarm(alarm) if alarm.names.is_empty() => {
                Err("`names` is empty: name at least one alarm".to_owned())
            }
            Self::Alarm(alarm) => check_alarms(&alarm.names),
            Self::EcsService(_) => Ok(()),
        }
    }
}

/// What one probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Whether it is as it should be. What could not be looked at is not healthy.
    pub healthy: bool,
    /// What was seen, for a person.
    pub detail: String,
}

/// One past fact of a health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum CheckEvent {
    /// It began.
    Started {
        /// When.
        at: Timestamp,
        /// The whole plan.
        plan: CheckPlan,
    },
    /// One round of all probes.
    Round {
        /// When.
        at: Timestamp,
        /// In the order of the plan.
        probed: Vec<Probed>,
    },
    /// It is over.
    Ended {
        /// When.
        at: Timestamp,
        /// Whether the target is healthy.
        healthy: bool,
        /// For a person.
        because: String,
    },
}

/// A health check, folded from its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is checked.
    pub plan: CheckPlan,
    /// When it began.
    pub started_at: Timestamp,
    /// When the last round was.
    pub probed_at: Option<Timestamp>,
    /// Healthy rounds in a row, up to now.
    pub in_a_row: u32,
    /// The last round.
    pub last: Vec<Probed>,
    /// How it ended.
    pub ended: Option<(bool, String)>,
}

impl Story for Option<Check> {
    type Event = CheckEvent;
    const KIND: &'static str = "check";

    fn apply(&mut self, event: &CheckEvent) {
        match (self.as_mut(), event) {
            (None, CheckEvent::Started { at, plan }) => {
                *self = Some(Check {
                    plan: plan.clone(),
                    started_at: *at,
                    probed_at: None,
                    in_a_row: 0,
                    last: Vec::new(),
                    ended: None,
                });
            }
            (Some(check), CheckEvent::Round { at, probed }) => {
                let healthy = probed.iter().all(|p| p.healthy);
                check.in_a_row = if healthy { check.in_a_row + 1 } else { 0 };
                check.probed_at = Some(*at);
                check.last.clone_from(probed);
            }
            (
                Some(check),
                CheckEvent::Ended {
                    healthy, because, ..
                },
            ) => check.ended = Some((*healthy, because.clone())),
            (Some(_), CheckEvent::Started { .. }) | (None, _) => {}
        }
    }
}

impl Check {
    /// When the next round is due.
    pub fn next_round(&self) -> Timestamp {
        match self.probed_at {
            Some(at) => at + self.plan.interval,
            None => self.started_at,
        }
    }

    /// The facts that a round of probes adds: the round, and the end when this was the last.
    pub fn after_round(&self, at: Timestamp, probed: Vec<Probed>) -> Vec<CheckEvent> {
        let round = CheckEvent::Round { at, probed };
        let mut after = Some(self.clone());
        after.apply(&round);
        let end = after.and_then(|check| check.verdict(at));
        std::iter::once(round).chain(end).collect()
    }

    fn verdict(&self, at: Timestamp) -> Option<CheckEvent> {
        let lasted = at.duration_since(self.started_at);
        if self.in_a_row >= self.plan.in_a_row {
            let rounds = self.in_a_row;
            return Some(CheckEvent::Ended {
                at,
                healthy: true,
                because: format!("healthy {rounds} times in a row: {}", self.details()),
            });
        }
        (lasted >= self.plan.within).then(|| CheckEvent::Ended {
            at,
            healthy: false,
            because: format!(
                "not healthy {} times in a row within {:#}: {}",
                self.plan.in_a_row,
                self.plan.within,
                self.details()
            ),
        })
    }

    fn details(&self) -> String {
        let details: Vec<_> = self.last.iter().map(|p| p.detail.as_str()).collect();
        details.join("; ")
    }

    /// What the pipeline is told now.
    pub fn reply(&self, story: &ReleaseId) -> JobReply {
        match &self.ended {
            Some((true, because)) => JobReply::Succeed {
                summary: because.clone(),
                outputs: [("verdict".to_owned(), "healthy".to_owned())].into(),
            },
            Some((false, because)) => JobReply::Fail {
                kind: FailureKind::JobFailed,
                message: because.clone(),
            },
            None => {
                let (seen, needed) = (self.in_a_row, self.plan.in_a_row);
                let percent = u8::try_from(seen.saturating_mul(100) / needed).unwrap_or(100);
                JobReply::Continue {
                    token: Token::of(story.clone()),
                    summary: format!(
                        "healthy {seen} of {needed} times in a row: {}",
                        self.details()
                    ),
                    percent: percent.min(99),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
