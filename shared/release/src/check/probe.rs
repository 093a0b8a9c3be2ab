//! What can be looked at, and what a look says.

use jiff::{SignedDuration, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

use super::expected::Expected;
use super::run_check::{check_function, check_payload, check_timeout};
use super::{HttpProbe, MetricProbe};
use crate::config::{check_alarms, duration, read_duration};
use crate::gate::Percent;

/// A call to AWS with its retries.
const AWS_PROBE_TIME: SignedDuration = SignedDuration::from_secs(15);
/// What a probe may take beyond its own timeout.
const BEYOND_TIMEOUT: SignedDuration = SignedDuration::from_secs(2);
/// The longest that a function may take to answer.
const FUNCTION_TIME_MAX: SignedDuration = SignedDuration::from_secs(30);
/// The most hosts that may be asked for: what a target group holds at most.
const HOSTS_MAX: u32 = 1_000;
/// The longest name or ARN, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// The longest name of a canary of CloudWatch Synthetics, in bytes.
const CANARY_BYTES_MAX: usize = 255;
/// How much of a detail is kept, in characters.
const DETAIL_CHARS_MAX: usize = 600;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeSpec {
    /// URLs answer as expected.
    Http(HttpProbe),
    /// CloudWatch alarms, metric or composite, are not firing.
    Alarm(AlarmProbe),
    /// A number that CloudWatch keeps is within limits.
    Metric(MetricProbe),
    /// A load balancer's target group has enough healthy hosts.
    TargetGroup(TargetGroupProbe),
    /// An ECS service runs steadily on the expected task definition.
    EcsService(EcsProbe),
    /// A Lambda function answers as expected.
    Lambda(LambdaProbe),
    /// The last run of a canary of CloudWatch Synthetics passed.
    Canary(CanaryProbe),
}

impl ProbeSpec {
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Http(http) => http.check(),
            Self::Alarm(alarm) if alarm.names.is_empty() => {
                Err("`names` is empty: name at least one alarm".to_owned())
            }
            Self::Alarm(alarm) => check_alarms(&alarm.names),
            Self::Metric(metric) => metric.check(),
            Self::TargetGroup(group) => group.check(),
            Self::EcsService(service) => service.check(),
            Self::Lambda(lambda) => lambda.check(),
            Self::Canary(canary) => canary.check(),
        }
    }

    /// How long a look may take; whoever looks gives up then.
    pub fn time_max(&self) -> SignedDuration {
        match self {
            Self::Http(http) => http.timeout + BEYOND_TIMEOUT,
            Self::Lambda(lambda) => lambda.timeout + BEYOND_TIMEOUT,
            Self::Alarm(_)
            | Self::Metric(_)
            | Self::TargetGroup(_)
            | Self::EcsService(_)
            | Self::Canary(_) => AWS_PROBE_TIME,
        }
    }

    /// The ARN of the function that a look invokes.
    pub fn function(&self) -> Option<&str> {
        match self {
            Self::Lambda(lambda) => Some(&lambda.function),
            Self::Http(_)
            | Self::Alarm(_)
            | Self::Metric(_)
            | Self::TargetGroup(_)
            | Self::EcsService(_)
            | Self::Canary(_) => None,
        }
    }

    /// How many URLs a look asks.
    pub(super) fn urls(&self) -> usize {
        match self {
            Self::Http(http) => http.urls().count(),
            Self::Lambda(_)
            | Self::Alarm(_)
            | Self::Metric(_)
            | Self::TargetGroup(_)
            | Self::EcsService(_)
            | Self::Canary(_) => 0,
        }
    }
}

/// Alarms that must exist and not fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AlarmProbe {
    /// Their names.
    pub names: Vec<String>,
}

/// A target group with enough healthy hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TargetGroupProbe {
    /// Its ARN.
    pub arn: String,
    /// How many hosts must be healthy.
    #[serde(default)]
    pub at_least: AtLeast,
}

/// How many hosts must be healthy; never none. All of them unless it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AtLeast {
    /// So many.
    Hosts(u32),
    /// So large a share of those that are not on their way out.
    Share(Percent),
}

