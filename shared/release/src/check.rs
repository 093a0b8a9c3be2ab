//! A health check: probes that must all be healthy several times in a row, or for some time, within a
//! time.

pub mod address;
mod allowed;
mod expected;
mod http;
mod metric;
mod probe;
mod run_check;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use allowed::AllowedChecks;
pub use expected::{BODY_BYTES_MAX, Expected};
pub use http::{HeaderText, HttpProbe, Method, Statuses, check_url, literal, shown};
pub use metric::{MetricProbe, Missing};
pub use probe::{
    AlarmProbe, AtLeast, CanaryProbe, CanaryRun, EcsProbe, LambdaProbe, ProbeSpec, Probed,
    TargetGroupProbe,
};
pub use run_check::{
    ANSWER_BYTES_MAX, CheckVerdict, Checked, NoAnswer, PAYLOAD_BYTES_MAX, RunCheck,
};

use crate::config::{self, duration, read_duration, read_some_duration};
use crate::{FailureKind, JobReply, ReleaseId, Story, Token};

/// The most probes of one health check.
const PROBES_MAX: usize = 20;
/// The most URLs of one health check: they are all asked at once, and each answer takes memory.
const URLS_MAX: usize = 50;
/// The most rounds in a row that may be asked for.
const ROUNDS_MAX: u32 = 1_000;
/// Of a longer time between two healthy rounds only so much counts as healthy, unless the interval
/// is longer: nobody has looked meanwhile.
const UNSEEN_MAX: SignedDuration = SignedDuration::from_mins(2);
/// How many unhealthy probes the pipeline is told of; the log has all of them.
const DETAILS_MAX: usize = 5;

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
    /// How long the target must have been healthy as well, from the first round of a row on.
    #[serde(
        default,
        deserialize_with = "read_some_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub stable_for: Option<SignedDuration>,
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
        let times = self.probes.iter().map(ProbeSpec::time_max);
        times.max().unwrap_or_default()
    }

    /// The shortest time in which the target can be found healthy.
    fn shortest(&self) -> SignedDuration {
        let gaps = i32::try_from(self.in_a_row.saturating_sub(1)).unwrap_or(i32::MAX);
        let row = self.interval.saturating_mul(gaps);
        row.max(self.stable_for.unwrap_or_default())
    }

    fn check_times(&self) -> Result<(), String> {
        duration("interval", self.interval, SignedDuration::from_secs(1))?;
        duration("within", self.within, self.interval)?;
        if let Some(time) = self.stable_for {
            duration("stable-for", time, SignedDuration::from_secs(1))?;
        }
        let shortest = self.shortest();
        if shortest > self.within {
            return Err(format!(
                "`within` is {:#}: {} healthy rounds {:#} apart, and `stable-for`, take {shortest:#} \
                 at least; give it more than that",
                self.within, self.in_a_row, self.interval
            ));
        }
        Ok(())
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
        let urls: usize = self.probes.iter().map(ProbeSpec::urls).sum();
        if urls > URLS_MAX {
            return Err(format!(
                "the http probes have {urls} URLs together: at most {URLS_MAX} are allowed"
            ));
        }
        self.check_times()
    }
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
    /// How long these rounds have lasted, as far as somebody looked.
    #[serde(default)]
    pub healthy_for: SignedDuration,
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
                    healthy_for: SignedDuration::ZERO,
                    last: Vec::new(),
                    ended: None,
                });
            }
            (Some(check), CheckEvent::Round { at, probed }) => {
                check.count(*at, probed.iter().all(|p| p.healthy));
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

    /// A round is a part of the row of healthy ones, or ends it.
    fn count(&mut self, at: Timestamp, healthy: bool) {
        let seen = self.plan.interval.max(UNSEEN_MAX);
        let gap = self.probed_at.map_or(SignedDuration::ZERO, |before| {
            at.duration_since(before).clamp(SignedDuration::ZERO, seen)
        });
        self.probed_at = Some(at);
        if !healthy {
            self.in_a_row = 0;
            self.healthy_for = SignedDuration::ZERO;
            return;
        }
        if self.in_a_row > 0 {
            self.healthy_for = self.healthy_for.saturating_add(gap);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    fn is_healthy(&self) -> bool {
        let stable_for = self.plan.stable_for;
        self.in_a_row >= self.plan.in_a_row
            && stable_for.is_none_or(|time| self.healthy_for >= time)
    }

    fn is_hopeless(&self) -> bool {
        self.last.iter().any(|probed| probed.hopeless)
    }

    fn verdict(&self, at: Timestamp) -> Option<CheckEvent> {
        let ended = |healthy, because| {
            Some(CheckEvent::Ended {
                at,
                healthy,
                because,
            })
        };
        let details = self.details();
        if self.is_healthy() {
            let rounds = self.in_a_row;
            let time = match self.plan.stable_for {
                Some(_) => format!(" and for {:#}", self.healthy_for),
                None => String::new(),
            };
            return ended(
                true,
                format!("healthy {rounds} times in a row{time}: {details}"),
            );
        }
        if self.is_hopeless() {
            return ended(false, format!("looking again is in vain: {details}"));
        }
        if at.duration_since(self.started_at) >= self.plan.within {
            let needed = self.needed();
            let within = self.plan.within;
            return ended(
                false,
                format!("not healthy {needed} within {within:#}: {details}"),
            );
        }
        None
    }

    /// `3 times in a row`, or `3 times in a row and for 2m`.
    fn needed(&self) -> String {
        let rounds = self.plan.in_a_row;
        match self.plan.stable_for {
            Some(time) => format!("{rounds} times in a row and for {time:#}"),
            None => format!("{rounds} times in a row"),
        }
    }

    /// What the last round saw: of several probes, those first that say why it is not healthy.
    fn details(&self) -> String {
        let all_healthy = self.last.iter().all(|probed| probed.healthy);
        let shown = |probed: &&Probed| probed.healthy == all_healthy;
        let details = || self.last.iter().filter(shown).map(|p| p.detail.as_str());
        let more = match details().count().saturating_sub(DETAILS_MAX) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let first: Vec<_> = details().take(DETAILS_MAX).collect();
        first.join("; ") + &more
    }

    /// What the pipeline is told now.
    pub fn reply(&self, story: &ReleaseId) -> JobReply {
        match &self.ended {
            Some((true, because)) => JobReply::Succeed {
                summary: because.clone(),
                outputs: [("verdict".to_owned(), "healthy".to_owned())].into(),
            },
            Some((false, because)) => JobReply::Fail {
                kind: match self.is_hopeless() {
                    true => FailureKind::ConfigurationError,
                    false => FailureKind::JobFailed,
                },
                message: because.clone(),
            },
            None => JobReply::Continue {
                token: Token::of(story.clone()),
                summary: self.so_far(),
                percent: self.percent(),
            },
        }
    }

    fn so_far(&self) -> String {
        let (seen, needed) = (self.in_a_row, self.plan.in_a_row);
        let time = match self.plan.stable_for {
            Some(time) => format!(" and for {:#} of {time:#}", self.healthy_for),
            None => String::new(),
        };
        format!(
            "healthy {seen} of {needed} times in a row{time}: {}",
            self.details()
        )
    }

    /// Below 100: how much of the row is there, and of the time.
    fn percent(&self) -> u8 {
        let of = |part: i128, whole: i128| (part.saturating_mul(100) / whole.max(1)).clamp(0, 99);
        let rounds = of(self.in_a_row.into(), self.plan.in_a_row.into());
        let time = self.plan.stable_for.map_or(99, |time| {
            of(self.healthy_for.as_millis(), time.as_millis())
        });
        u8::try_from(rounds.min(time)).unwrap_or(99)
    }
}

#[cfg(test)]
mod tests;