impl TargetGroupProbe {
    fn check(&self) -> Result<(), String> {
        let parts: Vec<&str> = self.arn.split(':').collect();
        let fits = match parts[..] {
            ["arn", _, "elasticloadbalancing", _, _, name] => {
                name.starts_with("targetgroup/") && self.arn.len() <= NAME_BYTES_MAX
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(format!(
            "`arn` is '{}': write a target group's ARN, \
             arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID",
            self.arn
        ))
    }

    /// What this says of a group with so many healthy hosts among so many that are not on their way
    /// out.
    pub fn judge(&self, healthy: u32, hosts: u32) -> Probed {
        let needed = match self.at_least {
            AtLeast::Hosts(count) => count,
            AtLeast::Share(share) => share_of(share, hosts),
        };
        let needed = needed.max(1);
        let name = self.arn.rsplit(':').next().unwrap_or(&self.arn);
        match healthy >= needed {
            true => Probed::healthy(format!("{healthy} of {hosts} hosts of {name} are healthy")),
            false => Probed::unhealthy(format!(
                "{healthy} of {hosts} hosts of {name} are healthy, not {needed}"
            )),
        }
    }
}

/// The whole hosts that make up a share.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of at most one of a number that fits"
)]
fn share_of(share: Percent, hosts: u32) -> u32 {
    // 70 % of 10 is 7, whatever binary fractions say.
    (f64::from(hosts) * share.value() / 100.0 - 1e-9)
        .ceil()
        .max(0.0) as u32
}

impl Default for AtLeast {
    fn default() -> Self {
        Self::Share(Percent::share(1, 1))
    }
}

impl Serialize for AtLeast {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Hosts(count) => to.serialize_u32(*count),
            Self::Share(share) => share.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for AtLeast {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u32),
            Text(String),
        }
        let wrong = || {
            D::Error::custom(format!(
                "`at-least` must be a number of hosts, 1 to {HOSTS_MAX}, or a share above 0%, such \
                 as 50%"
            ))
        };
        match Raw::deserialize(from).map_err(|_| wrong())? {
            Raw::Number(count) if (1..=HOSTS_MAX).contains(&count) => Ok(Self::Hosts(count)),
            Raw::Number(_) => Err(wrong()),
            Raw::Text(text) => {
                let share = Percent::try_from(text).ok();
                let some = share.filter(|share| share.value() > 0.0);
                some.map(Self::Share).ok_or_else(wrong)
            }
        }
    }
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

impl EcsProbe {
    fn check(&self) -> Result<(), String> {
        for (key, text) in [("cluster", &self.cluster), ("service", &self.service)] {
            if text.is_empty() || text.len() > NAME_BYTES_MAX {
                return Err(format!("`{key}` is '{text}': write a name or an ARN"));
            }
        }
        let revision = |text: &str| {
            let (_, revision) = text.rsplit_once(':')?;
            revision.parse::<u32>().ok()
        };
        match &self.task_definition {
            Some(text) if text.len() > NAME_BYTES_MAX || revision(text).is_none() => Err(format!(
                "`task-definition` is '{text}': write family:revision, such as web:7, or its ARN"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// A Lambda function that must answer as expected. One that fails is not healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LambdaProbe {
    /// Its ARN, with a version or an alias or without.
    pub function: String,
    /// What it is invoked with; an empty object unless it is written.
    #[serde(default = "LambdaProbe::nothing")]
    pub payload: Value,
    /// How long it may take, 1 to 30 s.
    #[serde(default = "LambdaProbe::timeout", deserialize_with = "read_duration")]
    pub timeout: SignedDuration,
    /// Text that the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_contains: Option<String>,
    /// A regular expression that must find something in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_matches: Option<String>,
    /// JSON pointers and the values that must be there in the answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answer_json: BTreeMap<String, Value>,
}

impl LambdaProbe {
    fn nothing() -> Value {
        Value::Object(serde_json::Map::new())
    }

    fn timeout() -> SignedDuration {
        SignedDuration::from_secs(10)
    }

    fn check(&self) -> Result<(), String> {
        check_function(&self.function)?;
        check_payload(&self.payload)?;
        check_timeout(self.timeout, FUNCTION_TIME_MAX)?;
        self.expected().check("answer")
    }

    /// What an answer must say.
    pub fn expected(&self) -> Expected<'_> {
        Expected {
            contains: self.answer_contains.as_deref(),
            matches: self.answer_matches.as_deref(),
            json: &self.answer_json,
        }
    }
}

/// A canary of CloudWatch Synthetics whose last run must have passed, not too long ago.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CanaryProbe {
    /// Its name.
    pub name: String,
    /// How long ago the last run may have ended.
    #[serde(
        default = "CanaryProbe::fifteen_minutes",
        deserialize_with = "read_duration"
    )]
    pub max_age: SignedDuration,
}

impl CanaryProbe {
    fn fifteen_minutes() -> SignedDuration {
        SignedDuration::from_mins(15)
    }

    fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        let fits = (1..=CANARY_BYTES_MAX).contains(&self.name.len());
        if !fits || !self.name.bytes().all(plain) {
            return Err(format!(
                "`name` is '{}': write a canary's name, of lower-case letters, digits, - and _",
                self.name
            ));
        }
        duration("max-age", self.max_age, SignedDuration::from_mins(1))
    }

    /// What this says of the last run that has ended: when, whether it passed, and else why not.
    pub fn judge(&self, last: Option<CanaryRun>, now: Timestamp) -> Probed {
        let name = &self.name;
        let Some(run) = last else {
            return Probed::unhealthy(format!("canary {name} has no run that ended"));
        };
        if let Err(why) = &run.passed {
            return Probed::unhealthy(format!("canary {name} failed at {}: {why}", run.ended_at));
        }
        let age = now.duration_since(run.ended_at);
        match age <= self.max_age {
            true => Probed::healthy(format!("canary {name} passed at {}", run.ended_at)),
            false => Probed::unhealthy(format!(
                "canary {name} passed last at {}, more than {:#} ago",
                run.ended_at, self.max_age
            )),
        }
    }
}

/// One run of a canary that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryRun {
    /// When.
    pub ended_at: Timestamp,
    /// Or why it did not.
    pub passed: Result<(), String>,
}

/// What one probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Whether it is as it should be. What could not be looked at is not healthy.
    pub healthy: bool,
    /// Whether looking again is in vain, because `penstock.yaml` or the stack must change first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hopeless: bool,
    /// What was seen, for a person; one line.
    pub detail: String,
}

impl Probed {
    /// It is as it should be.
    pub fn healthy(detail: impl AsRef<str>) -> Self {
        Self::new(true, false, detail.as_ref())
    }

    /// It is not, for now.
    pub fn unhealthy(detail: impl AsRef<str>) -> Self {
        Self::new(false, false, detail.as_ref())
    }

    /// It never will be unless the configuration changes.
    pub fn hopeless(detail: impl AsRef<str>) -> Self {
        Self::new(false, true, detail.as_ref())
    }

    fn new(healthy: bool, hopeless: bool, detail: &str) -> Self {
        Self {
            healthy,
            hopeless,
            detail: reports::printable(&detail.replace(['\n', '\r'], " "), DETAIL_CHARS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_needs_its_share_and_never_none() {
        let judge = |at_least: Value, healthy, hosts| {
            let arn = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/blue/1";
            let probe = serde_json::json!({"arn": arn, "at-least": at_least});
            let probe: TargetGroupProbe = serde_json::from_value(probe).unwrap();
            probe.judge(healthy, hosts).healthy
        };
        for (at_least, healthy, hosts, enough) in [
            (2.into(), 2, 9, true),
            (2.into(), 1, 9, false),
            ("50%".into(), 2, 4, true),
            ("50%".into(), 2, 5, false),
            ("70%".into(), 7, 10, true),
            ("100%".into(), 3, 3, true),
            ("100%".into(), 2, 3, false),
            ("1%".into(), 0, 0, false),
            ("100%".into(), 0, 0, false),
        ] {
            let said = format!("{at_least}: {healthy} of {hosts}");
            assert_eq!(judge(at_least, healthy, hosts), enough, "{said}");
        }
    }

    #[test]
    fn a_canary_is_healthy_for_as_long_as_its_last_run_is_young() {
        let probe: CanaryProbe = serde_saphyr::from_str("{name: shop-buy, max-age: 5m}").unwrap();
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let run = |minutes, passed| {
            let ended_at = now - SignedDuration::from_mins(minutes);
            Some(CanaryRun { ended_at, passed })
        };
        assert!(probe.judge(run(5, Ok(())), now).healthy);
        assert!(!probe.judge(run(6, Ok(())), now).healthy);
        assert!(
            !probe
                .judge(run(1, Err("no button".to_owned())), now)
                .healthy
        );
        assert!(!probe.judge(None, now).healthy);
    }

    #[test]
    fn what_is_seen_fits_on_a_line() {
        let probed = Probed::unhealthy(format!("a\nb\u{1b}[31m{}", "x".repeat(9_999)));
        assert!(!probed.detail.contains(char::is_control));
        assert!(probed.detail.chars().count() <= DETAIL_CHARS_MAX + 1);
        let old = r#"{"healthy":true,"detail":"fine"}"#;
        assert_eq!(
            serde_json::from_str::<Probed>(old).unwrap(),
            Probed::healthy("fine")
        );
    }
}
